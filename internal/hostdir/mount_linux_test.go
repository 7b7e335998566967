package hostdir_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"clusterpki.io/operator/internal/hostdir"
)

const mountEnv = "HOSTDIR_TEST_MAY_MOUNT"

// mayMount runs the rest of a test in a process that may mount file systems, which nobody else sees. It returns false
// where the test goes on in that process.
func mayMount(t *testing.T) bool {
	t.Helper()
	if os.Getenv(mountEnv) != "" {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		return true
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), mountEnv+"=yes")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("in a process of its own: %v", err)
	}
	return false
}

// mount mounts a small file system of its own below a directory, and has a function that changes its options.
func mount(t *testing.T) (dir string, remount func(flags uintptr, options string)) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m,nr_inodes=1000"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir, func(flags uintptr, options string) {
		t.Helper()
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT|flags, options); err != nil {
			t.Fatalf("remount with %q: %v", options, err)
		}
	}
}

// TestDiskFull: a real disk with room for ever one page or one name more refuses until it has enough.
func TestDiskFull(t *testing.T) {
	if !mayMount(t) {
		return
	}
	limits := map[string]func(s unix.Statfs_t, more int) string{
		"pages": func(s unix.Statfs_t, more int) string {
			return fmt.Sprintf("size=%d", (int(s.Blocks-s.Bfree)+more)*int(s.Bsize))
		},
		"names": func(s unix.Statfs_t, more int) string { return fmt.Sprintf("nr_inodes=%d", int(s.Files-s.Ffree)+more) },
	}
	for what, limit := range limits {
		more := 0
		for ; !t.Failed(); more++ {
			fits := false
			t.Run(fmt.Sprintf("%d more %s", more, what), func(t *testing.T) {
				fits = installInto(t, func(s unix.Statfs_t) string { return limit(s, more) })
			})
			if fits {
				break
			}
		}
		if more < 6 {
			t.Errorf("%d more %s were enough", more, what)
		}
	}
}

// installInto installs a version on a disk with a limit. If it does not fit, it must after there is room.
func installInto(t *testing.T, limit func(s unix.Statfs_t) string) bool {
	t.Helper()
	dir, remount := mount(t)
	d := hostdir.New(dir, hostdir.Options{})
	installed(true, 0, 1)(t, dir)
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		t.Fatal(err)
	}
	remount(0, limit(s))
	_, err := d.Install(version(2), note(2))
	if err == nil {
		settle(t, d) // in the room of what it removes
		wantWhole(t, dir, 2, 1)
		wantTidy(t, dir)
		return true
	}
	wantExplained(t, err, dir, breakage{err: syscall.ENOSPC, says: "is full: make room"})
	wantWhole(t, dir, 1, 0)
	wantTidy(t, dir)
	wantForeign(t, dir)
	remount(0, "size=1m,nr_inodes=1000")
	install(t, d, 2)
	settle(t, d)
	wantWhole(t, dir, 2, 1)
	wantForeign(t, dir)
	return false
}

// TestDiskReadOnly: on a real read-only file system what is there can be read, and nothing else.
func TestDiskReadOnly(t *testing.T) {
	if !mayMount(t) {
		return
	}
	dir, remount := mount(t)
	d := hostdir.New(dir, hostdir.Options{})
	install(t, d, 0)
	install(t, d, 1)
	remount(unix.MS_RDONLY, "")
	_, install2 := d.Install(version(2), nil)
	_, rollback := d.Rollback(nil)
	for what, err := range map[string]error{"install": install2, "roll back": rollback, "note": d.SetNote(nil), "settle": d.Settle()} {
		if !errors.Is(err, syscall.EROFS) {
			t.Errorf("%s: the error is %v", what, err)
			continue
		}
		wantExplained(t, err, dir, breakages["read-only"])
	}
	wantWhole(t, dir, 1, 0)
	remount(0, "")
	install(t, d, 2)
	settle(t, d)
	wantWhole(t, dir, 2, 1)
}

// TestSettleIsHeard: who watches a file itself hears of a swap, and who holds it open holds the last of it.
func TestSettleIsHeard(t *testing.T) {
	for name, prepare := range map[string]func(*testing.T, string){"installed": installed(true, 0), "found": found} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "host")
			prepare(t, dir)
			path := filepath.Join(dir, "pki/a.key")
			held, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer held.Close()
			watch, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(watch)
			if _, err := unix.InotifyAddWatch(watch, path, unix.IN_ATTRIB|unix.IN_DELETE_SELF); err != nil {
				t.Fatal(err)
			}
			d := hostdir.New(dir, hostdir.Options{})
			install(t, d, 1)
			settle(t, d)
			if n, err := unix.Read(watch, make([]byte, 4096)); err != nil || n == 0 {
				t.Errorf("nothing was heard (%v)", err)
			}
			var s unix.Stat_t
			if err := unix.Fstat(int(held.Fd()), &s); err != nil || s.Nlink != 0 {
				t.Errorf("the old file still has %d names (%v)", s.Nlink, err)
			}
			wantWhole(t, dir, 1, 0)
			before, err := os.Stat(filepath.Join(dir, "..data/..previous/pki/a.key"))
			if err != nil {
				t.Fatal(err)
			}
			settle(t, d) // has nothing to do
			after, err := os.Stat(filepath.Join(dir, "..data/..previous/pki/a.key"))
			if err != nil || !os.SameFile(before, after) {
				t.Errorf("the previous set was copied once more (%v)", err)
			}
		})
	}
}

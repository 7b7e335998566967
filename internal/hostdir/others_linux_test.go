package hostdir_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"clusterpki.io/operator/internal/hostdir"
)

// others' deeds in a directory of theirs, where one of our files lies too, and what an install says of them.
var deeds = map[string]struct {
	do   func(dir string) error
	says string
}{
	"nothing of it":     {func(string) error { return nil }, ""},
	"a pipe":            {func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "x"), 0o600) }, `"pki/etcd/x": it is neither a file`},
	"a pipe further in": {func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "sub/x"), 0o600) }, `"pki/etcd/sub/x": it is neither a file`},
	"a pipe for ours": {func(dir string) error {
		return instead(dir, func(at string) error { return syscall.Mkfifo(at, 0o600) })
	}, `"pki/etcd/ca.crt": it is neither a file`},
	"a socket": {listen, `"pki/etcd/x": it is neither a file`},
	"a directory for ours": {func(dir string) error {
		return instead(dir, func(at string) error { return os.MkdirAll(filepath.Join(at, "deeper"), 0o755) })
	}, `"pki/etcd/ca.crt": it is in the way`},
	"a link for ours": {func(dir string) error {
		return instead(dir, func(at string) error { return os.Symlink("/dev/zero", at) })
	}, ""},
	"a huge file":         {sized(1<<40, "x"), `"pki/etcd/x": it has more than the allowed 1048576 bytes`},
	"a huge one for ours": {sized(1<<40, "ca.crt"), `"pki/etcd/ca.crt": it has more than`},
	"large files":         {sized(1<<20, "1", "2", "3", "4", "5", "6", "7", "8"), `"pki/etcd/sub/small": it has more than the allowed 0 bytes`},
	"many files":          {func(dir string) error { return many(filepath.Join(dir, "zz")) }, `"pki/etcd/zz": of a directory that others may write to, 256 files`},
	"many beside ours":    {many, `of a directory that others may write to, 256 files`},
	"a long path": {func(dir string) error {
		return os.MkdirAll(filepath.Join(dir, strings.Repeat(strings.Repeat("x", 200)+"/", 8)), 0o755)
	}, "more than 1024 bytes"},
	"a link far away": {func(dir string) error { return os.Symlink(strings.Repeat("x/", 2000), filepath.Join(dir, "x")) }, `"pki/etcd/x": its path, or where it leads`},
}

func instead(dir string, put func(at string) error) error {
	at := filepath.Join(dir, "ca.crt")
	if err := os.RemoveAll(at); err != nil {
		return err
	}
	return put(at)
}

func sized(size int64, names ...string) func(string) error {
	return func(dir string) error {
		for _, name := range names {
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				return err
			}
			f, err := os.Create(filepath.Join(dir, name))
			if err == nil {
				err = f.Truncate(size)
			}
			if err != nil {
				return err
			}
			if err := f.Close(); err != nil {
				return err
			}
		}
		return nil
	}
}

func many(dir string) error {
	for n := range 1000 {
		if err := os.MkdirAll(filepath.Join(dir, fmt.Sprint(n)), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// listen leaves a socket. Its path may have 107 bytes.
func listen(dir string) error {
	short, err := os.MkdirTemp("", "")
	if err != nil {
		return err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(short, "x")})
	if err != nil {
		return err
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		return err
	}
	return os.Rename(filepath.Join(short, "x"), filepath.Join(dir, "x"))
}

// theirs makes pki/etcd a directory that others may write to, with a file of theirs.
func theirs(t *testing.T, dir string) {
	t.Helper()
	put(t, dir, hostdir.File{Path: "pki/etcd/sub/small", Mode: 0o640, Data: []byte("theirs")})
	etcd := filepath.Join(dir, "pki/etcd")
	if err := os.Chmod(etcd, 0o777); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(etcd, 1000, 1000); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOthersKeepNothingFromBeingInstalled: whatever who may write to a directory of the host puts there, before the first install and between two, ours is
// installed, and what is left out is told once.
func TestOthersKeepNothingFromBeingInstalled(t *testing.T) {
	for name, deed := range deeds {
		for _, when := range []int{0, 1} {
			t.Run(fmt.Sprint(name, ", before install ", when), func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "host")
				d := quick(dir)
				put(t, dir, version(0)...)
				theirs(t, dir)
				for n := range 3 {
					if n == when {
						if err := deed.do(filepath.Join(dir, "pki/etcd")); err != nil {
							t.Fatal(err)
						}
					}
					s := install(t, d, n+1)
					settle(t, d)
					if got := seen(t, dir); got != n+1 || !hostdir.Equal(s.Files, version(n+1)) {
						t.Errorf("install %d: it shows version %d, and says %+v", n, got, s.Files)
					}
					if !strings.Contains(name, "for ours") { // else that one is gone
						wantPrevious(t, dir, n)
					}
					if told := strings.Join(s.LeftOut, "\n"); (n == when && deed.says != "") != (told != "") || n == when && !strings.Contains(told, deed.says) {
						t.Errorf("install %d: it left out %q", n, s.LeftOut)
					}
				}
				wantTidy(t, dir)
				if data, err := os.ReadFile(filepath.Join(dir, "pki/etcd/sub/small")); !strings.HasPrefix(name, "large") && name != "many beside ours" && string(data) != "theirs" {
					t.Errorf("their small file holds %q: %v", data, err)
				}
			})
		}
	}
}

// TestOthersAtWork: the same while they go on.
func TestOthersAtWork(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "host")
	d := quick(dir)
	put(t, dir, version(0)...)
	theirs(t, dir)
	install(t, d, 0)
	done, work := make(chan struct{}), sync.WaitGroup{}
	work.Go(func() {
		etcd := filepath.Join(dir, "pki/etcd")
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			default:
			}
			for _, name := range []string{"x", "ca.crt"} { // what fails is between two sets
				at := filepath.Join(etcd, name)
				_ = os.RemoveAll(at)
				switch n % 4 {
				case 0:
					_ = os.WriteFile(at, []byte("x"), 0o600)
				case 1:
					_ = syscall.Mkfifo(at, 0o600)
				case 2:
					_ = os.MkdirAll(filepath.Join(at, "x"), 0o700)
				case 3:
					_ = os.Symlink("sub", at)
				}
			}
		}
	})
	for n := range 50 {
		if _, err := d.Install(version(n), note(n)); err != nil {
			t.Fatalf("%d: %v", n, err)
		}
		_ = d.Settle() // what they hold up is swept the next time
	}
	close(done)
	work.Wait()
	install(t, d, 0)
	settle(t, d)
	wantTidy(t, dir)
}

// TestReadFile reads what is installed, and neither waits for what others have put in its place nor follows a link of theirs out of the directory.
func TestReadFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "host")
	d := hostdir.New(dir, hostdir.Options{})
	install(t, d, 1)
	if data, err := d.ReadFile("pki/etcd/ca.crt"); err != nil || string(data) != "1" {
		t.Errorf("it holds %q: %v", data, err)
	}
	for name, deed := range deeds {
		if !strings.Contains(name, "for ours") {
			continue
		}
		if err := deed.do(filepath.Join(dir, "pki/etcd")); err != nil {
			t.Fatal(err)
		}
		if data, err := d.ReadFile("pki/etcd/ca.crt"); err == nil || len(data) > 0 {
			t.Errorf("%s: it holds %d bytes: %v", name, len(data), err)
		}
	}
}

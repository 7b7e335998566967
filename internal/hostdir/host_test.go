package hostdir_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"clusterpki.io/operator/internal/hostdir"
)

func TestMain(m *testing.M) {
	if job := os.Getenv(childEnv); job != "" {
		if err := child(job); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const none = -1 // the version of no files

// version is a set of files that all say the same number.
func version(n int) []hostdir.File {
	if n == none {
		return nil
	}
	text := fmt.Appendf(nil, "%d", n)
	return []hostdir.File{
		{Path: "admin.conf", Mode: 0o600, Data: text},
		{Path: "pki/a.crt", Mode: 0o644, Data: text},
		{Path: "pki/a.key", Mode: 0o600, Data: text},
		{Path: "pki/etcd/ca.crt", Mode: 0o644, Data: text},
	}
}

func note(n int) []byte { return fmt.Appendf(nil, "%d", n) }

// foreign is a file of somebody else, in a directory that is also ours.
const foreign = "pki/my-own.pem"

func put(t *testing.T, dir string, files ...hostdir.File) {
	t.Helper()
	for _, f := range files {
		name := filepath.Join(dir, f.Path)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, f.Data, f.Mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, f.Mode); err != nil {
			t.Fatal(err)
		}
	}
}

func putForeign(t *testing.T, dir string) {
	t.Helper()
	put(t, dir, hostdir.File{Path: foreign, Mode: 0o640, Data: []byte("mine")})
}

func install(t *testing.T, d *hostdir.Dir, n int) hostdir.Set {
	t.Helper()
	s, err := d.Install(version(n), note(n))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func settle(t *testing.T, d *hostdir.Dir) {
	t.Helper()
	if err := d.Settle(); err != nil {
		t.Fatal(err)
	}
}

// seen is the version that a directory shows at its paths. It must be a whole one, or nothing at all.
func seen(t *testing.T, dir string) int {
	t.Helper()
	shown := map[int]bool{}
	for _, f := range version(0) {
		name := filepath.Join(dir, f.Path)
		data, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			shown[none] = true
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(string(data))
		if err != nil {
			t.Errorf("%s is %q", f.Path, data)
		}
		shown[n] = true
		wantMode(t, name, f.Mode)
	}
	if len(shown) != 1 {
		t.Fatalf("it shows files of several versions: %v", shown)
	}
	for n := range shown {
		return n
	}
	return none
}

func wantMode(t *testing.T, name string, mode fs.FileMode) {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != mode {
		t.Errorf("%s has mode %v instead of %v", name, info.Mode(), mode)
	}
}

func wantForeign(t *testing.T, dir string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, foreign))
	if err != nil || string(data) != "mine" {
		t.Fatalf("the file of somebody else is %q (%v)", data, err)
	}
	wantMode(t, filepath.Join(dir, foreign), 0o640)
}

// wantPrevious expects the version of the previous set.
func wantPrevious(t *testing.T, dir string, n int) {
	t.Helper()
	s, err := hostdir.New(dir, hostdir.Options{}).Previous()
	if err != nil || !hostdir.Equal(s.Files, version(n)) {
		t.Errorf("the previous set is %+v (%v) instead of version %d", s, err, n)
	}
}

// wantWhole expects a directory where nothing is half done: it shows a version, and has one before.
func wantWhole(t *testing.T, dir string, current, previous int) {
	t.Helper()
	if got := seen(t, dir); got != current {
		t.Errorf("it shows version %d instead of %d", got, current)
	}
	s, err := hostdir.New(dir, hostdir.Options{}).Current()
	if err != nil || !hostdir.Equal(s.Files, version(current)) {
		t.Errorf("the current set is %+v (%v) instead of version %d", s, err, current)
	}
	wantPrevious(t, dir, previous)
	wantNoneReadable(t, dir)
}

// wantTidy expects that nothing is left in a directory of work that was cut short, nor of older sets.
func wantTidy(t *testing.T, dir string) {
	t.Helper()
	count := map[string]int{}
	for _, name := range names(t, dir) {
		prefix, _, _ := strings.Cut(strings.TrimPrefix(name, ".."), "-")
		count[prefix]++
	}
	if count["set"] != 1 || count["data"] != 1 || count["kept"] > 1 || count["new"]+count["next"]+count["taking"] > 0 || count["admin.conf"] != 1 || count["pki"] != 1 {
		t.Errorf("the directory holds %v", names(t, dir))
	}
	if _, err := os.Lstat(filepath.Join(dir, "..data", "..next")); err == nil {
		t.Errorf("the set holds %v", names(t, filepath.Join(dir, "..data")))
	}
}

// wantNoneReadable expects that no key can be read by others, wherever it lies.
func wantNoneReadable(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if secret := strings.HasSuffix(name, ".key") || strings.HasSuffix(name, ".conf"); secret && info.Mode().IsRegular() && info.Mode()&0o077 != 0 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// names lists a directory.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// unsynced is the real system, but nothing waits for the disk.
type unsynced struct{ hostdir.Real }

func (unsynced) Write(name string, data []byte, mode fs.FileMode, _ *hostdir.Owner) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Chmod(mode), f.Close())
}

func (unsynced) SyncDir(string) error { return nil }

func quick(dir string) *hostdir.Dir {
	return hostdir.New(dir, hostdir.Options{System: unsynced{}})
}

// faulty is another system until an operation by its number, from 1 on, where something happens before it. What is
// to be written then is written by half.
type faulty struct {
	hostdir.System
	at   int
	then func(operation, name string) error // called for that operation, and for those that follow

	count int
}

func (f *faulty) step(operation, name string) error {
	if f.count++; f.count < f.at {
		return nil
	}
	return f.then(operation, name)
}

func (f *faulty) Mkdir(name string, mode fs.FileMode, owner *hostdir.Owner) error {
	return errOr(f.step("mkdir", name), func() error { return f.System.Mkdir(name, mode, owner) })
}

func (f *faulty) Write(name string, data []byte, mode fs.FileMode, owner *hostdir.Owner) error {
	if f.count+1 == f.at {
		if err := f.System.Write(name, data[:len(data)/2], mode, owner); err != nil {
			return err
		}
	}
	return errOr(f.step("write", name), func() error { return f.System.Write(name, data, mode, owner) })
}

func (f *faulty) Symlink(target, name string) error {
	return errOr(f.step("symlink", name), func() error { return f.System.Symlink(target, name) })
}

func (f *faulty) Rename(from, to string) error {
	return errOr(f.step("rename", to), func() error { return f.System.Rename(from, to) })
}

func (f *faulty) Exchange(a, b string) error {
	return errOr(f.step("exchange", b), func() error { return f.System.Exchange(a, b) })
}

func (f *faulty) Chmod(name string, mode fs.FileMode) error {
	return errOr(f.step("chmod", name), func() error { return f.System.Chmod(name, mode) })
}

func (f *faulty) Remove(in *os.Root, name string) error {
	return errOr(f.step("remove", filepath.Join(in.Name(), name)), func() error { return f.System.Remove(in, name) })
}

func (f *faulty) SyncDir(name string) error {
	return errOr(f.step("sync", name), func() error { return f.System.SyncDir(name) })
}

func errOr(err error, do func() error) error {
	if err != nil {
		return err
	}
	return do()
}

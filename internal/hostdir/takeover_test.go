package hostdir_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"clusterpki.io/operator/internal/export"
	"clusterpki.io/operator/internal/hostdir"
)

// exported puts a version into a directory as `clusterpki export` does.
func exported(t *testing.T, dir string, n int) {
	t.Helper()
	var files []export.File
	for _, f := range version(n) {
		files = append(files, export.File{Path: f.Path, Mode: f.Mode, Data: f.Data})
	}
	if err := export.Write(dir, files); err != nil {
		t.Fatal(err)
	}
}

// TestTakeOver: of what was exported before no file is missing for an instant, and nothing is lost.
func TestTakeOver(t *testing.T) {
	for range 5 {
		dir := filepath.Join(t.TempDir(), "host")
		exported(t, dir, 0)
		putForeign(t, dir)
		put(t, dir, hostdir.File{Path: "manifests/a.yaml", Mode: 0o600, Data: []byte("a")}, hostdir.File{Path: "pki/old/ca.key", Mode: 0o600, Data: []byte("old")})
		if err := os.Chmod(filepath.Join(dir, "pki/old"), 0o700); err != nil {
			t.Fatal(err)
		}
		done, reader := make(chan struct{}), sync.WaitGroup{}
		reader.Go(func() {
			for !t.Failed() {
				readPaths(t, dir)
				select {
				case <-done:
					return
				default:
				}
			}
		})
		d := hostdir.New(dir, hostdir.Options{})
		for n := range 3 {
			install(t, d, n+1)
			settle(t, d)
			wantWhole(t, dir, n+1, n)
			wantForeign(t, dir)
			wantMode(t, filepath.Join(dir, "pki/old"), 0o700)
		}
		close(done)
		reader.Wait()
		wantTidy(t, dir)
		if info, err := os.Lstat(filepath.Join(dir, "manifests")); err != nil || !info.IsDir() {
			t.Errorf("what is not in the way was touched: %v (%v)", info, err)
		}
		aside, err := filepath.Glob(filepath.Join(dir, "..taken-over-*"))
		if err != nil || len(aside) != 1 {
			t.Fatalf("kept aside: %v (%v)", aside, err)
		}
		if got := seen(t, aside[0]); got != 0 {
			t.Errorf("version %d is kept aside", got)
		}
		wantForeign(t, aside[0])
	}
}

// TestForeignFilesStay: what others put into a directory of ours, or change there, outlasts every set, and a rollback.
func TestForeignFilesStay(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "host")
	d := hostdir.New(dir, hostdir.Options{})
	put(t, dir, hostdir.File{Path: "other.pem", Mode: 0o600, Data: []byte("beside")}, hostdir.File{Path: "pki/mine/empty/x", Mode: 0o600})
	for link, target := range map[string]string{"pki/inside": "mine/empty", "pki/mine/outside": "../../other.pem"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	check := func() {
		t.Helper()
		wantForeign(t, dir)
		wantMode(t, filepath.Join(dir, "pki/inside/x"), 0o600)
		if data, err := os.ReadFile(filepath.Join(dir, "pki/mine/outside")); err != nil || string(data) != "beside" {
			t.Errorf("a link out of the directory leads to %q (%v)", data, err)
		}
	}
	install(t, d, 0)
	putForeign(t, dir)
	check()
	install(t, d, 1)
	settle(t, d)
	check()
	put(t, dir, hostdir.File{Path: "pki/late", Mode: 0o600})
	if _, err := d.Rollback(nil); err != nil {
		t.Fatal(err)
	}
	check()
	wantMode(t, filepath.Join(dir, "pki/late"), 0o600)
	if _, err := d.Install(nil, nil); err != nil {
		t.Fatal(err)
	}
	check()
	for _, f := range version(0) {
		if _, err := os.Lstat(filepath.Join(dir, f.Path)); err == nil {
			t.Errorf("%s is still there", f.Path)
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, "pki/etcd")); err == nil {
		t.Error("a directory of ours is still there")
	}
}

// TestInTheWay: what cannot be taken over stays as it is, and the error says what to do.
func TestInTheWay(t *testing.T) {
	for name, prepare := range map[string]func(dir string) error{
		"is a link that somebody else has made": func(dir string) error { return os.Symlink("/elsewhere", filepath.Join(dir, "pki")) },
		"is in the way of pki/a.crt":            func(dir string) error { return os.WriteFile(filepath.Join(dir, "pki"), []byte("mine"), 0o600) },
		"a directory of somebody else":          func(dir string) error { return os.MkdirAll(filepath.Join(dir, "pki/a.key"), 0o755) },
		"it must be a directory": func(dir string) error {
			return os.Rename(dir, dir+".gone")
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "host")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := prepare(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(dir); err != nil {
				put(t, filepath.Dir(dir), hostdir.File{Path: "host", Mode: 0o600})
			}
			if _, err := hostdir.New(dir, hostdir.Options{}).Install(version(0), nil); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

package hostdir_test

import (
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"clusterpki.io/operator/internal/hostdir"
)

// whileLooking does something many times while somebody looks all the time.
func whileLooking(t *testing.T, look func(), do func() error) {
	t.Helper()
	done, looker := make(chan struct{}), sync.WaitGroup{}
	looker.Go(func() {
		for !t.Failed() {
			select {
			case <-done:
				return
			default:
				look()
			}
		}
	})
	for i := 0; i < 300 && !t.Failed(); i++ {
		if err := do(); err != nil {
			t.Error(err)
		}
	}
	close(done)
	looker.Wait()
}

// TestWrittenInSecret: nobody else can open a key at any moment, and wait for what will be in it.
func TestWrittenInSecret(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	name := filepath.Join(t.TempDir(), "a.key")
	whileLooking(t, func() {
		if info, err := os.Stat(name); err == nil && info.Mode()&0o077 != 0 {
			t.Errorf("it has mode %v", info.Mode())
		}
	}, func() error {
		if err := (hostdir.Real{}).Write(name, []byte("key"), 0o600, nil); err != nil {
			return err
		}
		return os.Remove(name)
	})
}

// TestExchange: names that are exchanged are both there at any moment.
func TestExchange(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	put(t, dir, hostdir.File{Path: "a/x", Mode: 0o600})
	if err := os.Symlink("a", b); err != nil {
		t.Fatal(err)
	}
	whileLooking(t, func() {
		for _, name := range []string{a, b} {
			if _, err := os.Lstat(name); err != nil {
				t.Error(err)
			}
		}
	}, func() error { return hostdir.Real{}.Exchange(a, b) })
}

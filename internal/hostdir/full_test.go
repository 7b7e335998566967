package hostdir_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"clusterpki.io/operator/internal/hostdir"
)

// breakage is how a disk refuses: once or from then on, to remove things or only to add them.
type breakage struct {
	err     syscall.Errno
	once    bool
	removes bool // can still remove
	says    string
}

func (b breakage) then() func(string, string) error {
	broke := false
	return func(operation, name string) error {
		if b.removes && operation == "remove" || b.once && broke {
			return nil
		}
		broke = true
		return &fs.PathError{Op: operation, Path: name, Err: b.err}
	}
}

var breakages = map[string]breakage{
	"full":      {err: syscall.ENOSPC, removes: true, says: "is full: make room"},
	"read-only": {err: syscall.EROFS, says: "is read-only"},
	"broken":    {err: syscall.EIO, once: true, says: "does not work"},
}

// TestFailsAtEachStep: whatever the disk refuses, the files are the old or the new ones, the error says what to do,
// and nothing is left that is in the way once the disk is well.
func TestFailsAtEachStep(t *testing.T) {
	for kind, b := range breakages {
		t.Run(kind, func(t *testing.T) {
			eachStep(t, func(t *testing.T, s scenario, _, dir string, step int) bool {
				sys := &faulty{System: unsynced{}, at: step, then: b.then()}
				err := s.act(hostdir.New(dir, hostdir.Options{System: sys}))
				if sys.count < step {
					return err == nil
				}
				if b.removes && err == nil { // what it was to do was to remove
					return false
				}
				wantExplained(t, err, dir, b)
				if b.removes {
					wantNoDrafts(t, dir)
				}
				s.check(t, dir)
				if b.removes && s.before != s.after && seen(t, dir) == s.before.current {
					s.wantNoGrowth(t, dir, step, b)
				}
				return false
			})
		})
	}
}

func wantExplained(t *testing.T, err error, dir string, b breakage) {
	t.Helper()
	if !errors.Is(err, b.err) {
		t.Fatalf("the error is %v", err)
	}
	for _, part := range []string{dir, b.says, "stay in use"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not say %q: %v", part, err)
		}
	}
}

func wantNoDrafts(t *testing.T, dir string) {
	t.Helper()
	for _, pattern := range []string{"..new-*", "..next", "..set-*/..next"} {
		if left, err := filepath.Glob(filepath.Join(dir, pattern)); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v (%v)", left, err)
		}
	}
}

// wantNoGrowth tries again what fails, and expects that nothing piles up.
func (s scenario) wantNoGrowth(t *testing.T, dir string, step int, b breakage) {
	t.Helper()
	var held [6]int
	for i := range held {
		err := s.act(hostdir.New(dir, hostdir.Options{System: &faulty{System: unsynced{}, at: step, then: b.then()}}))
		if err == nil || seen(t, dir) != s.before.current {
			return // it takes fewer steps this time
		}
		if _, err := os.Stat(dir); err == nil {
			held[i] = len(names(t, dir))
		}
	}
	if held[5] > held[2] { // the first may still have taken something over
		t.Errorf("the directory held %v names, and now %v", held, names(t, dir))
	}
}

// noExchange is a file system that cannot exchange names.
type noExchange struct{ hostdir.Real }

func (noExchange) Exchange(_, b string) error {
	return &fs.PathError{Op: "exchange", Path: b, Err: syscall.EINVAL}
}

// TestNoExchange: where names cannot be exchanged, only an empty directory is good enough.
func TestNoExchange(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "host")
	found(t, dir)
	d := hostdir.New(dir, hostdir.Options{System: noExchange{}})
	for range 2 {
		if _, err := d.Install(version(1), nil); err == nil || !strings.Contains(err.Error(), "start with an empty directory") {
			t.Fatalf("the error is %v", err)
		}
	}
	if got := seen(t, dir); got != 0 {
		t.Errorf("it shows version %d", got)
	}
	wantForeign(t, dir)
	dir = filepath.Join(t.TempDir(), "empty")
	install(t, hostdir.New(dir, hostdir.Options{System: noExchange{}}), 1)
	wantWhole(t, dir, 1, none)
}

// TestDurable: before a set is in use, each name in it is on the disk, and at the end so is the link that leads to it.
func TestDurable(t *testing.T) {
	for name, s := range scenarios() {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "host")
			s.prepare(t, dir)
			dirty := map[string]bool{} // directories with names that may not be on the disk
			sys := &faulty{System: unsynced{}, then: func(operation, name string) error {
				in := filepath.Dir(name)
				if operation == "rename" {
					defer func() { dirty[in] = true }()
				}
				switch {
				case operation == "sync":
					dirty[name] = false
				case operation == "rename" && filepath.Base(name) != "..data" && in == dir: // a draft becomes a set
					for path, d := range dirty {
						if d && strings.Contains(path, "/..new-") {
							t.Errorf("%s is not on the disk, and the set has its name", path)
						}
					}
				case operation == "rename" && in == dir && dirty[dir]:
					t.Error("the set is not on the disk, and becomes the current one")
				case operation != "remove" && filepath.Base(name) != "..next":
					dirty[in] = true
				}
				return nil
			}}
			if err := s.act(hostdir.New(dir, hostdir.Options{System: sys})); err != nil {
				t.Fatal(err)
			}
			for path, d := range dirty {
				if d && !strings.Contains(path, "..new-") {
					t.Errorf("at the end %s is not on the disk", path)
				}
			}
		})
	}
}

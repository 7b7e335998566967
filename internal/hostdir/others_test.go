package hostdir_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"clusterpki.io/operator/internal/hostdir"
)

// others plays whoever owns pki/etcd on the host, between the steps of an agent that runs as root.
type others struct {
	hostdir.System
	before func(operation, name string)
}

func (o *others) Mkdir(name string, mode fs.FileMode, owner *hostdir.Owner) error {
	o.before("mkdir", name)
	return o.System.Mkdir(name, mode, owner)
}

func (o *others) Write(name string, data []byte, mode fs.FileMode, owner *hostdir.Owner) error {
	o.before("write", name)
	return o.System.Write(name, data, mode, owner)
}

func (o *others) Remove(in *os.Root, name string) error {
	o.before("remove", filepath.Join(in.Name(), name))
	return o.System.Remove(in, name)
}

// ofEtcd is a directory with one of another user in it, and one elsewhere with files of the same names.
func ofEtcd(t *testing.T) (dir, elsewhere string) {
	t.Helper()
	base := t.TempDir()
	dir, elsewhere = filepath.Join(base, "kubernetes"), filepath.Join(base, "elsewhere")
	for n := range 5 {
		put(t, dir, hostdir.File{Path: fmt.Sprintf("pki/etcd/x/%d", n), Mode: 0o600})
		put(t, elsewhere, hostdir.File{Path: fmt.Sprint(n), Mode: 0o600})
	}
	if err := os.Chmod(elsewhere, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir, elsewhere
}

// TestNobodyElseEntersADraft: while files are written, nobody else may enter the directory that they are written to, whoever owns one in it.
func TestNobodyElseEntersADraft(t *testing.T) {
	dir, _ := ofEtcd(t)
	looked := 0
	o := &others{System: hostdir.Real{}, before: func(operation, name string) {
		draft, below, found := strings.Cut(strings.TrimPrefix(name, dir+"/"), "/")
		if !found || below == "" || !strings.HasPrefix(draft, "..new-") || operation == "remove" {
			return
		}
		looked++
		info, err := os.Stat(filepath.Join(dir, draft))
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s %s: others may enter %s, which has mode %v (%v)", operation, below, draft, info.Mode(), err)
		}
	}}
	d := hostdir.New(dir, hostdir.Options{System: o})
	for n := range 3 {
		if _, err := d.Install(version(n), nil); err != nil {
			t.Fatal(err)
		}
		if err := d.Settle(); err != nil {
			t.Fatal(err)
		}
	}
	if looked < 20 {
		t.Errorf("it was looked at %d times", looked)
	}
	if info, err := os.Stat(filepath.Join(dir, "..data/")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the files in use are in a directory of mode %v (%v)", info.Mode(), err)
	}
}

// TestRemovesNothingElsewhere: a link that takes the place of a directory while that is removed has nothing removed that it leads to, be it
// outside the host's directory or in it.
func TestRemovesNothingElsewhere(t *testing.T) {
	for name, in := range map[string]string{"outside": "", "inside": "own"} {
		t.Run(name, func(t *testing.T) {
			dir, elsewhere := ofEtcd(t)
			if in != "" {
				inside := filepath.Join(dir, in)
				if err := os.Rename(elsewhere, inside); err != nil {
					t.Fatal(err)
				}
				elsewhere = inside
			}
			swapped := 0
			o := &others{System: hostdir.Real{}, before: func(operation, name string) {
				x := filepath.Dir(name)
				if operation != "remove" || filepath.Base(x) != "x" {
					return
				}
				if info, err := os.Lstat(x); err != nil || !info.IsDir() {
					return
				}
				swapped++
				if err := os.Rename(x, fmt.Sprintf("%s-%d", x, swapped)); err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(elsewhere, x); err != nil {
					t.Fatal(err)
				}
			}}
			d := hostdir.New(dir, hostdir.Options{System: o})
			for n := range 4 { // what is refused is left for the next time
				_, _ = d.Install(version(n), nil)
				_ = d.Settle()
			}
			if left := len(names(t, elsewhere)); left != 5 || swapped == 0 {
				t.Errorf("%d files are left of 5, after %d swaps", left, swapped)
			}
		})
	}
}

package export

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

var sample = []File{
	{Path: "pki/etcd/ca.crt", Mode: publicMode, Data: []byte("ca")},
	{Path: "pki/sa.key", Mode: secretMode, Data: []byte("key")},
}

func check(t *testing.T, out string) {
	t.Helper()
	for _, f := range sample {
		path := filepath.Join(out, f.Path)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil || string(data) != string(f.Data) || info.Mode() != f.Mode {
			t.Errorf("%s is %q with mode %v (%v)", path, data, info.Mode(), err)
		}
	}
	for _, dir := range []string{out, filepath.Dir(out)} {
		if left, err := filepath.Glob(filepath.Join(dir, ".clusterpki-export-*")); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v (%v)", left, err)
		}
	}
}

func TestWriteWhateverTheUmask(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o777))
	dir := t.TempDir()
	syscall.Umask(0o077)
	out := filepath.Join(dir, "new", "out")
	if err := Write(out, sample); err != nil {
		t.Fatal(err)
	}
	syscall.Umask(0)
	check(t, out)
}

func TestWriteReplacesItsOwnAndKeepsOthers(t *testing.T) {
	out := t.TempDir()
	other := filepath.Join(out, "pki", "other")
	if err := os.MkdirAll(filepath.Dir(other), 0o750); err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]fs.FileMode{other: 0o600, filepath.Join(out, "pki/sa.key"): 0o644} {
		if err := os.WriteFile(path, []byte("before"), mode); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := Write(out, sample); err != nil {
			t.Fatal(err)
		}
		check(t, out)
	}
	if data, err := os.ReadFile(other); err != nil || string(data) != "before" {
		t.Errorf("the other file is %q (%v)", data, err)
	}
}

func TestWriteNeverHalf(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	broken := append([]File{{Path: "pki", Mode: publicMode}}, sample...) // a file where a directory must be
	if err := Write(out, broken); err == nil {
		t.Fatal("it was written")
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a part of it was")
	}
	if err := os.WriteFile(out, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Write(out, sample); err == nil {
		t.Error("a file was taken for a directory")
	}
}

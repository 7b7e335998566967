package backup

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestWrite replaces regular files alone, and what a symbolic link leads to.
func TestWrite(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(in("old"), []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"link": "old", "dangling": "nothing", "loop": "loop", "device": "/dev/null"} {
		if err := os.Symlink(to, in(link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(in("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ path, written, refused string }{
		"new file":      {path: in("new"), written: in("new")},
		"old file":      {path: in("old"), written: in("old")},
		"link":          {path: in("link"), written: in("old")},
		"dangling link": {path: in("dangling"), refused: "does not exist"},
		"loop":          {path: in("loop"), refused: "too many"},
		"pipe":          {path: in("pipe"), refused: "use --out -"},
		"directory":     {path: dir, refused: "name a file in it"},
	} {
		t.Run(name, func(t *testing.T) {
			before, _ := os.Lstat(c.path)
			err := Write(c.path, []byte(name))
			if c.refused != "" {
				if err == nil || !strings.Contains(err.Error(), c.refused) {
					t.Errorf("the error is %v", err)
				}
			} else if err != nil {
				t.Error(err)
			} else if text, err := os.ReadFile(c.written); err != nil || string(text) != name {
				t.Errorf("%q, %v", text, err)
			} else if info, err := os.Stat(c.written); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%v, %v", info, err)
			}
			if after, _ := os.Lstat(c.path); before != nil && (after == nil || after.Mode().Type() != before.Mode().Type()) {
				t.Errorf("%s was %v and is %v", c.path, before.Mode(), after)
			}
		})
	}
	for _, device := range []string{"/dev/null", "/dev/stdout", in("device")} { // never written to: a broken check would replace them
		if _, err := target(device); err == nil || !strings.Contains(err.Error(), "use --out -") {
			t.Errorf("%s: the error is %v", device, err)
		}
	}
	if left, err := filepath.Glob(in(".clusterpki-backup-*")); err != nil || len(left) > 0 {
		t.Error(left, err)
	}
}

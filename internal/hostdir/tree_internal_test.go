package hostdir

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReadsWhatItLookedAt: what takes the place of a file after it was looked at is not read in its name. A key would get the mode and the owner of
// a file of somebody else.
func TestReadsWhatItLookedAt(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"theirs": 0o644, "a.key": 0o600} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), mode); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	seen, err := root.Lstat("theirs")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := nodeOf(root, "theirs", seen, nil); err != nil || string(n.data) != "theirs" {
		t.Fatalf("it read %q: %v", n.data, err)
	}
	if err := root.Remove("theirs"); err != nil {
		t.Fatal(err)
	}
	if err := root.Symlink("a.key", "theirs"); err != nil {
		t.Fatal(err)
	}
	n, err := nodeOf(root, "theirs", seen, nil)
	if err == nil || !strings.Contains(err.Error(), "try again") || len(n.data) > 0 {
		t.Errorf("it read %q: %v", n.data, err)
	}
}

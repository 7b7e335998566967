package agent

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestLock lets one agent at a time keep a directory, and another one begin when it has ended.
func TestLock(t *testing.T) {
	c := Config{Directory: filepath.Join(t.TempDir(), "kubernetes")}
	unlock, err := Lock(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(c); err == nil || !strings.Contains(err.Error(), "another agent keeps the files of "+c.Directory) {
		t.Errorf("a second agent gets %v", err)
	}
	if _, err := Lock(Config{Directory: t.TempDir()}); err != nil {
		t.Errorf("an agent of another directory gets %v", err)
	}
	unlock()
	if unlock, err = Lock(c); err != nil {
		t.Fatal(err)
	}
	unlock()
	if _, err := Lock(Config{Directory: "/proc/nothing"}); err != nil { // a directory that cannot be made
		t.Errorf("without a directory: %v", err)
	}
}

package export

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

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

func TestSwap(t *testing.T) {
	out := filepath.Join(t.TempDir(), "host")
	first := append([]File{{Path: "admin.conf", Mode: secretMode, Data: []byte("a")}}, sample...)
	if err := Swap(out, first); err != nil {
		t.Fatal(err)
	}
	check(t, out)
	if got := names(t, out); len(got) != 4 || !slices.Contains(got, "pki") || !slices.Contains(got, "admin.conf") {
		t.Errorf("the directory holds %v", got)
	}
	if err := Swap(out, sample); err != nil { // without admin.conf
		t.Fatal(err)
	}
	check(t, out)
	if got := names(t, out); len(got) != 4 || slices.Contains(got, "admin.conf") { // two sets, ..data, pki
		t.Errorf("after a swap the directory holds %v", got)
	}
	if err := Sweep(out); err != nil {
		t.Fatal(err)
	}
	check(t, out)
	if got := names(t, out); len(got) != 3 {
		t.Errorf("after a sweep the directory holds %v", got)
	}
}

// TestSwapFailsWhole: what cannot be written leaves what was there, and no second set.
func TestSwapFailsWhole(t *testing.T) {
	out := filepath.Join(t.TempDir(), "host")
	if err := Swap(out, sample); err != nil {
		t.Fatal(err)
	}
	before := names(t, out)
	if err := Swap(out, append([]File{{Path: "pki", Mode: publicMode}}, sample...)); err == nil {
		t.Fatal("it was swapped in")
	}
	check(t, out)
	if got := names(t, out); !slices.Equal(got, before) {
		t.Errorf("the directory holds %v instead of %v", got, before)
	}
}

// TestSwapKeepsForeignFiles: a file that is in the way is neither followed nor replaced.
func TestSwapKeepsForeignFiles(t *testing.T) {
	out := t.TempDir()
	if err := os.WriteFile(filepath.Join(out, "pki"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Swap(out, sample); err == nil {
		t.Fatal("it was swapped in")
	}
	if data, err := os.ReadFile(filepath.Join(out, "pki")); err != nil || string(data) != "mine" {
		t.Errorf("the file that was there is %q (%v)", data, err)
	}
	if got := names(t, out); len(got) != 1 {
		t.Errorf("the directory holds %v", got)
	}
}

// TestSwapNeverMixed: who resolves ..data once reads files of one set, and every name is there at any time.
func TestSwapNeverMixed(t *testing.T) {
	out := filepath.Join(t.TempDir(), "host")
	set := func(i int) []File {
		text := fmt.Appendf(nil, "%d", i)
		return []File{{Path: "pki/a.crt", Mode: publicMode, Data: text}, {Path: "pki/a.key", Mode: secretMode, Data: text}}
	}
	if err := Swap(out, set(0)); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if _, err := os.ReadFile(filepath.Join(out, "pki/a.crt")); err != nil {
					t.Errorf("read a file: %v", err)
				}
				dir, err := os.Readlink(filepath.Join(out, currentLink))
				if err != nil {
					t.Errorf("resolve: %v", err)
				}
				crt, errC := os.ReadFile(filepath.Join(out, dir, "pki/a.crt"))
				key, errK := os.ReadFile(filepath.Join(out, dir, "pki/a.key"))
				if errC != nil || errK != nil || string(crt) != string(key) {
					t.Errorf("read %q and %q (%v, %v)", crt, key, errC, errK)
				}
			}
		})
	}
	for i := range 50 {
		if err := Swap(out, set(i)); err != nil {
			t.Error(err)
		}
	}
	close(done)
	readers.Wait()
}

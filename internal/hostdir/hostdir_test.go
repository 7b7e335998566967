package hostdir_test

import (
	"path/filepath"
	"testing"

	"clusterpki.io/operator/internal/hostdir"
)

func TestInstall(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "host")
	d := hostdir.New(dir, hostdir.Options{})
	for _, read := range []func() (hostdir.Set, error){d.Current, d.Previous} {
		if s, err := read(); err != nil || s.ID != "" {
			t.Fatalf("before there is a directory: %+v, %v", s, err)
		}
	}
	settle(t, d)
	for n := range 4 {
		if s := install(t, d, n); !hostdir.Equal(s.Files, version(n)) || string(s.Note) != string(note(n)) {
			t.Errorf("installed %+v", s)
		}
		wantWhole(t, dir, n, n-1)
		settle(t, d)
		wantWhole(t, dir, n, n-1)
		wantTidy(t, dir)
	}
	if err := d.SetNote([]byte("other")); err != nil {
		t.Fatal(err)
	}
	if s, err := d.Current(); err != nil || string(s.Note) != "other" || !hostdir.Equal(s.Files, version(3)) {
		t.Errorf("with another note: %+v (%v)", s, err)
	}
	if s, err := d.Rollback([]byte("back")); err != nil || string(s.Note) != "back" {
		t.Errorf("rolled back to %+v (%v)", s, err)
	}
	wantWhole(t, dir, 2, 3)
}

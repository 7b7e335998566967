package hostdir

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// version is a set of files that all say the same number.
func version(n int) []File {
	text := fmt.Appendf(nil, "%d", n)
	return []File{
		{Path: "admin.conf", Mode: 0o600, Data: text},
		{Path: "pki/a.crt", Mode: 0o644, Data: text},
		{Path: "pki/a.key", Mode: 0o600, Data: text},
		{Path: "pki/etcd/ca.crt", Mode: 0o644, Data: text},
	}
}

func TestInstall(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "host")
	d := New(dir, Options{})
	for _, read := range []func() (Set, error){d.Current, d.Previous} {
		if s, err := read(); err != nil || s.ID != "" {
			t.Fatalf("before there is a directory: %+v, %v", s, err)
		}
	}
	if err := d.Settle(); err != nil {
		t.Fatal(err)
	}
	for n := range 4 {
		s, err := d.Install(version(n), fmt.Appendf(nil, "note %d", n))
		if err != nil {
			t.Fatal(err)
		}
		if !Equal(s.Files, version(n)) {
			t.Errorf("installed %+v", s)
		}
		if err := d.Settle(); err != nil {
			t.Fatal(err)
		}
		wantSets(t, d, n, n-1)
	}
	if err := d.SetNote([]byte("other")); err != nil {
		t.Fatal(err)
	}
	if s, err := d.Current(); err != nil || string(s.Note) != "other" || !Equal(s.Files, version(3)) {
		t.Errorf("with another note: %+v (%v)", s, err)
	}
	if s, err := d.Rollback([]byte("back")); err != nil || string(s.Note) != "back" {
		t.Errorf("rolled back to %+v (%v)", s, err)
	}
	wantSets(t, d, 2, 3)
}

// wantSets expects the versions of the current and the previous set; none has a negative number.
func wantSets(t *testing.T, d *Dir, current, previous int) {
	t.Helper()
	s, err := d.Current()
	if err != nil || !Equal(s.Files, version(current)) {
		t.Errorf("the current set is %+v (%v) instead of version %d", s, err, current)
	}
	for _, f := range version(current) {
		data, err := os.ReadFile(filepath.Join(d.path, f.Path))
		if err != nil || string(data) != string(f.Data) {
			t.Errorf("%s is %q (%v) instead of %q", f.Path, data, err, f.Data)
		}
	}
	s, err = d.Previous()
	if previous < 0 {
		if err != nil || s.ID != "" {
			t.Errorf("there is a previous set: %+v (%v)", s, err)
		}
	} else if err != nil || !Equal(s.Files, version(previous)) {
		t.Errorf("the previous set is %+v (%v) instead of version %d", s, err, previous)
	}
}

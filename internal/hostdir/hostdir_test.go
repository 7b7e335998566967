package hostdir_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
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

// TestModesAndOwner: they are what was asked for, whatever the umask.
func TestModesAndOwner(t *testing.T) {
	owner := hostdir.Owner{UID: os.Getuid(), GID: os.Getgid()}
	if owner.UID == 0 {
		owner = hostdir.Owner{UID: 12345, GID: 23456} // only root can
	}
	for _, mask := range []int{0, 0o077, 0o777} {
		dir := filepath.Join(t.TempDir(), "host")
		before := syscall.Umask(mask)
		d := hostdir.New(dir, hostdir.Options{Owner: &owner})
		for n := range 2 {
			install(t, d, n)
			settle(t, d)
		}
		syscall.Umask(before)
		wantWhole(t, dir, 1, 0)
		set, err := os.Readlink(filepath.Join(dir, "..data"))
		if err != nil {
			t.Fatal(err)
		}
		err = filepath.WalkDir(filepath.Join(dir, set), func(name string, e fs.DirEntry, err error) error {
			if err != nil || e.Type() == fs.ModeSymlink {
				return err
			}
			info, err := e.Info()
			want := owner
			if e.IsDir() { // nobody else may put anything into it
				want = hostdir.Owner{UID: os.Getuid(), GID: os.Getgid()}
			}
			if s, ok := info.Sys().(*syscall.Stat_t); !ok || int(s.Uid) != want.UID || int(s.Gid) != want.GID {
				t.Errorf("%s belongs to %+v", name, info.Sys())
			}
			if e.IsDir() && info.Mode().Perm() != 0o755 {
				t.Errorf("%s has mode %v", name, info.Mode())
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// TestLinkInASet: a link that somebody has made in the place of a file of ours is never followed.
func TestLinkInASet(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "host")
	d := hostdir.New(dir, hostdir.Options{})
	set := install(t, d, 1)
	stranger := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(stranger, []byte("of somebody else"), 0o600); err != nil {
		t.Fatal(err)
	}
	name := set.Files[0].Path
	if err := os.Remove(filepath.Join(dir, set.ID, name)); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(stranger, filepath.Join(dir, set.ID, name)); err != nil {
		t.Fatal(err)
	}
	now, err := d.Current()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range now.Files {
		if f.Path == name || string(f.Data) == "of somebody else" {
			t.Errorf("%s is taken for ours", f.Path)
		}
	}
}

func TestInstallRefuses(t *testing.T) {
	for _, files := range [][]hostdir.File{
		{{Path: "../a"}}, {{Path: "/a"}}, {{Path: ""}}, {{Path: "."}}, {{Path: "a//b"}}, {{Path: "a\nb"}},
		{{Path: "..data"}}, {{Path: "a/..b"}}, {{Path: "a", Mode: fs.ModeSetuid}}, {{Path: "a"}, {Path: "a"}}, {{Path: "a"}, {Path: "a/b"}},
	} {
		dir := filepath.Join(t.TempDir(), "host")
		if _, err := hostdir.New(dir, hostdir.Options{}).Install(files, nil); err == nil {
			t.Errorf("%+v was installed", files)
		}
		if s, err := hostdir.New(dir, hostdir.Options{}).Current(); err != nil || s.ID != "" {
			t.Errorf("%+v has left %+v (%v)", files, s, err)
		}
	}
}

// TestNothingThere: what needs a set says that there is none.
func TestNothingThere(t *testing.T) {
	d := hostdir.New(filepath.Join(t.TempDir(), "host"), hostdir.Options{})
	if err := d.SetNote(nil); err == nil {
		t.Error("there is a note of nothing")
	}
	if _, err := d.Rollback(nil); err == nil {
		t.Error("rolled back to nothing")
	}
	install(t, d, 0)
	if _, err := d.Rollback(nil); err == nil {
		t.Error("rolled back to nothing")
	}
}

// TestDamage: what was changed behind our back is noticed, and the next installation repairs it.
func TestDamage(t *testing.T) {
	remove := func(path string) func(dir string) error {
		return func(dir string) error { return os.RemoveAll(filepath.Join(dir, path)) }
	}
	for name, c := range map[string]struct {
		damage func(dir string) error
		says   string // "" if the set merely lacks files
		repair func(dir string) error
	}{
		"a file is gone":  {damage: remove("pki/a.key")},
		"a link is gone":  {damage: remove("admin.conf")},
		"all is gone":     {damage: remove("."), says: ""},
		"the set is gone": {damage: func(dir string) error { set, _ := os.Readlink(filepath.Join(dir, "..data")); return remove(set)(dir) }, says: "install the files again"},
		"a file has taken a link's place": {damage: func(dir string) error {
			return errors.Join(remove("admin.conf")(dir), os.WriteFile(filepath.Join(dir, "admin.conf"), []byte("x"), 0o600))
		}},
		"..data is a file": {damage: func(dir string) error {
			return errors.Join(remove("..data")(dir), os.WriteFile(filepath.Join(dir, "..data"), nil, 0o600))
		}, says: "move it away", repair: remove("..data")},
		"..data leads elsewhere": {damage: func(dir string) error {
			return errors.Join(remove("..data")(dir), os.Symlink("/etc", filepath.Join(dir, "..data")))
		}, says: "remove the link", repair: remove("..data")},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "host")
			d := hostdir.New(dir, hostdir.Options{})
			install(t, d, 0)
			if err := c.damage(dir); err != nil {
				t.Fatal(err)
			}
			s, err := d.Current()
			if c.says == "" && (err != nil || hostdir.Equal(s.Files, version(0))) {
				t.Errorf("the current set is %+v (%v)", s, err)
			}
			if c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("the error is %v", err)
			}
			if c.repair != nil {
				if _, err := d.Install(version(1), nil); err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("the error is %v", err)
				}
				if err := c.repair(dir); err != nil {
					t.Fatal(err)
				}
			}
			install(t, d, 1)
			settle(t, d)
			if got := seen(t, dir); got != 1 {
				t.Errorf("it shows version %d", got)
			}
			wantTidy(t, dir)
		})
	}
}

func TestPreviousIsGone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "host")
	d := hostdir.New(dir, hostdir.Options{})
	install(t, d, 0)
	s := install(t, d, 1)
	if err := os.Remove(filepath.Join(dir, s.ID, "..previous/pki/a.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Rollback(nil); err == nil || !strings.Contains(err.Error(), "pki/a.key is gone") {
		t.Errorf("the error is %v", err)
	}
	wantMode(t, filepath.Join(dir, "pki/a.key"), 0o600)
}

func TestChanged(t *testing.T) {
	before := []hostdir.File{{Path: "a"}, {Path: "b"}, {Path: "c", Mode: 0o600}, {Path: "d"}}
	after := []hostdir.File{{Path: "e"}, {Path: "c", Mode: 0o644}, {Path: "b", Data: []byte("x")}, {Path: "a"}}
	if got := hostdir.Changed(before, after); !slices.Equal(got, []string{"b", "c", "d", "e"}) {
		t.Errorf("changed: %v", got)
	}
	turned := slices.Clone(before)
	slices.Reverse(turned)
	if !hostdir.Equal(before, turned) || hostdir.Equal(before, after) {
		t.Errorf("the order counts: %v", hostdir.Changed(before, turned))
	}
}

// TestSettleSweeps: what work that nobody took up again has left goes; what is not ours stays.
func TestSettleSweeps(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "host")
	d := hostdir.New(dir, hostdir.Options{})
	s := install(t, d, 0)
	for link, target := range map[string]string{"..next": s.ID, s.ID + "/..next": "x", "gone.conf": "..data/gone.conf", "mine": "nowhere"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	put(t, dir, hostdir.File{Path: "..new-a/pki/a.key", Mode: 0o600}, hostdir.File{Path: "..set-a/pki/a.key", Mode: 0o600}, hostdir.File{Path: "..mine", Mode: 0o600})
	settle(t, d)
	wantWhole(t, dir, 0, none)
	if got := names(t, dir); !slices.Equal(got, []string{"..data", "..mine", s.ID, "admin.conf", "mine", "pki"}) {
		t.Errorf("the directory holds %v", got)
	}
	wantTidy(t, dir)
}

package hostdir_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"clusterpki.io/operator/internal/hostdir"
)

// state is what a directory shows, and what was before that.
type state struct{ current, previous int }

// scenario is one piece of work that can be cut short at each of its steps.
type scenario struct {
	before, after state
	foreign       bool // there is a file of somebody else
	prepare       func(t *testing.T, dir string)
	act           func(d *hostdir.Dir) error
}

func installs(n int) func(*hostdir.Dir) error {
	return func(d *hostdir.Dir) error {
		_, err := d.Install(version(n), note(n))
		return err
	}
}

// installed prepares a directory with versions, one after the other.
func installed(tidy bool, versions ...int) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		t.Helper()
		d := quick(dir)
		for i, n := range versions {
			install(t, d, n)
			if i == 0 {
				putForeign(t, dir)
			}
			if tidy {
				settle(t, d)
			}
		}
	}
}

// found prepares a directory where files lie as another tool has left them.
func found(t *testing.T, dir string) {
	t.Helper()
	put(t, dir, version(0)...)
	putForeign(t, dir)
}

func scenarios() map[string]scenario {
	return map[string]scenario{
		"first install": {
			before: state{none, none}, after: state{0, none},
			prepare: func(*testing.T, string) {}, act: installs(0),
		},
		"second install": {
			before: state{0, none}, after: state{1, 0}, foreign: true,
			prepare: installed(true, 0), act: installs(1),
		},
		"later install": {
			before: state{2, 1}, after: state{3, 2}, foreign: true,
			prepare: installed(true, 0, 1, 2), act: installs(3),
		},
		"install without a settle before": {
			before: state{2, 1}, after: state{3, 2}, foreign: true,
			prepare: installed(false, 0, 1, 2), act: installs(3),
		},
		"take-over": {
			before: state{0, none}, after: state{1, 0}, foreign: true,
			prepare: found, act: installs(1),
		},
		"take-over of what took a link's place": {
			before: state{1, 0}, after: state{2, 1}, foreign: true,
			prepare: func(t *testing.T, dir string) {
				t.Helper()
				installed(true, 0, 1)(t, dir)
				for _, name := range []string{"admin.conf", "pki"} {
					if err := os.Remove(filepath.Join(dir, name)); err != nil {
						t.Fatal(err)
					}
				}
				put(t, dir, version(1)...)
				putForeign(t, dir)
			},
			act: installs(2),
		},
		"rollback": {
			before: state{1, 0}, after: state{0, 1}, foreign: true,
			prepare: installed(true, 0, 1),
			act: func(d *hostdir.Dir) error {
				_, err := d.Rollback(note(0))
				return err
			},
		},
		"rollback of a take-over": {
			before: state{1, 0}, after: state{0, 1}, foreign: true,
			prepare: func(t *testing.T, dir string) {
				t.Helper()
				found(t, dir)
				d := quick(dir)
				install(t, d, 1)
				settle(t, d)
			},
			act: func(d *hostdir.Dir) error {
				_, err := d.Rollback(note(0))
				return err
			},
		},
		"note": {
			before: state{1, 0}, after: state{1, 0}, foreign: true,
			prepare: installed(true, 0, 1),
			act:     func(d *hostdir.Dir) error { return d.SetNote([]byte("1 again")) },
		},
		"settle": {
			before: state{2, 1}, after: state{2, 1}, foreign: true,
			prepare: installed(false, 0, 1, 2), act: (*hostdir.Dir).Settle,
		},
		"settle after a take-over": {
			before: state{1, 0}, after: state{1, 0}, foreign: true,
			prepare: func(t *testing.T, dir string) {
				t.Helper()
				found(t, dir)
				install(t, quick(dir), 1)
			},
			act: (*hostdir.Dir).Settle,
		},
	}
}

// check expects that work which was cut short has left a directory as it was or as it was to be.
func (s scenario) check(t *testing.T, dir string) {
	t.Helper()
	switch got := seen(t, dir); got {
	case s.after.current:
		wantPrevious(t, dir, s.after.previous)
	case s.before.current:
		wantPrevious(t, dir, s.before.previous)
	default:
		t.Errorf("it shows version %d", got)
	}
	if s.foreign {
		wantForeign(t, dir)
	}
	if _, err := os.Stat(dir); err == nil {
		wantNoneReadable(t, dir)
	}
}

// finish has somebody else do what was cut short, and expects the outcome.
func (s scenario) finish(t *testing.T, dir string) {
	t.Helper()
	d := quick(dir)
	if s.before == s.after || seen(t, dir) != s.after.current {
		if err := s.act(d); err != nil {
			t.Fatal(err)
		}
		if s.before != s.after {
			wantNoDrafts(t, dir)
		}
	}
	settle(t, d)
	wantWhole(t, dir, s.after.current, s.after.previous)
	wantTidy(t, dir)
	if s.foreign {
		wantForeign(t, dir)
	}
}

// eachStep cuts all scenarios short at each of their steps, until one is done before that.
func eachStep(t *testing.T, cut func(t *testing.T, s scenario, name, dir string, step int) (done bool)) {
	for name, s := range scenarios() {
		t.Run(name, func(t *testing.T) {
			for step := 1; ; step++ {
				done := false
				t.Run(fmt.Sprint(step), func(t *testing.T) {
					dir := filepath.Join(t.TempDir(), "host")
					s.prepare(t, dir)
					done = cut(t, s, name, dir, step)
					s.check(t, dir)
					s.finish(t, dir)
				})
				if t.Failed() || done {
					t.Logf("%d steps", step-1)
					if step < 4 {
						t.Error("so few cannot be all")
					}
					return
				}
			}
		})
	}
}

package records

import (
	"errors"
	"fmt"
	"sync"
	"testing"
)

// acknowledged has an agent acknowledge a certificate, and waits until that is stored, if it has to be.
func (e *env) acknowledged(s *Store, o Object, serial string) {
	e.t.Helper()
	store, err := s.Acknowledged(e.t.Context(), "prod", o, serial)
	if err == nil && store != nil {
		err = store()
	}
	if err != nil {
		e.t.Error(err)
	}
}

// TestAcknowledgedIsStored: an operator that starts anew knows which certificate was acknowledged last, whatever says so again. That is one write for a
// certificate, and none for one before which there was none.
func TestAcknowledgedIsStored(t *testing.T) {
	e := newEnv(t)
	a := e.object("a")
	e.record(a, "01")
	before := e.writes
	for range 2 {
		e.acknowledged(e.store, a, "01")
		e.acknowledged(e.store, a, "FF") // of which nothing is known
	}
	if e.writes != before {
		t.Errorf("%d writes say what is not needed", e.writes-before)
	}
	e.record(a, "02")
	e.record(a, "03")
	e.has(e.store, a, "01", "02", "03")
	before = e.writes
	for _, s := range []*Store{e.store, e.store, e.another()} {
		for _, serial := range []string{"02", "01"} { // the one before says it again
			e.acknowledged(s, a, serial)
		}
		e.has(s, a, "02", "03")
		e.has(e.another(), a, "02", "03")
	}
	if e.writes != before+1 {
		t.Errorf("%d writes say it", e.writes-before)
	}
	last := e.another()
	e.acknowledged(last, a, "03")
	e.has(last, a, "03")
	e.has(e.another(), a, "03")
	if _, issues, err := Decode(e.secret(0)); err != nil || len(issues) != 1 {
		t.Errorf("%d are kept: %v", len(issues), err)
	}
}

// TestAcknowledgedElsewhere: the older one stands in another Secret, which is not written for that.
func TestAcknowledgedElsewhere(t *testing.T) {
	e := newEnv(t)
	a := e.object("a")
	e.record(a, "01")
	for n := range 50 { // they fill that Secret
		i := issue(e.object(fmt.Sprint("other", n)), "00")
		i.PublicKey = make([]byte, 3<<10)
		if err := e.store.Record(t.Context(), place, i); err != nil {
			t.Fatal(err)
		}
	}
	e.record(a, "02")
	before, first := e.writes, e.secret(0).ResourceVersion
	e.acknowledged(e.store, a, "02")
	if e.writes != before+1 || e.secret(0).ResourceVersion != first {
		t.Errorf("there were %d writes", e.writes-before)
	}
	e.has(e.another(), a, "02")
}

// TestAcknowledgedInABackup: what it says stays with the certificate, whoever takes that up.
func TestAcknowledgedInABackup(t *testing.T) {
	e := newEnv(t)
	a := e.object("a")
	var some []Issue
	for _, serial := range []string{"01", "02", "03"} {
		i := issue(Object{Kind: a.Kind, Name: a.Name}, serial)
		i.Acknowledged = serial == "02"
		some = append(some, i)
	}
	if err := e.store.Restore(t.Context(), place, some); err != nil {
		t.Fatal(err)
	}
	e.has(e.another(), a, "02", "03")
	e.acknowledged(e.another(), a, "03") // before anything is its own
	e.has(e.another(), a, "03")
	if err := e.store.Release(t.Context(), Place{Namespace: "prod", NamespaceUID: "another", HomeUID: "home"}); err != nil {
		t.Fatal(err)
	}
	e.has(e.another(), a, "03")
}

// TestAcknowledgedAgain: what could not be stored is tried again, and counts meanwhile.
func TestAcknowledgedAgain(t *testing.T) {
	e := newEnv(t)
	a := e.object("a")
	e.record(a, "01")
	e.record(a, "02")
	e.refuse = func(int) error { return errors.New("refused") }
	store, err := e.store.Acknowledged(t.Context(), "prod", a, "02")
	if err != nil || store == nil || store() == nil {
		t.Fatalf("it is stored: %v", err)
	}
	e.has(e.store, a, "02")
	e.has(e.another(), a, "01", "02")
	e.refuse = nil
	e.acknowledged(e.store, a, "02")
	e.has(e.another(), a, "02")
}

// TestAcknowledgedNoOlder: while it is not stored what was acknowledged last, an older acknowledgment that comes once more does not take its place.
func TestAcknowledgedNoOlder(t *testing.T) {
	e := newEnv(t)
	a := e.object("a")
	for _, serial := range []string{"01", "02", "03"} {
		e.record(a, serial)
	}
	e.refuse = func(int) error { return errors.New("refused") }
	store, err := e.store.Acknowledged(t.Context(), "prod", a, "03")
	if err != nil || store == nil || store() == nil {
		t.Fatalf("it is stored: %v", err)
	}
	for _, older := range []string{"02", "01"} {
		if store, err := e.store.Acknowledged(t.Context(), "prod", a, older); err != nil || store != nil {
			t.Errorf("%s is to be stored: %v", older, err)
		}
		e.has(e.store, a, "03")
	}
}

// TestManyAcknowledge at once, as after a rotation: that is stored in as few requests as their certificates were.
func TestManyAcknowledge(t *testing.T) {
	e := newEnv(t)
	const n = 400
	var some []Object
	for i := range n {
		some = append(some, e.object(fmt.Sprintf("node%d", i)))
	}
	each := func(do func(o Object) error) {
		slots := make(chan struct{}, 48)
		var all sync.WaitGroup
		for _, o := range some {
			slots <- struct{}{}
			all.Go(func() {
				defer func() { <-slots }()
				if err := do(o); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	for _, serial := range []string{"01", "02"} {
		each(func(o Object) error { return e.store.Record(t.Context(), place, issue(o, serial)) })
	}
	before := e.writes
	each(func(o Object) error {
		e.acknowledged(e.store, o, "02")
		return nil
	})
	if got := e.writes - before; got > n/10 {
		t.Errorf("%d were acknowledged in %d writes", n, got)
	} else {
		t.Logf("%d were acknowledged in %d writes", n, got)
	}
	s := e.another()
	for _, o := range some {
		e.has(s, o, "02")
	}
}

package keyring

import (
	"slices"
	"testing"
	"time"
)

// TestFormer goes through a rotation, one that is rolled back, and a removal: after each step, the publication before it is the former one.
func TestFormer(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	published := func(l Ledger) (ids []string) {
		for _, k := range l.Publication() {
			ids = append(ids, k.ID)
		}
		return ids
	}
	in := Inputs{Now: now, Retain: time.Hour, Consumers: []Consumer{{Name: "a", HasPublication: true}}, Tokens: Tokens{Listed: true}}
	l := Bootstrap(now, Ledger{}, Origin{Active: "one", Former: []string{"zero"}})
	step := func(want Transition) {
		t.Helper()
		was := l
		next, did := l.Step(in)
		if did == NewKey {
			next, did = l.Enter(in, in.Trigger)
		}
		if l = next; did != want {
			t.Fatalf("the step is %q instead of %q", did, want)
		}
		if got, same := published(l.Former()), slices.Equal(published(l), published(was)); !same && !slices.Equal(got, published(was)) {
			t.Errorf("after %s, the former publication is %v instead of %v", did, got, published(was))
		}
		if err := l.Former().Check(); did != Switch && did != Publish && err != nil {
			t.Error(err)
		}
	}
	in.Trigger = "two"
	step(Publish)
	in.Trigger = ""
	step(Rollback)
	step(Forget)
	in.Trigger = "three"
	for _, want := range []Transition{Publish, Switch, Complete} {
		step(want)
	}
	in.Now = now.Add(2 * time.Hour)
	step(Withdraw)
	step(Forget)
}

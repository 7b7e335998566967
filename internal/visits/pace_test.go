package visits

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// TestPace lets a flood bring a few visits at once, then one at a time, and forgets those who are quiet.
func TestPace(t *testing.T) {
	var p pace
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	named := func(name string) reconcile.Request {
		return reconcile.Request{NamespacedName: types.NamespacedName{Name: name}}
	}
	flooded, other := named("a"), named("b")
	visits, next := 0, time.Time{}
	for range 6000 { // ten a second, for ten minutes
		wait := p.delay(flooded, now)
		if wait > paceEvery {
			t.Fatalf("it waits for %s", wait)
		}
		if at := now.Add(wait); at.After(next) {
			visits, next = visits+1, at
		}
		now = now.Add(100 * time.Millisecond)
	}
	if most := paceBurst + int(10*time.Minute/paceEvery); visits > most {
		t.Errorf("it has %d visits, more than %d", visits, most)
	}
	if wait := p.delay(other, now); wait != 0 {
		t.Errorf("another one waits for %s", wait)
	}
	now = now.Add(paceBurst * paceEvery)
	for i := range 2 * paceKept {
		p.delay(named(fmt.Sprint(i)), now)
		now = now.Add(time.Second)
	}
	if len(p.of) > paceKept+1 {
		t.Errorf("%d are remembered", len(p.of))
	}
	for range paceBurst {
		if wait := p.delay(flooded, now); wait != 0 {
			t.Errorf("one that was quiet waits for %s", wait)
		}
	}
}

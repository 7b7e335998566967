package plan_test

import (
	"slices"
	"testing"
	"time"

	"clusterpki.io/operator/internal/pki/plan"
)

// turnsOf are those of the hosts a, b and c, of which some are done.
func turnsOf(done ...string) plan.Observation {
	var o plan.Observation
	for _, host := range []string{"a", "b", "c"} {
		o.Turns = append(o.Turns, plan.Turn{Host: host, Done: slices.Contains(done, host)})
	}
	o.Consumers = []plan.Consumer{{Kind: "NodeCredential", Name: "a", RelyingParty: true}}
	return o
}

// awaiting are the hosts that await their turn.
func awaiting(l plan.Ledger) string {
	out := ""
	for _, host := range []string{"a", "b", "c"} {
		if l.Awaits(host) {
			out += host
		}
	}
	return out
}

// TestTurns: one host after the other has the bundle, each once those before it are done, and one that was given it keeps it.
func TestTurns(t *testing.T) {
	l, w := ledger(plan.Active, plan.Trusted), plan.DesiredLedger{SpecHash: "b"}
	step := func(o plan.Observation, want plan.Transition, waits string) {
		t.Helper()
		next, did := l.Step(at(time.Minute), w, o)
		if did != want || awaiting(next) != waits {
			t.Errorf("after %q, %q wait instead of %q", did, awaiting(next), waits)
		}
		if want != plan.Nothing && next.Revision != l.Revision+1 {
			t.Errorf("the revision is %d after %d", next.Revision, l.Revision)
		}
		l = next
	}
	if got := awaiting(l); got != "abc" {
		t.Errorf("at first, %q wait", got)
	}
	step(turnsOf("b", "c"), plan.GiveTurn, "bc")
	step(turnsOf("b", "c"), plan.Nothing, "bc")
	step(turnsOf("a"), plan.GiveTurn, "c")
	step(turnsOf("b"), plan.Nothing, "c") // the first is silent again
	step(turnsOf("a", "b"), plan.GiveTurn, "")
	step(turnsOf("a", "b"), plan.Nothing, "")
	l.Turn, l.Rotation = "b", &plan.Rotation{From: 1, To: 2}
	w.SpecHash = "a"
	step(turnsOf("a", "b"), plan.Rollback, "ab") // c never had what is taken back
	step(turnsOf("c"), plan.GiveTurn, "b")
	step(turnsOf("a"), plan.GiveTurn, "")
	for what, l := range map[string]plan.Ledger{
		"nothing is published": ledger(plan.Retiring, plan.Active),
		"it is an emergency":   {Generations: ledger(plan.Withdrawn, plan.Active).Generations, Rotation: &plan.Rotation{Emergency: true}},
	} {
		if got := awaiting(l); got != "" {
			t.Errorf("%s: %q wait", what, got)
		}
	}
}

// TestFormer goes through a rotation, one that is rolled back, and one that keeps the key: after each step, what was published before it is the former
// publication.
func TestFormer(t *testing.T) {
	published := func(l plan.Ledger) (out []int32) {
		for _, g := range l.Published() {
			out = append(out, g.Number)
		}
		return out
	}
	l, w := ledger(plan.Active), plan.DesiredLedger{SpecHash: "a"}
	now, same := at(0), false
	step := func(want plan.Transition) {
		t.Helper()
		now = now.Add(time.Hour)
		was := l
		next, did := l.Step(now, w, plan.Observation{})
		if did == plan.NewKey {
			g := plan.Generation{Number: l.NextNumber(), SpecHash: w.SpecHash, Root: same, Anchor: "x"}
			next, did = l.Enter(now, g, w)
		}
		if l = next; did != want {
			t.Fatalf("the step is %q instead of %q", did, want)
		}
		if slices.Equal(published(was), published(l)) {
			return
		}
		if got := published(l.Former()); !slices.Equal(got, published(was)) || l.Former().BundleRevision != was.BundleRevision {
			t.Errorf("after %s, the former publication is %v of revision %d instead of %v of %d", did, got, l.Former().BundleRevision, published(was), was.BundleRevision)
		}
	}
	w.SpecHash = "b"
	for _, want := range []plan.Transition{plan.Publish, plan.Switch, plan.Withdraw, plan.DeleteKey} {
		step(want)
	}
	w.SpecHash = "c"
	step(plan.Publish)
	w.SpecHash = "b"
	step(plan.Rollback)
	step(plan.DeleteKey)
	w.SpecHash, same = "d", true
	l.Generations[0].Root, l.Generations[0].Anchor = true, "x"
	step(plan.Renew)
	step(plan.DeleteKey)
}

// TestTakeUp: the spec with which a CA is taken up is no reason for a rotation, nor to take one back, before or after it is known. Any other one is, and a
// trigger.
func TestTakeUp(t *testing.T) {
	step := func(l plan.Ledger, spec, trigger string) plan.Transition {
		_, did := l.Step(at(day), plan.DesiredLedger{SpecHash: spec, Trigger: trigger}, plan.Observation{})
		return did
	}
	taken := ledger(plan.Active).TakeUp()
	for what, c := range map[string]struct {
		of            plan.Ledger
		spec, trigger string
		want          plan.Transition
	}{
		"not known yet":             {taken, "x", "", plan.Nothing},
		"with another spec":         {taken.TakenAs("x"), "x", "", plan.Nothing},
		"that was changed again":    {taken.TakenAs("x"), "y", "", plan.NewKey},
		"with a trigger":            {taken.TakenAs("x"), "x", "now", plan.NewKey},
		"with its own spec":         {taken.TakenAs("a"), "x", "", plan.NewKey},
		"while it is being rotated": {ledger(plan.Active, plan.Trusted).TakeUp().TakenAs("a"), "a", "", plan.Switch},
		"and was not taken up":      {ledger(plan.Active, plan.Trusted), "a", "", plan.Rollback},
	} {
		if got := step(c.of, c.spec, c.trigger); got != c.want {
			t.Errorf("%s: %q instead of %q", what, got, c.want)
		}
	}
	if l := taken.TakenAs("x"); !l.Differs("x") || l.Differs("a") || taken.TakenAs("a").Differs("a") {
		t.Errorf("%+v", l)
	}
}

package plan_test

import (
	"slices"
	"testing"
	"time"

	"clusterpki.io/operator/internal/pki/plan"
)

// TestStep looks at single steps that the model of ordinary replacements does not take.
func TestStep(t *testing.T) {
	now := start
	long := now.Add(-time.Hour)
	want := plan.Want{RequestHash: "b"}
	peer := plan.Peer{Name: "p", Trusts: true, Trust: 1, HasLeaf: true, Leaf: 1, Issued: 1}
	generations := func(first, second plan.State, root bool) plan.Ledger {
		return plan.Ledger{Revision: 1, TrustRevision: 1, Since: long, Started: long, Cause: plan.SpecChanged, Generations: []plan.Generation{
			{Number: 1, State: first, RequestHash: "a", Anchor: "x", Root: root},
			{Number: 2, State: second, RequestHash: "b", Anchor: "x", Root: root},
		}}
	}
	stored := map[int32]bool{2: true}
	for name, tc := range map[string]struct {
		ledger plan.Ledger
		want   plan.Want
		seen   plan.Seen
		step   plan.Transition
	}{
		"one root with other dates needs no overlap": {generations(plan.Signing, plan.Staged, true), want, plan.Seen{Stored: stored}, plan.Renew},
		"intermediates of one root need one":         {generations(plan.Signing, plan.Staged, false), want, plan.Seen{Stored: stored}, plan.Publish},
		"a published key that is lost is given up": {
			generations(plan.Signing, plan.Trusted, false), want, plan.Seen{Peers: []plan.Peer{peer}}, plan.Abort,
		},
		"one that grew too old is given up": {
			generations(plan.Signing, plan.Trusted, false), plan.Want{RequestHash: "b", Spent: true},
			plan.Seen{Stored: stored, Peers: []plan.Peer{peer}}, plan.Abort,
		},
		"one that is not wanted any more is given up": {
			generations(plan.Signing, plan.Staged, false), plan.Want{RequestHash: "a"}, plan.Seen{Stored: stored}, plan.Abort,
		},
		"what was given up before it was published is forgotten at once": {
			generations(plan.Signing, plan.Abandoned, false), want, plan.Seen{Peers: []plan.Peer{{Name: "p", Trusts: true}}}, plan.Forget,
		},
		"a compromised key has no overlap": {
			generations(plan.Signing, plan.Staged, false), plan.Want{RequestHash: "b", Emergency: true}, plan.Seen{Stored: stored}, plan.Supersede,
		},
		"with nobody to ask, ten minutes have passed": {
			generations(plan.Signing, plan.Trusted, false), want, plan.Seen{Stored: stored}, plan.Switch,
		},
		"the object that holds the ledger is young": {
			generations(plan.Signing, plan.Trusted, false), want,
			plan.Seen{Stored: stored, Peers: []plan.Peer{peer}, Created: now.Add(-time.Minute)}, plan.Nothing,
		},
	} {
		if _, got := tc.ledger.Step(now, tc.want, tc.seen); got != tc.step {
			t.Errorf("%s: %q instead of %q", name, got, tc.step)
		}
	}

	young := generations(plan.Signing, plan.Trusted, false)
	young.Since = now.Add(-time.Minute)
	if _, got := young.Step(now, want, plan.Seen{Stored: stored}); got != plan.Nothing {
		t.Errorf("with nobody to ask, at once: %q", got)
	}
	rebuilt := generations(plan.Signing, plan.Trusted, false)
	rebuilt.Cause, rebuilt.Started = plan.LedgerRebuilt, now.Add(-time.Minute)
	if _, got := rebuilt.Step(now, want, plan.Seen{Stored: stored, Peers: []plan.Peer{peer}}); got != plan.Nothing {
		t.Errorf("a ledger that was rebuilt a minute ago: %q", got)
	}
}

// TestAfterAnEmergencyCertificatesCount asks for the certificate too, because nobody was asked before.
func TestAfterAnEmergencyCertificatesCount(t *testing.T) {
	l := plan.Ledger{Revision: 5, TrustRevision: 5, Since: start.Add(-time.Hour), Emergency: true, Generations: []plan.Generation{
		{Number: 1, State: plan.Withdrawn, RequestHash: "a"}, {Number: 2, State: plan.Signing, RequestHash: "b"},
	}}
	behind := plan.Peer{Name: "p", Trusts: true, Trust: 5, HasLeaf: true, Leaf: 1, Issued: 1}
	if g := l.GateOf(start, plan.Seen{Peers: []plan.Peer{behind}}); g.Open() {
		t.Error("a consumer that shows a certificate of the old CA is not waited for")
	}
	behind.Leaf, behind.Issued = 2, 2
	if g := l.GateOf(start, plan.Seen{Peers: []plan.Peer{behind}}); !g.Open() {
		t.Errorf("pending are %v", g.Pending)
	}
}

// TestWhatIsAdriftHoldsUpNoWave: a Secret that nothing changes any more shuts the gate, and takes no place in a wave.
func TestWhatIsAdriftHoldsUpNoWave(t *testing.T) {
	l := plan.Ledger{Revision: 5, TrustRevision: 3, Since: start.Add(-time.Hour), Generations: []plan.Generation{
		{Number: 1, State: plan.Retiring, RequestHash: "a"}, {Number: 2, State: plan.Signing, RequestHash: "b"},
	}}
	seen := plan.Seen{Peers: []plan.Peer{
		{Name: "adrift", HasLeaf: true, Adrift: true}, {Name: "p", Seed: 7, HasLeaf: true, Leaf: 1, Issued: 1},
	}}
	next, got := l.Step(start, plan.Want{RequestHash: "b", MaxUnavailable: 1}, seen)
	if got != plan.Admit || !next.Admits(7) {
		t.Errorf("%q, wave %d", got, next.Wave)
	}
	seen.Peers[1].Note = "AgentSilent"
	if g := l.GateOf(start, seen); !slices.Equal(g.Pending, []string{"adrift", "p (AgentSilent)"}) {
		t.Errorf("pending are %v", g.Pending)
	}
}

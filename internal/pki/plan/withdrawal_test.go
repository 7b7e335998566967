package plan_test

import (
	"slices"
	"testing"
	"time"

	"clusterpki.io/operator/internal/pki/plan"
)

// waiting is a rotation of which every certificate was re-issued long ago.
func waiting() plan.Ledger {
	l := everyone(ledger(plan.Retiring, plan.Active))
	l.Rotation = &plan.Rotation{From: 1, To: 2, Cause: plan.TriggerChanged, Trigger: "t"}
	return l
}

// TestAssumptionsWithdrawNothing: where nothing but assumptions is missing, the old CA stays until a person accepts them.
func TestAssumptionsWithdrawNothing(t *testing.T) {
	still := func(mods ...func(*plan.Consumer)) plan.Consumer {
		return consumer("m", append([]func(*plan.Consumer){mounted(0)}, mods...)...)
	}
	proved := func(c *plan.Consumer) { c.Proved = true }
	accepted := func(c *plan.Consumer) { c.AcceptsAssumed = true }
	verifier := func(c *plan.Consumer) { c.HasLeaf, c.Leaf, c.Issued = false, 0, 0 }
	bystander := func(c *plan.Consumer) { verifier(c); c.RelyingParty, c.Trusts = false, false }
	old := func(c *plan.Consumer) { c.Leaf, c.Issued = 1, 1 }
	same := func(l *plan.Ledger) { l.Generations[0].Anchor, l.Generations[1].Anchor = "root", "root" }
	other := func(l *plan.Ledger) { l.Generations[0].Anchor, l.Generations[1].Anchor = "root", "another" }
	ends := func(at time.Time) func(*plan.Ledger) { return func(l *plan.Ledger) { l.Generations[0].NotAfter = at } }
	approved := plan.DesiredLedger{SpecHash: "b", WithdrawalApproved: true}
	emergency := plan.DesiredLedger{SpecHash: "b", Trigger: "t", EmergencyTrigger: "t"}
	for name, tc := range map[string]struct {
		consumers  []plan.Consumer
		want       plan.DesiredLedger
		edit       func(*plan.Ledger)
		step       plan.Transition
		unaccepted []string
	}{
		"an agent has acknowledged":                    {consumers: []plan.Consumer{consumer("a")}, step: plan.Withdraw},
		"one is only assumed":                          {consumers: []plan.Consumer{consumer("a"), still()}, unaccepted: []string{"m"}},
		"and a relying party alone":                    {consumers: []plan.Consumer{still(verifier)}, unaccepted: []string{"m"}},
		"one that does not depend on the CA":           {consumers: []plan.Consumer{consumer("a"), still(bystander)}, step: plan.Withdraw},
		"it was seen on the wire":                      {consumers: []plan.Consumer{still(proved)}, step: plan.Withdraw},
		"its object accepts it":                        {consumers: []plan.Consumer{still(accepted)}, step: plan.Withdraw},
		"its object accepts it, another does not":      {consumers: []plan.Consumer{still(accepted), consumer("b", mounted(0))}, unaccepted: []string{"b"}},
		"the rotation is approved":                     {consumers: []plan.Consumer{still()}, want: approved, step: plan.Withdraw, unaccepted: []string{"m"}},
		"it is approved, and an agent is missing":      {consumers: []plan.Consumer{still(), consumer("a", old)}, want: approved, unaccepted: []string{"m"}},
		"it is approved, and what was published newer": {consumers: []plan.Consumer{still()}, want: plan.DesiredLedger{SpecHash: "b", WithdrawalApproved: true, Hold: true}, unaccepted: []string{"m"}},
		"an emergency":                                 {consumers: []plan.Consumer{still()}, want: emergency, step: plan.Withdraw, unaccepted: []string{"m"}},
		"the root stays":                               {consumers: []plan.Consumer{still()}, edit: same, step: plan.Withdraw},
		"another root":                                 {consumers: []plan.Consumer{still()}, edit: other, unaccepted: []string{"m"}},
		"the old CA has expired":                       {consumers: []plan.Consumer{still()}, edit: ends(at(time.Hour)), step: plan.Withdraw},
		"the old CA is about to":                       {consumers: []plan.Consumer{still()}, edit: ends(at(time.Hour + time.Second)), unaccepted: []string{"m"}},
	} {
		l := waiting()
		if tc.edit != nil {
			tc.edit(&l)
		}
		if tc.want.SpecHash == "" {
			tc.want.SpecHash = "b"
		}
		g := l.GateOf(at(time.Hour), seen(tc.consumers...))
		var names []string
		for _, c := range g.Unaccepted {
			names = append(names, c.Name)
			if c.Reason != plan.ReasonAssumed {
				t.Errorf("%s: the reason of %s is %q", name, c.Name, c.Reason)
			}
		}
		next, step := l.Step(at(time.Hour), tc.want, seen(tc.consumers...))
		if step == plan.Arrive { // it says that what is mounted is right
			step = plan.Nothing
		}
		if step != tc.step || !slices.Equal(names, tc.unaccepted) {
			t.Errorf("%s: step %q, and not accepted is %v", name, step, names)
		}
		if emergent := step == plan.Withdraw && next.Rotation.Emergency; emergent != (tc.want.EmergencyTrigger != "") {
			t.Errorf("%s: it is an emergency: %v", name, emergent)
		}
	}
}

// TestAssumedIsNotAcknowledged: a gate counts it apart, in each phase, and opens all the same.
func TestAssumedIsNotAcknowledged(t *testing.T) {
	for name, l := range map[string]plan.Ledger{
		"distributing": ledger(plan.Active, plan.Trusted), "reissuing": waiting(), "withdrawing": ledger(plan.Withdrawn, plan.Active),
	} {
		of := []plan.Consumer{consumer("a"), consumer("m", mounted(0)), consumer("s", mounted(0), func(c *plan.Consumer) { c.Proved = true })}
		if g := l.GateOf(at(time.Hour), seen(of...)); g.Acknowledged != 2 || g.Assumed != 1 || g.Required != 3 || !g.Open() {
			t.Errorf("%s: %+v", name, g)
		}
	}
}

// TestNothingButTheWithdrawalWaits for an approval: neither the switch nor the deletion of a key, nor a rollback.
func TestNothingButTheWithdrawalWaits(t *testing.T) {
	m := consumer("m", mounted(0))
	for name, tc := range map[string]struct {
		l    plan.Ledger
		want plan.DesiredLedger
		step plan.Transition
	}{
		"the switch":            {ledger(plan.Active, plan.Trusted), plan.DesiredLedger{SpecHash: "b"}, plan.Switch},
		"a rollback":            {ledger(plan.Active, plan.Trusted), plan.DesiredLedger{SpecHash: "a"}, plan.Rollback},
		"the deletion of a key": {ledger(plan.Withdrawn, plan.Active), plan.DesiredLedger{SpecHash: "b"}, plan.DeleteKey},
	} {
		if _, step := tc.l.Step(at(time.Hour), tc.want, seen(m)); step != tc.step {
			t.Errorf("%s: %q", name, step)
		}
	}
}

func TestRotationID(t *testing.T) {
	for want, r := range map[string]*plan.Rotation{
		"":                  nil,
		"k8s/2026-11.g2":    {Cause: plan.TriggerChanged, Trigger: "2026-11", To: 2},
		"k8s/age.g3":        {Cause: plan.CARenewalDue, To: 3},
		"k8s/a b/\"c\".g12": {Cause: plan.TriggerChanged, Trigger: `a b/"c"`, To: 12},
	} {
		if got := (plan.Ledger{Rotation: r}).RotationID("k8s"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

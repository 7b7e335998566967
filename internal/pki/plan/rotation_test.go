package plan_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"clusterpki.io/operator/internal/pki/plan"
)

// rotor takes a ledger through its steps, a minute each, with consumers that do at once what they are asked for.
type rotor struct {
	t     *testing.T
	l     plan.Ledger
	want  plan.DesiredLedger
	now   time.Time
	steps []plan.Transition
	// stuck: the only consumer does nothing.
	stuck bool
	mod   func(*plan.Generation) // of the next one
}

func newRotor(t *testing.T, want plan.DesiredLedger) *rotor {
	want.MaxUnavailable = 1
	return &rotor{t: t, l: plan.Bootstrap(at(0), plan.Ledger{}, plan.Generation{Number: 1, SpecHash: want.SpecHash, Trigger: want.Trigger}), want: want, now: at(0)}
}

// step makes one step, and says which.
func (r *rotor) step() plan.Transition {
	r.t.Helper()
	r.now = r.now.Add(time.Minute)
	active, _ := r.l.Active()
	c := consumer("c", leaf(active.Number, active.Number))
	if r.stuck {
		c.Trusts, c.Leaf, c.Issued = false, 0, 0
	}
	was := r.l
	next, step := r.l.Step(r.now, r.want, seen(c))
	if step == plan.NewKey {
		g := plan.Generation{Number: next.NextNumber(), SpecHash: r.want.SpecHash}
		if r.mod != nil {
			r.mod(&g)
		}
		next, step = next.Enter(r.now, g, r.want)
	}
	r.l = next
	if step != plan.Nothing {
		r.steps = append(r.steps, step)
		if next.Revision != was.Revision+1 {
			r.t.Errorf("%s: revision %d follows on %d", step, next.Revision, was.Revision)
		}
		if changed := !slices.EqualFunc(was.Published(), next.Published(), func(a, b plan.Generation) bool { return a.Number == b.Number }); changed != (next.BundleRevision == next.Revision) {
			r.t.Errorf("%s: the bundle changed: %v, and its revision is %d of %d", step, changed, next.BundleRevision, next.Revision)
		}
	}
	if err := r.l.Check(); err != nil {
		r.t.Fatalf("%s: %v", step, err)
	}
	return step
}

// run makes steps until none is due.
func (r *rotor) run() {
	r.t.Helper()
	for range 30 {
		if r.step() == plan.Nothing {
			return
		}
	}
	r.t.Fatalf("it goes on without end: %v", r.steps)
}

func (r *rotor) expect(steps ...plan.Transition) {
	r.t.Helper()
	if !slices.Equal(r.steps, steps) {
		r.t.Errorf("the steps are %v, want %v", r.steps, steps)
	}
	r.steps = nil
}

// until makes steps up to one.
func (r *rotor) until(last plan.Transition) {
	r.t.Helper()
	for range 30 {
		if r.step() == last {
			r.steps = nil
			return
		}
	}
	r.t.Fatalf("%s never comes: %v", last, r.steps)
}

func TestARotation(t *testing.T) {
	r := newRotor(t, plan.DesiredLedger{SpecHash: "a"})
	r.run()
	r.expect()
	r.want.SpecHash = "b"
	r.run()
	r.expect(plan.Publish, plan.Switch, plan.Withdraw, plan.DeleteKey)
	want := &plan.Rotation{
		From: 1, To: 2, Cause: plan.SpecChanged, Start: at(2 * time.Minute), End: at(5 * time.Minute), Result: plan.Succeeded,
		Phases: []plan.PhaseTime{
			{Name: plan.DistributingTrust, Start: at(2 * time.Minute), End: at(3 * time.Minute)},
			{Name: plan.Reissuing, Start: at(3 * time.Minute), End: at(4 * time.Minute)},
			{Name: plan.WithdrawingTrust, Start: at(4 * time.Minute), End: at(5 * time.Minute)},
		},
	}
	if diff := cmp.Diff(want, r.l.LastRotation); diff != "" || r.l.Rotation != nil {
		t.Errorf("the last rotation is another; %+v is under way\n%s", r.l.Rotation, diff)
	}
}

// TestFormerTriggersStartNothing: what was taken past the switch counts no more, what was rolled back does.
func TestFormerTriggersStartNothing(t *testing.T) {
	r := newRotor(t, plan.DesiredLedger{SpecHash: "a", Trigger: "t0"})
	rotates := func(trigger string, want bool) {
		t.Helper()
		r.want.Trigger = trigger
		if got := r.l.CauseOf(r.want) == plan.TriggerChanged; got != want {
			t.Errorf("trigger %q starts a rotation: %v", trigger, got)
		}
		r.run()
	}
	rotates("t0", false) // of the first generation
	rotates("", false)   // removed
	rotates("t1", true)
	if r.l.LastRotation.Trigger != "t1" || r.l.LastRotation.Cause != plan.TriggerChanged {
		t.Errorf("the last rotation is %+v", r.l.LastRotation)
	}
	rotates("t1", false)
	rotates("t0", false)
	rotates("t2", true)
	rotates("t1", false)

	r.want.Trigger = "t3"
	r.until(plan.Publish)
	r.want.Trigger = "t2"
	r.run()
	r.expect(plan.Rollback, plan.DeleteKey)
	if r.l.LastRotation.Result != plan.RolledBack || r.l.LastRotation.Trigger != "t3" {
		t.Errorf("the last rotation is %+v", r.l.LastRotation)
	}
	rotates("t3", true) // it never signed
	rotates("t3", false)
}

// TestTriggersAreBounded: the oldest of a thousand is forgotten, and no text is stored as it is.
func TestTriggersAreBounded(t *testing.T) {
	l := plan.Ledger{}
	for i := range 1002 {
		l = plan.Bootstrap(at(0), l, plan.Generation{Number: l.NextNumber(), Trigger: fmt.Sprint("secret ", i)}).Tombstone()
	}
	if len(l.Triggers) != 1000 || len(l.Triggers[0]) != 32 {
		t.Fatalf("%d are kept, such as %q", len(l.Triggers), l.Triggers[0])
	}
	l = plan.Bootstrap(at(0), l, plan.Generation{Number: l.NextNumber(), SpecHash: "a"})
	for i, want := range map[int]plan.Cause{0: plan.TriggerChanged, 1: plan.TriggerChanged, 2: "", 1001: ""} {
		if got := l.CauseOf(plan.DesiredLedger{SpecHash: "a", Trigger: fmt.Sprint("secret ", i)}); got != want {
			t.Errorf("trigger %d is the cause %q", i, got)
		}
	}
}

func TestCauseOf(t *testing.T) {
	l := plan.Bootstrap(at(0), plan.Ledger{}, plan.Generation{Number: 1, SpecHash: "a", Trigger: "t"})
	for name, tc := range map[string]struct {
		want  plan.DesiredLedger
		cause plan.Cause
	}{
		"nothing":                   {plan.DesiredLedger{SpecHash: "a", Trigger: "t"}, ""},
		"no trigger any more":       {plan.DesiredLedger{SpecHash: "a"}, ""},
		"another spec":              {plan.DesiredLedger{SpecHash: "b", Trigger: "t"}, plan.SpecChanged},
		"another trigger":           {plan.DesiredLedger{SpecHash: "a", Trigger: "u"}, plan.TriggerChanged},
		"all":                       {plan.DesiredLedger{SpecHash: "b", Trigger: "u", Due: plan.CARenewalDue}, plan.TriggerChanged},
		"due":                       {plan.DesiredLedger{SpecHash: "a", Due: plan.CARenewalDue}, plan.CARenewalDue},
		"due, and another spec":     {plan.DesiredLedger{SpecHash: "b", Due: plan.ParentRotated}, plan.SpecChanged},
		"an emergencyTrigger alone": {plan.DesiredLedger{SpecHash: "a", Trigger: "t", EmergencyTrigger: "u"}, ""},
	} {
		if got := l.CauseOf(tc.want); got != tc.cause {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// TestLastRotation keeps one, with how it ended and its phases.
func TestLastRotation(t *testing.T) {
	phases := func(r *plan.Rotation) (out []plan.Phase) {
		for i, p := range r.Phases {
			out = append(out, p.Name)
			if p.End.IsZero() || p.End.Before(p.Start) || i > 0 && !p.Start.Equal(r.Phases[i-1].End) {
				t.Errorf("the phases are %+v", r.Phases)
			}
		}
		return out
	}
	ends := map[string]struct {
		do     func(*rotor)
		result plan.Result
		phases []plan.Phase
	}{
		"it is completed": {func(*rotor) {}, plan.Succeeded, []plan.Phase{plan.DistributingTrust, plan.Reissuing, plan.WithdrawingTrust}},
		"the spec is reverted": {func(r *rotor) {
			r.until(plan.Publish)
			r.want.SpecHash = "a"
		}, plan.RolledBack, []plan.Phase{plan.DistributingTrust, plan.WithdrawingTrust}},
		"it is the same root": {func(r *rotor) {
			r.l.Generations[0].Root, r.l.Generations[0].Anchor = true, "x"
			r.mod = func(g *plan.Generation) { g.Root, g.Anchor = true, "x" }
		}, plan.Succeeded, []plan.Phase{plan.WithdrawingTrust}},
		"an emergency comes first": {func(r *rotor) {
			r.until(plan.Switch)
			r.stuck, r.want.Trigger, r.want.EmergencyTrigger = true, "now", "now"
			r.until(plan.Supersede)
		}, plan.Superseded, []plan.Phase{plan.DistributingTrust, plan.Reissuing, plan.WithdrawingTrust}},
	}
	for name, tc := range ends {
		r := newRotor(t, plan.DesiredLedger{SpecHash: "a"})
		r.want.SpecHash = "b"
		tc.do(r)
		r.run()
		last := r.l.LastRotation
		if last == nil || last.Result != tc.result || last.End.IsZero() || !slices.Equal(phases(last), tc.phases) {
			t.Errorf("%s: %+v", name, last)
		}
	}
}

// TestFormerTriggersOutliveTheirKeys: a text that was taken starts nothing after the CA was destroyed and made anew, nor after an
// older ledger was restored in its place.
func TestFormerTriggersOutliveTheirKeys(t *testing.T) {
	r := newRotor(t, plan.DesiredLedger{SpecHash: "a"})
	older := r.l
	r.want.Trigger, r.want.EmergencyTrigger = "stolen", "stolen"
	r.run()
	for name, l := range map[string]plan.Ledger{
		"anew":     plan.Bootstrap(at(0), r.l.Tombstone(), plan.Generation{Number: 3, SpecHash: "a"}),
		"restored": older.InPlaceOf(r.l),
	} {
		if cause := l.CauseOf(r.want); cause != "" || l.IsEmergency(r.want) {
			t.Errorf("%s: %q, an emergency: %v", name, cause, l.IsEmergency(r.want))
		}
	}
	if cause := older.CauseOf(r.want); cause != plan.TriggerChanged {
		t.Errorf("the older ledger itself: %q", cause)
	}
}

package plan_test

import (
	"testing"
	"time"

	"clusterpki.io/operator/internal/pki/plan"
)

// begun is a rotor that a change of trigger to "t" has taken so far, with a consumer that does nothing from then on.
func begun(t *testing.T, last plan.Transition) *rotor {
	r := newRotor(t, plan.DesiredLedger{SpecHash: "a"})
	r.want.Trigger = "t"
	if last != plan.Nothing {
		r.until(last)
	}
	r.stuck = true
	return r
}

// TestOnlyATriggerMakesAnEmergency: one of a rotation that a change of trigger started, where emergencyTrigger equals that text,
// then or while it is under way.
func TestOnlyATriggerMakesAnEmergency(t *testing.T) {
	const began = plan.Nothing
	for name, tc := range map[string]struct {
		after plan.Transition
		want  plan.DesiredLedger
		yes   bool
	}{
		"the same text":                                 {began, plan.DesiredLedger{SpecHash: "a", Trigger: "t", EmergencyTrigger: "t"}, true},
		"another text":                                  {began, plan.DesiredLedger{SpecHash: "a", Trigger: "t", EmergencyTrigger: "u"}, false},
		"emergencyTrigger alone":                        {began, plan.DesiredLedger{SpecHash: "a", EmergencyTrigger: "t"}, false},
		"two empty texts":                               {began, plan.DesiredLedger{SpecHash: "b"}, false},
		"an edit of the spec with it":                   {began, plan.DesiredLedger{SpecHash: "b", Trigger: "t", EmergencyTrigger: "t"}, true},
		"by age":                                        {began, plan.DesiredLedger{SpecHash: "a", EmergencyTrigger: "t", Due: plan.CARenewalDue}, false},
		"by age, and a former text":                     {plan.DeleteKey, plan.DesiredLedger{SpecHash: "a", Trigger: "t", EmergencyTrigger: "t", Due: plan.CARenewalDue}, false},
		"another spec, and a former text":               {plan.DeleteKey, plan.DesiredLedger{SpecHash: "b", Trigger: "t", EmergencyTrigger: "t"}, false},
		"while trust is distributed":                    {plan.Publish, plan.DesiredLedger{SpecHash: "a", Trigger: "t", EmergencyTrigger: "t"}, true},
		"while leaves are re-issued":                    {plan.Switch, plan.DesiredLedger{SpecHash: "a", Trigger: "t", EmergencyTrigger: "t"}, true},
		"while trust is withdrawn":                      {plan.Withdraw, plan.DesiredLedger{SpecHash: "a", Trigger: "t", EmergencyTrigger: "t"}, true},
		"under way, and the trigger is removed":         {plan.Switch, plan.DesiredLedger{SpecHash: "a", EmergencyTrigger: "t"}, true},
		"under way, and another text":                   {plan.Switch, plan.DesiredLedger{SpecHash: "a", Trigger: "t", EmergencyTrigger: "u"}, false},
		"the parent has withdrawn it":                   {began, plan.DesiredLedger{SpecHash: "a", Due: plan.ParentRotated, Distrusted: true}, true},
		"the parent was rotated, and nothing withdrawn": {began, plan.DesiredLedger{SpecHash: "a", Due: plan.ParentRotated, EmergencyTrigger: "t"}, false},
	} {
		if got := begun(t, tc.after).l.IsEmergency(tc.want); got != tc.yes {
			t.Errorf("%s: %v", name, got)
		}
	}

	r := newRotor(t, plan.DesiredLedger{SpecHash: "a"})
	r.want.SpecHash, r.want.Trigger = "b", ""
	r.until(plan.Switch)
	if r.l.IsEmergency(plan.DesiredLedger{SpecHash: "b", EmergencyTrigger: "t"}) {
		t.Error("emergencyTrigger makes an emergency of a rotation that another edit started")
	}
	rolled := begun(t, plan.Publish)
	rolled.want.Trigger = ""
	rolled.until(plan.Rollback)
	if rolled.l.IsEmergency(plan.DesiredLedger{SpecHash: "a", EmergencyTrigger: "t"}) {
		t.Error("emergencyTrigger makes an emergency of a rotation that is rolled back")
	}
}

// TestSupersedeInEachPhase: nobody acknowledges anything, and the new key is trusted alone all the same.
func TestSupersedeInEachPhase(t *testing.T) {
	for name, tc := range map[string]struct {
		after    plan.Transition
		trigger  string // "t": that of the rotation under way
		steps    []plan.Transition
		to       int32
		previous plan.Result
	}{
		"before it begins":                    {plan.Nothing, "t", []plan.Transition{plan.Supersede}, 2, ""},
		"while trust is distributed":          {plan.Publish, "t", []plan.Transition{plan.Supersede}, 2, ""},
		"while leaves are re-issued":          {plan.Switch, "t", []plan.Transition{plan.Withdraw}, 2, ""},
		"while trust is withdrawn":            {plan.Withdraw, "t", nil, 2, ""},
		"another, while trust is distributed": {plan.Publish, "u", []plan.Transition{plan.Rollback, plan.Supersede}, 3, plan.RolledBack},
		"another, while leaves are re-issued": {plan.Switch, "u", []plan.Transition{plan.Withdraw, plan.Supersede}, 3, plan.Superseded},
		"another, while trust is withdrawn":   {plan.Withdraw, "u", []plan.Transition{plan.Supersede}, 3, plan.Superseded},
	} {
		t.Run(name, func(t *testing.T) {
			r := begun(t, tc.after)
			r.want.Trigger, r.want.EmergencyTrigger = tc.trigger, tc.trigger
			r.run()
			r.expect(tc.steps...)
			published, active := r.l.Published(), func() int32 { g, _ := r.l.Active(); return g.Number }()
			if len(published) != 1 || published[0].Number != tc.to || active != tc.to {
				t.Errorf("published is %+v, and %d is active", published, active)
			}
			if rot := r.l.Rotation; rot == nil || rot.To != tc.to || rot.Trigger != tc.trigger || rot.Emergency != (tc.steps != nil) {
				t.Errorf("under way is %+v", rot)
			}
			if last := r.l.LastRotation; (last == nil) != (tc.previous == "") || last != nil && last.Result != tc.previous {
				t.Errorf("the one before is %+v", last)
			}
			r.stuck = false
			r.run()
			r.expect(plan.DeleteKey)
			if len(r.l.Generations) != 1 || r.l.LastRotation.Result != plan.Succeeded {
				t.Errorf("in the end: %+v", r.l)
			}
		})
	}
}

// TestAnotherEditWaitsForAnEmergency: it is no emergency itself, whatever emergencyTrigger still says.
func TestAnotherEditWaitsForAnEmergency(t *testing.T) {
	for name, edit := range map[string]func(*plan.DesiredLedger){
		"another spec":    func(w *plan.DesiredLedger) { w.SpecHash = "b" },
		"by age":          func(w *plan.DesiredLedger) { w.Due = plan.CARenewalDue },
		"another trigger": func(w *plan.DesiredLedger) { w.Trigger = "later" },
	} {
		r := begun(t, plan.Nothing)
		r.want.EmergencyTrigger = "t"
		r.until(plan.Supersede)
		edit(&r.want)
		r.run()
		r.expect()
		r.stuck = false
		r.until(plan.DeleteKey)
		r.step()
		r.expect(plan.Publish)
		if rot := r.l.Rotation; rot == nil || rot.Emergency {
			t.Errorf("%s: %+v", name, rot)
		}
	}
}

// TestHold: where what was published is newer than the ledger, no key is made, withdrawn or deleted.
func TestHold(t *testing.T) {
	for name, tc := range map[string]struct {
		after plan.Transition
		edit  func(*plan.DesiredLedger)
		step  plan.Transition
	}{
		"no key is made":                 {plan.Nothing, func(*plan.DesiredLedger) {}, plan.Nothing},
		"none in an emergency":           {plan.Nothing, func(w *plan.DesiredLedger) { w.EmergencyTrigger = "t" }, plan.Nothing},
		"what is trusted begins to sign": {plan.Publish, func(*plan.DesiredLedger) {}, plan.Switch},
		"it does not supersede":          {plan.Publish, func(w *plan.DesiredLedger) { w.EmergencyTrigger = "t" }, plan.Switch},
		"it is not rolled back":          {plan.Publish, func(w *plan.DesiredLedger) { w.Trigger = "" }, plan.Nothing},
		"nor outgrown":                   {plan.Publish, func(w *plan.DesiredLedger) { w.Outgrown = true }, plan.Nothing},
		"nothing is withdrawn":           {plan.Admit, func(*plan.DesiredLedger) {}, plan.Nothing},
		"not in an emergency":            {plan.Admit, func(w *plan.DesiredLedger) { w.EmergencyTrigger = "t" }, plan.Nothing},
		"no key is deleted":              {plan.Withdraw, func(*plan.DesiredLedger) {}, plan.Nothing},
	} {
		r := newRotor(t, plan.DesiredLedger{SpecHash: "a"})
		r.want.Trigger = "t"
		switch tc.after {
		case plan.Nothing:
		case plan.Admit:
			r.until(plan.Switch)
			r.l.Wave = plan.Everyone
		default:
			r.until(tc.after)
		}
		r.want.Hold = true
		tc.edit(&r.want)
		if got := r.step(); got != tc.step {
			t.Errorf("%s: %q", name, got)
		}
		r.want.Hold = false
		if got := r.step(); got == plan.Nothing {
			t.Errorf("%s: nothing goes on after it", name)
		}
	}
}

// TestMaxGenerations: an ordinary rotation waits until no key is out of the bundle, an emergency one drops the oldest key that is out of the bundle.
func TestMaxGenerations(t *testing.T) {
	r := newRotor(t, plan.DesiredLedger{SpecHash: "a"})
	r.stuck = true
	emergency := func(trigger string) {
		r.want.Trigger, r.want.EmergencyTrigger = trigger, trigger
		r.until(plan.Supersede)
	}
	for _, trigger := range []string{"2", "3", "4", "5", "6", "7", "8"} {
		emergency(trigger)
	}
	if len(r.l.Generations) != plan.MaxGenerations {
		t.Fatalf("there are %d generations", len(r.l.Generations))
	}
	ordinary := plan.DesiredLedger{SpecHash: "b", Trigger: "8", EmergencyTrigger: "8"}
	if _, step := r.l.Step(r.now, ordinary, seen(consumer("c"))); step != plan.Nothing {
		t.Errorf("a rotation that is no emergency does not wait until the keys are gone: %s", step)
	}
	emergency("9")
	if len(r.l.Generations) != plan.MaxGenerations || r.l.Names(1) || !r.l.Names(2) || !r.l.Names(9) {
		t.Errorf("after another: %+v", r.l.Generations)
	}
}

// TestRenew: the same key with other dates has no overlap, and is no emergency.
func TestRenew(t *testing.T) {
	r := newRotor(t, plan.DesiredLedger{SpecHash: "a"})
	r.l.Generations[0].Root, r.l.Generations[0].Anchor = true, "x"
	r.mod = func(g *plan.Generation) { g.Root, g.Anchor = true, "x" }
	r.want.Due = plan.CARenewalDue
	r.until(plan.Renew)
	if rot := r.l.Rotation; rot == nil || !rot.SameKey || rot.Emergency || rot.Cause != plan.CARenewalDue {
		t.Errorf("%+v", rot)
	}
	if p := r.l.Published(); len(p) != 1 || p[0].Number != 2 || r.l.Phase() != plan.WithdrawingTrust {
		t.Errorf("published is %+v in %s", p, r.l.Phase())
	}
	r.want.Due = ""
	r.run()
	r.expect(plan.DeleteKey)

	g := plan.Generation{Root: true, Anchor: "x"}
	for name, o := range map[string]plan.Generation{
		"another root": {Root: true, Anchor: "y"}, "an intermediate of that root": {Anchor: "x"},
	} {
		if g.SameRoot(o) || o.SameRoot(g) {
			t.Errorf("%s needs no overlap", name)
		}
	}
	if i := (plan.Generation{Anchor: "x"}); i.SameRoot(i) {
		t.Error("two intermediates of one root need no overlap")
	}
}

// TestStepTimes: what a step stores of a moment is never earlier than that.
func TestStepTimes(t *testing.T) {
	r := newRotor(t, plan.DesiredLedger{SpecHash: "a"})
	r.now = r.now.Add(300 * time.Millisecond)
	r.want.SpecHash = "b"
	r.run()
	if s := r.l.LastRotation.Start; s.Nanosecond() != 0 || s.Before(at(time.Minute+300*time.Millisecond)) || !r.l.Since.Equal(r.l.LastRotation.End) {
		t.Errorf("it began at %v, and ended at %v", s, r.l.Since)
	}
}

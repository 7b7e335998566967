package rotate

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/timeline"
)

// Outcome is how a rotation stands for whoever waits for its end.
type Outcome string

// The outcomes. All but Going are final.
const (
	Going      Outcome = "Going"      // it has not begun, or is under way
	Completed  Outcome = "Completed"  // a new generation signs, and is trusted alone
	RolledBack Outcome = "RolledBack" // it ended, and the same generation signs as before: the spec was changed back
	Stalled    Outcome = "Stalled"    // it cannot begin before a person has changed something
)

// Snapshot is a ClusterCA as it was read last, with its consumers.
type Snapshot struct {
	CA        *v1alpha1.ClusterCA
	Consumers []consumers.Dependent
}

// Watch follows one rotation to its end, by what the status of the ClusterCA says. A status of an older spec says nothing
// of the end.
type Watch struct {
	trigger  string // that is waited for; "": whichever rotation comes next, or is under way
	base     int32  // the generation that signed before
	last     metav1.Time
	begun    bool // a rotation was observed
	asked    bool // the spec had that trigger
	snapshot Snapshot
}

// Begin starts to follow the rotation for a trigger, or, with "", the one that is under way, else the next one.
func Begin(trigger string, snapshot Snapshot) *Watch {
	s := snapshot.CA.Status
	w := &Watch{trigger: trigger, base: activeOf(snapshot.CA).Number, last: s.LastRotation.StartTime}
	if s.Rotation.Phase != "" {
		w.base = s.Rotation.From
	}
	w.Observe(snapshot)
	return w
}

// Observe takes in what is there now.
func (w *Watch) Observe(snapshot Snapshot) Outcome {
	w.snapshot = snapshot
	w.begun = w.begun || snapshot.CA.Status.Rotation.Phase != ""
	w.asked = w.asked || w.trigger != "" && snapshot.CA.Spec.Rotation.Trigger == w.trigger
	return w.outcome()
}

// outcome judges the last snapshot.
func (w *Watch) outcome() Outcome {
	active := activeOf(w.snapshot.CA)
	switch {
	case w.snapshot.CA.Status.Rotation.Phase != "" || !w.current() || active.Number == 0:
		return Going
	case w.trigger != "" && active.Trigger == w.trigger, (w.trigger == "" || w.asked) && active.Number > w.base:
		return Completed
	case (w.begun || w.asked) && w.is(v1alpha1.StalledCondition) != nil:
		return Stalled
	case w.trigger == "" && w.endedForGood(), w.asked && w.snapshot.CA.Spec.Rotation.Trigger != w.trigger:
		return RolledBack
	default:
		return Going
	}
}

// ended says whether another rotation has ended than at the begin.
func (w *Watch) ended() bool {
	last := w.snapshot.CA.Status.LastRotation
	return last.Result != "" && !last.StartTime.Equal(&w.last)
}

// endedForGood says whether no other rotation follows at once for the trigger of the one that has ended: where another
// field was edited in the middle, it begins anew.
func (w *Watch) endedForGood() bool {
	spec := w.snapshot.CA.Spec.Rotation.Trigger
	return w.ended() && (activeOf(w.snapshot.CA).Trigger == spec || w.snapshot.CA.Status.LastRotation.Trigger != spec)
}

// current says whether the status describes the present spec.
func (w *Watch) current() bool {
	return w.snapshot.CA.Status.ObservedGeneration == w.snapshot.CA.Generation
}

// activeOf is the active generation; zero where the status names none.
func activeOf(ca *v1alpha1.ClusterCA) v1alpha1.GenerationStatus {
	for _, g := range ca.Status.Generations {
		if g.State == v1alpha1.GenerationActive {
			return g
		}
	}
	return v1alpha1.GenerationStatus{}
}

// is returns a condition that is True and describes the present spec.
func (w *Watch) is(kind string) *metav1.Condition {
	c := meta.FindStatusCondition(w.snapshot.CA.Status.Conditions, kind)
	if c == nil || c.Status != metav1.ConditionTrue || c.ObservedGeneration != w.snapshot.CA.Generation {
		return nil
	}
	return c
}

// Alerts are what a person should know now.
func (w *Watch) Alerts() []string {
	var out []string
	for _, kind := range []string{v1alpha1.RotationBlockedCondition, v1alpha1.RedeliveryRequiredCondition, v1alpha1.StalledCondition} {
		if c := w.is(kind); c != nil {
			out = append(out, kind+": "+c.Message)
		}
	}
	if now := w.snapshot.CA.Spec.Rotation.Trigger; w.asked && now != w.trigger {
		out = append(out, fmt.Sprintf("spec.rotation.trigger is no longer %q but %q: "+
			"does something keep the object as it is in Git?", w.trigger, now))
	}
	return out
}

// rotation is the one that is followed, at a moment; ok is false where none has begun.
func (w *Watch) rotation(now time.Time) (r timeline.Rotation, ok bool) {
	if r, ok = timeline.UnderWay(now, w.snapshot.CA, w.snapshot.Consumers); ok {
		return r, true
	}
	if w.outcome() == Going || !w.ended() {
		return timeline.Rotation{}, false
	}
	return timeline.Last(w.snapshot.CA)
}

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
	Stuck      Outcome = "Stuck"      // it cannot begin before a person has changed something
)

// Seen is a ClusterCA as it was seen last, with its consumers.
type Seen struct {
	CA        *v1alpha1.ClusterCA
	Consumers []consumers.Dependent
}

// Watch follows one rotation to its end, by what the status of the ClusterCA says. A status of an older spec says nothing
// of the end.
type Watch struct {
	want  string // the trigger that is waited for; "": whichever rotation comes next, or is under way
	base  int32  // the generation that signed before
	last  metav1.Time
	begun bool // a rotation was seen
	asked bool // the spec had the wanted trigger
	seen  Seen
}

// Begin starts to follow the rotation for a trigger, or, with "", the one that is under way, else the next one.
func Begin(want string, seen Seen) *Watch {
	s := seen.CA.Status
	w := &Watch{want: want, base: activeOf(seen.CA).Number, last: s.LastRotation.StartTime}
	if s.Rotation.Phase != "" {
		w.base = s.Rotation.From
	}
	w.Look(seen)
	return w
}

// Look takes in what is there now.
func (w *Watch) Look(seen Seen) Outcome {
	w.seen = seen
	w.begun = w.begun || seen.CA.Status.Rotation.Phase != ""
	w.asked = w.asked || w.want != "" && seen.CA.Spec.Rotation.Trigger == w.want
	return w.outcome()
}

// outcome judges the last look.
func (w *Watch) outcome() Outcome {
	active := activeOf(w.seen.CA)
	switch {
	case w.seen.CA.Status.Rotation.Phase != "" || !w.current() || active.Number == 0:
		return Going
	case w.want != "" && active.Trigger == w.want, (w.want == "" || w.asked) && active.Number > w.base:
		return Completed
	case (w.begun || w.asked) && w.is(v1alpha1.StalledCondition) != nil:
		return Stuck
	case w.want == "" && w.endedForGood(), w.asked && w.seen.CA.Spec.Rotation.Trigger != w.want:
		return RolledBack
	default:
		return Going
	}
}

// ended says whether another rotation has ended than at the begin.
func (w *Watch) ended() bool {
	last := w.seen.CA.Status.LastRotation
	return last.Result != "" && !last.StartTime.Equal(&w.last)
}

// endedForGood says whether no other rotation follows at once for the trigger of the one that has ended: where another
// field was edited in the middle, it begins anew.
func (w *Watch) endedForGood() bool {
	spec := w.seen.CA.Spec.Rotation.Trigger
	return w.ended() && (activeOf(w.seen.CA).Trigger == spec || w.seen.CA.Status.LastRotation.Trigger != spec)
}

// current says whether the status describes the present spec.
func (w *Watch) current() bool { return w.seen.CA.Status.ObservedGeneration == w.seen.CA.Generation }

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
	c := meta.FindStatusCondition(w.seen.CA.Status.Conditions, kind)
	if c == nil || c.Status != metav1.ConditionTrue || c.ObservedGeneration != w.seen.CA.Generation {
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
	if now := w.seen.CA.Spec.Rotation.Trigger; w.asked && now != w.want {
		out = append(out, fmt.Sprintf("spec.rotation.trigger is no longer %q but %q: "+
			"does something keep the object as it is in Git?", w.want, now))
	}
	return out
}

// rotation is the one that is followed, at a moment; ok is false where none has begun.
func (w *Watch) rotation(now time.Time) (r timeline.Rotation, ok bool) {
	if r, ok = timeline.UnderWay(now, w.seen.CA, w.seen.Consumers); ok {
		return r, true
	}
	if w.outcome() == Going || !w.ended() {
		return timeline.Rotation{}, false
	}
	return timeline.Last(w.seen.CA)
}

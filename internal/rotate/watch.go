package rotate

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki/plan"
)

// Seen is a ClusterCA and the ledger in its trust ConfigMap, as they were seen last.
type Seen struct {
	CA     *v1alpha1.ClusterCA
	Ledger plan.Ledger // empty where there is none, or it cannot be read
}

// Outcome is how a replacement stands for whoever waits for its end.
type Outcome string

// The outcomes. All but Going are final.
const (
	Going     Outcome = "Going"     // it has not begun, or is under way
	Completed Outcome = "Completed" // a new generation signs, and is trusted alone
	GivenUp   Outcome = "GivenUp"   // it ended, and the same generation signs as before: the spec was taken back
	Stuck     Outcome = "Stuck"     // it cannot begin before a person has changed something
)

// Watch follows one replacement to its end. Nothing is taken from one look alone: that the operator has seen the spec
// shows in observedGeneration, that it is done in the ledger, by the revision that the signing generation was made for.
type Watch struct {
	want  string // the revision that is waited for; "": whichever replacement comes next, or is under way
	base  int32  // the generation that signed before
	begun bool
	asked bool // the spec had the wanted revision
	seen  Seen
	last  v1alpha1.RotationStatus // as it was before it ended
	began map[plan.Phase]time.Time
	ended time.Time
}

// Begin starts to follow the replacement for a revision, or, with "", the one that is under way, else the next one.
func Begin(want string, seen Seen) *Watch {
	w := &Watch{want: want, base: seen.CA.Status.Certificate.IssuerGeneration, began: map[plan.Phase]time.Time{}}
	if signing, ok := seen.Ledger.Signing(); ok {
		w.base = signing.Number
	}
	if from, to := seen.Ledger.Route(); from > 0 {
		w.base = min(from, to)
	}
	w.Look(seen)
	return w
}

// Look takes in what is there now.
func (w *Watch) Look(seen Seen) Outcome {
	w.seen = seen
	r := seen.CA.Status.Rotation
	signing, known := seen.Ledger.Signing()
	revision := seen.CA.Spec.Rotation.Revision
	if r.Phase != "" {
		w.follow(r)
	}
	if known && (signing.Number > w.base || seen.Ledger.Phase() != plan.Completed || w.want == "" && signing.Trigger != revision) {
		w.begun = true
	}
	w.asked = w.asked || w.want != "" && revision == w.want
	return w.outcome()
}

// follow notes when phases began. Another start is another replacement.
func (w *Watch) follow(r v1alpha1.RotationStatus) {
	if !w.last.StartTime.Equal(&r.StartTime) {
		w.began = map[plan.Phase]time.Time{plan.Preparing: r.StartTime.Time}
	}
	w.begun, w.last = true, r
	if _, ok := w.began[plan.Phase(r.Phase)]; !ok {
		w.began[plan.Phase(r.Phase)] = r.PhaseTime.Time
	}
}

// outcome judges the last look.
func (w *Watch) outcome() Outcome {
	signing, _ := w.seen.Ledger.Signing()
	switch {
	case !w.settled():
		idle := w.seen.CA.Status.Rotation.Phase == "" && w.current()
		if (w.begun || w.asked) && idle && w.is(v1alpha1.StalledCondition) != nil {
			return Stuck
		}
		return Going
	case w.want != "" && signing.Trigger == w.want, (w.want == "" || w.asked) && signing.Number > w.base:
		w.ended = w.seen.Ledger.Since
		return Completed
	case w.want == "" && w.begun, w.asked:
		return GivenUp
	default:
		return Going
	}
}

// current says whether the status describes the present spec.
func (w *Watch) current() bool { return w.seen.CA.Status.ObservedGeneration == w.seen.CA.Generation }

// settled says whether the operator has seen the present spec and has nothing left to do for it.
func (w *Watch) settled() bool {
	signing, ok := w.seen.Ledger.Signing()
	return ok && w.current() && w.seen.CA.Status.Rotation.Phase == "" && w.seen.Ledger.Phase() == plan.Completed &&
		signing.Trigger == w.seen.CA.Spec.Rotation.Revision
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
	if now := w.seen.CA.Spec.Rotation.Revision; w.asked && now != w.want {
		out = append(out, fmt.Sprintf("spec.rotation.revision is no longer %q but %q: "+
			"does something keep the object as it is in Git?", w.want, now))
	}
	return out
}

// Step is one phase of a replacement as it is shown.
type Step struct {
	Phase plan.Phase
	State StepState
	// Took is how long it took, or has taken so far; negative where that is not known.
	Took time.Duration
}

// StepState is where a phase stands.
type StepState int

// The states.
const (
	Ahead StepState = iota
	Present
	Done
	Skipped // there is no such phase without overlap
)

var order = []plan.Phase{plan.Preparing, plan.DistributingTrust, plan.Reissuing, plan.WithdrawingTrust}

// Steps are the phases, at a moment.
func (w *Watch) Steps(now time.Time) []Step {
	at := slices.Index(order, plan.Phase(w.last.Phase))
	if w.outcome() == Completed {
		at, now = len(order), w.ended
	}
	direct := w.direct()
	out := make([]Step, len(order))
	for i := len(order) - 1; i >= 0; i-- {
		p, began := order[i], w.began[order[i]]
		out[i] = Step{Phase: p, State: Ahead, Took: -1}
		switch {
		case i > at:
			continue
		case i == at:
			out[i].State = Present
		case direct && (p == plan.DistributingTrust || p == plan.Reissuing):
			out[i].State = Skipped
			continue
		default:
			out[i].State = Done
		}
		if !began.IsZero() && !now.IsZero() {
			out[i].Took = max(0, now.Sub(began))
		}
		now = began // the one before ended then; zero where that was not seen
	}
	return out
}

// direct says whether the replacement goes without overlap: in an emergency, or with the same key.
func (w *Watch) direct() bool {
	l := w.seen.Ledger
	if l.Emergency {
		return true
	}
	signing, _ := l.Signing()
	return slices.ContainsFunc(l.Generations, func(g plan.Generation) bool {
		return g.State == plan.Withdrawn && g.SameRoot(signing)
	})
}

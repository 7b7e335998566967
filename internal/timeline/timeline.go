// Package timeline tells the rotation of a ClusterCA or of a ServiceAccountKey as people see it: its phases, how long each has taken, whom it
// waits for, and when it is expected to end. It reads the status of the object, and every display renders what it says.
package timeline

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
)

// Rotation is the rotation of a ClusterCA, under way or over.
type Rotation struct {
	Namespace, Name string // of the ClusterCA
	// ID names it, for spec.rotation.approved.
	ID        string
	From, To  int32
	Reason    v1alpha1.RotationReason
	Trigger   string
	SameKey   bool
	Emergency bool
	// Result is how it ended; RolledBack also while it is being rolled back.
	Result v1alpha1.RotationResult
	// Supersedes is the generation of the rotation whose place this emergency took; 0 for none.
	Supersedes int32
	// Start is when it began, and End when it ended; zero while it is under way.
	Start, End time.Time
	Steps      []Step
	Progress
	// Blocked says that the phase waits for longer than it should.
	Blocked bool
	// WithdrawalPending says that it waits for a person to accept what is only assumed of those that are pending.
	WithdrawalPending bool
	// Expected is the end of the whole.
	Expected Expectation
}

// Step is one phase.
type Step struct {
	Phase v1alpha1.Phase
	State v1alpha1.PhaseState
	// Word says the state to people, and Note what happens in the phase.
	Word, Note string
	Start, End time.Time
	// Took is how long the phase took, or has taken so far; negative where that is not known.
	Took time.Duration
	// Expected is the end of the phase, while it is active.
	Expected Expectation
}

// Expectation is when something is expected.
type Expectation struct {
	At time.Time
	// Unknown is why that is not known; "" where it is, or where there is nothing to expect.
	Unknown string
}

// UnderWay is the rotation of a ClusterCA at a moment; ok is false while there is none. dependents are the CA's.
func UnderWay(now time.Time, ca *v1alpha1.ClusterCA, dependents []consumers.Dependent) (r Rotation, ok bool) {
	s := ca.Status.Rotation
	if s.Phase == "" {
		return Rotation{}, false
	}
	r = Rotation{
		Namespace: ca.Namespace, Name: ca.Name, From: s.From, To: s.To, Reason: s.Reason, Trigger: s.Trigger,
		SameKey: of(s.SameKey), Emergency: of(s.Emergency), Result: s.Result, Start: s.StartTime.Time,
		ID: s.ID, Progress: Progress{
			Acknowledged: of(s.Acknowledged), Assumed: of(s.Assumed), Required: of(s.Required), Counted: s.Acknowledged != nil && s.Required != nil,
			Pending: s.Pending, PendingCount: max(of(s.PendingCount), int32(len(s.Pending))), //nolint:gosec // the status holds twenty at most
			delays: delaysOf(dependents),
		},
		Blocked:           meta.IsStatusConditionTrue(ca.Status.Conditions, v1alpha1.RotationBlockedCondition),
		WithdrawalPending: meta.IsStatusConditionTrue(ca.Status.Conditions, v1alpha1.WithdrawalPendingCondition),
	}
	if last := ca.Status.LastRotation; r.Emergency && last.Result == v1alpha1.RotationSuperseded && !last.EndTime.Before(&s.StartTime) {
		r.Supersedes = last.To
	}
	r.steps(now, s.Phases)
	r.expect(now, ca, dependents)
	return r, true
}

// Last is the rotation of a ClusterCA that ended last; ok is false where there was none.
func Last(ca *v1alpha1.ClusterCA) (r Rotation, ok bool) {
	s := ca.Status.LastRotation
	if s.Result == "" {
		return Rotation{}, false
	}
	r = Rotation{
		Namespace: ca.Namespace, Name: ca.Name, From: s.From, To: s.To, Reason: s.Reason, Trigger: s.Trigger,
		SameKey: of(s.SameKey), Emergency: of(s.Emergency), Result: s.Result,
		Start: s.StartTime.Time, End: s.EndTime.Time,
	}
	r.steps(s.EndTime.Time, s.Phases)
	return r, true
}

// Over says whether the rotation has ended.
func (r Rotation) Over() bool { return !r.End.IsZero() }

// RolledBack says whether the rotation was, or is being, rolled back.
func (r Rotation) RolledBack() bool { return r.Result == v1alpha1.RotationRolledBack }

// Active is the present phase; ok is false where there is none.
func (r Rotation) Active() (s Step, ok bool) {
	i := slices.IndexFunc(r.Steps, func(s Step) bool { return s.State == v1alpha1.PhaseActive })
	if i < 0 {
		return Step{}, false
	}
	return r.Steps[i], true
}

// Phase is the present phase; "" where there is none.
func (r Rotation) Phase() v1alpha1.Phase {
	s, _ := r.Active()
	return s.Phase
}

// Took is how long the rotation took, or has taken so far.
func (r Rotation) Took(now time.Time) time.Duration {
	if r.Over() {
		now = r.End
	}
	return max(0, now.Sub(r.Start))
}

// steps are all phases, in order, whichever of them the status names.
func (r *Rotation) steps(now time.Time, phases []v1alpha1.PhaseStatus) {
	for _, phase := range v1alpha1.Phases() {
		p := v1alpha1.PhaseStatus{Name: phase, State: v1alpha1.PhasePending}
		if i := slices.IndexFunc(phases, func(p v1alpha1.PhaseStatus) bool { return p.Name == phase }); i >= 0 {
			p = phases[i]
		}
		r.Steps = append(r.Steps, r.step(now, r.broken(p, phases)))
	}
}

// broken is a phase, which is skipped where something has put an end to it: an emergency, its own or another rotation's, did
// not wait for those that the phase waited for.
func (r *Rotation) broken(p v1alpha1.PhaseStatus, phases []v1alpha1.PhaseStatus) v1alpha1.PhaseStatus {
	superseded := r.Result == v1alpha1.RotationSuperseded
	if !superseded && (!r.Emergency || p.Name == v1alpha1.PhaseWithdrawingTrust) {
		return p
	}
	var last v1alpha1.Phase
	for _, other := range phases {
		if !other.StartTime.IsZero() && (superseded || other.Name != v1alpha1.PhaseWithdrawingTrust) {
			last = other.Name
		}
	}
	if p.Name == last {
		p.State = v1alpha1.PhaseSkipped
	}
	return p
}

func (r *Rotation) step(now time.Time, p v1alpha1.PhaseStatus) Step {
	s := Step{Phase: p.Name, State: r.state(p), Start: p.StartTime.Time, End: p.EndTime.Time, Took: -1}
	if r.RolledBack() && s.Phase == v1alpha1.PhaseReissuing { // it never came to that
		s.Start, s.End = time.Time{}, time.Time{}
	}
	switch {
	case s.Start.IsZero():
	case !s.End.IsZero():
		s.Took = max(0, s.End.Sub(s.Start))
	case s.State != v1alpha1.PhasePending && !now.IsZero():
		s.Took = max(0, now.Sub(s.Start))
	}
	s.Word, s.Note = r.word(s), r.note(s)
	return s
}

// state is that of a phase. Until a rotation is rolled back no phase of it has reached its end but, at last, the
// withdrawal of the new CA; and what is over has nothing active, and nothing to come.
func (r *Rotation) state(p v1alpha1.PhaseStatus) v1alpha1.PhaseState {
	switch {
	case r.RolledBack() && p.Name != v1alpha1.PhaseWithdrawingTrust:
		return v1alpha1.PhaseSkipped
	case !r.Over() || p.State == v1alpha1.PhaseDone:
		return p.State
	case p.State == v1alpha1.PhaseActive:
		return v1alpha1.PhaseDone
	default:
		return v1alpha1.PhaseSkipped
	}
}

// of is the value of a pointer, zero for none.
func of[T any](p *T) T {
	if p == nil {
		var none T
		return none
	}
	return *p
}

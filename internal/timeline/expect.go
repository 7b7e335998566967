package timeline

import (
	"cmp"
	"slices"
	"time"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
)

// noExperience is why nothing is known of a phase that waits for agents alone.
const noExperience = "no rotation before has shown how long the agents take"

// untilAccepted is what a withdrawal waits for.
const untilAccepted = "until a person accepts what is only assumed"

// notIssued is why a consumer is pending whose Secrets do not hold yet what they should. The delay of all begins once none is;
// its edit is for the case that it stays so.
const notIssued = v1alpha1.PendingNotIssued

// expect says when the active phase and the whole are expected to end. Nothing of that is stored: it follows from the
// delays, from the waves that are left, and from what past phases took.
func (r *Rotation) expect(now time.Time, ca *v1alpha1.ClusterCA, dependents []consumers.Dependent) {
	e := estimator{Rotation: r, now: now, dependents: dependents, ca: ca}
	for i := range r.Steps {
		s := &r.Steps[i]
		switch s.State {
		case v1alpha1.PhaseActive:
			s.Expected = e.active(*s)
			r.Expected = s.Expected
		case v1alpha1.PhasePending:
			if r.Expected.Unknown == "" && !r.Expected.At.IsZero() {
				r.Expected = e.after(r.Expected.At, s.Phase)
			}
		default:
		}
	}
}

// estimator says how long phases take.
type estimator struct {
	*Rotation
	now        time.Time
	ca         *v1alpha1.ClusterCA
	dependents []consumers.Dependent
}

// active is the end of a phase that is under way. Where that lies in the past, it is later than was expected.
func (e estimator) active(s Step) Expectation {
	if why := e.whyUnknown(s); why != "" {
		return Expectation{Unknown: why}
	}
	if s.Start.IsZero() {
		return Expectation{Unknown: "the status does not say when the phase began"}
	}
	asked := consumers.Asked(s.Phase, e.Emergency, e.dependents)
	took := e.whole(s.Phase, asked)
	if took == 0 {
		return Expectation{Unknown: noExperience}
	}
	end := s.Start.Add(took)
	for _, p := range e.Pending {
		switch c := e.consumer(p); {
		case p.Reason == notIssued:
			end = latest(end, e.now.Add(longest(asked)))
		case p.Since.IsZero():
		case p.Kind == KindUnknown:
			end = latest(end, p.Since.Add(consumers.Settling))
		case c != nil:
			end = latest(end, p.Since.Add(delayOf(*c)))
		}
	}
	if s.Phase == v1alpha1.PhaseReissuing && e.Counted {
		wave := WaveOf(e.ca.Spec.Rotation.MaxUnavailable, int(e.Required))
		after := wavesOf(int(e.Required-e.Acknowledged-e.Assumed), wave) - 1 // waves that have yet to begin
		end = latest(end, e.now.Add(time.Duration(after)*longest(asked)))
	}
	return Expectation{At: end}
}

// after is the end of a phase that has yet to begin, at a moment.
func (e estimator) after(begin time.Time, phase v1alpha1.Phase) Expectation {
	asked := consumers.Asked(phase, e.Emergency, e.dependents)
	for _, c := range asked {
		if why := ownTime(c); why != "" {
			return Expectation{Unknown: string(phase) + ": " + why}
		}
	}
	if phase == v1alpha1.PhaseWithdrawingTrust && e.awaitsApproval() {
		return Expectation{Unknown: string(phase) + ": it waits " + untilAccepted}
	}
	took := e.whole(phase, asked)
	if took == 0 {
		return Expectation{Unknown: noExperience}
	}
	return Expectation{At: latest(begin, e.now).Add(took)}
}

// awaitsApproval says whether a person will have to accept what is only assumed before the withdrawal, and has not yet.
func (e estimator) awaitsApproval() bool {
	approved := e.ca.Spec.Rotation.Withdraws(e.ID)
	return !approved && slices.ContainsFunc(e.dependents, func(c consumers.Dependent) bool { return c.Mounted && !c.Proved && !c.AcceptsAssumed })
}

// whole is how long a whole phase takes; 0 where nothing is known of that.
func (e estimator) whole(phase v1alpha1.Phase, asked []consumers.Dependent) time.Duration {
	return max(Least(phase, asked, WaveOf(e.ca.Spec.Rotation.MaxUnavailable, len(asked))), e.past(phase))
}

// past is how long the phase took the last time. The withdrawal is awaited from the same consumers as the distribution.
func (e estimator) past(phase v1alpha1.Phase) time.Duration {
	if phase == v1alpha1.PhaseWithdrawingTrust && !e.Emergency {
		for _, s := range e.Steps {
			if s.Phase == v1alpha1.PhaseDistributingTrust && s.State == v1alpha1.PhaseDone {
				return s.Took
			}
		}
	}
	last := e.ca.Status.LastRotation
	if last.Result != v1alpha1.RotationCompleted {
		return 0
	}
	for _, p := range last.Phases {
		if p.Name == phase && p.State == v1alpha1.PhaseDone && !p.StartTime.IsZero() && !p.EndTime.IsZero() {
			return p.EndTime.Sub(p.StartTime.Time)
		}
	}
	return 0
}

// whyUnknown is why nobody can say when a phase ends: it waits for a person, for an agent that is away, or for another rotation.
func (e estimator) whyUnknown(s Step) string {
	if e.WithdrawalPending {
		return "the withdrawal waits " + untilAccepted
	}
	for _, p := range e.Pending {
		switch {
		case p.Reason == v1alpha1.ReasonLeaseExpired:
			return "the lease of " + NameOf(p) + " has expired"
		case p.Kind == v1alpha1.KindClusterCA:
			return ownPhases(p.Name)
		case p.Edit != "" && p.Reason != notIssued:
			return NameOf(p) + " waits for a person"
		}
	}
	for _, c := range consumers.Asked(s.Phase, e.Emergency, e.dependents) {
		if why := ownTime(c); why != "" && e.maybePending(c) {
			return why
		}
	}
	return ""
}

// maybePending says whether a consumer is, or may be, pending: the status names the first of them, in order.
func (e estimator) maybePending(c consumers.Dependent) bool {
	if !e.Counted || e.Waits(c.Kind, c.Name) {
		return true
	}
	if e.More() <= 0 || len(e.Pending) == 0 {
		return false
	}
	last := e.Pending[len(e.Pending)-1]
	return cmp.Or(cmp.Compare(c.Kind, last.Kind), cmp.Compare(c.Name, last.Name)) > 0
}

// consumer is that of a pending one; nil where no spec names it any more.
func (e estimator) consumer(p v1alpha1.PendingConsumer) *consumers.Dependent {
	i := slices.IndexFunc(e.dependents, func(c consumers.Dependent) bool { return c.Kind == p.Kind && c.Name == p.Name })
	if i < 0 {
		return nil
	}
	return &e.dependents[i]
}

// ownTime says that a consumer takes a time which nothing here tells; "" where that is not so.
func ownTime(c consumers.Dependent) string {
	switch {
	case c.Kind == v1alpha1.KindClusterCA:
		return ownPhases(c.Name)
	case c.Manual:
		return c.Kind + "/" + c.Name + " is delivered by hand"
	default:
		return ""
	}
}

// ownPhases says that a subordinate CA is rotated after its parent.
func ownPhases(name string) string { return "ClusterCA/" + name + " is rotated in phases of its own" }

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

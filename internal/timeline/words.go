package timeline

import (
	"fmt"

	"clusterpki.io/operator/api/v1alpha1"
)

// course is how a rotation goes, which says what happens in its phases.
type course int

const (
	overlapping course = iota // the old CA is trusted until nothing needs it
	emergency
	sameKey
	rollback
)

func (r Rotation) course() course {
	switch {
	case r.RolledBack():
		return rollback
	case r.Emergency:
		return emergency
	case r.SameKey:
		return sameKey
	default:
		return overlapping
	}
}

// word says a state to people.
func (r Rotation) word(s Step) string {
	switch s.State {
	case v1alpha1.PhaseActive:
		return "under way"
	case v1alpha1.PhaseDone:
		return "done"
	case v1alpha1.PhaseSkipped:
		switch {
		case !s.Start.IsZero():
			return "broken off"
		case r.RolledBack(), r.Result == v1alpha1.RotationSuperseded:
			return "not reached"
		default:
			return "not needed"
		}
	default:
		return "to come"
	}
}

var notes = map[course]map[v1alpha1.Phase]string{
	overlapping: {
		v1alpha1.PhaseDistributingTrust: "both CAs are in the trust bundle; the old one signs until every consumer trusts both",
		v1alpha1.PhaseReissuing:         "the new CA signs; every certificate is re-issued",
		v1alpha1.PhaseWithdrawingTrust:  "the old CA is removed from the trust bundle; its key is deleted once nothing trusts it",
	},
	emergency: {
		v1alpha1.PhaseDistributingTrust: "an emergency has no overlap: the old CA is removed from the trust bundle at once",
		v1alpha1.PhaseReissuing:         "every certificate is re-issued at once, without waves",
		v1alpha1.PhaseWithdrawingTrust:  "the new CA signs and is trusted alone; what has anything older stops working until it is delivered",
	},
	sameKey: {
		v1alpha1.PhaseDistributingTrust: "whoever trusts the key already trusts the new certificate",
		v1alpha1.PhaseReissuing:         "the key is the same: every certificate stays valid",
		v1alpha1.PhaseWithdrawingTrust:  "the new certificate of the CA takes the place of the old one in the trust bundle",
	},
	rollback: {
		v1alpha1.PhaseDistributingTrust: "both CAs were in the trust bundle; the old one has signed all the time",
		v1alpha1.PhaseReissuing:         "the new CA has signed nothing",
		v1alpha1.PhaseWithdrawingTrust:  "the new CA is removed from the trust bundle; its key is deleted once nothing trusts it",
	},
}

// note says what happens in a phase. What was done before an emergency began was done as ever.
func (r Rotation) note(s Step) string {
	c := r.course()
	if c == emergency && s.Phase != v1alpha1.PhaseWithdrawingTrust && !s.Start.IsZero() {
		c = overlapping
	}
	return notes[c][s.Phase]
}

// Route names the generations.
func (r Rotation) Route() string {
	switch {
	case r.RolledBack():
		return fmt.Sprintf("generation %d is rolled back, and generation %d stays", r.To, r.From)
	case r.To == 0:
		return fmt.Sprintf("generation %d", r.From)
	}
	text := fmt.Sprintf("generation %d → %d", r.From, r.To)
	switch r.course() {
	case emergency:
		text = "emergency: " + text
	case sameKey:
		text += " with the same key"
	default:
	}
	if r.Supersedes != 0 {
		text += fmt.Sprintf(", in place of the rotation to generation %d", r.Supersedes)
	}
	return text
}

// Title names the generations and the cause.
func (r Rotation) Title() string {
	if r.Reason == "" {
		return r.Route()
	}
	return r.Route() + " (" + string(r.Reason) + ")"
}

// Outcome says how a rotation that is over has ended.
func (r Rotation) Outcome() string {
	switch r.Result {
	case v1alpha1.RotationRolledBack:
		return fmt.Sprintf("rolled back: generation %d signs as before, and generation %d has signed nothing", r.From, r.To)
	case v1alpha1.RotationSuperseded:
		return fmt.Sprintf("superseded: an emergency rotation took the place of the one to generation %d", r.To)
	default:
		return fmt.Sprintf("completed: generation %d signs and is trusted alone", r.To)
	}
}

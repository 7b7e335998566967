package controller

import (
	"errors"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki/plan"
)

var errOutdated = errors.New("it was changed in the meantime")

// transitionNote is the text of a transition's event.
func transitionNote(t plan.Transition, was, next plan.Ledger, seen plan.Seen) string {
	from, to := next.Route()
	switch t {
	case plan.Stage:
		return fmt.Sprintf("Another CA is wanted (%s): the key of generation %d was made", next.Cause, to)
	case plan.Publish:
		return fmt.Sprintf("Generation %d is published beside generation %d, which signs until every consumer trusts both", to, from)
	case plan.Switch:
		return fmt.Sprintf("Every consumer trusts generation %d: it signs now, and every certificate is issued again", to)
	case plan.Withdraw:
		if next.Emergency && !was.Emergency {
			return fmt.Sprintf("Mode 'Emergency': generation %d is no longer trusted, although certificates of it may be in use; "+
				"what has one stops working until it is delivered anew: %s", from, affected(seen))
		}
		return fmt.Sprintf("Every certificate in use is of generation %d: generation %d is no longer trusted", to, from)
	case plan.Forget:
		gone, _ := was.Route()
		if was.Phase() == plan.Preparing {
			_, gone = was.Route()
		}
		return fmt.Sprintf("Nothing trusts generation %d any more: its key was deleted", gone)
	case plan.Abort:
		_, gone := was.Route()
		return fmt.Sprintf("Generation %d is no longer wanted, or its key is lost: it signed nothing, and is given up", gone)
	case plan.Supersede:
		return fmt.Sprintf("Generation %d signs and is trusted alone from now on: "+
			"what has an older certificate or bundle stops working until it is delivered anew: %s", to, affected(seen))
	case plan.Renew:
		return fmt.Sprintf("Generation %d is the same key as generation %d, with new dates: nothing has to be issued again", to, from)
	default:
		return string(t)
	}
}

// affected names the consumers of a CA.
func affected(seen plan.Seen) string {
	names := make([]string, 0, len(seen.Peers))
	for _, p := range seen.Peers {
		names = append(names, p.Name)
	}
	return strings.Join(shortened(names), ", ")
}

// reportRotation puts a replacement into the status, and sets the next look at its gate.
func (r *clusterCAs) reportRotation(ca *v1alpha1.ClusterCA, st caState, now time.Time, rep *report, out *outcome) {
	status, conds := rotationStatus(ca, st, now)
	ca.Status.Rotation, rep.warnings = status, append(rep.warnings, conds...)
	if st.moved {
		out.nextCheck = now.Add(time.Second)
	} else if st.ledger.Phase() != plan.Completed {
		out.nextCheck = now.Add(r.poll)
	}
}

// rotationStatus describes a replacement for people, and as conditions.
func rotationStatus(ca *v1alpha1.ClusterCA, st caState, now time.Time) (v1alpha1.RotationStatus, []metav1.Condition) {
	l, phase := st.ledger, st.ledger.Phase()
	if phase == plan.Completed {
		return v1alpha1.RotationStatus{}, nil
	}
	s := v1alpha1.RotationStatus{
		Phase: string(phase), Trigger: string(l.Cause), PhaseTime: metav1.NewTime(l.Since), StartTime: metav1.NewTime(l.Started),
	}
	s.From, s.To = l.Route()
	conds := []metav1.Condition{{
		Type: v1alpha1.RotatingCondition, Status: metav1.ConditionTrue, Reason: string(phase), Message: phaseNotes[phase],
	}}
	g := st.gate
	if g.Name != phase { // it has just begun, and is looked at in a moment
		return s, conds
	}
	pending := shortened(g.Pending)
	if g.Settling {
		pending = append(pending, "consumers that may not be there yet")
	}
	s.Acked = fmt.Sprintf("%d/%d", g.Acknowledged, g.Required)
	s.Gates = []v1alpha1.GateStatus{{
		Name: string(phase), Acknowledged: new(int32(g.Acknowledged)), Required: new(int32(g.Required)), Pending: pending, //nolint:gosec // counts of objects
	}}
	if l.Emergency && len(pending) > 0 {
		conds = append(conds, metav1.Condition{
			Type: v1alpha1.RedeliveryRequiredCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonEmergency,
			Message: "the old CA is no longer trusted, and these are not known to have what replaces it; they may not work until it is delivered: " +
				strings.Join(pending, ", "),
		})
	}
	if !g.Open() && now.Sub(l.Since) > ca.Spec.Rotation.Timeout.Duration {
		conds = append(conds, metav1.Condition{
			Type: v1alpha1.RotationBlockedCondition, Status: metav1.ConditionTrue, Reason: string(phase),
			Message: "the phase has waited for longer than spec.rotation.timeout, and skips nobody; it waits for " + strings.Join(pending, ", "),
		})
	}
	return s, conds
}

const maxPending = 10

// shortened are the first ten names, and how many more there are.
func shortened(names []string) []string {
	if len(names) <= maxPending {
		return names
	}
	return append(names[:maxPending:maxPending], fmt.Sprintf("and %d more", len(names)-maxPending))
}

var phaseNotes = map[plan.Phase]string{
	plan.Preparing:         "the new CA's key is being made",
	plan.DistributingTrust: "both CAs are published; the old one signs until every consumer trusts both",
	plan.Reissuing:         "the new CA signs; every certificate is being issued again",
	plan.WithdrawingTrust:  "the old CA is out of the bundle; its key is deleted once nothing trusts it any more",
}

// generationStatuses lists the ledger's generations for people.
func generationStatuses(l plan.Ledger) []v1alpha1.GenerationStatus {
	out := make([]v1alpha1.GenerationStatus, 0, len(l.Generations))
	for _, g := range l.Generations {
		s := v1alpha1.GenerationStatus{Number: g.Number, State: string(g.State), SecretName: g.SecretName}
		if !g.NotAfter.IsZero() {
			s.NotAfter = metav1.NewTime(g.NotAfter)
		}
		out = append(out, s)
	}
	return out
}

package controller

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ca"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/limits"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/internal/shell"
)

// transitionNote is the text of a transition's event.
func transitionNote(s ca.Step) string {
	was, now, asked := s.From, s.To, s.Asked
	r := plan.Rotation{}
	if rotation := now.Rotation; rotation != nil {
		r = *rotation
	} else if now.LastRotation != nil {
		r = *now.LastRotation
	}
	switch s.Transition {
	case plan.Publish:
		return fmt.Sprintf("Another CA is wanted (%s): generation %d is published beside generation %d, which signs until every relying party trusts both",
			r.Cause, r.To, r.From)
	case plan.Switch:
		return fmt.Sprintf("Every relying party is known or assumed to trust generation %d: it is active now, and every certificate is re-issued", r.To)
	case plan.Withdraw:
		if r.Emergency && !emergencyOf(was) {
			return fmt.Sprintf("Emergency: generation %d is no longer trusted, although certificates of it may be in use; "+
				"its subjects stop working until new ones are delivered: %s", r.From, names(asked))
		}
		return fmt.Sprintf("Every certificate in use is of generation %d, as was acknowledged, or assumed and accepted by a person: "+
			"generation %d is no longer trusted", r.To, r.From)
	case plan.DeleteKey:
		if r.Result == plan.RolledBack {
			return fmt.Sprintf("The rotation was rolled back: no relying party trusts generation %d any more, and its key was deleted", r.To)
		}
		return fmt.Sprintf("No relying party trusts generation %d any more: its key was deleted", r.From)
	case plan.Rollback:
		return fmt.Sprintf("Generation %d is no longer wanted, and has signed nothing: the rotation is rolled back", r.To)
	case plan.Supersede:
		return fmt.Sprintf("Emergency: generation %d is active and is trusted alone from now on: "+
			"what has an older certificate or bundle stops working until it is redelivered: %s", r.To, names(asked))
	case plan.Renew:
		return fmt.Sprintf("Generation %d is the same key as generation %d, with new dates: no certificate is re-issued", r.To, r.From)
	default:
		return string(s.Transition)
	}
}

// maxNames is how many consumers a message names.
const maxNames = 10

// names are the first ten consumers, and how many more there are.
func names(pending []plan.Consumer) string {
	var out []string
	for i, c := range pending {
		if i == maxNames {
			out = append(out, fmt.Sprintf("and %d more", len(pending)-maxNames))
			break
		}
		text := c.Kind + "/" + c.Name
		if c.Reason != "" {
			text += " (" + c.Reason + ")"
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

// reportRotation puts the rotation under way, and the last one, into the status and the conditions.
func reportRotation(o *v1alpha1.ClusterCA, st ca.State, now time.Time, rep *report) {
	l := st.Record.Ledger
	o.Status.Rotation = rotationStatus(o, l, st.Gate)
	o.Status.LastRotation = lastRotationStatus(l.LastRotation)
	phase := l.Phase()
	if phase == plan.Completed {
		return
	}
	rep.warnings = append(rep.warnings, metav1.Condition{
		Type: v1alpha1.RotatingCondition, Status: metav1.ConditionTrue, Reason: string(phase), Message: phaseNote(l),
	})
	g := st.Gate
	if g.Phase != phase { // it has just begun, and is looked at in a moment
		return
	}
	if awaitsApproval(o, l, g) {
		rep.warnings = append(rep.warnings, withdrawalPending(o, l, g))
	}
	pending := names(g.Pending)
	if g.Settling {
		pending = strings.TrimPrefix(pending+", consumers that may not be there yet", ", ")
	}
	if emergencyOf(l) && pending != "" {
		rep.warnings = append(rep.warnings, metav1.Condition{
			Type: v1alpha1.RedeliveryRequiredCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonEmergency,
			Message: "the old CA is no longer trusted, and these are not known to have what takes its place; they may not work until it is delivered: " +
				pending,
		})
	}
	if !g.Open() && now.Sub(l.Since) > o.Spec.Rotation.ProgressDeadline.Duration {
		rep.warnings = append(rep.warnings, metav1.Condition{
			Type: v1alpha1.RotationBlockedCondition, Status: metav1.ConditionTrue, Reason: string(phase),
			Message: "the phase has waited for longer than spec.rotation.progressDeadline, and skips nobody; it waits for " + pending,
		})
	}
}

func awaitsApproval(o *v1alpha1.ClusterCA, l plan.Ledger, g plan.Gate) bool {
	return g.AwaitsApproval(plan.DesiredLedger{WithdrawalApproved: ca.Approved(o, l)})
}

// withdrawalPending says, as a condition, that a person has to accept what is only assumed.
func withdrawalPending(o *v1alpha1.ClusterCA, l plan.Ledger, g plan.Gate) metav1.Condition {
	named := ""
	if a := o.Spec.Rotation.Approved; a != nil && a.Withdrawal != "" { // else it would not be pending
		named = fmt.Sprintf("; it names %s now, which is no approval of this rotation", shell.Quote(a.Withdrawal))
	}
	return metav1.Condition{
		Type: v1alpha1.WithdrawalPendingCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonAssumed,
		Message: fmt.Sprintf("every certificate is re-issued, and both CAs are trusted. Before generation %d is withdrawn, a person has to accept what is "+
			"only assumed: that these use what their Secrets hold: %s. Once that is so, set spec.rotation.approved.withdrawal to %s, or "+
			"spec.delivery.acceptAssumed of each of them to 'Always'%s", l.Rotation.From, unexplained(g.Unaccepted), shell.Quote(l.RotationID(o.Name)), named),
	}
}

// unexplained are the names of consumers that all have the same reason.
func unexplained(of []plan.Consumer) string {
	of = slices.Clone(of)
	for i := range of {
		of[i].Reason = ""
	}
	return names(of)
}

func emergencyOf(l plan.Ledger) bool { return l.Rotation != nil && l.Rotation.Emergency }

// phaseNote says what the present phase waits for.
func phaseNote(l plan.Ledger) string {
	switch l.Phase() {
	case plan.DistributingTrust:
		return "both CAs are in the trust bundle; the old one signs until every relying party trusts both"
	case plan.Reissuing:
		return "the new CA is active; every certificate is being re-issued"
	default:
		if l.Rotation != nil && l.Rotation.Result == plan.RolledBack {
			return "the rotation is rolled back: the new CA is removed from the trust bundle; its key is deleted once no relying party trusts it any more"
		}
		return "the old CA is removed from the trust bundle; its key is deleted once no relying party trusts it any more"
	}
}

// rotationStatus describes the rotation under way; nothing where there is none.
func rotationStatus(o *v1alpha1.ClusterCA, l plan.Ledger, g plan.Gate) v1alpha1.RotationStatus {
	phase := l.Phase()
	if phase == plan.Completed {
		return v1alpha1.RotationStatus{}
	}
	s := v1alpha1.RotationStatus{Phase: v1alpha1.Phase(phase), ID: l.RotationID(o.Name)}
	if r := l.Rotation; r != nil {
		s.Reason, s.Trigger, s.From, s.To = v1alpha1.RotationReason(r.Cause), r.Trigger, r.From, r.To
		s.SameKey, s.Emergency, s.Result = yes(r.SameKey), yes(r.Emergency), v1alpha1.RotationResult(r.Result)
		s.StartTime, s.Phases = metav1.NewTime(r.Start), phaseStatuses(r)
	}
	if g.Phase != phase {
		return s
	}
	waits := g.Pending
	if awaitsApproval(o, l, g) {
		waits = g.Unaccepted
	}
	count := len(waits)
	for _, c := range waits[:min(count, limits.Items(v1alpha1.KindClusterCA, "rotation", "pending"))] {
		s.Pending = append(s.Pending, pendingStatus(o, c, l))
	}
	if g.Settling {
		count++
		s.Pending = append(s.Pending, v1alpha1.PendingConsumer{
			Kind: "Unknown", Name: "consumers", Reason: v1alpha1.PendingSettling, Since: metav1.NewTime(l.Since),
		})
	}
	s.Acknowledged, s.Assumed, s.Required, s.PendingCount = count32(g.Acknowledged), count32(g.Assumed), count32(g.Required), count32(count)
	return s
}

func pendingStatus(o *v1alpha1.ClusterCA, c plan.Consumer, l plan.Ledger) v1alpha1.PendingConsumer {
	if c.Reason == "" {
		c.Reason = v1alpha1.PendingNotIssued
	}
	if l.Phase() == plan.Reissuing && !c.Orphaned && !l.Admits(c.Seed) {
		c.Reason = v1alpha1.PendingAwaitingWave
	}
	since := c.Since
	if since.IsZero() || since.Before(l.Since) && c.Reason != v1alpha1.ReasonLeaseExpired {
		since = l.Since
	}
	return v1alpha1.PendingConsumer{
		Kind: c.Kind, Name: c.Name, Host: c.Host, Reason: c.Reason, Since: metav1.NewTime(since.UTC().Truncate(time.Second)),
		Edit: consumers.Edit(c, consumers.Approval{CA: o.Name, ID: l.RotationID(o.Name), Cluster: consumers.Cluster(o)}),
	}
}

// phaseStatuses are all phases of a rotation: those that it never entered, and never will, are skipped.
func phaseStatuses(r *plan.Rotation) []v1alpha1.PhaseStatus {
	var out []v1alpha1.PhaseStatus
	entered := map[plan.Phase]plan.PhaseTime{}
	last := plan.Phase("")
	for _, p := range r.Phases {
		entered[p.Name], last = p, p.Name
	}
	later := false
	for _, name := range v1alpha1.Phases() {
		p, there := entered[plan.Phase(name)]
		s := v1alpha1.PhaseStatus{Name: name, State: v1alpha1.PhaseSkipped}
		switch {
		case there && p.End.IsZero():
			s.State, s.StartTime = v1alpha1.PhaseActive, metav1.NewTime(p.Start)
		case there:
			s.State, s.StartTime, s.EndTime = v1alpha1.PhaseDone, metav1.NewTime(p.Start), metav1.NewTime(p.End)
		case later && r.End.IsZero():
			s.State = v1alpha1.PhasePending
		}
		later = later || plan.Phase(name) == last
		out = append(out, s)
	}
	return out
}

// lastRotationStatus describes a rotation that has ended.
func lastRotationStatus(r *plan.Rotation) v1alpha1.LastRotationStatus {
	if r == nil {
		return v1alpha1.LastRotationStatus{}
	}
	return v1alpha1.LastRotationStatus{
		From: r.From, To: r.To, Trigger: r.Trigger, Reason: v1alpha1.RotationReason(r.Cause), Result: v1alpha1.RotationResult(r.Result),
		SameKey: yes(r.SameKey), Emergency: yes(r.Emergency), StartTime: metav1.NewTime(r.Start), EndTime: metav1.NewTime(r.End), Phases: phaseStatuses(r),
	}
}

// generationStatuses lists the ledger's generations for people.
func generationStatuses(l plan.Ledger) []v1alpha1.GenerationStatus {
	out := make([]v1alpha1.GenerationStatus, 0, len(l.Generations))
	for _, g := range l.Generations {
		s := v1alpha1.GenerationStatus{Number: g.Number, State: v1alpha1.GenerationState(g.State), SHA256Fingerprint: g.SHA256, Trigger: g.Trigger}
		if !g.NotAfter.IsZero() {
			s.NotAfter = metav1.NewTime(g.NotAfter)
		}
		out = append(out, s)
	}
	return out
}

// yes is a status field that is absent unless it is true.
func yes(b bool) *bool {
	if !b {
		return nil
	}
	return &b
}

func count32(n int) *int32 { return new(int32(n)) } //nolint:gosec // counts of objects

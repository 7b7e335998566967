package controller

import (
	"context"
	"crypto/x509"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/leaf"
	"clusterpki.io/operator/internal/limits"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/internal/stall"
)

// report is all that an object's conditions follow from.
type report struct {
	err      error  // why the reconciliation ended early: a stall, or what is being retried
	known    bool   // whether unusable is known; if not, Ready stays as it was
	unusable error  // why what is published cannot be used now
	message  string // of Ready while True
	issuer   *leaf.Issuer
	waiting  string             // what the object waits for while it is usable
	reason   string             // of waiting, where that is not issuer's; it then also says what an unusable object waits for
	warnings []metav1.Condition // further conditions that are True now
	// here says that it holds for this installation of the operator, and another one may serve the object: that of the UID named, if any.
	here  bool
	named string
}

// conditions is the whole of an object's conditions: those that are not in it are removed.
func conditions(r report) []metav1.Condition {
	var out []metav1.Condition
	add := func(kind string, status bool, reason, message string) {
		s := metav1.ConditionFalse
		if status {
			s = metav1.ConditionTrue
		}
		out = append(out, metav1.Condition{Type: kind, Status: s, Reason: reason, Message: message})
	}
	if ready, reason, message := r.ready(); reason != "" {
		add(v1alpha1.ReadyCondition, ready, reason, message)
	}
	st, isStalled := stall.Of(r.err)
	switch {
	case isStalled:
		add(v1alpha1.StalledCondition, true, st.Reason, st.Message)
	case r.err != nil:
		add(v1alpha1.ReconcilingCondition, true, v1alpha1.ReasonRetrying, r.err.Error())
	case r.waiting != "":
		reason := r.reason
		if reason == "" {
			reason = r.issuer.Reason
		}
		add(v1alpha1.ReconcilingCondition, true, reason, r.waiting)
	}
	if r.issuer != nil && r.issuer.Reason != "" {
		add(v1alpha1.IssuerReadyCondition, r.issuer.Reason == v1alpha1.ReasonIssuerAvailable, r.issuer.Reason, r.issuer.Message)
	}
	return append(out, r.warnings...)
}

// ready is the Ready condition; no reason where it is not known.
func (r report) ready() (status bool, reason, message string) {
	st, isStalled := stall.Of(r.err)
	switch {
	case r.known && r.unusable == nil && isStalled:
		return true, v1alpha1.ReasonIssued, r.message + "; the spec as it is now is not applied: " + st.Message
	case r.known && r.unusable == nil:
		return true, v1alpha1.ReasonIssued, r.message
	case r.known && isStalled:
		return false, st.Reason, st.Message
	case r.known && r.reason != "":
		return false, r.reason, r.waiting
	case r.known && r.issuer != nil && r.issuer.Reason != v1alpha1.ReasonIssuerAvailable:
		return false, r.issuer.Reason, r.issuer.Message
	case r.known:
		return false, v1alpha1.ReasonNotUsable, r.unusable.Error()
	default:
		return false, "", ""
	}
}

// settle puts new conditions in place of old ones. Transition times change only with a status. A
// Ready that the new ones leave out is kept, or starts as Unknown.
func settle(now time.Time, generation int64, old, next []metav1.Condition) []metav1.Condition {
	var out []metav1.Condition
	if meta.FindStatusCondition(next, v1alpha1.ReadyCondition) == nil {
		ready := metav1.Condition{
			Type: v1alpha1.ReadyCondition, Status: metav1.ConditionUnknown,
			Reason: v1alpha1.ReasonRetrying, Message: "it is not known yet whether it is usable",
		}
		if was := meta.FindStatusCondition(old, v1alpha1.ReadyCondition); was != nil {
			ready = *was
		}
		next = append([]metav1.Condition{ready}, next...)
	}
	for _, c := range next {
		c.ObservedGeneration = generation
		c.LastTransitionTime = metav1.NewTime(now.UTC().Truncate(time.Second))
		if was := meta.FindStatusCondition(old, c.Type); was != nil && was.Status == c.Status {
			c.LastTransitionTime = was.LastTransitionTime
		}
		out = append(out, c)
	}
	return out
}

// certificateStatus describes a certificate for people.
func certificateStatus(secret string, cert *x509.Certificate, renewal time.Time, generation int32) v1alpha1.CertificateStatus {
	s := v1alpha1.CertificateStatus{
		SecretName:        secret,
		SerialNumber:      pki.SerialOf(cert),
		NotBefore:         metav1.NewTime(cert.NotBefore),
		NotAfter:          metav1.NewTime(cert.NotAfter),
		IssuerGeneration:  generation,
		SHA256Fingerprint: pki.FingerprintOf(cert),
	}
	if !renewal.IsZero() {
		s.RenewalTime = metav1.NewTime(renewal)
	}
	return s
}

// leafReport makes the report of a leaf; the caller adds what its kind has beside it.
func (b *base) leafReport(ctx context.Context, l leaf.Request, st leaf.State, err error) report {
	r := report{err: err, known: err == nil || st.Observed != nil || stall.Is(err), unusable: b.leaves.Usable(st), issuer: &st.Issuer}
	if stall.IsHere(err) { // whether it is usable, the other installation says
		r.known = false
	}
	if stall.Is(err) {
		ca, err := b.issuer(ctx, l.Owner.GetNamespace(), l.CA)
		r.here = err != nil || ca == nil || !b.home.Owns(ca)
		if ca != nil {
			r.named = ca.Status.Authority.NamespaceUID
		}
	}
	r.err = untilItEnds(err, st, r.unusable == nil)
	r.message = fmt.Sprintf("the certificate is in Secret %q", l.Secret)
	if st.Decision.Reason == plan.RestoreIncomplete {
		r.reason, r.waiting = v1alpha1.ReasonRestoreIncomplete, st.Decision.Message
	}
	switch {
	case st.RepairDelayed():
		delayed := &leaf.DelayedError{Secret: l.Secret, Until: st.Decision.NextCheck}
		r.reason, r.waiting = v1alpha1.ReasonRepairDelayed, delayed.Error()
		r.unusable = delayed // what stands there is not the operator's
	case st.Decision.Action == plan.Wait && r.unusable == nil:
		r.waiting = fmt.Sprintf("a new certificate is needed (%s: %s), and %s", st.Decision.Reason, st.Decision.Message, st.Issuer.Message)
	}
	if l.Invalid == nil && capped(l.Desired, st) {
		r.warnings = append(r.warnings, metav1.Condition{
			Type: v1alpha1.ValidityCappedCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonCAExpiresFirst,
			Message: fmt.Sprintf("the certificate ends together with ClusterCA %q, earlier than spec.validity asks for", l.CA),
		})
	}
	return r
}

// capped says whether the leaf was cut to the end of its CA.
func capped(d plan.Desired, st leaf.State) bool {
	if !st.Readable() || st.Issuer.CA == nil {
		return false
	}
	cert := st.Observed.Leaf.Cert
	short := cert.NotAfter.Sub(cert.NotBefore) < d.Spec.Validity+pki.ClockSkew
	return short && plan.Capped(cert, st.Issuer.CA)
}

// leafCertificate is the certificate part of a leaf's status; what was there stays if nothing is known, or somebody else has put it there.
func leafCertificate(l leaf.Request, st leaf.State, was v1alpha1.CertificateStatus, revision int32) (v1alpha1.CertificateStatus, int32) {
	if st.RepairDelayed() {
		return was, revision
	}
	if !st.Readable() {
		return was, st.Claim.Revision
	}
	d := l.Desired
	d.Issuer = st.Issuer.CA
	renewal := was.RenewalTime.Time
	if l.Invalid == nil {
		renewal = plan.RenewalTime(d, st.Observed.Leaf.Cert)
	}
	return certificateStatus(l.Secret, st.Observed.Leaf.Cert, renewal, st.Claim.Generation), st.Claim.Revision
}

// patchStatus writes the status once, if it changed.
func (b *base) patchStatus(ctx context.Context, before, after v1alpha1.Object) error {
	written, err := limits.PatchStatus(ctx, b.client, before, after)
	if written {
		b.wrote.Updated(after.Kind(), after)
	}
	if apierrors.IsNotFound(err) { // it was deleted in the meantime
		return nil
	}
	return err
}

// outcome is what a reconciliation did, and when its answer changes by itself.
type outcome struct {
	issued    bool
	reason    plan.Reason
	nextCheck time.Time
}

// leafOutcome is that of a leaf, of which an agent's Lease says something too.
func leafOutcome(st leaf.State, agent reported, now time.Time) outcome {
	turns := consumers.Turns(agent.Reported, agent.delivery.spec, agent.delivery.host, now)
	return outcome{issued: st.Issued, reason: st.Decision.Reason, nextCheck: sooner(st.Decision.NextCheck, turns)}
}

// conclude is the end of every reconciliation: what was issued is counted, the status is written, and the next visit set.
func (b *base) conclude(ctx context.Context, before, after v1alpha1.Object, rep report, o outcome) (ctrl.Result, error) {
	if rep.here {
		return b.concludeHere(ctx, before, rep, o)
	}
	if o.issued { // the status and the log say it: an event is for what a person should see
		b.counts.Issued(after.Kind(), string(o.reason))
	}
	o.nextCheck = sooner(o.nextCheck, rep.awaitKey())
	if owned.LostRace(rep.err) {
		return b.result(rep.err, time.Time{})
	}
	conds := after.StatusConditions()
	old := *conds
	*conds = settle(b.clock.Now(), after.GetGeneration(), old, conditions(rep))
	*after.ObservedGeneration() = after.GetGeneration()
	if err := b.patchStatus(ctx, before, after); err != nil {
		return b.result(err, zeroTime)
	}
	b.announced.forget(after.Kind(), client.ObjectKeyFromObject(after))
	b.announceStalled(after, old, *conds)
	b.announceAgent(after, old, *conds)
	return b.result(rep.err, o.nextCheck, *conds...)
}

// announceStalled emits one event when an object stalls, or stalls for another reason.
func (b *base) announceStalled(on client.Object, old, next []metav1.Condition) {
	now := meta.FindStatusCondition(next, v1alpha1.StalledCondition)
	was := meta.FindStatusCondition(old, v1alpha1.StalledCondition)
	if now != nil && (was == nil || was.Reason != now.Reason) {
		b.events.Eventf(on, nil, corev1.EventTypeWarning, now.Reason, "Reconcile", "%s", now.Message)
	}
}

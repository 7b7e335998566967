package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

// clusterCAs reconciles ClusterCAs.
type clusterCAs struct {
	base
	observer serverObserver
	reader   *consumers.Reader
}

// Reconcile brings one ClusterCA to what its spec asks for. Its first key is made once; another one takes its place in the
// phases of the ledger.
func (r *clusterCAs) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var ca v1alpha1.ClusterCA
	if found, err := r.get(ctx, req, &ca); !found {
		return skipped(err)
	}
	view, err := r.reconcile(ctx, &ca)
	return r.finish(ctx, &ca, view, err)
}

// caView is how a ClusterCA stands at the end of a reconciliation, as far as that is known.
type caView struct {
	record  *authority.Record // nil: there is none
	bundle  []byte            // that is published
	digest  string
	renewal time.Time // when the active CA is due for rotation; zero: never by itself
	step    step
	created bool // the first key was made in this reconciliation
}

// reconcile reads what the authority namespace says, or makes the first key; makes the step of the ledger that is due; and
// publishes what follows. An error of one part keeps no other part from being done.
func (r *clusterCAs) reconcile(ctx context.Context, ca *v1alpha1.ClusterCA) (caView, error) {
	record, created, err := r.record(ctx, ca)
	if err != nil {
		return caView{}, err
	}
	view := caView{record: record, created: created}
	want, wantErr := r.want(ctx, ca, record)
	if wantErr != nil && !isStall(wantErr) {
		return view, wantErr
	}
	view.renewal = want.renewal
	view.step, err = r.advance(ctx, ca, record, want)
	view.record = view.step.record
	if lostRace(err) {
		return view, err
	}
	own := *view.record // others may have been given the same one
	view.record = &own
	var published error
	view.bundle, view.digest, published = r.publish(ctx, ca, view.record)
	_, keyErr := view.record.Active()
	return view, firstOf(err, keyMissing(view.record, keyErr), wantErr, published)
}

// firstOf is the error that says most: the first that is a stall, else the first.
func firstOf(errs ...error) error {
	var first error
	for _, err := range errs {
		if isStall(err) {
			return err
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// keyMissing says what to do about an active key that is not there.
func keyMissing(record *authority.Record, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, authority.ErrKeyMissing):
		return stalled(v1alpha1.ReasonCAKeyMissing, "%v: restore Secret %q of the authority namespace from a backup, or change spec.rotation.trigger to "+
			"have the CA rotated; nothing is signed until then, and no other CA is made in its place by itself",
			err, authority.SecretName(record.Namespace, record.Name))
	default:
		return stalled(v1alpha1.ReasonCAKeyInvalid, "%v: restore Secret %q of the authority namespace from a backup",
			err, authority.SecretName(record.Namespace, record.Name))
	}
}

// finish writes the status and says when to look again.
func (r *clusterCAs) finish(ctx context.Context, ca *v1alpha1.ClusterCA, view caView, err error) (ctrl.Result, error) {
	now := r.clock.Now()
	before := ca.DeepCopy()
	rep := report{err: err, known: err == nil || isStall(err), unusable: errors.New("no CA that can sign is published"), elsewhere: r.ours(ca) != nil}
	out := outcome{reason: plan.SecretMissing}
	if view.record != nil && !view.record.Tombstone() {
		r.reportCA(ca, view, now, &rep, &out)
		reportRotation(ca, view, now, &rep)
		if phase := view.record.Ledger.Phase(); view.step.moved {
			out.nextCheck = now.Add(time.Second)
		} else if phase != plan.Completed {
			out.nextCheck = sooner(out.nextCheck, now.Add(r.poll))
		}
	}
	if ca.Spec.Source.IsImport() { // its Secret is not in the cache
		out.nextCheck = sooner(out.nextCheck, now.Add(stalledDelay))
	}
	if view.step.held != "" {
		rep.reason, rep.waiting = view.step.heldReason, view.step.held
		out.nextCheck = sooner(out.nextCheck, now.Add(r.poll))
	}
	out.issued = view.created
	return r.conclude(ctx, before, ca, rep, out)
}

// reportCA describes the active CA and what is published.
func (r *clusterCAs) reportCA(ca *v1alpha1.ClusterCA, view caView, now time.Time, rep *report, out *outcome) {
	active, _ := view.record.Ledger.Active()
	pair, err := view.record.Active()
	ca.Status.Generations = generationStatuses(view.record.Ledger)
	ca.Status.Revision = max(ca.Status.Revision, view.record.Ledger.Last)
	ca.Status.Authority.NamespaceUID = r.authorityUID()
	if view.digest != "" {
		ca.Status.Trust = v1alpha1.TrustStatus{
			ConfigMapName: ca.TrustConfigMapName(), BundleRevision: max(1, view.record.Ledger.BundleRevision), BundleSHA256: view.digest,
		}
	}
	if err != nil {
		return
	}
	rep.unusable = nil
	switch {
	case !now.Before(pair.Cert.NotAfter):
		rep.unusable = errors.New("the CA has expired: every certificate that it signed is refused")
	default:
		out.nextCheck = pair.Cert.NotAfter
		if now.Before(view.renewal) {
			out.nextCheck = view.renewal
		}
	}
	rep.message = fmt.Sprintf("generation %d is active, and the trust bundle is published in ConfigMap %q", active.Number, ca.TrustConfigMapName())
	rep.warnings = append(rep.warnings, rotationPending(ca, view, now)...)
	ca.Status.Certificate = certificateStatus("", pair.Cert, view.renewal, active.Number)
}

// rotationPending says, as a condition, that a CA should be rotated and only a person can do that.
func rotationPending(ca *v1alpha1.ClusterCA, view caView, now time.Time) []metav1.Condition {
	active, _ := view.record.Ledger.Active()
	c := metav1.Condition{Type: v1alpha1.RotationPendingCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonRenewalDue}
	switch {
	case !ca.Spec.Source.IsImport():
		return nil
	case view.step.unnamed != "":
		c.Reason = v1alpha1.ReasonImportChanged
		c.Message = view.step.unnamed
	case view.renewal.IsZero() || now.Before(view.renewal):
		return nil
	default:
		c.Message = fmt.Sprintf("generation %d, which was imported, has reached its renewal time: put another CA into Secret %q, and the SHA-256 of its "+
			"certificate into spec.source.import.certificateSHA256", active.Number, ca.Spec.Source.Import.SecretRef.Name)
	}
	return []metav1.Condition{c}
}

// bundleOf renders what a CA publishes.
func bundleOf(certs []certificate) (bundle []byte, digest string, err error) {
	bundle, err = pki.Bundle(certs)
	if err != nil {
		return nil, "", fmt.Errorf("render the trust bundle: %w", err)
	}
	return bundle, pki.BundleDigest(certs), nil
}

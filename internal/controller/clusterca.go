package controller

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

// clusterCAs reconciles ClusterCAs.
type clusterCAs struct {
	base
	wire wire
}

// caState is how a ClusterCA stands, as far as a reconciliation has come.
type caState struct {
	ledger  plan.Ledger
	signing plan.Generation
	pairs   map[int32]pki.KeyPair // of the generations whose Secrets are there
	pair    *pki.KeyPair          // of the generation that signs; nil where it is not known
	keyErr  error                 // why not
	want    plan.Want
	above   *pki.KeyPair // of the CA that signs this one
	parent  plan.Parent  // and which of its keys that is
	foreign *pki.KeyPair // that is to be imported
	created bool         // the first generation was made in this reconciliation
	moved   bool         // the ledger made a step in this reconciliation
	gate    plan.Gate    // of the present phase
	held    bool         // a step is due, and waits because the CA was restored a short while ago
}

// Reconcile brings one ClusterCA's generations and trust bundle to what its spec asks for. It makes a first
// CA once; another one replaces it in the phases of the ledger.
func (r *clusterCAs) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var ca v1alpha1.ClusterCA
	if found, err := r.get(ctx, req, &ca); !found {
		return ctrl.Result{}, err
	}
	var st caState
	err := r.publish(ctx, &ca, &st)
	return r.finish(ctx, &ca, st, err)
}

// publish makes sure that the ledger exists, that the key which signs is there, and that the bundle is what the
// ledger says; then it makes the step of the ledger that is due.
func (r *clusterCAs) publish(ctx context.Context, ca *v1alpha1.ClusterCA, st *caState) error {
	trust, err := r.trust(ctx, ca)
	if err != nil {
		return err
	}
	if trust == nil {
		if trust, err = r.begin(ctx, ca, st); err != nil {
			return err
		}
	}
	if !ownedBy(trust, ca, kindClusterCA) {
		return conflict("ConfigMap", trust.Name)
	}
	if st.ledger, err = plan.ParseLedger(trust.Data[ledgerKey]); err != nil {
		return stalled(v1alpha1.ReasonLedgerUnreadable,
			"ConfigMap %q: %v: restore it from a backup, or delete it to have it rebuilt from the generation Secrets", trust.Name, err)
	}
	st.signing, _ = st.ledger.Signing() // ParseLedger made sure of it
	if err := r.generations(ctx, ca, st, true); err != nil {
		return err
	}
	if trust, err = r.ensureTrust(ctx, ca, st, trust); err != nil {
		return err
	}
	if err := r.ensurePair(ctx, ca, st, trust); err != nil {
		return err
	}
	asked := r.asks(ctx, ca, st)
	if asked != nil && !isStall(asked) {
		return asked
	}
	if err := r.rotate(ctx, ca, st, trust); err != nil {
		return err
	}
	if st.keyErr != nil {
		return st.keyErr
	}
	return asked
}

// finish writes the status and says when to look again.
func (r *clusterCAs) finish(ctx context.Context, ca *v1alpha1.ClusterCA, st caState, err error) (ctrl.Result, error) {
	now := r.clock.Now()
	before := ca.DeepCopy()
	rep := report{err: err, known: err == nil || isStall(err)}
	out := outcome{reason: plan.SecretMissing}
	switch {
	case st.pair == nil:
		rep.unusable = fmt.Errorf("no CA that can sign is published")
	case !now.Before(st.pair.Cert.NotAfter):
		rep.unusable = fmt.Errorf("the CA has expired: every certificate that it signed is refused")
	default:
		out.nextCheck = st.pair.Cert.NotAfter
		if at := st.renewal(ca); now.Before(at) {
			out.nextCheck = at
		}
	}
	if len(st.ledger.Generations) > 0 {
		r.reportRotation(ca, st, now, &rep, &out)
		ca.Status.Generations = generationStatuses(st.ledger)
		ca.Status.Trust = v1alpha1.TrustStatus{ConfigMapName: ca.TrustConfigMapName(), Revision: max(1, st.ledger.TrustRevision)}
	}
	if st.pair != nil {
		renewal := st.renewal(ca)
		rep.message = fmt.Sprintf("generation %d signs, and its certificate is published in ConfigMap %q", st.signing.Number, ca.TrustConfigMapName())
		rep.warnings = append(rep.warnings, pending(ca, st, renewal, now)...)
		ca.Status.Certificate = certificateStatus(st.signing.SecretName, *st.pair, renewal, st.signing.Number)
		ca.Status.Revision = max(ca.Status.Revision, st.signing.Number)
	}
	if ca.Spec.Source.IsImport() { // its Secret is not in the cache
		out.nextCheck = sooner(out.nextCheck, now.Add(stalledDelay))
	}
	if at := awaits(ca); now.Before(at) {
		out.nextCheck = sooner(out.nextCheck, at)
	}
	if st.held {
		rep.reason = v1alpha1.ReasonRestoreIncomplete
		rep.waiting = "this ClusterCA was restored less than ten minutes ago: its replacement waits, because keys and consumers may still be on their way"
	}
	if st.created {
		out.issuedInto = st.signing.SecretName
	}
	return r.conclude(ctx, before, ca, &ca.Status.Conditions, &ca.Status.ObservedGeneration, rep, out)
}

// pending says, as a condition, that an imported CA should be replaced: only a person can do that.
func pending(ca *v1alpha1.ClusterCA, st caState, renewal, now time.Time) []metav1.Condition {
	if !ca.Spec.Source.IsImport() || now.Before(renewal) {
		return nil
	}
	return []metav1.Condition{{
		Type: v1alpha1.ReplacementPendingCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonRenewalDue,
		Message: fmt.Sprintf("generation %d, which was imported, has reached its renewal time: put another CA into Secret %q",
			st.signing.Number, ca.Spec.Source.Import.SecretRef.Name),
	}}
}

// dies says whether what was made for a ClusterCA goes with it.
func dies(ca *v1alpha1.ClusterCA) bool { return ca.Spec.DeletionPolicy == v1alpha1.DeletionDelete }

package controller

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

// clusterCAs reconciles ClusterCAs.
type clusterCAs struct {
	base
	rotates bool // whether it replaces CAs, or only says that it should
}

// caState is how a ClusterCA stands at the end of a reconciliation.
type caState struct {
	ledger  plan.Ledger
	signing plan.Generation
	pair    *pki.KeyPair // of the signing generation; nil where it is not known
	created bool         // the first generation was made in this reconciliation
	moved   bool         // the ledger made a step in this reconciliation
	gate    plan.Gate    // of the present phase
}

// Reconcile brings one ClusterCA's generations and trust bundle to what its spec asks for. It makes a first
// CA once; where it rotates, another one replaces it in the phases of the ledger.
func (r *clusterCAs) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var ca v1alpha1.ClusterCA
	if found, err := r.get(ctx, req, &ca); !found {
		return ctrl.Result{}, err
	}
	var st caState
	err := r.publish(ctx, &ca, &st)
	return r.finish(ctx, &ca, st, err)
}

// publish makes sure that the ledger exists, that the keys it names are there, and that the bundle is
// what the ledger says.
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
	bundle, err := r.bundle(ctx, ca, st)
	if err != nil {
		return err
	}
	if trust, err = r.ensureTrust(ctx, ca, trust, bundle); err != nil {
		return err
	}
	if !r.rotates {
		return nil
	}
	return r.rotate(ctx, ca, st, trust)
}

// bundle reads every published generation's Secret, checks it and renders the bundle from them.
func (r *clusterCAs) bundle(ctx context.Context, ca *v1alpha1.ClusterCA, st *caState) ([]byte, error) {
	pairs := make([]pki.KeyPair, 0, len(st.ledger.Generations))
	for _, g := range st.ledger.Published() {
		pair, err := r.generation(ctx, ca, g)
		if err != nil {
			return nil, err
		}
		if g.Number == st.signing.Number {
			st.pair = &pair
		}
		pairs = append(pairs, pair)
	}
	bundle, err := pki.Bundle(certificates(pairs))
	if err != nil {
		return nil, fmt.Errorf("render the trust bundle: %w", err)
	}
	return bundle, nil
}

// generation reads one generation's Secret, from the API server itself before it says that one is gone.
func (r *clusterCAs) generation(ctx context.Context, ca *v1alpha1.ClusterCA, g plan.Generation) (pki.KeyPair, error) {
	s, err := r.cachedSecret(ctx, ca.Namespace, g.SecretName)
	if err == nil && s == nil {
		s, err = r.liveSecret(ctx, ca.Namespace, g.SecretName)
	}
	if err != nil {
		return pki.KeyPair{}, err
	}
	pair, err := generationPair(s, g)
	if err != nil {
		return pki.KeyPair{}, err
	}
	next := s.DeepCopy()
	if stamp(next, ca, kindClusterCA, dies(ca), generationFacts(g.Number, g.RequestHash)) {
		if err := r.client.Update(ctx, next); err != nil {
			return pki.KeyPair{}, fmt.Errorf("update Secret %q: %w", s.Name, err)
		}
	}
	return pair, nil
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
	}
	if st.pair != nil {
		desired := desiredCA(ca)
		if at := desired.RenewalTime(st.pair.Cert); now.Before(at) {
			out.nextCheck = at
		}
		if r.rotates {
			r.reportRotation(ca, st, now, &rep, &out)
		} else {
			rep.warnings = append(rep.warnings, pending(desired, ca.Spec.Rotation.Revision, st, now)...)
		}
		ca.Status.Generations = generationStatuses(st.ledger)
		rep.message = fmt.Sprintf("generation %d signs, and its certificate is published in ConfigMap %q", st.signing.Number, ca.TrustConfigMapName())
		ca.Status.Certificate = certificateStatus(st.signing.SecretName, *st.pair, desired.RenewalTime(st.pair.Cert), st.signing.Number)
		ca.Status.Revision = st.signing.Number
		ca.Status.Trust = v1alpha1.TrustStatus{ConfigMapName: ca.TrustConfigMapName(), Revision: max(1, st.ledger.TrustRevision)}
	}
	if st.created {
		out.issuedInto = st.signing.SecretName
	}
	return r.conclude(ctx, before, ca, &ca.Status.Conditions, &ca.Status.ObservedGeneration, rep, out)
}

// pending says, as a condition, that the CA should be replaced.
func pending(d plan.DesiredCA, trigger string, st caState, now time.Time) []metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ReplacementPendingCondition, Status: metav1.ConditionTrue}
	why, _ := plan.Replacement(now, d, st.signing, st.pair.Cert)
	if trigger != st.signing.Trigger {
		why = plan.RequestChanged
	}
	switch why {
	case "":
		return nil
	case plan.RenewalDue:
		c.Reason = v1alpha1.ReasonRenewalDue
		c.Message = fmt.Sprintf("generation %d has reached its renewal time: it should be replaced before it ends", st.signing.Number)
	default:
		c.Reason = v1alpha1.ReasonSpecChanged
		c.Message = fmt.Sprintf("the spec asks for another CA than generation %d: its replacement is pending; generation %d signs and is trusted until then",
			st.signing.Number, st.signing.Number)
	}
	return []metav1.Condition{c}
}

// dies says whether what was made for a ClusterCA goes with it.
func dies(ca *v1alpha1.ClusterCA) bool { return ca.Spec.DeletionPolicy == v1alpha1.DeletionDelete }

// isGeneration says whether a Secret is a generation of a ClusterCA.
func isGeneration(s *corev1.Secret, ca *v1alpha1.ClusterCA) bool {
	return ownedBy(s, ca, kindClusterCA) && s.Annotations[v1alpha1.GenerationAnnotation] != ""
}

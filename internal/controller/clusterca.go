package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ca"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/internal/stall"
)

// clusterCAs reconciles ClusterCAs.
type clusterCAs struct {
	base
	cas *ca.Maker
}

// cas makes what brings CAs to what their ClusterCAs ask for.
func (b *base) cas(servers serverObserver) *ca.Maker {
	return &ca.Maker{
		Client: b.client, Live: b.live, Clock: b.clock, Home: b.home, Store: b.store, Issuers: b.leaves.Issuers, Secrets: b.secrets, Wrote: b.wrote,
		Keys: b.keys, Reader: &consumers.Reader{}, Keeper: b.keeper, Reported: b.reports.of,
		Serving: func(c *v1alpha1.APIServerCertificate) consumers.Serving {
			return observed{servers.Observation(probeKey(client.ObjectKeyFromObject(c)))}
		},
	}
}

// Reconcile brings one ClusterCA to what its spec asks for. Its first key is made once; another one takes its place in the
// phases of the ledger.
func (r *clusterCAs) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var o v1alpha1.ClusterCA
	if found, err := r.get(ctx, req, &o); !found {
		return skipped(err)
	}
	st, err := r.cas.Reconcile(ctx, &o)
	err = refused(err)
	r.announceStep(&o, st.Step)
	return r.finish(ctx, &o, st, err)
}

// announceStep says what a step of the ledger did.
func (r *clusterCAs) announceStep(o *v1alpha1.ClusterCA, s ca.Step) {
	if s.Transition == plan.Nothing {
		return
	}
	if s.To.Rotation != nil && len(s.To.Generations) > len(s.From.Generations) {
		r.counts.Issued(o.Kind(), string(s.To.Rotation.Cause))
	}
	if s.NotCrossSigned != nil {
		r.events.Eventf(o, nil, corev1.EventTypeWarning, v1alpha1.ReasonNotCrossSigned, "Rotate",
			"The new CA is not cross-signed by the old one: %v", s.NotCrossSigned)
	}
	kind := corev1.EventTypeNormal
	if emergencyOf(s.To) && (s.Transition == plan.Supersede || s.Transition == plan.Withdraw) {
		kind = corev1.EventTypeWarning
	}
	if !slices.Contains([]plan.Transition{plan.Admit, plan.Arrive, plan.GiveTurn}, s.Transition) {
		r.events.Eventf(o, nil, kind, string(s.Transition), "Rotate", "%s", transitionNote(s))
	}
}

// finish writes the status and says when to look again.
func (r *clusterCAs) finish(ctx context.Context, o *v1alpha1.ClusterCA, st ca.State, err error) (ctrl.Result, error) {
	now := r.clock.Now()
	before := o.DeepCopy()
	rep := report{
		err: err, known: err == nil || stall.Is(err) || st.Record != nil, unusable: errors.New("no CA that can sign is published"),
		here: r.home.Serves(o) != nil || stall.Is(err) && st.Record == nil && !r.home.Owns(o), named: o.Status.Authority.NamespaceUID,
	}
	out := outcome{reason: plan.SecretMissing}
	if st.Record != nil && !st.Record.Tombstone() {
		r.reportCA(o, st, now, &rep, &out)
		reportRotation(o, st, now, &rep)
		if phase := st.Record.Ledger.Phase(); st.Moved() {
			out.nextCheck = now.Add(time.Second)
		} else if phase != plan.Completed {
			out.nextCheck = sooner(out.nextCheck, now.Add(r.poll))
		}
	}
	if o.Spec.Source.IsImport() { // its Secret is not in the cache
		out.nextCheck = sooner(out.nextCheck, now.Add(stalledDelay))
	}
	if st.Waits != "" {
		rep.reason, rep.waiting = st.WaitsReason, st.Waits
		out.nextCheck = sooner(out.nextCheck, now.Add(r.poll))
	}
	out.issued = st.Created
	return r.conclude(ctx, before, o, rep, out)
}

// reportCA describes the active CA and what is published.
func (r *clusterCAs) reportCA(o *v1alpha1.ClusterCA, st ca.State, now time.Time, rep *report, out *outcome) {
	active, _ := st.Record.Ledger.Active()
	pair, err := st.Record.Active()
	o.Status.Generations = generationStatuses(st.Record.Ledger)
	o.Status.Revision = max(o.Status.Revision, st.Record.Ledger.Last)
	o.Status.Authority.NamespaceUID = r.home.UID()
	if st.Digest != "" {
		o.Status.Trust = v1alpha1.TrustStatus{
			ConfigMapName: o.TrustConfigMapName(), BundleRevision: max(1, st.Record.Ledger.BundleRevision), BundleSHA256: st.Digest,
		}
	}
	if err != nil {
		return
	}
	rep.unusable = nil
	end := ca.EndOf(active, pair)
	switch {
	case !now.Before(end):
		rep.unusable = errors.New("the CA has expired: every certificate that it signed is refused")
	default:
		out.nextCheck = end
		if now.Before(st.Renewal) {
			out.nextCheck = st.Renewal
		}
	}
	rep.message = fmt.Sprintf("generation %d is active, and the trust bundle is published in ConfigMap %q", active.Number, o.TrustConfigMapName())
	rep.warnings = append(rep.warnings, rotationPending(o, st, now)...)
	o.Status.Certificate = certificateStatus("", pair.Cert, st.Renewal, active.Number)
	o.Status.Certificate.NotAfter = metav1.NewTime(end)
}

// rotationPending says, as a condition, that a CA should be rotated and only a person can do that.
func rotationPending(o *v1alpha1.ClusterCA, st ca.State, now time.Time) []metav1.Condition {
	active, _ := st.Record.Ledger.Active()
	c := metav1.Condition{Type: v1alpha1.RotationPendingCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonRenewalDue}
	switch {
	case st.Undecided.Reason != "":
		c.Reason, c.Message = st.Undecided.Reason, st.Undecided.Message
	case !o.Spec.Source.IsImport():
		return nil
	case st.Renewal.IsZero() || now.Before(st.Renewal):
		return nil
	default:
		c.Message = fmt.Sprintf("generation %d, which was imported, has reached its renewal time: put another CA into Secret %q, and name it in "+
			"spec.source.import.certificateSHA256 and rootSHA256", active.Number, o.Spec.Source.Import.SecretRef.Name)
	}
	return []metav1.Condition{c}
}

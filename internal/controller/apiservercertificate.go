package controller

import (
	"context"
	"errors"
	"fmt"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/accounts"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/desired"
	"clusterpki.io/operator/internal/leaf"
	"clusterpki.io/operator/internal/stall"
)

// Keys of generated Secrets beside those of kubernetes.io/tls.
const (
	bundleKey       = consumers.BundleKey
	clientBundleKey = consumers.ClientBundleKey
	headerBundleKey = consumers.HeaderBundleKey
)

// apiServerCertificates reconciles APIServerCertificates.
type apiServerCertificates struct {
	base
	accounts *accounts.Maker
	observer serverObserver
	existing <-chan event.GenericEvent // of what the observer observes
}

// Reconcile brings one APIServerCertificate's Secrets to what its spec asks for.
func (r *apiServerCertificates) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var c v1alpha1.APIServerCertificate
	if found, err := r.get(ctx, req, &c); !found {
		if err == nil {
			r.observer.Remove(probeKey(req.NamespacedName))
		}
		return skipped(err)
	}
	r.watch(&c)
	view, err := r.reconcile(ctx, &c)
	return r.finish(ctx, &c, view, refused(err))
}

// serverView is how an APIServerCertificate stands at the end of a reconciliation, as far as that is known.
type serverView struct {
	asked leaf.Request
	agent reported
	leaf  leaf.State
	// clients is the CA that keeps a bundle of clients' CAs from being rendered, or ready.
	clients leaf.Issuer
	// hasClientBundle says whether the Secret holds client-ca.crt.
	hasClientBundle bool
	// refused says why a bundle of clients' CAs stays as it is.
	refused error
	// keys are the service account keys that it is given.
	keys accounts.Served
	turn *turn // nil: nothing was asked for
}

// reconcile makes the Secrets of an API server. An error of the Lease keeps nothing from being issued.
func (r *apiServerCertificates) reconcile(ctx context.Context, c *v1alpha1.APIServerCertificate) (serverView, error) {
	v := serverView{asked: leaf.Request{Owner: c, Secret: c.TLSSecretName(), CA: c.Spec.CARef.Name}}
	v.asked.Desired, v.asked.Invalid = desired.APIServer(c)
	if v.asked.Invalid == nil {
		v.asked.Invalid = desired.EndpointCovered(c)
	}
	existing, err := r.secrets.Cached(ctx, c.Namespace, v.asked.Secret)
	if err != nil {
		return v, err
	}
	v.hasClientBundle = existing != nil && len(existing.Data[clientBundleKey]) > 0
	if v.asked.Keeper, err = r.keeper(ctx, c.Namespace); err != nil {
		return v, err
	}
	if err := r.servedElsewhere(ctx, c.Namespace, v.asked.CA); err != nil {
		return v, err
	}
	if v.asked.Invalid, err = denied(v.asked.Invalid, func() error {
		_, err := r.mayHave(ctx, v.asked, desired.AskedByServer(c, v.asked.Desired))
		return err
	}); err != nil {
		return v, err
	}
	agent, leaseErr := r.attendLease(ctx, attended{c, v.asked.Keeper, c.LeaseName(), c.Spec.HostName, c.Spec.Delivery})
	v.agent, v.asked.Acknowledgment = agent, agent.acknowledgment
	was := leaf.ClaimOf(v.asked.Keeper, existing)
	v.turn = r.turnOf(ctx, agent.delivery, was)
	v.asked.Awaits = v.turn.awaits
	bundles, err := r.bundles(ctx, c, was, v.asked)
	v.clients, v.asked.Bundles, v.asked.Absent = bundles.wanting, bundles.rendered, bundles.absent
	if err != nil {
		return v, err
	}
	v.refused = bundles.refused
	var keysErr error
	if c.ServiceAccountKeyName() != "" {
		v.keys, keysErr = r.accounts.Serve(ctx, c, agent.Reported)
	}
	if c.Spec.Delivery.Mode == v1alpha1.DeliveryAgent {
		v.asked.Delivery = &leaf.Delivery{
			Host: c.Spec.HostName, ServiceAccounts: v.keys.Document, Held: v.keys.Held || keysErr != nil, Taken: agent.taken(),
		}
	}
	v.leaf, err = r.leaves.Make(ctx, v.asked, existing)
	return v, stall.First(err, keysErr, v.turn.err, v.refused, leaseErr)
}

// finish writes the status and says when to look again.
func (r *apiServerCertificates) finish(ctx context.Context, c *v1alpha1.APIServerCertificate, v serverView, err error) (ctrl.Result, error) {
	l, st, clients := v.asked, v.leaf, v.clients
	rep := r.leafReport(ctx, l, st, err)
	if clients.Bundle == nil && st.Issuer.Reason == v1alpha1.ReasonIssuerAvailable {
		rep.issuer = &clients
		if rep.unusable == nil && !v.hasClientBundle {
			rep.unusable = errors.New("the bundle that verifies clients is not there yet")
		}
	}
	if v.keys.Secret != "" {
		rep.message = fmt.Sprintf("the certificate is in Secret %q, the service account keys in Secret %q", l.Secret, v.keys.Secret)
	}
	if v.keys.Missing != "" && rep.unusable == nil && rep.waiting == "" {
		rep.unusable = errors.New(v.keys.Missing)
		rep.reason, rep.waiting = v1alpha1.ReasonServiceAccountKeyNotFound, v.keys.Missing
	}
	rep.warnings = append(rep.warnings, r.serving(c, st, clients.Roots)...)
	acknowledged, ackErr := r.acknowledged(ctx, c.Namespace, v.agent, l.Secret)
	rep.warnings = append(rep.warnings, acknowledged...)
	if rep.err == nil {
		rep.err = ackErr
	}
	before := c.DeepCopy()
	c.Status.Certificate, c.Status.Revision = leafCertificate(l, st, c.Status.Certificate, c.Status.Revision)
	c.Status.AgentVersion = v.agent.version()
	out := leafOutcome(st, v.agent, r.clock.Now())
	if v.keys.Waits || v.keys.Held || v.turn != nil && v.turn.waits {
		out.nextCheck = sooner(out.nextCheck, r.clock.Now().Add(r.poll))
	}
	return r.conclude(ctx, before, c, rep, out)
}

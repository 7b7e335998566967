package controller

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/delivery"
	"clusterpki.io/operator/internal/desired"
	"clusterpki.io/operator/internal/leaf"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/stall"
)

// Keys of generated Secrets beside those of kubernetes.io/tls.
const (
	bundleKey       = consumers.BundleKey
	clientBundleKey = consumers.ClientBundleKey
	headerBundleKey = consumers.HeaderBundleKey
	saPrivateKey    = "sa.key"
	saPublicKey     = "sa.pub"
)

// apiServerCertificates reconciles APIServerCertificates.
type apiServerCertificates struct {
	base
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
	// keysAwaited says that the Secret of the service account keys is not there, and waited for.
	keysAwaited bool
	// refused says why a bundle of clients' CAs stays as it is.
	refused error
	// keysPending says that the service account keys are being made.
	keysPending bool
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
	bundles, err := r.bundles(ctx, c, leaf.ClaimOf(v.asked.Keeper, existing).Revisions())
	v.clients, v.asked.Bundles, v.asked.Absent = bundles.wanting, bundles.rendered, bundles.absent
	if err != nil {
		return v, err
	}
	v.refused = bundles.refused
	agent, leaseErr := r.attendLease(ctx, attended{c, v.asked.Keeper, c.LeaseName(), c.Spec.HostName, c.Spec.Delivery})
	v.agent, v.asked.Acknowledgment = agent, agent.acknowledgment
	var public []byte
	var saErr error
	if c.ServiceAccountSecretName() != "" {
		public, saErr = r.reconcileServiceAccountKeys(ctx, v.asked, c, existing != nil)
		v.keysAwaited, v.keysPending = awaitsRestore(saErr), isPending(saErr)
	}
	if c.Spec.Delivery.Mode == v1alpha1.DeliveryAgent {
		v.asked.Delivery = &leaf.Delivery{Host: c.Spec.HostName, Held: saErr != nil}
		if public != nil {
			v.asked.Delivery.ServiceAccounts = delivery.DigestOf(public)
		}
	}
	v.leaf, err = r.leaves.Make(ctx, v.asked, existing)
	return v, stall.First(err, saErr, v.refused, leaseErr)
}

// clientBundles are what an API server verifies its clients with.
type clientBundles struct {
	rendered map[string]leaf.Rendered // by key of the Secret
	absent   []string                 // keys that it must not hold
	wanting  leaf.Issuer              // the CA that keeps one of them from being rendered, or ready
	refused  error                    // why one of them is left as it is
}

// bundles renders what the API server verifies its clients with.
func (r *apiServerCertificates) bundles(ctx context.Context, c *v1alpha1.APIServerCertificate, contained map[string]int64) (clientBundles, error) {
	clients, err := r.join(ctx, c.Namespace, c.ClientCANames(), contained)
	if err != nil {
		return clientBundles{}, err
	}
	out := clientBundles{rendered: map[string]leaf.Rendered{clientBundleKey: clients.Rendered()}, wanting: clients.Issuer}
	if c.Spec.RequestHeaderCARef == nil {
		out.absent = []string{headerBundleKey}
		return out, nil
	}
	proxy, err := r.join(ctx, c.Namespace, []string{c.Spec.RequestHeaderCARef.Name}, contained)
	if err != nil {
		return clientBundles{}, err
	}
	out.rendered[headerBundleKey] = proxy.Rendered()
	if out.refused = clients.apartFrom(proxy); out.refused != nil {
		out.rendered[headerBundleKey] = leaf.Rendered{}
	}
	if clients.Bundle != nil && proxy.Bundle == nil {
		out.wanting = proxy.Issuer
	}
	return out, nil
}

// joined are some CAs that are trusted together.
type joined struct {
	leaf.Issuer
	keys map[string]*x509.Certificate // CA certificates by the digest of their key: whoever has one of the keys is trusted
	of   map[string]string            // the ClusterCA that has it
}

// add enters the keys of a CA.
func (j *joined) add(name string, iss leaf.Issuer) {
	certs := slices.Clone(iss.Roots)
	if iss.CA != nil {
		certs = append(certs, iss.CA.Cert)
		certs = append(certs, iss.CA.ChainBelow()...)
	}
	for _, cert := range certs {
		id := string(cert.RawSubjectPublicKeyInfo)
		j.keys[id], j.of[id] = cert, name
	}
}

// apartFrom says, as a stall, where the CAs of ordinary clients have a key in common with that of the front proxy. By whatever name
// they are called here, a client of one is then one of the other, and may speak for any user.
func (j joined) apartFrom(proxy joined) error {
	for _, id := range slices.Sorted(maps.Keys(j.keys)) {
		if cert, common := proxy.keys[id]; common {
			return stall.Because(v1alpha1.ReasonClientCAShared,
				"ClusterCA %q, of spec.requestHeaderCARef, and ClusterCA %q, which signs ordinary clients, have a key in common, that of %q: the API "+
					"server would take clients of the one for the aggregation layer, which speaks for any user. Give requestHeaderCARef a CA with a root "+
					"of its own; until then requestheader-ca.crt stays as it is",
				proxy.of[id], j.of[id], cert.Subject.String())
		}
	}
	return nil
}

// join joins the trust bundles of some CAs. There is none while one of them has none: a part of it would lock
// that CA's clients out.
func (r *apiServerCertificates) join(ctx context.Context, namespace string, names []string, contained map[string]int64) (joined, error) {
	out := joined{Issuer: leaf.Issuer{Revisions: map[string]int64{}}, keys: map[string]*x509.Certificate{}, of: map[string]string{}}
	for _, name := range names {
		iss, err := r.leaves.Read(ctx, namespace, name, contained)
		if err != nil {
			return joined{}, err
		}
		if iss.Bundle == nil {
			return joined{Issuer: iss}, nil
		}
		for ca, revision := range iss.Revisions {
			if was, ok := out.Revisions[ca]; !ok || revision < was {
				out.Revisions[ca] = revision
			}
		}
		out.Roots = append(out.Roots, iss.Roots...)
		out.add(name, iss)
	}
	var err error
	if out.Bundle, err = pki.Bundle(out.Roots); err != nil {
		return joined{}, stall.Because(v1alpha1.ReasonInvalidSpec, "spec.clientCARefs: %v", err)
	}
	return out, nil
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
	if name := c.ServiceAccountSecretName(); name != "" && !v.keysAwaited {
		rep.message = fmt.Sprintf("the certificate is in Secret %q, the service account keys in Secret %q", l.Secret, name)
	}
	if v.keysPending && rep.unusable == nil {
		rep.unusable = errors.New("the service account keys are not there yet")
	}
	rep.warnings = append(rep.warnings, r.serving(c, st, clients.Roots)...)
	acknowledged, ackErr := r.acknowledged(ctx, c.Namespace, v.agent, l.Secret)
	rep.warnings = append(rep.warnings, acknowledged...)
	if rep.err == nil {
		rep.err = ackErr
	}
	before := c.DeepCopy()
	c.Status.Certificate, c.Status.Revision = leafCertificate(l, st, c.Status.Certificate)
	return r.conclude(ctx, before, c, rep, leafOutcome(st, v.agent, r.clock.Now()))
}

package controller

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
)

// Keys of generated Secrets beside those of kubernetes.io/tls.
const (
	clientBundleKey = "client-ca.crt"
	headerBundleKey = "requestheader-ca.crt"
	saPrivateKey    = "sa.key"
	saPublicKey     = "sa.pub"
)

// apiServerCertificates reconciles APIServerCertificates.
type apiServerCertificates struct {
	base
	wire wire
	seen <-chan event.GenericEvent // of what is seen on the wire
}

// Reconcile brings one APIServerCertificate's Secrets to what its spec asks for.
func (r *apiServerCertificates) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var c v1alpha1.APIServerCertificate
	if found, err := r.get(ctx, req, &c); !found {
		r.wire.Remove(probeKey(req.NamespacedName))
		return ctrl.Result{}, err
	}
	r.watch(&c)
	l := leaf{
		owner: &c, kind: kindAPIServerCertificate, secret: c.TLSSecretName(), ca: c.Spec.CARef.Name,
		lease: c.LeaseName(), host: c.Spec.HostName, deliver: c.Spec.Delivery,
	}
	l.desired, l.invalid = desiredAPIServer(&c)
	if l.invalid == nil {
		l.invalid = endpointCovered(&c)
	}
	var st leafState
	var clients issuer
	var leaseErr error
	seen, err := r.cachedSecret(ctx, c.Namespace, l.secret)
	if err == nil {
		clients, err = r.bundles(ctx, &c, &l, seen)
	}
	if err == nil {
		err = r.claim(ctx, &l, l.secret)
	}
	if err == nil {
		leaseErr = r.heed(ctx, &l)
		st, err = r.reconcileLeaf(ctx, l, seen)
	}
	if name := c.ServiceAccountSecretName(); name != "" && (err == nil || isStall(err)) {
		again := st.observed != nil && !st.issued
		saErr := r.reconcileServiceAccountKeys(ctx, l, name, again)
		st.keysAwaited = awaitsRestore(saErr)
		if err == nil {
			err = saErr
		}
	}
	if err == nil {
		err = leaseErr
	}
	return r.finish(ctx, &c, l, st, clients, err)
}

// bundles renders what the API server verifies its clients with. What is returned is the CA that keeps one of them
// from being rendered, or ready.
func (r *apiServerCertificates) bundles(ctx context.Context, c *v1alpha1.APIServerCertificate, l *leaf, seen *corev1.Secret) (issuer, error) {
	held := holdingIn(seen).Trust
	clients, err := r.join(ctx, c.Namespace, c.ClientCANames(), held[clientBundleKey])
	if err != nil {
		return issuer{}, err
	}
	l.bundles = map[string]rendered{clientBundleKey: clients.rendered()}
	if c.Spec.RequestHeaderCARef == nil {
		l.absent = []string{headerBundleKey}
		return clients, nil
	}
	proxy, err := r.join(ctx, c.Namespace, []string{c.Spec.RequestHeaderCARef.Name}, held[headerBundleKey])
	if err != nil {
		return issuer{}, err
	}
	l.bundles[headerBundleKey] = proxy.rendered()
	if clients.bundle != nil && proxy.bundle == nil {
		return proxy, nil
	}
	return clients, nil
}

// join joins the trust bundles of some CAs. There is none while one of them has none: a part of it would lock
// that CA's clients out.
func (r *apiServerCertificates) join(ctx context.Context, namespace string, names []string, held revisions) (issuer, error) {
	out := issuer{trust: revisions{}}
	for _, name := range names {
		iss, err := r.issuer(ctx, namespace, name, held)
		if err != nil {
			return issuer{}, err
		}
		if iss.bundle == nil {
			return iss, nil
		}
		for ca, revision := range iss.trust {
			if was, ok := out.trust[ca]; !ok || revision < was {
				out.trust[ca] = revision
			}
		}
		out.roots = append(out.roots, iss.roots...)
	}
	var err error
	if out.bundle, err = pki.Bundle(out.roots); err != nil {
		return issuer{}, stalled(v1alpha1.ReasonInvalidSpec, "spec.clientCARefs: %v", err)
	}
	return out, nil
}

// serviceAccountKey is the kind of key that signs service account tokens. RSA, because many readers
// of the tokens know only RS256; kube-apiserver refuses Ed25519.
var serviceAccountKey = pki.KeySpec{Algorithm: pki.RSA, Size: 2048}

// reconcileServiceAccountKeys makes the key pair once and never replaces it: every token there is
// would stop working. The public half is derived, and repaired.
func (r *apiServerCertificates) reconcileServiceAccountKeys(ctx context.Context, l leaf, name string, again bool) error {
	if err := r.claim(ctx, &l, name); err != nil {
		return err
	}
	namespace := l.owner.GetNamespace()
	seen, err := r.cachedSecret(ctx, namespace, name)
	if err == nil && seen == nil {
		seen, err = r.liveSecret(ctx, namespace, name)
	}
	if err != nil {
		return err
	}
	var key pki.PrivateKey
	if seen == nil {
		if err := awaitKeys(l.owner, name); err != nil {
			return err
		}
		key, err = pki.GenerateKey(serviceAccountKey)
	} else {
		if !l.mine(seen) {
			return conflict("Secret", name)
		}
		if key, err = pki.ParsePrivateKey(seen.Data[saPrivateKey]); err != nil {
			return stalled(v1alpha1.ReasonServiceAccountKeyInvalid,
				"Secret %q holds no readable %s (%v): restore it from a backup, "+
					"or delete the Secret to have new keys made, which ends every token signed so far",
				name, saPrivateKey, err)
		}
	}
	if err != nil {
		return err
	}
	return r.ensureServiceAccountKeys(ctx, l, name, key, seen, again)
}

func (r *apiServerCertificates) ensureServiceAccountKeys(ctx context.Context, l leaf, name string, key pki.PrivateKey, seen *corev1.Secret, again bool) error {
	private, err := key.Reveal()
	if err != nil {
		return err
	}
	public, err := key.PublicPEM()
	if err != nil {
		return err
	}
	if seen != nil {
		private = seen.Data[saPrivateKey]
	}
	err = r.ensureSecret(ctx, l.owner, seen, wanted{
		name: name, kind: l.kind, typ: corev1.SecretTypeOpaque,
		data: map[string][]byte{saPrivateKey: private, saPublicKey: public},
	})
	if err == nil && seen == nil {
		kind := corev1.EventTypeNormal
		if again { // there may have been others
			kind = corev1.EventTypeWarning
		}
		r.events.Eventf(l.owner, nil, kind, v1alpha1.ReasonServiceAccountKeysGenerated, "Generate",
			"Generated service account keys into Secret %q: tokens signed by earlier keys, if there were any, end when the API server restarts", name)
	}
	return err
}

// finish writes the status and says when to look again.
func (r *apiServerCertificates) finish(
	ctx context.Context, c *v1alpha1.APIServerCertificate, l leaf, st leafState, clients issuer, err error,
) (ctrl.Result, error) {
	rep := r.leafReport(l, st, err)
	if clients.bundle == nil && st.issuer.reason == v1alpha1.ReasonIssuerAvailable {
		rep.issuer = &clients
		if rep.unusable == nil && !st.hasClientBundle {
			rep.unusable = errors.New("the bundle that verifies clients is not there yet")
		}
	}
	if name := c.ServiceAccountSecretName(); name != "" && !st.keysAwaited {
		rep.message = fmt.Sprintf("the certificate is in Secret %q, the service account keys in Secret %q", l.secret, name)
	}
	rep.warnings = append(rep.warnings, r.serving(c, st, clients.roots)...)
	said, ackErr := r.acknowledged(ctx, l, c.Spec.HostName, l.secret)
	rep.warnings = append(rep.warnings, said...)
	if rep.err == nil {
		rep.err = ackErr
	}
	before := c.DeepCopy()
	c.Status.Certificate, c.Status.Revision = leafCertificate(l, st, c.Status.Certificate)
	return r.conclude(ctx, before, c, &c.Status.Conditions, &c.Status.ObservedGeneration, rep, st.outcome(l, r.clock.Now()))
}

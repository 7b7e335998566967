package controller

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/pki"
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
	wire wire
	seen <-chan event.GenericEvent // of what is seen on the wire
}

// Reconcile brings one APIServerCertificate's Secrets to what its spec asks for.
func (r *apiServerCertificates) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var c v1alpha1.APIServerCertificate
	if found, err := r.get(ctx, req, &c); !found {
		if err == nil {
			r.wire.Remove(probeKey(req.NamespacedName))
		}
		return skipped(err)
	}
	r.watch(&c)
	l := leaf{
		owner: &c, secret: c.TLSSecretName(), ca: c.Spec.CARef.Name,
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
		l.keeper, err = r.keeper(ctx, c.Namespace)
	}
	if err == nil {
		clients, err = r.bundles(ctx, &c, &l, seen)
	}
	if err == nil {
		leaseErr = r.attendLease(ctx, &l)
		st, err = r.reconcileLeaf(ctx, l, seen)
	}
	if name := c.ServiceAccountSecretName(); name != "" && (err == nil || isStall(err)) {
		again := st.observed != nil && !st.issued
		saErr := r.reconcileServiceAccountKeys(ctx, l, *c.Spec.ServiceAccountKeys, again)
		st.keysAwaited, st.keysPending = awaitsRestore(saErr), isPending(saErr)
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
	held := l.claimOf(seen).Revisions()
	clients, err := r.join(ctx, c.Namespace, c.ClientCANames(), held)
	if err != nil {
		return issuer{}, err
	}
	l.bundles = map[string]rendered{clientBundleKey: clients.rendered()}
	if c.Spec.RequestHeaderCARef == nil {
		l.absent = []string{headerBundleKey}
		return clients, nil
	}
	proxy, err := r.join(ctx, c.Namespace, []string{c.Spec.RequestHeaderCARef.Name}, held)
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
func (r *apiServerCertificates) join(ctx context.Context, namespace string, names []string, held map[string]int64) (issuer, error) {
	out := issuer{revisions: map[string]int64{}}
	for _, name := range names {
		iss, err := r.issuer(ctx, namespace, name, held)
		if err != nil {
			return issuer{}, err
		}
		if iss.bundle == nil {
			return iss, nil
		}
		for ca, revision := range iss.revisions {
			if was, ok := out.revisions[ca]; !ok || revision < was {
				out.revisions[ca] = revision
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

// reconcileServiceAccountKeys makes the key pair once, and never writes it again: every token there is would stop working.
// The Secret bears no owner reference, and stays when the object goes. One that somebody else made is used, as it is, only where
// the spec says so: whoever may create Secrets could plant one.
func (r *apiServerCertificates) reconcileServiceAccountKeys(ctx context.Context, l leaf, keys v1alpha1.ServiceAccountKeysSpec, again bool) error {
	name, existing := keys.SecretName, keys.Source == v1alpha1.ServiceAccountKeysExisting
	namespace := l.owner.GetNamespace()
	seen, err := r.liveSecret(ctx, namespace, name)
	if err != nil {
		return err
	}
	switch {
	case seen == nil && existing:
		return stalled(v1alpha1.ReasonServiceAccountKeyInvalid,
			"Secret %q, which is to hold the service account keys that exist, is not there: create it with the keys sa.key and sa.pub", name)
	case seen == nil:
		if err := awaitKeys(l.owner, name); err != nil {
			return err
		}
		return r.makeServiceAccountKeys(ctx, l, name, again)
	case !existing:
		if _, ours := l.keeper.ClaimOf(seen); !ours {
			return stalled(v1alpha1.ReasonSecretConflict, "Secret %q exists, and the operator did not make it: delete it, choose another name or, if its "+
				"service account keys are to be used, set spec.serviceAccountKeys.source to 'Existing'", name)
		}
	}
	key, err := pki.ParsePrivateKey(seen.Data[saPrivateKey])
	if err == nil && len(seen.Data[saPublicKey]) == 0 {
		err = fmt.Errorf("%s is missing", saPublicKey)
	}
	if err != nil {
		return stalled(v1alpha1.ReasonServiceAccountKeyInvalid,
			"Secret %q holds no readable %s and %s (%v): restore it from a backup, "+
				"or delete the Secret to have new keys made, which ends every token signed so far", name, saPrivateKey, saPublicKey, err)
	}
	if spec := pki.SpecOf(key.Public()); spec.Algorithm == pki.Ed25519 {
		return stalled(v1alpha1.ReasonServiceAccountKeyInvalid, "Secret %q holds an Ed25519 key, which kube-apiserver refuses: use RSA or ECDSA", name)
	}
	return nil
}

func (r *apiServerCertificates) makeServiceAccountKeys(ctx context.Context, l leaf, name string, again bool) error {
	key, err := r.keysFor(l.owner, forServiceAccounts)(serviceAccountKey)
	if err != nil {
		return err
	}
	private, err := key.Reveal()
	if err != nil {
		return err
	}
	public, err := key.PublicPEM()
	if err != nil {
		return err
	}
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: l.owner.GetNamespace(), Name: name}, Type: corev1.SecretTypeOpaque,
		Data: map[string][]byte{saPrivateKey: private, saPublicKey: public},
	}
	if err := owned.Create(ctx, l.keeper, ownerOf(l.owner), s, owned.Marks{}); err != nil {
		return err
	}
	kind := corev1.EventTypeNormal
	if again { // there may have been others
		kind = corev1.EventTypeWarning
	}
	r.events.Eventf(l.owner, nil, kind, v1alpha1.ReasonServiceAccountKeysGenerated, "Generate",
		"Generated service account keys into Secret %q: tokens signed by earlier keys, if there were any, end when the API server restarts", name)
	return nil
}

// awaitKeys keeps a restored APIServerCertificate from getting other service account keys.
func awaitKeys(o client.Object, secret string) error {
	if !restored(o) {
		return nil
	}
	return stalled(v1alpha1.ReasonRestoreIncomplete,
		"this object was restored, and Secret %q, which is to hold its service account keys, is not there: restore it too. "+
			"If they are asked for the first time, or to have new keys made, which ends every token signed so far, remove its label %s and its annotation %s",
		secret, v1alpha1.VeleroRestoreLabel, v1alpha1.RestoredAnnotation)
}

// awaitsRestore says whether an error is that something which was made for a restored object is not there.
func awaitsRestore(err error) bool {
	st, ok := errors.AsType[*stall](err)
	return ok && st.reason == v1alpha1.ReasonRestoreIncomplete
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
	if st.keysPending && rep.unusable == nil {
		rep.unusable = errors.New("the service account keys are not there yet")
	}
	rep.warnings = append(rep.warnings, r.serving(c, st, clients.roots)...)
	said, ackErr := r.acknowledged(ctx, l, c.Spec.HostName, l.secret)
	rep.warnings = append(rep.warnings, said...)
	if rep.err == nil {
		rep.err = ackErr
	}
	before := c.DeepCopy()
	c.Status.Certificate, c.Status.Revision = leafCertificate(l, st, c.Status.Certificate)
	return r.conclude(ctx, before, c, rep, st.outcome(l, r.clock.Now()))
}

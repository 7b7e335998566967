package controller

import (
	"context"
	"crypto"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

// findKey says where the credential's key is and, where that is its host, for which key the host asks for a certificate.
// seen is the Secret that is there: one of the other type is kept as it is, with its key or without.
func (r *nodeCredentials) findKey(ctx context.Context, c *v1alpha1.NodeCredential, l *leaf, seen *corev1.Secret) error {
	l.externalKey = c.Spec.KeySource == v1alpha1.KeySourceHost
	l.desired.KeyOnHost = l.externalKey
	if want := l.secretType(); seen != nil && seen.Type != want {
		l.externalKey = len(seen.Data[corev1.TLSPrivateKeyKey]) == 0
		if l.invalid == nil {
			l.invalid = stalled(v1alpha1.ReasonSecretTypeDiffers, "Secret %q is of type %s, and keySource '%s' needs one of type %s; a Secret's type never "+
				"changes: choose another secretName, or delete the Secret", seen.Name, seen.Type, c.Spec.KeySource, want)
		}
	}
	if l.invalid != nil || !l.desired.KeyOnHost {
		return nil //nolint:nilerr // as below
	}
	key, err := r.hostKey(ctx, c, l)
	if isStall(err) {
		l.invalid = err
		return nil // it is said once what is there has been looked after
	}
	l.desired.HostKey = key
	return err
}

// hostKey is the public key that the credential's host asks a certificate for, nil where it has not asked.
func (r *nodeCredentials) hostKey(ctx context.Context, c *v1alpha1.NodeCredential, l *leaf) (crypto.PublicKey, error) {
	text, from, err := r.csr(ctx, c, l)
	if err != nil || text == "" {
		return nil, err
	}
	csr, err := pki.ParseCSR([]byte(text))
	if err == nil {
		err = l.desired.Spec.Refuses(csr)
	}
	if err != nil {
		return nil, stalled(v1alpha1.ReasonRequestRefused, "%s: %v", from, err)
	}
	return csr.PublicKey, nil
}

// csr is the certificate signing request of the credential's host, "" where there is none, and where it stands: in the spec
// or, where that has none, in the credential's own Lease. The Lease is read from the cache.
func (r *nodeCredentials) csr(ctx context.Context, c *v1alpha1.NodeCredential, l *leaf) (text, from string, err error) {
	if c.Spec.Request != "" {
		return c.Spec.Request, "spec.request", nil
	}
	lease, err := readLease(ctx, r.client, c.Namespace, c.LeaseName())
	if err != nil || lease == nil || !l.keeper.Mine(ownerOf(c), lease) {
		return "", "", err
	}
	return lease.Annotations[v1alpha1.CSRAnnotation], fmt.Sprintf("the request in Lease %q", lease.Name), nil
}

// awaitRequest says who has to ask for a certificate, where nobody has.
func awaitRequest(c *v1alpha1.NodeCredential, st leafState, rep *report) {
	if st.decision.Reason == plan.RequestMissing {
		rep.reason = v1alpha1.ReasonRequestMissing
		rep.waiting = fmt.Sprintf("the agent of host %q has not asked for a certificate, which it does through Lease %q; "+
			"without an agent, set spec.request", c.Spec.HostName, c.LeaseName())
	}
}

// secretType is the type of the leaf's Secret. kubernetes.io/tls demands a key.
func (l leaf) secretType() corev1.SecretType {
	if l.externalKey {
		return corev1.SecretTypeOpaque
	}
	return corev1.SecretTypeTLS
}

// sign makes the certificate, for a new key or for the host's. key is nil for the latter.
func (l leaf) sign(keys pki.KeySource, now time.Time, issuer pki.KeyPair) (pair pki.KeyPair, key []byte, err error) {
	if l.externalKey {
		pair, err = pki.IssueFor(now, l.desired.Spec, l.desired.HostKey, issuer)
		return pair, nil, refused(err)
	}
	if pair, err = pki.IssueWith(keys, now, l.desired.Spec, issuer); err != nil {
		return pki.KeyPair{}, nil, refused(err)
	}
	key, err = pair.Key.Reveal()
	return pair, key, err
}

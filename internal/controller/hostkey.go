package controller

import (
	"context"
	"crypto"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/leaf"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/internal/stall"
)

// keySource says where a credential's key is.
type keySource struct {
	external bool // its Secret holds no private key
	onHost   bool // the host has the key
	public   crypto.PublicKey
	invalid  error // why nothing can be issued; it is said once what is there has been looked after
}

// findKey says where the credential's key is and, where that is its host, for which key the host asks for a certificate.
// existing is the Secret that is there: one of the other type is kept as it is, with its key or without.
func (r *nodeCredentials) findKey(ctx context.Context, c *v1alpha1.NodeCredential, l leaf.Request, existing *corev1.Secret) (keySource, error) {
	onHost := c.Spec.KeySource == v1alpha1.KeySourceHost
	k := keySource{external: onHost, onHost: onHost, invalid: l.Invalid}
	if want := (leaf.Request{ExternalKey: onHost}).SecretType(); existing != nil && existing.Type != want {
		k.external = !owned.Holds(existing, corev1.TLSPrivateKeyKey)
		if k.invalid == nil {
			k.invalid = leaf.TypeDiffers(existing, want)
		}
	}
	if k.invalid != nil || !onHost {
		return k, nil //nolint:nilerr // see keySource
	}
	var err error
	k.public, err = r.hostKey(ctx, c, l)
	if stall.Is(err) {
		k.invalid, err = err, nil
	}
	return k, err
}

// hostKey is the public key that the credential's host asks a certificate for, nil where it has not asked.
func (r *nodeCredentials) hostKey(ctx context.Context, c *v1alpha1.NodeCredential, l leaf.Request) (crypto.PublicKey, error) {
	text, from, err := r.csr(ctx, c, l)
	if err != nil || text == "" {
		return nil, err
	}
	csr, err := pki.ParseCSR([]byte(text))
	if err == nil {
		err = l.Desired.Spec.Refuses(csr)
	}
	if err != nil {
		return nil, stall.Because(v1alpha1.ReasonRequestRefused, "%s: %v", from, err)
	}
	return csr.PublicKey, nil
}

// csr is the certificate signing request of the credential's host, "" where there is none, and where it stands: in the spec
// or, where that has none, in the credential's own Lease. The Lease is read from the cache.
func (r *nodeCredentials) csr(ctx context.Context, c *v1alpha1.NodeCredential, l leaf.Request) (text, from string, err error) {
	if c.Spec.Request != "" {
		return c.Spec.Request, "spec.request", nil
	}
	lease, err := readLease(ctx, r.client, c.Namespace, c.LeaseName())
	if err != nil || lease == nil || !l.Keeper.Mine(c, lease) {
		return "", "", err
	}
	return lease.Annotations[v1alpha1.CSRAnnotation], fmt.Sprintf("the request in Lease %q", lease.Name), nil
}

// awaitRequest says who has to ask for a certificate, where nobody has.
func awaitRequest(c *v1alpha1.NodeCredential, st leaf.State, rep *report) {
	if st.Decision.Reason == plan.RequestMissing {
		rep.reason = v1alpha1.ReasonRequestMissing
		rep.waiting = fmt.Sprintf("the agent of host %q has not asked for a certificate, which it does through Lease %q; "+
			"without an agent, set spec.request", c.Spec.HostName, c.LeaseName())
	}
}

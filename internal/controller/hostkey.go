package controller

import (
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/leaf"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/internal/records"
	"clusterpki.io/operator/internal/stall"
)

// keySource says where a credential's key is.
type keySource struct {
	external bool // its Secret holds no private key
	onHost   bool // the host has the key
	public   crypto.PublicKey
	approved string // the digest of the key that a person has approved, and that has been used
	invalid  error  // why nothing can be issued; it is said once what is there has been looked after
	pending  string // why what the host asks for is not issued, and the certificate that is there goes on
	reason   string // of pending
}

// findKey says where the credential's key is and, where that is its host, for which key the host asks for a certificate.
// existing is the Secret that is there: one of the other type is kept as it is, with its key or without.
func (r *nodeCredentials) findKey(
	ctx context.Context, c *v1alpha1.NodeCredential, l leaf.Request, existing *corev1.Secret, agent reported,
) (keySource, error) {
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
	err := r.hostKey(ctx, c, l, agent, &k)
	if stall.Is(err) {
		k.invalid, err = err, nil
	}
	return k, err
}

// hostKey finds the public key that the credential's host is to have a certificate for; none where it has not asked. What the spec asks for, a person
// has written. What the Lease asks for, anybody may have who can write that: it counts if a person has approved the key, or the host has proved it.
// Where it does not count, the key that was last recorded goes on.
func (r *nodeCredentials) hostKey(ctx context.Context, c *v1alpha1.NodeCredential, l leaf.Request, agent reported, k *keySource) error {
	issues, err := r.recorder.Of(ctx, c.Namespace, recordedOwner(c))
	if err != nil {
		return err
	}
	last := issues.Last()
	k.public, k.approved = last.Key(), last.ApprovedKeySHA256
	spent, err := r.recorder.Spent(ctx, c.Namespace, recordedOwner(c), c.Spec.HostKeySHA256)
	if err != nil {
		return err
	}
	text, from := c.Spec.Request, "spec.request"
	if text == "" && agent.Lease != nil {
		text, from = agent.Lease.Annotations[v1alpha1.CSRAnnotation], fmt.Sprintf("the request in Lease %q", agent.Lease.Name)
	}
	if text == "" {
		return nil
	}
	csr, err := pki.ParseCSR([]byte(text))
	if err == nil {
		err = l.Desired.Spec.Refuses(csr)
	}
	if err == nil && (c.Spec.Request != "" || r.proved(c, csr.PublicKey, text, issues, agent, spent)) {
		k.public = csr.PublicKey
		if digest := pki.PublicKeyDigest(csr.PublicKey); digest == c.Spec.HostKeySHA256 {
			k.approved = digest
		}
		return nil
	}
	return k.refuse(c, from, csr, err, signedRequest(agent, text))
}

// refuse says why nothing is issued for a request: err, if that is wrong, or that its key is neither approved nor proved. Where there is a key already, it
// goes on, and a request in the Lease that nobody has signed is not quoted.
func (k *keySource) refuse(c *v1alpha1.NodeCredential, from string, csr pki.CSR, err error, signed bool) error {
	switch {
	case err != nil && (c.Spec.Request != "" || k.public == nil):
		return stall.Because(v1alpha1.ReasonRequestRefused, "%s: %v", from, err)
	case k.public != nil && !signed:
		k.reason, k.pending = v1alpha1.ReasonHostKeyNotApproved, notSigned(c, from)
	case err != nil:
		k.reason, k.pending = v1alpha1.ReasonRequestRefused, fmt.Sprintf("%s: %v", from, err)
	default:
		k.reason, k.pending = v1alpha1.ReasonHostKeyNotApproved, notApproved(c, from, pki.PublicKeyDigest(csr.PublicKey))
	}
	return nil
}

// notApproved says how a key is approved that a host asks for.
func notApproved(c *v1alpha1.NodeCredential, from, digest string) string {
	if c.Spec.HostKeySHA256 == digest {
		return fmt.Sprintf("%s is for a key that was approved once, by the same spec.hostKeySHA256, and another one has taken its place since: if host %q "+
			"is to have a certificate for it all the same, set spec.request to that request", from, c.Spec.HostName)
	}
	return fmt.Sprintf("%s is for a key that nobody has approved: if the agent of host %q logs the same digest at its start, set spec.hostKeySHA256 to '%s'",
		from, c.Spec.HostName, digest)
}

// notSigned says what is to be done about a request that anybody may have put into the Lease of a host that has a key already. It quotes none of it:
// whoever may write the Lease would write the status, as often as he likes.
func notSigned(c *v1alpha1.NodeCredential, from string) string {
	return fmt.Sprintf("%s is not signed by the key of the certificate that host %q has, which stays: if the agent of that host has lost its key, it logs "+
		"the digest of another one at its start: set spec.hostKeySHA256 to that or, where it is that already, spec.request to the request",
		from, c.Spec.HostName)
}

// signedRequest says whether the report in the Lease names a request, and whoever has a certificate of this object has signed that.
func signedRequest(agent reported, request string) bool {
	sum := sha256.Sum256([]byte(request))
	return agent.Proof == ack.Signed && agent.Report.RequestSHA256 == hex.EncodeToString(sum[:])
}

// proved says whether a host may have a certificate for a key that it asks for by its Lease: it has the last one for it; or a person has
// approved it, and that was not used up (spent) by it before another one took its place; or the key of the last one has signed for it, just now.
func (r *nodeCredentials) proved(
	c *v1alpha1.NodeCredential, key crypto.PublicKey, request string, issues records.Issues, agent reported, spent bool,
) bool {
	digest := pki.PublicKeyDigest(key)
	approved := c.Spec.HostKeySHA256 == digest && !spent
	signer, last := issues.Numbered(agent.Report.SignedBy), issues.Last()
	signed := signedRequest(agent, request) && agent.state(r.clock.Now()) == consumers.LeaseValid && pki.SamePublicKey(last.Key(), signer.Key())
	return approved || signed || pki.SamePublicKey(last.Key(), key)
}

// awaitRequest says who has to ask for a certificate, or to approve what is asked for.
func awaitRequest(c *v1alpha1.NodeCredential, st leaf.State, k keySource, rep *report) {
	switch {
	case k.pending != "":
		rep.reason, rep.waiting = k.reason, k.pending
	case st.Decision.Reason == plan.RequestMissing:
		rep.reason = v1alpha1.ReasonRequestMissing
		rep.waiting = fmt.Sprintf("the agent of host %q has not asked for a certificate, which it does through Lease %q; "+
			"without an agent, set spec.request", c.Spec.HostName, c.LeaseName())
	}
}

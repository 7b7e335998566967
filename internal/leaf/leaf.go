// Package leaf is the way from a request for a certificate to the Secret that holds it: what is there is read, package plan
// decides, a key is obtained, a signer signs, and the Secret is written once.
package leaf

import (
	"context"
	"crypto/x509"
	"errors"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/internal/stall"
)

// Request is what is asked for: one certificate of an object, and what its Secret holds beside it.
type Request struct {
	Owner   v1alpha1.Object
	Secret  string // name
	CA      string // name of the ClusterCA that signs
	Desired plan.Desired
	Invalid error               // why Desired could not be made: nothing is issued, what is there is kept
	Bundles map[string]Rendered // further bundles, by key of the Secret
	Absent  []string            // keys that it must not hold any more
	// ExternalKey: its Secret holds no private key.
	ExternalKey    bool
	Acknowledgment consumers.Acknowledgment // how what is issued is acknowledged
	// ApprovedKey is the digest of the host's key that a person has approved, "" where none has.
	ApprovedKey string
	// Awaits says whether the host is not to have yet what a CA publishes, because its components restart for that in turns; nil: it has it at once.
	Awaits func(ca string, l plan.Ledger) bool
	// Delivery is what the agent of the host is told beside what its Secret holds; nil where no agent delivers.
	Delivery *Delivery
	Keeper   *owned.Keeper
}

// TypeDiffers says, as a stall, that a Secret has another type than it should, which never changes; nil where it has not, or there is none.
func TypeDiffers(existing *corev1.Secret, want corev1.SecretType) error {
	if existing == nil || existing.Type == want {
		return nil
	}
	return stall.Because(v1alpha1.ReasonSecretTypeDiffers, "Secret %q is of type %s, and should be of type %s; a Secret's type never changes: choose another "+
		"secretName, or delete the Secret, and it is made again", existing.Name, existing.Type, want)
}

// SecretType is the type of the Secret. kubernetes.io/tls demands a key.
func (r Request) SecretType() corev1.SecretType {
	if r.ExternalKey {
		return corev1.SecretTypeOpaque
	}
	return corev1.SecretTypeTLS
}

// Contents are what a Secret holds.
type Contents struct {
	Observed *plan.Observed      // nil: there is no Secret
	Key      owned.Digest        // of its private key; nil: it holds none
	Roots    []*x509.Certificate // the trust anchors that stand beside the certificate
	Claim    consumers.Claim     // what the operator noted on it
}

// State is how a leaf stands at the end of a visit.
type State struct {
	Contents
	Issuer   Issuer
	Decision plan.Decision
	Issued   bool // in this visit
}

// Readable says whether there is a certificate that can be read.
func (s State) Readable() bool { return s.Observed != nil && s.Observed.Err == nil }

// RepairDelayed says whether something stands there that somebody else has put there, or nothing, until it is repaired later.
func (s State) RepairDelayed() bool { return s.Decision.Reason == plan.RepairDelayed }

// Renderable says whether a kubeconfig may be made of what is there.
func (s State) Renderable() bool { return s.Readable() && !s.RepairDelayed() }

// Maker makes leaves.
type Maker struct {
	Issuers
	Secrets owned.Secrets
	Keys    Keys
	Records Records
	issued  issued
}

// Make brings the leaf's Secret to what the plan decides, with one live read, of the CA, before a key is obtained and none
// otherwise. The state it returns is valid even with an error. existing is the Secret as the cache has it (owned.Noted): r.Bundles
// were rendered to go into that one and no later one, which may hold younger ones.
func (m *Maker) Make(ctx context.Context, r Request, existing *corev1.Secret) (State, error) {
	if r.Invalid == nil {
		r.Invalid = TypeDiffers(existing, r.SecretType())
	}
	issuer, err := m.Read(ctx, r.Owner.GetNamespace(), r.CA, ClaimOf(r.Keeper, existing).Revisions())
	if err != nil {
		return State{}, err
	}
	contents, err := contentsOf(ctx, r, existing)
	if err != nil {
		return State{Issuer: issuer}, err
	}
	m.issued.saw(r, contents.Observed)
	st, err := m.decideRecorded(ctx, r, issuer, contents, existing)
	if err != nil {
		return st, err
	}
	contents.Observed = st.Observed
	if st.Decision.Action == plan.Issue { // before a key, a signature and a record are spent on what cannot be stored
		if err := owned.Changeable(existing); err != nil {
			return st, Conflict(err)
		}
	}
	if st.Decision.Action == plan.Issue && issuer.Signer == nil {
		if issuer, err = m.Live(ctx, r.Owner.GetNamespace(), r.CA); err != nil {
			return st, err
		}
		st = m.decide(r, issuer, contents)
		if st.Decision.Action != plan.Issue {
			return st, nil // it is visited again when the cache has it too
		}
	}
	if st.Decision.Action == plan.Issue {
		next, err := m.issue(ctx, r, st, existing)
		if !errors.Is(err, pki.ErrKeyPending) {
			return next, err
		}
		return st, stall.First(err, m.writeBeside(ctx, r, st, existing))
	}
	if err := m.writeBeside(ctx, r, st, existing); err != nil {
		return st, err
	}
	return st, r.Invalid
}

// writeBeside brings what stands beside a certificate to what it should be, and that certificate into its form, where none is issued now. What cannot be
// read as one stays until another is: whoever damages the pair must not keep the bundles of his choice there.
func (m *Maker) writeBeside(ctx context.Context, r Request, st State, existing *corev1.Secret) error {
	if existing == nil || st.Observed == nil {
		return nil
	}
	return m.Write(ctx, r, existing, r.product(st, nil))
}

// contentsOf reads what a Secret holds, if it may be written.
func contentsOf(ctx context.Context, r Request, existing *corev1.Secret) (Contents, error) {
	if existing == nil {
		return Contents{}, nil
	}
	if err := r.Keeper.Check(ctx, r.Owner, existing); err != nil {
		return Contents{}, Conflict(err)
	}
	h := Contents{Claim: ClaimOf(r.Keeper, existing)}
	o := plan.Observed{SpecHash: h.Claim.SpecHash, RenewalTriggers: h.Claim.RenewalTriggers}
	o.Leaf, o.Err = pki.ParseLeafCertificate(existing.Data[corev1.TLSCertKey])
	if o.Err == nil && !r.ExternalKey {
		o.Err = owned.KeyProblem(existing)
		h.Key = owned.NotedDigest(existing, corev1.TLSPrivateKeyKey)
	}
	h.Observed = &o
	if roots, err := pki.ParseCertificates(existing.Data[consumers.BundleKey]); err == nil {
		h.Roots = roots
	}
	return h, nil
}

// decide says what to do about what is held, as things stand with the CA.
func (m *Maker) decide(r Request, issuer Issuer, contents Contents) State {
	st := State{Contents: contents, Issuer: issuer, Decision: plan.Decision{Action: plan.Keep}}
	if r.Invalid != nil { // it is said once what is there has been looked after
		return st
	}
	d := r.desired(issuer)
	st.Decision = m.paced(r, d, plan.Decide(m.Clock.Now(), d, contents.Observed))
	if st.Readable() && issuer.CA != nil && contents.Observed.Leaf.IssuedBy(*issuer.CA) {
		st.Claim.Issuer, st.Claim.Generation = r.CA, issuer.Generation
	}
	return st
}

// desired is what is asked for, as things stand with the CA.
func (r Request) desired(issuer Issuer) plan.Desired {
	d := r.Desired
	d.Issuer = issuer.CA
	if !issuer.Ledger.Admits(d.Seed) {
		d.Accepted = issuer.Roots
	}
	return d
}

// issue stores a certificate in one write: one that is signed for that, or one that could not be stored before. So what the API server refuses, however
// often, costs one key and one record.
func (m *Maker) issue(ctx context.Context, r Request, st State, existing *corev1.Secret) (State, error) {
	d := r.Desired
	d.Issuer = st.Issuer.CA
	signed := m.issued.last(r).unpublished
	if !plan.WouldDo(m.Clock.Now(), d, signed) {
		var err error
		if signed, err = m.sign(ctx, r, d, st); err != nil {
			return st, err
		}
	}
	leaf := signed.Leaf
	var text []byte
	if !r.ExternalKey {
		var err error
		if text, err = leaf.Key.Reveal(); err != nil {
			return st, err
		}
	}
	next := st
	next.Issued = true
	next.Claim.SpecHash, next.Claim.RenewalTriggers, next.Claim.Revision = signed.SpecHash, signed.RenewalTriggers, st.Claim.Revision+1
	next.Claim.Issuer, next.Claim.Generation = r.CA, st.Issuer.Generation
	next.Observed = &plan.Observed{Leaf: leaf, SpecHash: signed.SpecHash, RenewalTriggers: signed.RenewalTriggers}
	next.Key = nil
	if !r.ExternalKey {
		next.Key = owned.DigestOf(text)
	}
	if err := m.Write(ctx, r, existing, r.product(next, text)); err != nil {
		return st, err
	}
	m.issued.published(r)
	next.Decision.NextCheck = plan.NextCheck(m.Clock.Now(), d, next.Observed)
	log.FromContext(ctx).Info("Issued a certificate", "secret", klog.KRef(r.Owner.GetNamespace(), r.Secret),
		"reason", st.Decision.Reason, "serialNumber", pki.SerialOf(leaf.Cert), "notAfter", leaf.Cert.NotAfter)
	return next, nil
}

// sign has a certificate signed and recorded, for a new key unless that is on the host.
func (m *Maker) sign(ctx context.Context, r Request, d plan.Desired, st State) (*plan.Observed, error) {
	if err := Refused(st.Issuer.CA.MayIssue(d.Spec)); err != nil { // before a key is spent on it
		return nil, err
	}
	var key pki.PrivateKey // none where that is on the host
	public := d.HostKey
	if !r.ExternalKey {
		var err error
		if key, err = m.Keys.Key(ctx, r.Owner, d.Spec.Key); err != nil {
			return nil, err
		}
		public = key.Public()
	}
	now := m.Clock.Now()
	leaf, err := st.Issuer.Signer.Sign(ctx, now, d.Spec, public)
	if err != nil {
		return nil, err
	}
	if err := m.record(ctx, r, st, leaf); err != nil {
		return nil, err
	}
	leaf.Key = key
	out := &plan.Observed{Leaf: leaf, SpecHash: d.Spec.Hash(), RenewalTriggers: plan.Answered(st.Claim.RenewalTriggers, d.RenewalTrigger)}
	m.issued.signed(now, r, out, st.Decision.Repairs(now, r.desired(st.Issuer), m.issued.last(r).observed()))
	return out, nil
}

// Refused makes a stall of what only another spec can cure.
func Refused(err error) error {
	if same, ok := errors.AsType[*pki.SubjectEqualsIssuerError](err); ok {
		return stall.Because(v1alpha1.ReasonSubjectEqualsIssuer, "%v", same)
	}
	return err
}

// Usable says why the leaf cannot be used now, nil where it can. Where its CA publishes nothing any
// more, it is held against the roots that were published with it.
func (m *Maker) Usable(st State) error {
	if st.Issued {
		return nil // under an anchor of the bundle beside it, and crypto/x509 verifies what it has signed
	}
	roots := st.Issuer.Roots
	if roots == nil {
		roots = st.Roots
	}
	return plan.Usable(m.Clock.Now(), st.Observed, roots)
}

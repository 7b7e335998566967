package leaf

import (
	"bytes"
	"context"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/stall"
)

// Product is a Secret as it should be. Keys of its data that are not named here are left alone.
type Product struct {
	Name    string
	Type    corev1.SecretType
	Data    map[string][]byte
	Private map[string]Private  // what is had only where it is to be written
	Absent  []string            // keys that must go
	Bundles map[string]Rendered // by key. One that cannot be had now is left as it is
	Claim   consumers.Claim
	// delivery signs what the Secret holds for the agent of the host; nil: nothing is signed.
	delivery *signing
}

// Private is a value that holds a private key, and is compared by its digest.
type Private struct {
	Digest owned.Digest
	Get    func(context.Context) ([]byte, error)
}

// product is the leaf's Secret for the certificate of a state; key is nil where that is on the host, or stays.
func (r Request) product(st State, key []byte) Product {
	p := Product{
		Name: r.Secret, Type: r.SecretType(), Absent: r.Absent, Data: map[string][]byte{},
		Bundles: r.rendered(st),
		Claim: consumers.Claim{
			Issuer: st.Claim.Issuer, Generation: st.Claim.Generation, SpecHash: st.Claim.SpecHash, RenewalTriggers: st.Claim.RenewalTriggers,
			Revision: st.Claim.Revision,
		},
	}
	if st.Readable() {
		p.Data[corev1.TLSCertKey] = st.Observed.Leaf.CertPEM()
	}
	switch {
	case r.ExternalKey:
		p.Absent = append([]string{corev1.TLSPrivateKeyKey}, p.Absent...)
	case key != nil:
		p.Data[corev1.TLSPrivateKeyKey] = key
	}
	if r.Delivery != nil {
		p.delivery = r.signing(st)
	}
	return p
}

// rendered are the bundles of the leaf's Secret.
func (r Request) rendered(st State) map[string]Rendered {
	out := map[string]Rendered{consumers.BundleKey: r.trust(st.Issuer)}
	maps.Copy(out, r.Bundles)
	if d := r.Delivery; d != nil && (d.Kubeconfig != nil || d.Held) {
		server := d.Server
		if d.OwnServer {
			server = st.Issuer
		}
		out[consumers.ServerBundleKey] = r.trust(server)
	}
	return out
}

// trust is the bundle of a CA or, while the host awaits its turn, what that was before, by its ledger: whoever may write the Secret cannot end the wait.
func (r Request) trust(of Issuer) Rendered {
	if r.Awaits != nil {
		of = of.Until(r.Awaits)
	}
	return of.Rendered()
}

// Write writes a Secret if it differs from what it should be, as far as that was noted. noted is what was read before, nil for
// nothing: the write then is a Create, which fails if somebody was faster; else it is a patch of what differs, under the
// resourceVersion of what was read. Either failure means to read and decide again.
func (m *Maker) Write(ctx context.Context, r Request, noted *corev1.Secret, p Product) error {
	was := ClaimOf(r.Keeper, noted)
	existing := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: r.Owner.GetNamespace(), Name: p.Name}, Type: p.Type}
	if noted != nil {
		existing = owned.Plain(noted)
	}
	next := existing.DeepCopy()
	claim, changed := p.render(next, was)
	if err := p.renderPrivate(ctx, noted, existing, next); err != nil {
		return err
	}
	if err := m.deliver(ctx, p, noted, existing, next, was, &claim); err != nil {
		return err
	}
	settled := false
	if noted == nil && p.Name == r.Secret {
		var err error
		if was.Left, err = m.leftBefore(ctx, r); err != nil {
			return err
		}
	}
	if noted != nil {
		changed = changed || was.Contents != consumers.ContentsDigest(existing.Data) // somebody else has changed it
		// What a person states is looked at by the gates alone, who know the bundles: until then, what was there before counts.
		settled = r.Acknowledgment.Manual == nil && r.Acknowledgment.Settled((&consumers.Reader{}).Read(existing, r.Keeper.Seal), m.Clock.Now())
	}
	marks := owned.Marks{Claim: claim.After(was, m.Clock.Latest(), changed, settled), Controlled: true}
	if noted == nil {
		if err := owned.Create(ctx, r.Keeper, r.Owner, next, marks); err != nil {
			return m.unexpected(ctx, r, p.Name, err)
		}
		m.Secrets.Wrote.Created(owned.SecretKind, next)
		return Labelled(next)
	}
	if err := owned.Update(ctx, r.Keeper, r.Owner, existing, next, marks); err != nil {
		return Conflict(err)
	}
	if next.ResourceVersion != existing.ResourceVersion { // it differed, and was written
		m.Secrets.Wrote.Updated(owned.SecretKind, next)
	}
	return nil
}

// render enters the certificate and the bundles, and returns the claim that belongs to them, and whether a bundle is another
// than before. Where one cannot be had now, what stood there stays.
func (p Product) render(into *corev1.Secret, was consumers.Claim) (claim consumers.Claim, changed bool) {
	claim = p.Claim
	claim.Trust, claim.Keys = map[string]map[string]int64{}, map[string][]string{}
	if into.Data == nil {
		into.Data = map[string][]byte{}
	}
	if cert, there := p.Data[corev1.TLSCertKey]; there {
		into.Data[corev1.TLSCertKey] = cert
	}
	for _, key := range p.Absent {
		delete(into.Data, key)
	}
	for key, r := range p.Bundles {
		if r.Data == nil {
			r.Revisions, r.Keys = was.Trust[key], was.Keys[key]
		} else {
			changed = changed || !bytes.Equal(into.Data[key], r.Data)
			into.Data[key] = r.Data
		}
		if len(r.Revisions) > 0 {
			claim.Trust[key] = r.Revisions
		}
		if len(r.Keys) > 0 {
			claim.Keys[key] = r.Keys
		}
	}
	claim.Contents = consumers.ContentsDigest(into.Data)
	return claim, changed
}

// renderPrivate enters what differs of that of which only digests were noted. For a key that must go, something stands in existing:
// the patch takes away what is there and not in next.
func (p Product) renderPrivate(ctx context.Context, noted, existing, next *corev1.Secret) error {
	is := func(key string) owned.Digest {
		if noted == nil {
			return nil
		}
		return owned.NotedDigest(noted, key)
	}
	for key, value := range p.Data {
		if key != corev1.TLSCertKey && !bytes.Equal(is(key), owned.DigestOf(value)) {
			next.Data[key] = value
		}
	}
	// All of it, where one differs: a text that embeds a key is compared without that key, so it may be right only beside the wrong one.
	differs := false
	for key, private := range p.Private {
		differs = differs || !bytes.Equal(is(key), private.Digest)
	}
	for key, private := range p.Private {
		if !differs {
			break
		}
		value, err := private.Get(ctx)
		if err != nil {
			return err
		}
		next.Data[key] = value
	}
	for _, key := range p.Absent {
		if is(key) != nil {
			existing.Data[key] = []byte{}
		}
	}
	return nil
}

// PrivateKey is the key of a leaf: from the visit that issued it, else read live, if it is still the one of the state.
func (m *Maker) PrivateKey(r Request, st State) Private {
	var known []byte
	return Private{Digest: st.Key, Get: func(ctx context.Context) ([]byte, error) {
		if known != nil {
			return known, nil
		}
		if st.Issued {
			return st.Observed.Leaf.Key.Reveal()
		}
		s, err := m.Secrets.Live(ctx, r.Owner.GetNamespace(), r.Secret)
		if err != nil {
			return nil, err
		}
		if s == nil || !bytes.Equal(owned.DigestOf(s.Data[corev1.TLSPrivateKeyKey]), st.Key) {
			return nil, owned.ErrBehind
		}
		known = s.Data[corev1.TLSPrivateKeyKey]
		return known, nil
	}}
}

// unexpected looks at a Secret that could not be made because it is there, although the cache does not know it. It may be
// somebody else's; or the cache lags, or has lost it because its label was stripped, which is put right. In either case the
// race is lost: what was made for an absent Secret may be older than what is there.
func (m *Maker) unexpected(ctx context.Context, r Request, name string, lost error) error {
	if !apierrors.IsAlreadyExists(lost) {
		return lost
	}
	there, err := m.Secrets.Live(ctx, r.Owner.GetNamespace(), name)
	if err != nil {
		return err
	}
	if there == nil {
		return lost
	}
	if err := Conflict(r.Keeper.Check(ctx, r.Owner, there)); err != nil {
		return err
	}
	next, marks := there.DeepCopy(), owned.Marks{Claim: ClaimOf(r.Keeper, there), Controlled: true}
	if err := owned.Update(ctx, r.Keeper, r.Owner, there, next, marks); err != nil {
		return Conflict(err)
	}
	if err := Labelled(next); err != nil {
		return err
	}
	return lost
}

// Labelled says, as a stall, where what the API server stored bears no label of the operator's: no cache will show it.
func Labelled(s *corev1.Secret) error {
	if s.Labels[v1alpha1.ManagedLabel] == v1alpha1.ManagedValue {
		return nil
	}
	return stall.Because(v1alpha1.ReasonLabelStripped, "something takes the label %q off Secret %q whenever it is written, such as a "+
		"MutatingAdmissionPolicy or a webhook: it stays as it is, and is neither repaired nor renewed; exempt what bears the label from that policy",
		v1alpha1.ManagedLabel, s.Name)
}

// ClaimOf is what the operator noted on a Secret; nothing where it is none of ours, or there is none.
func ClaimOf(k *owned.Keeper, s *corev1.Secret) consumers.Claim {
	if s == nil {
		return consumers.Claim{}
	}
	c, ok := k.ClaimOf(s)
	if !ok {
		return consumers.Claim{}
	}
	return c
}

// Conflict makes a stall of a product that is somebody else's.
func Conflict(err error) error {
	if owned.IsConflict(err) {
		return stall.Because(v1alpha1.ReasonSecretConflict, "%v", err)
	}
	return err
}

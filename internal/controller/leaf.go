package controller

import (
	"bytes"
	"context"
	"errors"
	"maps"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

// leaf is the one certificate of an APIServerCertificate or a NodeCredential: what to make and where.
type leaf struct {
	owner   v1alpha1.Object
	secret  string // name
	ca      string // name of the ClusterCA that signs
	desired plan.Desired
	invalid error               // why desired could not be made: nothing is issued, what is there is kept
	bundles map[string]rendered // further bundles, by key of the Secret
	absent  []string            // keys that it must not hold any more
	// externalKey: its Secret holds no private key.
	externalKey bool
	lease       string // of the agent, for delivery.mode 'Agent'
	host        string // whose agent that is
	deliver     v1alpha1.DeliverySpec
	agent       *coordinationv1.Lease    // nil: there is none
	said        consumers.Acknowledgment // how what is issued is acknowledged
	keeper      *owned.Keeper
}

// leafState is how a leaf stands at the end of a reconciliation.
type leafState struct {
	issuer   issuer
	decision plan.Decision
	observed *plan.Observed  // nil: there is none
	stored   []certificate   // the roots that stand beside it
	claim    consumers.Claim // what the Secret bears
	issued   bool            // in this reconciliation
	// keysAwaited says that the Secret of the service account keys is not there, and waited for.
	keysAwaited bool
	// keysPending says that the service account keys are being made.
	keysPending bool
	// hasClientBundle says whether the Secret holds client-ca.crt.
	hasClientBundle bool
}

// reconcileLeaf brings the leaf's Secret to what the plan decides, with one live read, of the CA, before a key is
// generated and none otherwise. The state it returns is valid even with an error. seen is the Secret in the cache: l.bundles
// were rendered to go into that one and no later one, which may hold younger ones.
func (b *base) reconcileLeaf(ctx context.Context, l leaf, seen *corev1.Secret) (leafState, error) {
	var st leafState
	var err error
	held := l.claimOf(seen).Revisions()
	if st.issuer, err = b.issuer(ctx, l.owner.GetNamespace(), l.ca, held); err != nil {
		return st, err
	}
	if err := b.observe(ctx, &st, l, seen); err != nil {
		return st, err
	}
	if st.decision.Action == plan.Issue {
		err := b.issueLive(ctx, &st, l, seen)
		return st, err
	}
	if seen != nil && st.observed.Err == nil {
		err = b.writeLeaf(ctx, l, st, seen, st.observed.Pair, seen.Data[corev1.TLSPrivateKeyKey])
	}
	if err == nil {
		err = l.invalid
	}
	return st, err
}

// issueLive issues, if that is decided from what the API server itself says of the CA.
func (b *base) issueLive(ctx context.Context, st *leafState, l leaf, seen *corev1.Secret) error {
	var err error
	if !st.issuer.live {
		if st.issuer, err = b.signer(ctx, l.owner.GetNamespace(), l.ca); err != nil {
			return err
		}
		if err := b.observe(ctx, st, l, seen); err != nil {
			return err
		}
	}
	if st.decision.Action != plan.Issue {
		return nil // it is visited again when the cache has it too
	}
	err = b.issue(ctx, st, l, seen)
	if seen == nil && apierrors.IsAlreadyExists(err) {
		return b.unexpected(ctx, l, l.secret, err)
	}
	return err
}

// unexpected looks at a Secret that is there although the cache does not know it. It may be somebody else's; or the
// cache lags, or has lost it because its label was stripped, which is put right. In either case the race is lost: what
// was made for an absent Secret may be older than what is there.
func (b *base) unexpected(ctx context.Context, l leaf, name string, lost error) error {
	s, err := b.liveSecret(ctx, l.owner.GetNamespace(), name)
	if err != nil {
		return err
	}
	if s == nil {
		return lost
	}
	if err := conflict(l.keeper.Check(ctx, ownerOf(l.owner), s)); err != nil {
		return err
	}
	if err := owned.Update(ctx, l.keeper, ownerOf(l.owner), s, s.DeepCopy(), owned.Marks{Claim: l.claimOf(s), Controlled: true}); err != nil {
		return err
	}
	return lost
}

// claimOf is what the operator noted on a Secret; nothing where it is none of this object's.
func (l leaf) claimOf(s *corev1.Secret) consumers.Claim {
	if s == nil {
		return consumers.Claim{}
	}
	c, ok := l.keeper.ClaimOf(s)
	if !ok {
		return consumers.Claim{}
	}
	return c
}

// observe reads what a Secret holds and decides what to do about it.
func (b *base) observe(ctx context.Context, st *leafState, l leaf, seen *corev1.Secret) error {
	st.observed, st.stored, st.claim = nil, nil, consumers.Claim{}
	if seen != nil {
		if err := l.keeper.Check(ctx, ownerOf(l.owner), seen); err != nil {
			return conflict(err)
		}
		st.claim = l.claimOf(seen)
		st.hasClientBundle = len(seen.Data[clientBundleKey]) > 0
		st.observed = observedIn(seen, st.claim, l.externalKey)
		if roots, err := pki.ParseCertificates(seen.Data[bundleKey]); err == nil {
			st.stored = roots
		}
	}
	if l.invalid != nil {
		st.decision = plan.Decision{Action: plan.Keep}
		return nil //nolint:nilerr // the caller says it, once what is there has been looked after
	}
	d := l.desired
	d.Issuer = st.issuer.pair
	if !st.issuer.ledger.Admits(d.Seed) {
		d.Accepted = st.issuer.roots
	}
	st.decision = plan.Decide(b.clock.Now(), d, st.observed)
	if st.observed != nil && st.observed.Err == nil && d.Issuer != nil && st.observed.Pair.IssuedBy(*d.Issuer) {
		st.claim.Issuer, st.claim.Generation = l.ca, st.issuer.generation
	}
	return nil
}

// observedIn is what a Secret holds, readable or not.
func observedIn(s *corev1.Secret, claim consumers.Claim, externalKey bool) *plan.Observed {
	o := plan.Observed{SpecHash: claim.SpecHash}
	if externalKey {
		o.Pair, o.Err = pki.ParseKeyless(s.Data[corev1.TLSCertKey])
		return &o
	}
	o.Pair, o.Err = pki.ParseKeyPair(s.Data[corev1.TLSCertKey], s.Data[corev1.TLSPrivateKeyKey])
	return &o
}

// issue makes a certificate, with a new key unless that is on the host, and stores it in one write.
func (b *base) issue(ctx context.Context, st *leafState, l leaf, seen *corev1.Secret) error {
	pair, key, err := l.sign(b.keysFor(l.owner, forCertificate), b.clock.Now(), *st.issuer.pair)
	if err != nil {
		return err
	}
	next := *st
	next.claim.SpecHash, next.claim.Revision = l.desired.Spec.Hash(), st.claim.Revision+1
	next.claim.Issuer, next.claim.Generation = l.ca, st.issuer.generation
	if err := b.writeLeaf(ctx, l, next, seen, pair, key); err != nil {
		return err
	}
	st.claim = next.claim
	st.observed = &plan.Observed{Pair: pair, SpecHash: st.claim.SpecHash}
	st.issued = true
	d := l.desired
	d.Issuer = st.issuer.pair
	after := plan.Decide(b.clock.Now(), d, st.observed)
	st.decision.NextCheck = after.NextCheck
	log.FromContext(ctx).Info("Issued a certificate", "secret", klog.KRef(l.owner.GetNamespace(), l.secret),
		"reason", st.decision.Reason, "serialNumber", pki.SerialOf(pair.Cert), "notAfter", pair.Cert.NotAfter)
	return nil
}

// refused makes a stall of what only another spec can cure.
func refused(err error) error {
	if same := (*pki.SubjectEqualsIssuerError)(nil); errors.As(err, &same) {
		return stalled(v1alpha1.ReasonSubjectEqualsIssuer, "%v", err)
	}
	return err
}

// writeLeaf writes the leaf's Secret for a given pair; key is nil where that is on the host. A bundle that cannot be had now
// is left as it is.
func (b *base) writeLeaf(ctx context.Context, l leaf, st leafState, seen *corev1.Secret, pair pki.KeyPair, key []byte) error {
	data, absent := map[string][]byte{corev1.TLSCertKey: pair.CertPEM()}, l.absent
	if l.externalKey {
		absent = append(absent, corev1.TLSPrivateKeyKey)
	} else {
		data[corev1.TLSPrivateKeyKey] = key
	}
	claim := consumers.Claim{Issuer: st.claim.Issuer, Generation: st.claim.Generation, SpecHash: st.claim.SpecHash, Revision: st.claim.Revision}
	bundles := map[string]rendered{bundleKey: st.issuer.rendered()}
	maps.Copy(bundles, l.bundles)
	return b.writeProduct(ctx, l, seen, product{name: l.secret, typ: l.secretType(), data: data, absent: absent, bundles: bundles, claim: claim})
}

// product is a Secret as it should be. Keys of its data that are not named here are left alone.
type product struct {
	name    string
	typ     corev1.SecretType
	data    map[string][]byte
	absent  []string            // keys that must go
	bundles map[string]rendered // by key
	claim   consumers.Claim
}

// writeProduct writes a Secret if it differs from what it should be. seen is what was read before, nil for nothing: the write
// then is a Create, which fails if somebody was faster; else it is an Update under seen's resourceVersion. Either failure
// means to read and decide again.
func (b *base) writeProduct(ctx context.Context, l leaf, seen *corev1.Secret, p product) error {
	was := l.claimOf(seen)
	next := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: l.owner.GetNamespace(), Name: p.name}, Type: p.typ}
	if seen != nil {
		next = seen.DeepCopy()
	}
	if next.Data == nil {
		next.Data = map[string][]byte{}
	}
	maps.Copy(next.Data, p.data)
	for _, key := range p.absent {
		delete(next.Data, key)
	}
	changed := p.putBundles(next.Data, was)
	p.claim.Contents = consumers.ContentsDigest(next.Data)
	settled := true
	if seen != nil {
		changed = changed || was.Contents != consumers.ContentsDigest(seen.Data) // somebody else has changed it
		// What a person states is looked at by the gates alone, who know the bundles: until then, what was there before counts.
		settled = l.said.Manual == nil && l.said.Settled((&consumers.Reader{}).Read(seen, l.keeper.Seal), b.clock.Now())
	}
	marks := owned.Marks{Claim: p.claim.After(was, b.clock.Now(), changed, settled), Controlled: true}
	if seen == nil {
		if err := owned.Create(ctx, l.keeper, ownerOf(l.owner), next, marks); err != nil {
			return err
		}
		b.wrote.created(secretKind, next)
		return nil
	}
	if err := owned.Update(ctx, l.keeper, ownerOf(l.owner), seen, next, marks); err != nil {
		return err
	}
	if next.ResourceVersion != seen.ResourceVersion { // it differed, and was written
		b.wrote.updated(secretKind, next)
	}
	return nil
}

// putBundles enters the bundles, and says whether one is another than before. Where one cannot be had now, what stood there
// stays.
func (p *product) putBundles(data map[string][]byte, was consumers.Claim) (changed bool) {
	p.claim.Trust = map[string]map[string]int64{}
	for key, r := range p.bundles {
		if r.data == nil {
			r.revisions = was.Trust[key]
		} else {
			changed = changed || !bytes.Equal(data[key], r.data)
			data[key] = r.data
		}
		if len(r.revisions) > 0 {
			p.claim.Trust[key] = r.revisions
		}
	}
	return changed
}

// usable says why the leaf cannot be used now, nil where it can. Where its CA publishes nothing any
// more, it is held against the roots that were published with it.
func (b *base) usable(st leafState) error {
	roots := st.issuer.roots
	if roots == nil {
		roots = st.stored
	}
	return plan.Usable(b.clock.Now(), st.observed, roots)
}

// capped says whether the leaf was cut to the end of its CA.
func capped(d plan.Desired, st leafState) bool {
	if st.observed == nil || st.observed.Err != nil || st.issuer.pair == nil {
		return false
	}
	cert := st.observed.Pair.Cert
	short := cert.NotAfter.Sub(cert.NotBefore) < d.Spec.Validity+pki.ClockSkew
	return short && plan.Capped(cert, st.issuer.pair)
}

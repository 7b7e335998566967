package controller

import (
	"context"
	"crypto/x509"
	"errors"
	"maps"
	"strconv"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

// leaf is the one certificate of an APIServerCertificate or a NodeCredential: what to make and where.
type leaf struct {
	owner   client.Object
	kind    string
	secret  string // name
	ca      string // name of the ClusterCA that signs
	desired plan.Desired
	invalid error               // why desired could not be made: nothing is issued, what is there is kept
	outrank map[string]bool     // owners (OwnerAnnotation) whose Secret is taken over: younger than this one
	bundles map[string]rendered // further bundles, by key of the Secret
	absent  []string            // keys that it must not hold any more
	keyless bool                // its Secret holds no private key
	lease   string              // of the agent, for delivery.mode 'Agent'
	host    string              // whose agent that is
	deliver v1alpha1.DeliverySpec
	agent   *coordinationv1.Lease // nil: there is none
	said    answer                // how what is issued is acknowledged
}

// leafState is how a leaf stands at the end of a reconciliation.
type leafState struct {
	issuer   issuer
	decision plan.Decision
	observed *plan.Observed      // nil: there is none
	stored   []*x509.Certificate // the roots that stand beside it
	facts    leafFacts
	issued   bool // in this reconciliation
	// keysAwaited says that the Secret of the service account keys is not there, and waited for.
	keysAwaited bool
	// hasClientBundle says whether the Secret holds client-ca.crt.
	hasClientBundle bool
}

// leafFacts are the annotations of a leaf's Secret.
type leafFacts struct {
	requestHash string
	revision    int32
	issuer      string // the ClusterCA that signed it
	generation  int32  // and which of its keys
}

// reconcileLeaf brings the leaf's Secret to what the plan decides, with one live read, of the CA's
// ledger, before a key is generated and none otherwise. The state it returns is valid even with an error. seen is the
// Secret in the cache: l.bundles were rendered to go into that one and no later one, which may hold younger ones.
func (b *base) reconcileLeaf(ctx context.Context, l leaf, seen *corev1.Secret) (leafState, error) {
	var st leafState
	var err error
	held := holdingIn(seen)
	if st.issuer, err = b.issuer(ctx, l.owner.GetNamespace(), l.ca, held.Trust[bundleKey]); err != nil {
		return st, err
	}
	if err := b.observe(&st, l, seen); err != nil {
		return st, err
	}
	if _, cached := held.Trust[bundleKey][l.ca]; cached && st.decision.Action == plan.Issue { // else it was just read there
		if st.issuer, err = b.issuerBy(ctx, b.live, l.owner.GetNamespace(), l.ca); err != nil {
			return st, err
		}
		if err := b.observe(&st, l, seen); err != nil {
			return st, err
		}
	}
	if st.decision.Action == plan.Issue {
		err := b.issueOnce(ctx, &st, l, seen)
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

// issueOnce issues, unless the Secret turns out to be there although the cache does not know it.
func (b *base) issueOnce(ctx context.Context, st *leafState, l leaf, seen *corev1.Secret) error {
	err := b.issue(ctx, st, l, seen)
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
	switch {
	case err != nil:
		return err
	case s == nil:
		return lost
	case !l.mine(s):
		return conflict("Secret", name)
	}
	if err := b.ensureSecret(ctx, l.owner, s, wanted{name: name, kind: l.kind}); err != nil {
		return err
	}
	return lost
}

// observe reads what a Secret holds and decides what to do about it.
func (b *base) observe(st *leafState, l leaf, seen *corev1.Secret) error {
	st.observed, st.stored, st.facts = nil, nil, leafFacts{}
	if seen != nil {
		if !l.mine(seen) {
			return conflict("Secret", seen.Name)
		}
		st.facts = factsOf(seen)
		st.hasClientBundle = len(seen.Data[clientBundleKey]) > 0
		st.observed = observedIn(seen, l.keyless)
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
		st.facts.issuer, st.facts.generation = l.ca, st.issuer.generation
	}
	return nil
}

// observedIn is what a Secret holds, readable or not.
func observedIn(s *corev1.Secret, keyless bool) *plan.Observed {
	o := plan.Observed{RequestHash: s.Annotations[v1alpha1.RequestHashAnnotation]}
	if keyless {
		o.Pair, o.Err = pki.ParseKeyless(s.Data[corev1.TLSCertKey])
		return &o
	}
	o.Pair, o.Err = pki.ParseKeyPair(s.Data[corev1.TLSCertKey], s.Data[corev1.TLSPrivateKeyKey])
	return &o
}

// mine says whether a Secret may be written: it was made for this object, or for a younger one that
// names it too.
func (l leaf) mine(s client.Object) bool {
	return ownedBy(s, l.owner, l.kind) || l.outrank[s.GetAnnotations()[v1alpha1.OwnerAnnotation]]
}

// issue makes a certificate, with a new key unless that is on the host, and stores it in one write.
func (b *base) issue(ctx context.Context, st *leafState, l leaf, seen *corev1.Secret) error {
	pair, key, err := l.sign(b.clock.Now(), *st.issuer.pair)
	if err != nil {
		return err
	}
	facts := leafFacts{
		requestHash: l.desired.Request.Hash(),
		revision:    st.facts.revision + 1,
		issuer:      l.ca,
		generation:  st.issuer.generation,
	}
	next := *st
	next.facts = facts
	if err := b.writeLeaf(ctx, l, next, seen, pair, key); err != nil {
		return err
	}
	st.facts = facts
	st.observed = &plan.Observed{Pair: pair, RequestHash: facts.requestHash}
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

// writeLeaf writes the leaf's Secret for a given pair; key is nil where that is on the host. A bundle that cannot be had now is left as it is.
func (b *base) writeLeaf(ctx context.Context, l leaf, st leafState, seen *corev1.Secret, pair pki.KeyPair, key []byte) error {
	was := holdingIn(seen)
	h := holding{Issuer: st.facts.issuer, Generation: st.facts.generation}
	data, absent := map[string][]byte{corev1.TLSCertKey: pair.CertPEM()}, l.absent
	if l.keyless {
		absent = append(absent, corev1.TLSPrivateKeyKey)
	} else {
		data[corev1.TLSPrivateKeyKey] = key
	}
	h.put(bundleKey, st.issuer.rendered(), was, data)
	for name, r := range l.bundles {
		h.put(name, r, was, data)
	}
	h = h.dated(seen, data, was.Issuer == h.Issuer && was.Generation == h.Generation, l.said)
	facts, err := h.facts()
	if err != nil {
		return err
	}
	maps.Copy(facts, map[string]string{
		v1alpha1.RequestHashAnnotation: st.facts.requestHash,
		v1alpha1.RevisionAnnotation:    strconv.Itoa(int(st.facts.revision)),
	})
	return b.ensureSecret(ctx, l.owner, seen, wanted{
		name: l.secret, kind: l.kind, typ: l.secretType(), data: data, absent: absent, facts: facts,
	})
}

func factsOf(s *corev1.Secret) leafFacts {
	h := holdingIn(s)
	return leafFacts{
		requestHash: s.Annotations[v1alpha1.RequestHashAnnotation],
		revision:    number(s.Annotations[v1alpha1.RevisionAnnotation]),
		issuer:      h.Issuer,
		generation:  h.Generation,
	}
}

// number reads a count that the operator itself wrote; damage reads as 0.
func number(text string) int32 {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 0 {
		return 0
	}
	return int32(n)
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
	short := cert.NotAfter.Sub(cert.NotBefore) < d.Request.Validity+pki.ClockSkew
	return short && plan.Capped(cert, st.issuer.pair)
}

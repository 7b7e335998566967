package controller

import (
	"context"
	"crypto/x509"
	"fmt"
	"maps"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

// A generation is kept in an immutable Secret of its own: 'tls.crt' and 'tls.key' and, where there are any, the root
// above it and the bridges to older roots.
const (
	rootKey    = "root.crt"
	bridgesKey = "bridges.crt"
)

// generate makes a generation and stores it before anything is signed or published with it. Its name follows
// from its number and the spec, so that an attempt that was cut short is taken up and not repeated.
func (r *clusterCAs) generate(ctx context.Context, ca *v1alpha1.ClusterCA, st *caState) (plan.Generation, error) {
	for n := st.ledger.NextNumber(); ; n++ {
		g := plan.Generation{
			Number: n, State: plan.Staged, RequestHash: st.want.RequestHash, Trigger: st.want.Trigger,
			SecretName: plan.GenerationSecretName(ca.Name, n, st.want.RequestHash),
		}
		earlier, err := r.liveSecret(ctx, ca.Namespace, g.SecretName)
		if err != nil {
			return plan.Generation{}, err
		}
		if earlier == nil {
			return r.create(ctx, ca, st, g)
		}
		if !isGeneration(earlier, ca) {
			return plan.Generation{}, conflict("Secret", earlier.Name)
		}
		found, pair, err := generationOf(earlier)
		if err != nil {
			return plan.Generation{}, err
		}
		fits := found.Trigger == g.Trigger && found.Parent == st.parent &&
			(ca.Spec.Source.IsImport() || r.clock.Now().Before(desiredCA(ca).RenewalTime(pair.Cert)))
		if fits {
			found.State = plan.Staged
			return found, nil
		}
	}
}

// create makes the key and certificate of a generation and its Secret.
func (r *clusterCAs) create(ctx context.Context, ca *v1alpha1.ClusterCA, st *caState, g plan.Generation) (plan.Generation, error) {
	pair, parent, err := r.mint(ctx, ca, st, g.Number)
	if err != nil {
		return plan.Generation{}, err
	}
	if st.want.Emergency && st.pair != nil && pki.SamePublicKey(pair.Cert.PublicKey, st.pair.Cert.PublicKey) {
		return plan.Generation{}, stalled(v1alpha1.ReasonImportInvalid,
			"mode 'Emergency' replaces a compromised key, and Secret %q still holds that key: put another CA there", ca.Spec.Source.Import.SecretRef.Name)
	}
	g.Parent = parent
	g = described(g, pair)
	key, err := pair.Key.Reveal()
	if err != nil {
		return plan.Generation{}, err
	}
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: ca.Namespace, Name: g.SecretName},
		Type:       corev1.SecretTypeTLS,
		Immutable:  new(true),
		Data:       map[string][]byte{corev1.TLSCertKey: pair.CertPEM(), corev1.TLSPrivateKeyKey: key},
	}
	if pair.Root != nil {
		s.Data[rootKey] = pki.EncodeCertificates(pair.Root)
	}
	if len(pair.Bridges) > 0 {
		s.Data[bridgesKey] = pki.EncodeCertificates(pair.Bridges...)
	}
	stamp(s, ca, kindClusterCA, dies(ca), generationFacts(g))
	if err := r.client.Create(ctx, s); err != nil { // also where another operator was faster
		return plan.Generation{}, fmt.Errorf("create Secret %q: %w", s.Name, err)
	}
	log.FromContext(ctx).Info("Created a certificate authority", "secret", klog.KObj(s),
		"subject", pair.Cert.Subject.String(), "serialNumber", pki.SerialOf(pair.Cert), "notAfter", pair.Cert.NotAfter)
	return g, nil
}

// described completes a generation from its certificate.
func described(g plan.Generation, pair pki.KeyPair) plan.Generation {
	g.SHA256 = pki.FingerprintOf(pair.Cert)
	g.NotAfter = pair.Cert.NotAfter
	if anchor := pair.Anchor(); anchor != nil {
		g.Anchor, g.Root = pki.IdentityOf(anchor), anchor == pair.Cert
	}
	return g
}

// generationFacts are the annotations of a generation's Secret: what is needed to rebuild a ledger that is lost.
func generationFacts(g plan.Generation) map[string]string {
	facts := map[string]string{
		v1alpha1.GenerationAnnotation:  strconv.Itoa(int(g.Number)),
		v1alpha1.RequestHashAnnotation: g.RequestHash,
		v1alpha1.TriggerAnnotation:     g.Trigger,
	}
	if g.Parent.Name != "" {
		facts[v1alpha1.ParentAnnotation] = fmt.Sprintf("%s/%d", g.Parent.Name, g.Parent.Generation)
	}
	if g.State == plan.Withdrawn || g.State == plan.Abandoned {
		facts[v1alpha1.WithdrawnAnnotation] = "true"
	}
	return facts
}

// generationOf reads a generation back from its Secret, as one that is no longer signing.
func generationOf(s *corev1.Secret) (plan.Generation, pki.KeyPair, error) {
	pair, err := storedPair(s)
	if err != nil {
		return plan.Generation{}, pki.KeyPair{}, stalled(v1alpha1.ReasonCAKeyInvalid,
			"Secret %q, which holds a key of this CA, is damaged (%v): restore it from a backup", s.Name, err)
	}
	g := plan.Generation{
		Number: number(s.Annotations[v1alpha1.GenerationAnnotation]), State: plan.Retiring, SecretName: s.Name,
		RequestHash: s.Annotations[v1alpha1.RequestHashAnnotation], Trigger: s.Annotations[v1alpha1.TriggerAnnotation],
	}
	if name, n, ok := strings.Cut(s.Annotations[v1alpha1.ParentAnnotation], "/"); ok {
		g.Parent = plan.Parent{Name: name, Generation: number(n)}
	}
	if s.Annotations[v1alpha1.WithdrawnAnnotation] != "" {
		g.State = plan.Withdrawn
	}
	return described(g, pair), pair, nil
}

// generationPair reads a generation's Secret and checks that it is the one the ledger names.
func generationPair(s *corev1.Secret, g plan.Generation) (pki.KeyPair, error) {
	if s == nil {
		return pki.KeyPair{}, errKeyMissing(g)
	}
	pair, err := storedPair(s)
	if err != nil {
		return pki.KeyPair{}, stalled(v1alpha1.ReasonCAKeyInvalid,
			"Secret %q, which holds the key of generation %d, is damaged (%v): restore it from a backup", g.SecretName, g.Number, err)
	}
	if pki.FingerprintOf(pair.Cert) != g.SHA256 {
		return pki.KeyPair{}, stalled(v1alpha1.ReasonCAKeyInvalid,
			"Secret %q holds another CA than generation %d: restore it from a backup", g.SecretName, g.Number)
	}
	return pair, nil
}

func errKeyMissing(g plan.Generation) error {
	return stalled(v1alpha1.ReasonCAKeyMissing,
		"Secret %q, which holds the key of generation %d, is gone: restore it from a backup, or change spec.rotation.revision "+
			"to have the CA replaced; nothing is signed until then, and no other CA is made in its place by itself",
		g.SecretName, g.Number)
}

// storedPair reads a CA from its Secret.
func storedPair(s *corev1.Secret) (pki.KeyPair, error) {
	pair, err := pki.ParseKeyPair(s.Data[corev1.TLSCertKey], s.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return pki.KeyPair{}, err
	}
	if text := s.Data[rootKey]; len(text) > 0 {
		roots, err := pki.ParseCertificates(text)
		if err != nil {
			return pki.KeyPair{}, fmt.Errorf("%s: %w", rootKey, err)
		}
		pair.Root = roots[0]
	}
	if text := s.Data[bridgesKey]; len(text) > 0 {
		if pair.Bridges, err = pki.ParseCertificates(text); err != nil {
			return pki.KeyPair{}, fmt.Errorf("%s: %w", bridgesKey, err)
		}
	}
	return pair, nil
}

// isGeneration says whether a Secret is a generation of a ClusterCA.
func isGeneration(s *corev1.Secret, ca *v1alpha1.ClusterCA) bool {
	return ownedBy(s, ca, kindClusterCA) && s.Annotations[v1alpha1.GenerationAnnotation] != ""
}

// generations reads the Secret of every generation that the ledger names and repairs its marks. Only the one that
// signs must be there: of the others the bundle holds all that is needed. Marks come from a ledger as it is stored, never
// from one that is about to be: the step may fail.
func (r *clusterCAs) generations(ctx context.Context, ca *v1alpha1.ClusterCA, st *caState, stored bool) error {
	st.pairs, st.pair, st.keyErr = map[int32]pki.KeyPair{}, nil, nil
	for _, g := range st.ledger.Generations {
		s, err := r.cachedSecret(ctx, ca.Namespace, g.SecretName)
		if err == nil && s == nil { // from the API server itself, before it is said to be gone
			s, err = r.liveSecret(ctx, ca.Namespace, g.SecretName)
		}
		if err != nil {
			return err
		}
		pair, err := generationPair(s, g)
		if err != nil {
			if g.State == plan.Signing {
				st.keyErr = err
			}
			continue
		}
		st.pairs[g.Number] = pair
		if g.State == plan.Signing {
			st.pair = &pair
		}
		next := s.DeepCopy()
		if stored && stamp(next, ca, kindClusterCA, dies(ca), generationFacts(g)) {
			if err := r.client.Update(ctx, next); err != nil {
				return fmt.Errorf("update Secret %q: %w", s.Name, err)
			}
		}
	}
	return nil
}

// anchors are the roots that the bundle holds for the published generations, in its order, and the revisions of
// the bundles of the CAs above them. A root whose Secret is lost is taken from the bundle as it is.
func (r *clusterCAs) anchors(ctx context.Context, ca *v1alpha1.ClusterCA, st *caState, trust *corev1.ConfigMap) ([]*x509.Certificate, revisions, error) {
	present, err := pki.ParseCertificates([]byte(trust.Data[bundleKey]))
	if err != nil {
		present = nil // it is rendered anew
	}
	held := holdingOf(trust.Annotations).Trust[bundleKey]
	var out []*x509.Certificate
	above := revisions{}
	for _, g := range st.ledger.Published() {
		if g.Parent.Name != "" {
			parent, err := r.issuer(ctx, ca.Namespace, g.Parent.Name, held)
			if err != nil {
				return nil, nil, err
			}
			if parent.bundle != nil {
				out = append(out, parent.roots...)
				maps.Copy(above, parent.trust)
				continue
			}
		}
		anchor := find(present, g.Anchor)
		if pair, ok := st.pairs[g.Number]; ok {
			anchor = pair.Anchor()
		}
		if anchor == nil {
			return nil, nil, errKeyMissing(g)
		}
		out = append(out, anchor)
	}
	return out, above, nil
}

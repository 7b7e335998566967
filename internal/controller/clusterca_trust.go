package controller

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

// trust reads the ConfigMap of bundle and ledger, from the API server itself before it says that there
// is none.
func (r *clusterCAs) trust(ctx context.Context, ca *v1alpha1.ClusterCA) (*corev1.ConfigMap, error) {
	key := client.ObjectKey{Namespace: ca.Namespace, Name: ca.TrustConfigMapName()}
	var cm corev1.ConfigMap
	err := r.client.Get(ctx, key, &cm)
	if apierrors.IsNotFound(err) {
		err = r.live.Get(ctx, key, &cm)
	}
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // absence is an answer
	}
	if err != nil {
		return nil, fmt.Errorf("read ConfigMap %q: %w", key.Name, err)
	}
	return &cm, nil
}

// begin creates the trust ConfigMap: from the generations that are there, else from a new one. A CA
// that was there once and of which nothing is left is an error for a person, never a reason to make
// another.
func (r *clusterCAs) begin(ctx context.Context, ca *v1alpha1.ClusterCA, st *caState) (*corev1.ConfigMap, error) {
	generations, pairs, revision, err := r.remains(ctx, ca)
	if err != nil {
		return nil, err
	}
	if len(generations) == 0 {
		if ca.Status.Certificate.SerialNumber != "" {
			return nil, stalled(v1alpha1.ReasonCAKeyMissing,
				"the CA's Secret and ConfigMap %q are gone: restore them from a backup; "+
					"to begin anew with another CA, delete this ClusterCA and create it again", ca.TrustConfigMapName())
		}
		g, pair, err := r.generate(ctx, ca, 1)
		if err != nil {
			return nil, err
		}
		g.State = plan.Signing
		generations, pairs = []plan.Generation{g}, []pki.KeyPair{pair}
		st.created = true
	}
	// A ledger that is rebuilt goes on counting: a revision never comes twice.
	revision++
	first := plan.Ledger{Revision: revision, TrustRevision: revision, Since: r.clock.Now().UTC().Truncate(time.Second), Generations: generations}
	first.Last = first.NextNumber() - 1
	ledger, err := first.Encode()
	if err != nil {
		return nil, err
	}
	bundle, err := pki.Bundle(certificates(pairs))
	if err != nil {
		return nil, fmt.Errorf("render the trust bundle: %w", err)
	}
	cm := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: ca.Namespace, Name: ca.TrustConfigMapName()},
		Data:       map[string]string{bundleKey: string(bundle), ledgerKey: ledger},
	}
	stamp(cm, ca, kindClusterCA, dies(ca), nil)
	if err := r.client.Create(ctx, cm); err != nil {
		return nil, fmt.Errorf("create ConfigMap %q: %w", cm.Name, err)
	}
	return cm, nil
}

// remains finds the generations that exist without a ledger: of an attempt that was cut short, or of a ledger
// that was deleted; and the highest revision that anything tells of. The generation that signed the youngest
// leaves signs again: it does so only once everybody trusts it. The others are published with it, because it
// is not known who still needs them.
func (r *clusterCAs) remains(ctx context.Context, ca *v1alpha1.ClusterCA) ([]plan.Generation, []pki.KeyPair, int64, error) {
	var list corev1.SecretList
	// All of the namespace's, once in a CA's life: a generation whose label was stripped must be found too.
	if err := r.live.List(ctx, &list, client.InNamespace(ca.Namespace)); err != nil {
		return nil, nil, 0, fmt.Errorf("look for the CA's generations: %w", err)
	}
	revision := ca.Status.Trust.Revision
	var generations []plan.Generation
	var pairs []pki.KeyPair
	for i := range list.Items {
		s := &list.Items[i]
		revision = max(revision, heldTrust(s, ca.Name))
		if !isGeneration(s, ca) {
			continue
		}
		g, pair, err := generationOf(s)
		if err != nil {
			return nil, nil, 0, err
		}
		generations, pairs = append(generations, g), append(pairs, pair)
	}
	if len(generations) == 0 {
		return nil, nil, revision, nil
	}
	signing := lastToSign(generations, pairs, list.Items)
	for i := range generations {
		if generations[i].Number > generations[signing].Number {
			generations[i].State = plan.Trusted
		}
	}
	generations[signing].State = plan.Signing
	pairs[0], pairs[signing] = pairs[signing], pairs[0]
	generations[0], generations[signing] = generations[signing], generations[0]
	return generations, pairs, revision, nil
}

// lastToSign is the index of the highest generation that signed a leaf, else of the lowest there is.
func lastToSign(generations []plan.Generation, pairs []pki.KeyPair, secrets []corev1.Secret) int {
	lowest, signer := 0, -1
	for i, g := range generations {
		if g.Number < generations[lowest].Number {
			lowest = i
		}
		signed := slices.ContainsFunc(secrets, func(s corev1.Secret) bool {
			certs, err := pki.ParseCertificates(s.Data[corev1.TLSCertKey])
			return err == nil && !certs[0].IsCA && pki.SignedBy(certs[0], pairs[i].Cert)
		})
		if signed && (signer < 0 || g.Number > generations[signer].Number) {
			signer = i
		}
	}
	if signer < 0 {
		return lowest
	}
	return signer
}

// generate makes a generation and stores it before anything is signed or published with it. Its name follows
// from its number and the spec, so that an attempt that was cut short is taken up and not repeated.
func (r *clusterCAs) generate(ctx context.Context, ca *v1alpha1.ClusterCA, number int32) (plan.Generation, pki.KeyPair, error) {
	desired := desiredCA(ca)
	if err := validRequest(desired.Request); err != nil {
		return plan.Generation{}, pki.KeyPair{}, err
	}
	hash := desired.Request.Hash()
	name := plan.GenerationSecretName(ca.Name, number, hash)
	earlier, err := r.liveSecret(ctx, ca.Namespace, name)
	if err != nil {
		return plan.Generation{}, pki.KeyPair{}, err
	}
	if earlier != nil {
		return r.takeUp(ca, earlier, number, hash)
	}
	pair, err := pki.SelfSign(r.clock.Now(), desired.GenerationRequest(number))
	if err != nil {
		return plan.Generation{}, pki.KeyPair{}, err
	}
	key, err := pair.Key.Reveal()
	if err != nil {
		return plan.Generation{}, pki.KeyPair{}, err
	}
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: ca.Namespace, Name: name},
		Type:       corev1.SecretTypeTLS,
		Immutable:  new(true),
		Data:       map[string][]byte{corev1.TLSCertKey: pair.CertPEM(), corev1.TLSPrivateKeyKey: key},
	}
	stamp(s, ca, kindClusterCA, dies(ca), generationFacts(number, hash))
	if err := r.client.Create(ctx, s); err != nil { // also where another operator was faster
		return plan.Generation{}, pki.KeyPair{}, fmt.Errorf("create Secret %q: %w", s.Name, err)
	}
	log.FromContext(ctx).Info("Created a certificate authority", "secret", klog.KObj(s),
		"subject", pair.Cert.Subject.String(), "serialNumber", pki.SerialOf(pair.Cert), "notAfter", pair.Cert.NotAfter)
	return entry(number, hash, ca.Spec.Rotation.Revision, s.Name, pair), pair, nil
}

// takeUp reads a generation back that an earlier attempt stored.
func (r *clusterCAs) takeUp(ca *v1alpha1.ClusterCA, s *corev1.Secret, number int32, hash string) (plan.Generation, pki.KeyPair, error) {
	if !isGeneration(s, ca) {
		return plan.Generation{}, pki.KeyPair{}, conflict("Secret", s.Name)
	}
	_, pair, err := generationOf(s)
	if err != nil {
		return plan.Generation{}, pki.KeyPair{}, err
	}
	return entry(number, hash, ca.Spec.Rotation.Revision, s.Name, pair), pair, nil
}

// ensureTrust repairs the bundle and the marks of the trust ConfigMap.
func (r *clusterCAs) ensureTrust(ctx context.Context, ca *v1alpha1.ClusterCA, seen *corev1.ConfigMap, bundle []byte) (*corev1.ConfigMap, error) {
	next := seen.DeepCopy()
	changed := stamp(next, ca, kindClusterCA, dies(ca), nil)
	if next.Data[bundleKey] != string(bundle) {
		next.Data[bundleKey] = string(bundle)
		changed = true
	}
	if !changed {
		return seen, nil
	}
	if err := r.client.Update(ctx, next); err != nil {
		return nil, fmt.Errorf("update ConfigMap %q: %w", seen.Name, err)
	}
	return next, nil
}

func generationFacts(number int32, hash string) map[string]string {
	return map[string]string{
		v1alpha1.GenerationAnnotation:  strconv.Itoa(int(number)),
		v1alpha1.RequestHashAnnotation: hash,
	}
}

// generationOf reads a generation back from its Secret, as one that is no longer signing.
func generationOf(s *corev1.Secret) (plan.Generation, pki.KeyPair, error) {
	pair, err := pki.ParseKeyPair(s.Data[corev1.TLSCertKey], s.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return plan.Generation{}, pki.KeyPair{}, stalled(v1alpha1.ReasonCAKeyInvalid,
			"Secret %q, which holds a key of this CA, is damaged (%v): restore it from a backup", s.Name, err)
	}
	return plan.Generation{
		Number: number(s.Annotations[v1alpha1.GenerationAnnotation]), State: plan.Retiring, SecretName: s.Name,
		RequestHash: s.Annotations[v1alpha1.RequestHashAnnotation], SHA256: pki.FingerprintOf(pair.Cert),
	}, pair, nil
}

func certificates(pairs []pki.KeyPair) []*x509.Certificate {
	out := make([]*x509.Certificate, 0, len(pairs))
	for _, p := range pairs {
		out = append(out, p.Cert)
	}
	return slices.Clip(out)
}

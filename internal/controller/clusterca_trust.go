package controller

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
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
	var err error
	if st.ledger, err = r.remains(ctx, ca); err != nil {
		return nil, err
	}
	if err := r.awaitTrust(ca, st.ledger); err != nil {
		return nil, err
	}
	if len(st.ledger.Generations) == 0 {
		if ca.Status.Certificate.SerialNumber != "" || st.ledger.Last > 0 {
			return nil, stalled(v1alpha1.ReasonCAKeyMissing,
				"the CA's Secret and ConfigMap %q are gone: restore them from a backup; to begin anew with another CA, delete this ClusterCA, "+
					"and the Secrets that hold certificates of the old one, and create it again", ca.TrustConfigMapName())
		}
		if err := r.asks(ctx, ca, st); err != nil {
			return nil, err
		}
		g, err := r.generate(ctx, ca, st)
		if err != nil {
			return nil, err
		}
		g.State = plan.Signing
		st.ledger.Generations, st.created = []plan.Generation{g}, true
	}
	// A ledger that is rebuilt goes on counting: a revision never comes twice.
	st.ledger.Revision++
	st.ledger.TrustRevision = st.ledger.Revision
	st.ledger.Since = r.clock.Now().UTC().Truncate(time.Second)
	st.ledger.Last = max(st.ledger.Last, st.ledger.NextNumber()-1)
	st.signing, _ = st.ledger.Signing()
	if err := r.generations(ctx, ca, st, false); err != nil {
		return nil, err
	}
	cm, err := r.wantedTrust(ctx, ca, st, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: ca.Namespace, Name: ca.TrustConfigMapName()},
	})
	if err != nil {
		return nil, err
	}
	if err := r.client.Create(ctx, cm); err != nil {
		return nil, fmt.Errorf("create ConfigMap %q: %w", cm.Name, err)
	}
	return cm, nil
}

// wantedTrust is the trust ConfigMap as the ledger says it should be.
func (r *clusterCAs) wantedTrust(ctx context.Context, ca *v1alpha1.ClusterCA, st *caState, seen *corev1.ConfigMap) (*corev1.ConfigMap, error) {
	certs, above, err := r.anchors(ctx, ca, st, seen)
	if err != nil {
		return nil, err
	}
	bundle, err := pki.Bundle(certs)
	if err != nil {
		return nil, fmt.Errorf("render the trust bundle: %w", err)
	}
	text, err := st.ledger.Encode()
	if err != nil {
		return nil, err
	}
	cm := seen.DeepCopy()
	cm.Data = maps.Clone(seen.Data)
	if cm.Data == nil {
		cm.Data = map[string]string{}
	}
	cm.Data[bundleKey], cm.Data[ledgerKey] = string(bundle), text
	facts := map[string]string{}
	if len(above) > 0 || holdingOf(seen.Annotations).Trust != nil {
		if facts, err = (holding{Trust: map[string]revisions{bundleKey: above}}).facts(); err != nil {
			return nil, err
		}
	}
	stamp(cm, ca, kindClusterCA, dies(ca), facts)
	return cm, nil
}

// ensureTrust repairs the bundle and the marks of the trust ConfigMap.
func (r *clusterCAs) ensureTrust(ctx context.Context, ca *v1alpha1.ClusterCA, st *caState, seen *corev1.ConfigMap) (*corev1.ConfigMap, error) {
	next, err := r.wantedTrust(ctx, ca, st, seen)
	if err != nil {
		return nil, err
	}
	next.Data[ledgerKey] = seen.Data[ledgerKey] // as it was written: reading it back changes nothing
	if maps.Equal(next.Data, seen.Data) && maps.Equal(next.Labels, seen.Labels) && maps.Equal(next.Annotations, seen.Annotations) &&
		sameReferences(next.OwnerReferences, seen.OwnerReferences) {
		return seen, nil
	}
	if err := r.client.Update(ctx, next); err != nil {
		return nil, fmt.Errorf("update ConfigMap %q: %w", seen.Name, err)
	}
	return next, nil
}

// remains rebuilds a ledger from what exists without one: the generations of an attempt that was cut short, or of a
// ledger that was deleted; and the highest numbers that anything tells of. The generation that signed the youngest
// leaves signs again: it does so only once everybody trusts it. The others are published with it, because it
// is not known who still needs them, but for those that are marked as withdrawn.
func (r *clusterCAs) remains(ctx context.Context, ca *v1alpha1.ClusterCA) (plan.Ledger, error) {
	var list corev1.SecretList
	// All of the namespace's, once in a CA's life: a generation whose label was stripped must be found too.
	if err := r.live.List(ctx, &list, client.InNamespace(ca.Namespace)); err != nil {
		return plan.Ledger{}, fmt.Errorf("look for the CA's generations: %w", err)
	}
	l := plan.Ledger{Revision: ca.Status.Trust.Revision, Last: ca.Status.Revision}
	if err := r.stated(ctx, ca, &l); err != nil {
		return plan.Ledger{}, err
	}
	found := map[int32]remnant{}
	consumers := slices.DeleteFunc(slices.Clone(list.Items), func(s corev1.Secret) bool { return ownedBy(&s, ca, kindClusterCA) })
	for i := range list.Items {
		s := &list.Items[i]
		h := holdingIn(s)
		if revision, ok := h.revision(ca.Name); ok {
			l.Revision = max(l.Revision, revision)
		}
		if h.Issuer == ca.Name {
			l.Last = max(l.Last, h.Generation)
		}
		if !isGeneration(s, ca) {
			continue
		}
		g, pair, err := generationOf(s)
		if err != nil {
			return plan.Ledger{}, err
		}
		// Of two of one number, which two operators made at one time, only one can ever have been published.
		if other, twice := found[g.Number]; !twice || other.unused(consumers) {
			found[g.Number] = remnant{g, pair}
		}
	}
	highest := slices.Max(append(slices.Collect(maps.Keys(found)), 0))
	usable := slices.ContainsFunc(slices.Collect(maps.Values(found)), func(m remnant) bool { return m.generation.State != plan.Withdrawn })
	if len(found) > 0 && (l.Last > highest || !usable) {
		return plan.Ledger{}, stalled(v1alpha1.ReasonCAKeyMissing,
			"ConfigMap %q and the Secret of generation %d are gone, and older keys must not sign again: restore one of the two from a backup",
			ca.TrustConfigMapName(), max(l.Last, highest+1))
	}
	return r.rebuilt(l, found, consumers), nil
}

// rebuilt enters what was found into a ledger.
func (r *clusterCAs) rebuilt(l plan.Ledger, found map[int32]remnant, consumers []corev1.Secret) plan.Ledger {
	if len(found) == 0 {
		return l
	}
	signing := lastToSign(found, consumers)
	for _, n := range slices.Sorted(maps.Keys(found)) {
		g := found[n].generation
		switch {
		case n == signing:
			g.State = plan.Signing
		case g.State != plan.Withdrawn && n > signing:
			g.State = plan.Trusted
		}
		l.Generations = append(l.Generations, g)
	}
	if l.Phase() != plan.Completed {
		l.Cause, l.Started = plan.LedgerRebuilt, r.clock.Now().UTC().Truncate(time.Second)
	}
	return l
}

// mostStated bounds which revisions of an agent are believed: a host that lies must not use up the numbers.
const mostStated = 1 << 32

// stated takes the revisions into account that people, and the agents of hosts, state to be in use.
func (r *clusterCAs) stated(ctx context.Context, ca *v1alpha1.ClusterCA, l *plan.Ledger) error {
	n, err := r.readNamespace(ctx, r.live, ca.Namespace)
	if err != nil {
		return err
	}
	for i := range n.servers {
		l.Revision = max(l.Revision, statedByPerson(n.servers[i].Spec.Delivery.Acknowledged).Trust[ca.Name])
	}
	for i := range n.credentials {
		l.Revision = max(l.Revision, statedByPerson(n.credentials[i].Spec.Delivery.Acknowledged).Trust[ca.Name])
	}
	for _, lease := range n.leases {
		if said := ack.Of(lease).Verified; said != nil && said.Trust[ca.Name] < mostStated {
			l.Revision = max(l.Revision, said.Trust[ca.Name])
		}
	}
	return nil
}

// remnant is a generation that was found without a ledger.
type remnant struct {
	generation plan.Generation
	pair       pki.KeyPair
}

// signed says whether a Secret holds a certificate that the generation signed.
func (m remnant) signed(s *corev1.Secret) bool {
	certs, err := pki.ParseCertificates(s.Data[corev1.TLSCertKey])
	return err == nil && pki.SignedBy(certs[0], m.pair.Cert)
}

// unused says whether nothing that there is was signed by the generation or trusts it.
func (m remnant) unused(secrets []corev1.Secret) bool {
	return !slices.ContainsFunc(secrets, func(s corev1.Secret) bool {
		bundle, err := pki.ParseCertificates(s.Data[bundleKey])
		return m.signed(&s) || err == nil && find(bundle, m.generation.Anchor) != nil
	})
}

// lastToSign is the number of the highest generation that signed a leaf, else of the lowest there is.
func lastToSign(found map[int32]remnant, secrets []corev1.Secret) int32 {
	numbers := slices.Sorted(maps.Keys(found))
	for _, n := range slices.Backward(numbers) {
		m := found[n]
		if m.generation.State != plan.Withdrawn && slices.ContainsFunc(secrets, func(s corev1.Secret) bool { return m.signed(&s) }) {
			return n
		}
	}
	for _, n := range numbers {
		if found[n].generation.State != plan.Withdrawn {
			return n
		}
	}
	return numbers[0]
}

// ensurePair publishes the pair that signs, where that is asked for: exactly one certificate, because
// kube-controller-manager ends if it finds two. An outdated ledger must not bring back a key that signs no more.
func (r *clusterCAs) ensurePair(ctx context.Context, ca *v1alpha1.ClusterCA, st *caState, trust *corev1.ConfigMap) error {
	name := ca.Spec.SecretName
	if name == "" || st.pair == nil {
		return nil
	}
	seen, err := r.cachedSecret(ctx, ca.Namespace, name)
	if err == nil && seen == nil {
		seen, err = r.liveSecret(ctx, ca.Namespace, name)
	}
	if err != nil {
		return err
	}
	if seen != nil && (!ownedBy(seen, ca, kindClusterCA) || isGeneration(seen, ca)) {
		return conflict("Secret", name)
	}
	key, err := st.pair.Key.Reveal()
	if err != nil {
		return err
	}
	data := map[string][]byte{corev1.TLSCertKey: pki.EncodeCertificates(st.pair.Cert), corev1.TLSPrivateKeyKey: key}
	if seen == nil || !maps.EqualFunc(seen.Data, data, bytes.Equal) {
		if err := r.current(ctx, ca, trust); err != nil {
			return err
		}
	}
	was, h := holdingIn(seen), holding{Issuer: ca.Name, Generation: st.signing.Number}
	h = h.dated(seen, data, was.Issuer == h.Issuer && was.Generation == h.Generation, answerOf(ca.Spec.Delivery, nil, "", r.clock.Now()))
	facts, err := h.facts()
	if err != nil {
		return err
	}
	return r.ensureSecret(ctx, ca, seen, wanted{name: name, kind: kindClusterCA, typ: corev1.SecretTypeTLS, data: data, facts: facts})
}

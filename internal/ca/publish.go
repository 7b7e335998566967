package ca

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/leaf"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/stall"
)

// publish writes what follows from a CA's ledger into the user's namespace: the ConfigMap of its trust bundle, and the copies
// of its active key that are asked for. Neither is ever read as truth.
func (m *Maker) publish(ctx context.Context, ca *v1alpha1.ClusterCA, record *authority.Record) (stored *authority.Record, digest string, err error) {
	record, kept := m.EmptyCopies(ctx, record, ca.SecretNames()...)
	if kept != nil && !stall.Is(kept) {
		return record, "", kept
	}
	known, err := leaf.Authorities(ctx, m.Store.Cached, record)
	if err != nil {
		return record, "", err
	}
	certs := known.Bundle(ca.Name)
	if len(certs) == 0 {
		return record, "", errors.Join(kept,
			stall.Because(v1alpha1.ReasonParentNotReady, "the trust anchors of the parent CA %q are not known", ca.ParentName()))
	}
	bundle, err := pki.Bundle(certs)
	if err != nil {
		return record, "", fmt.Errorf("render the trust bundle: %w", err)
	}
	trust := m.publishTrust(ctx, ca, bundle, known)
	stored, err = m.publishCopies(ctx, ca, record, certs)
	return stored, pki.BundleDigest(certs), errors.Join(kept, trust, err)
}

// publishTrust writes the ConfigMap of the trust bundle, where it differs.
func (m *Maker) publishTrust(ctx context.Context, ca *v1alpha1.ClusterCA, bundle []byte, known consumers.Authorities) error {
	keeper, err := m.Keeper(ctx, ca.Namespace)
	if err != nil {
		return err
	}
	marks := owned.Marks{
		Claim:      consumers.Claim{Trust: map[string]map[string]int64{consumers.BundleKey: known.Revisions(ca.Name)}},
		Controlled: ca.Spec.DeletionPolicy == v1alpha1.DeletionDelete,
	}
	name := ca.TrustConfigMapName()
	existing := &corev1.ConfigMap{}
	err = m.Client.Get(ctx, client.ObjectKey{Namespace: ca.Namespace, Name: name}, existing)
	if apierrors.IsNotFound(err) {
		cm := &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: ca.Namespace, Name: name}, Data: map[string]string{consumers.BundleKey: string(bundle)},
		}
		if err = owned.Create(ctx, keeper, ca, cm, marks); !apierrors.IsAlreadyExists(err) {
			return err
		}
		if existing, err = m.trustConfigMap(ctx, ca); existing == nil { // it has just gone
			return err
		}
	}
	if err == nil && owned.IsCut(existing) {
		if existing, err = m.trustConfigMap(ctx, ca); existing == nil && err == nil {
			return nil // it has just gone, which is told
		}
	}
	if err != nil {
		return fmt.Errorf("read ConfigMap %q: %w", name, err)
	}
	if err := keeper.Check(ctx, ca, existing); err != nil {
		return leaf.Conflict(err)
	}
	next := existing.DeepCopy()
	next.Data = map[string]string{consumers.BundleKey: string(bundle)}
	return leaf.Conflict(owned.Update(ctx, keeper, ca, existing, next, marks))
}

// trustConfigMap reads what is published, from the API server itself; nil where nothing is.
func (m *Maker) trustConfigMap(ctx context.Context, ca *v1alpha1.ClusterCA) (*corev1.ConfigMap, error) {
	var cm corev1.ConfigMap
	err := m.Live.Get(ctx, client.ObjectKey{Namespace: ca.Namespace, Name: ca.TrustConfigMapName()}, &cm)
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // absence is an answer
	}
	if err != nil {
		return nil, fmt.Errorf("read ConfigMap %q: %w", ca.TrustConfigMapName(), err)
	}
	return &cm, nil
}

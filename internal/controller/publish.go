package controller

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

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
)

// publish writes what follows from a CA's ledger into the user's namespace: the ConfigMap of its trust bundle, and the copies
// of its active key that are asked for. Neither is ever read as truth.
func (r *clusterCAs) publish(ctx context.Context, ca *v1alpha1.ClusterCA, record *authority.Record) (bundle []byte, digest string, err error) {
	known, err := leaf.Authorities(ctx, r.store.Cached, record)
	if err != nil {
		return nil, "", err
	}
	certs := known.Bundle(ca.Name)
	if len(certs) == 0 {
		return nil, "", stalled(v1alpha1.ReasonParentNotReady, "the trust anchors of the parent CA %q are not known", ca.ParentName())
	}
	if bundle, digest, err = bundleOf(certs); err != nil {
		return nil, "", err
	}
	return bundle, digest, errors.Join(r.publishTrust(ctx, ca, bundle, known), r.publishCopies(ctx, ca, record))
}

// publishTrust writes the ConfigMap of the trust bundle, where it differs.
func (r *clusterCAs) publishTrust(ctx context.Context, ca *v1alpha1.ClusterCA, bundle []byte, known consumers.Authorities) error {
	keeper, err := r.keeper(ctx, ca.Namespace)
	if err != nil {
		return err
	}
	marks := owned.Marks{
		Claim:      consumers.Claim{Trust: map[string]map[string]int64{bundleKey: known.Revisions(ca.Name)}},
		Controlled: ca.Spec.DeletionPolicy == v1alpha1.DeletionDelete,
	}
	name := ca.TrustConfigMapName()
	seen := &corev1.ConfigMap{}
	err = r.client.Get(ctx, client.ObjectKey{Namespace: ca.Namespace, Name: name}, seen)
	if apierrors.IsNotFound(err) {
		cm := &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: ca.Namespace, Name: name}, Data: map[string]string{consumers.BundleKey: string(bundle)},
		}
		if err = owned.Create(ctx, keeper, leaf.OwnerOf(ca), cm, marks); !apierrors.IsAlreadyExists(err) {
			return err
		}
		if seen, err = r.trustConfigMap(ctx, ca); seen == nil { // it has just gone
			return err
		}
	}
	if err == nil && owned.IsCut(seen) {
		if seen, err = r.trustConfigMap(ctx, ca); seen == nil && err == nil {
			return nil // it has just gone, which is told
		}
	}
	if err != nil {
		return fmt.Errorf("read ConfigMap %q: %w", name, err)
	}
	if err := keeper.Check(ctx, leaf.OwnerOf(ca), seen); err != nil {
		return leaf.Conflict(err)
	}
	next := seen.DeepCopy()
	next.Data = map[string]string{consumers.BundleKey: string(bundle)}
	return owned.Update(ctx, keeper, leaf.OwnerOf(ca), seen, next, marks)
}

// publishCopies writes the copy of the active key that spec.secretName asks for, and empties those that it asked for before.
func (r *clusterCAs) publishCopies(ctx context.Context, ca *v1alpha1.ClusterCA, record *authority.Record) error {
	for _, c := range record.Copies {
		if c.Name != ca.Spec.SecretName {
			if err := r.emptyCopy(ctx, ca, record, c); err != nil {
				return err
			}
		}
	}
	if ca.Spec.SecretName == "" {
		return nil
	}
	pair, err := record.Active()
	if err != nil {
		return nil //nolint:nilerr // it is told as what is wrong with the CA
	}
	key, err := pair.Key.Reveal()
	if err != nil {
		return err
	}
	// Exactly one certificate: kube-controller-manager ends if it finds two.
	data := map[string][]byte{corev1.TLSCertKey: pki.EncodeCertificates(pair.Cert), corev1.TLSPrivateKeyKey: key}
	seen, err := r.ensureCopy(ctx, ca, record)
	if err != nil {
		return err
	}
	return r.fillCopy(ctx, ca, record, seen, data)
}

// ensureCopy makes the Secret of a copy, empty, and records it before anything is put there: whoever made one of that name
// first does not get the key.
func (r *clusterCAs) ensureCopy(ctx context.Context, ca *v1alpha1.ClusterCA, record *authority.Record) (*corev1.Secret, error) {
	keeper, err := r.keeper(ctx, ca.Namespace)
	if err != nil {
		return nil, err
	}
	name := ca.Spec.SecretName
	seen, err := r.secrets.Live(ctx, ca.Namespace, name)
	if err != nil {
		return nil, err
	}
	if seen == nil {
		seen = &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: ca.Namespace, Name: name}, Type: corev1.SecretTypeTLS,
			Data: map[string][]byte{corev1.TLSCertKey: {}, corev1.TLSPrivateKeyKey: {}},
		}
		if err := owned.Create(ctx, keeper, leaf.OwnerOf(ca), seen, owned.Marks{Controlled: true}); err != nil {
			return nil, err
		}
	}
	if err := keeper.Check(ctx, leaf.OwnerOf(ca), seen); err != nil {
		return nil, leaf.Conflict(err)
	}
	recorded := slices.ContainsFunc(record.Copies, func(c authority.Copy) bool { return c.Name == name && c.UID == seen.UID })
	filled := len(seen.Data[corev1.TLSPrivateKeyKey]) > 0 || len(seen.Data[corev1.TLSCertKey]) > 0
	switch {
	case recorded: // even where it was made for a ClusterCA of this name that is gone
		return seen, nil
	case filled || !keeper.Mine(leaf.OwnerOf(ca), seen):
		return nil, stalled(v1alpha1.ReasonSecretConflict, "Secret %q is not the one that the operator made for the copy of the CA's key: delete it, or "+
			"choose another spec.secretName", name)
	}
	next := record.Next()
	next.Copies = append(slices.DeleteFunc(next.Copies, func(c authority.Copy) bool { return c.Name == name }), authority.Copy{Name: name, UID: seen.UID})
	stored, err := r.store.Commit(ctx, record, next)
	if err != nil {
		return nil, err
	}
	*record = *stored
	return seen, nil
}

// fillCopy puts the active pair into the Secret of a copy, if it holds another one.
func (r *clusterCAs) fillCopy(ctx context.Context, ca *v1alpha1.ClusterCA, record *authority.Record, seen *corev1.Secret, data map[string][]byte) error {
	keeper, err := r.keeper(ctx, ca.Namespace)
	if err != nil {
		return err
	}
	active, _ := record.Ledger.Active()
	was, _ := keeper.ClaimOf(seen)
	same := bytes.Equal(seen.Data[corev1.TLSCertKey], data[corev1.TLSCertKey]) && bytes.Equal(seen.Data[corev1.TLSPrivateKeyKey], data[corev1.TLSPrivateKeyKey])
	claim := consumers.Claim{Issuer: ca.Name, Generation: active.Number, Contents: consumers.ContentsDigest(data)}.After(was, r.clock.Latest(), !same, true)
	next := seen.DeepCopy()
	next.Data = data
	return owned.Update(ctx, keeper, leaf.OwnerOf(ca), seen, next, owned.Marks{Claim: claim, Controlled: true})
}

// emptyCopy takes the key out of a copy that is not asked for any more: the one that was recorded, and no other of its name.
func (r *clusterCAs) emptyCopy(ctx context.Context, ca *v1alpha1.ClusterCA, record *authority.Record, c authority.Copy) error {
	s, err := r.secrets.Live(ctx, ca.Namespace, c.Name)
	if err != nil {
		return err
	}
	keeper, err := r.keeper(ctx, ca.Namespace)
	if err != nil {
		return err
	}
	another, ours := consumers.Claim{}, false
	if s != nil {
		another, ours = keeper.ClaimOf(s)
	}
	taken := ours && another.UID != ca.UID // by an object that names it now
	if s != nil && s.UID == c.UID && !taken {
		s.Data = map[string][]byte{corev1.TLSCertKey: {}, corev1.TLSPrivateKeyKey: {}}
		if err := r.client.Update(ctx, s); err != nil {
			return fmt.Errorf("empty Secret %q: %w", c.Name, err)
		}
	}
	next := record.Next()
	next.Copies = slices.DeleteFunc(next.Copies, func(o authority.Copy) bool { return o == c })
	stored, err := r.store.Commit(ctx, record, next)
	if err != nil {
		return err
	}
	*record = *stored
	return nil
}

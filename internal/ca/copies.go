package ca

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/binding"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/leaf"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/stall"
)

// publishCopies writes the copy of the active key that spec.secretName asks for, and empties those that it asked for before.
// What is returned is the record with the copies that there are.
func (m *Maker) publishCopies(ctx context.Context, ca *v1alpha1.ClusterCA, record *authority.Record) (*authority.Record, error) {
	for _, c := range record.Copies {
		if c.Name != ca.Spec.SecretName {
			var err error
			if record, err = m.emptyCopy(ctx, ca, record, c); err != nil {
				return record, err
			}
		}
	}
	if ca.Spec.SecretName == "" {
		return record, nil
	}
	pair, err := record.Active()
	if err != nil {
		return record, nil //nolint:nilerr // it is told as what is wrong with the CA
	}
	key, err := pair.Key.Reveal()
	if err != nil {
		return record, err
	}
	// Exactly one certificate: kube-controller-manager ends if it finds two.
	data := map[string][]byte{corev1.TLSCertKey: pki.EncodeCertificates(pair.Cert), corev1.TLSPrivateKeyKey: key}
	record, existing, err := m.ensureCopy(ctx, ca, record)
	if err != nil {
		return record, err
	}
	return record, m.fillCopy(ctx, ca, record, existing, data)
}

// ensureCopy makes the Secret of a copy, empty, and records it before anything is put there: whoever made one of that name
// first does not get the key.
func (m *Maker) ensureCopy(ctx context.Context, ca *v1alpha1.ClusterCA, record *authority.Record) (*authority.Record, *corev1.Secret, error) {
	keeper, err := m.Keeper(ctx, ca.Namespace)
	if err != nil {
		return record, nil, err
	}
	name := ca.Spec.SecretName
	existing, err := m.Secrets.Live(ctx, ca.Namespace, name)
	if err != nil {
		return record, nil, err
	}
	if existing == nil {
		existing = &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: ca.Namespace, Name: name}, Type: corev1.SecretTypeTLS,
			Data: map[string][]byte{corev1.TLSCertKey: {}, corev1.TLSPrivateKeyKey: {}},
		}
		if err := owned.Create(ctx, keeper, ca, existing, owned.Marks{Controlled: true}); err != nil {
			return record, nil, err
		}
	}
	if err := keeper.Check(ctx, ca, existing); err != nil {
		return record, nil, leaf.Conflict(err)
	}
	recorded := slices.ContainsFunc(record.Copies, func(c authority.Copy) bool { return c.Name == name && c.UID == existing.UID })
	filled := len(existing.Data[corev1.TLSPrivateKeyKey]) > 0 || len(existing.Data[corev1.TLSCertKey]) > 0
	switch {
	case recorded: // even where it was made for a ClusterCA of this name that is gone
		return record, existing, nil
	case existing.Type != corev1.SecretTypeTLS:
		return record, nil, leaf.TypeDiffers(existing, corev1.SecretTypeTLS)
	case filled || !keeper.Mine(ca, existing):
		return record, nil, stall.Because(v1alpha1.ReasonSecretConflict, "Secret %q is not the one that the operator made for the copy of the CA's key: "+
			"delete it, or choose another spec.secretName", name)
	}
	next := record.Next()
	next.Copies = append(slices.DeleteFunc(next.Copies, func(c authority.Copy) bool { return c.Name == name }), authority.Copy{Name: name, UID: existing.UID})
	stored, err := m.Store.Commit(ctx, record, next)
	if err != nil {
		return record, nil, err
	}
	return stored, existing, nil
}

// fillCopy puts the active pair into the Secret of a copy, if it holds another one.
func (m *Maker) fillCopy(ctx context.Context, ca *v1alpha1.ClusterCA, record *authority.Record, existing *corev1.Secret, data map[string][]byte) error {
	keeper, err := m.Keeper(ctx, ca.Namespace)
	if err != nil {
		return err
	}
	active, _ := record.Ledger.Active()
	was, _ := keeper.ClaimOf(existing)
	same := bytes.Equal(existing.Data[corev1.TLSCertKey], data[corev1.TLSCertKey]) &&
		bytes.Equal(existing.Data[corev1.TLSPrivateKeyKey], data[corev1.TLSPrivateKeyKey])
	claim := consumers.Claim{Issuer: ca.Name, Generation: active.Number, Contents: consumers.ContentsDigest(data)}.After(was, m.Clock.Latest(), !same, true)
	if !same {
		if err := m.newest(ctx, ca, record); err != nil {
			return err
		}
	}
	next := existing.DeepCopy()
	next.Data = data
	return leaf.Conflict(owned.Update(ctx, keeper, ca, existing, next, owned.Marks{Claim: claim, Controlled: true}))
}

// newest says, as a lost race, where the ledger is another by now: whoever changed it may have filled the copy before it was
// read here, and its resourceVersion would not tell.
func (m *Maker) newest(ctx context.Context, ca *v1alpha1.ClusterCA, record *authority.Record) error {
	now, err := m.Store.Live(ctx, ca.Namespace, ca.Name)
	if err != nil {
		return err
	}
	if now == nil || now.Version != record.Version {
		return fmt.Errorf("copy the key of the CA: %w", apierrors.NewConflict(corev1.Resource("secrets"), record.Name, binding.ErrOutdated))
	}
	return nil
}

// emptyCopy takes the key out of a copy that is not asked for any more: the one that was recorded, and no other of its name.
func (m *Maker) emptyCopy(ctx context.Context, ca *v1alpha1.ClusterCA, record *authority.Record, c authority.Copy) (*authority.Record, error) {
	s, err := m.Secrets.Live(ctx, ca.Namespace, c.Name)
	if err != nil {
		return record, err
	}
	keeper, err := m.Keeper(ctx, ca.Namespace)
	if err != nil {
		return record, err
	}
	mine := s != nil && s.UID == c.UID
	if mine {
		if _, ours := keeper.ClaimOf(s); ours { // by an object that names it now
			err := keeper.Check(ctx, ca, s)
			if err != nil && !owned.IsConflict(err) {
				return record, err
			}
			mine = err == nil
		}
	}
	if mine {
		s.Data = map[string][]byte{corev1.TLSCertKey: {}, corev1.TLSPrivateKeyKey: {}}
		err := m.Client.Update(ctx, s)
		if apierrors.IsInvalid(err) {
			return record, stall.Because(v1alpha1.ReasonSecretConflict, "Secret %q holds a copy of the CA's key that is not asked for any more, and cannot be "+
				"emptied: delete it: %v", c.Name, err)
		}
		if err != nil {
			return record, fmt.Errorf("empty Secret %q: %w", c.Name, err)
		}
	}
	next := record.Next()
	next.Copies = slices.DeleteFunc(next.Copies, func(o authority.Copy) bool { return o == c })
	stored, err := m.Store.Commit(ctx, record, next)
	if err != nil {
		return record, err
	}
	return stored, nil
}

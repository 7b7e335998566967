package authority

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Rebound is a CA of a backup for a namespace that another one of that name held before, or one of another name. Which
// ClusterCA it belongs to is left open: the operator binds it to the one of its name. Copies of the key are not its own any more.
func (r *Record) Rebound(namespace string, uid, home types.UID) *Record {
	next := r.Next()
	next.Identity = Identity{Namespace: namespace, Name: r.Name, NamespaceUID: uid, HomeUID: home}
	next.Copies, next.Deleted = nil, time.Time{}
	return next
}

// InPlaceOf is a CA of a backup that takes the place of another one, which was made meanwhile: what was issued from that one must
// not look younger, and the copies of its key are overwritten.
func (r *Record) InPlaceOf(other *Record) *Record {
	next := r.Next()
	next.Ledger, next.Copies = r.Ledger.InPlaceOf(other.Ledger), other.Copies
	return next
}

// Restore stores a CA of a backup as it is, byte by byte. The invariants of a write are not asked: what a backup says of a key that
// was lost is better than nothing. It fails with AlreadyExists if there is one of the name.
func (s *Store) Restore(ctx context.Context, r *Record) error {
	if err := r.Ledger.Check(); err != nil {
		return broken("%v", err)
	}
	data, err := r.encode()
	if err != nil {
		return err
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: SecretName(r.Namespace, r.Name)},
		Type:       SecretType, Data: data,
	}
	if err := s.live.Create(ctx, secret); err != nil {
		return fmt.Errorf("create the CA %s/%s: %w", r.Namespace, r.Name, err)
	}
	return nil
}

// Remove deletes a CA's Secret, if nobody wrote it since it was read. The operator has no right to; whoever restores another CA
// in its place has.
func (s *Store) Remove(ctx context.Context, r *Record) error {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: SecretName(r.Namespace, r.Name)}}
	if err := s.live.Delete(ctx, secret, client.Preconditions{UID: &r.uid, ResourceVersion: &r.Version}); err != nil {
		return fmt.Errorf("delete the CA %s/%s: %w", r.Namespace, r.Name, err)
	}
	return nil
}

// SameAs says whether two records are of one CA at the same step: after a restore that was interrupted, it is there already.
func (r *Record) SameAs(other *Record) bool {
	if r.Ledger.Revision != other.Ledger.Revision || len(r.CAs) != len(other.CAs) {
		return false
	}
	for number, ca := range r.CAs {
		theirs, there := other.CAs[number]
		if !there || ca.Cert == nil || theirs.Cert == nil || !ca.Cert.Equal(theirs.Cert) {
			return false
		}
	}
	return true
}

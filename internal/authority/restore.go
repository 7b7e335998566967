package authority

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
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
	_, err := s.cas.put(ctx, r)
	return err
}

// Remove deletes a CA's Secret, if nobody wrote it since it was read. The operator has no right to; whoever restores another CA
// in its place has.
func (s *Store) Remove(ctx context.Context, r *Record) error { return s.cas.remove(ctx, r) }

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

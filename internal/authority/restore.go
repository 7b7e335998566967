package authority

import (
	"context"
	"reflect"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"clusterpki.io/operator/internal/pki/keyring"
)

// Rebound implements Kept. Copies of the key are not its own any more.
func (r *Record) Rebound(namespace string, uid, home types.UID) Kept {
	next := r.Next()
	next.Identity = Identity{Namespace: namespace, Name: r.Name, NamespaceUID: uid, HomeUID: home}
	next.Copies, next.Deleted = nil, time.Time{}
	return next
}

// Rebound implements Kept. Nobody has seen yet what is published there.
func (k *AccountKeys) Rebound(namespace string, uid, home types.UID) Kept {
	next := k.Next()
	next.Identity = Identity{Namespace: namespace, Name: k.Name, NamespaceUID: uid, HomeUID: home}
	next.Deleted, next.Ledger.Published = time.Time{}, time.Time{}
	return next
}

// InPlaceOf implements Kept: what was issued from the other one must not look younger, and the copies of its key are overwritten.
func (r *Record) InPlaceOf(other Kept) Kept {
	next := r.Next()
	if o, ok := other.(*Record); ok {
		next.Ledger, next.Copies = r.Ledger.InPlaceOf(o.Ledger), o.Copies
	}
	return next
}

// InPlaceOf implements Kept: no number is given twice, and no trigger that the other one has taken starts anything.
func (k *AccountKeys) InPlaceOf(other Kept) Kept {
	next := k.Next()
	if o, ok := other.(*AccountKeys); ok {
		next.Ledger = k.Ledger.InPlaceOf(o.Ledger)
	}
	return next
}

// SameAs implements Kept.
func (r *Record) SameAs(other Kept) bool {
	o, ok := other.(*Record)
	if !ok || r.Ledger.Revision != o.Ledger.Revision || len(r.CAs) != len(o.CAs) {
		return false
	}
	for number, ca := range r.CAs {
		theirs, there := o.CAs[number]
		if !there || ca.Cert == nil || theirs.Cert == nil || !ca.Cert.Equal(theirs.Cert) {
			return false
		}
	}
	return true
}

// SameAs implements Kept. That somebody has seen what is published is no step.
func (k *AccountKeys) SameAs(other Kept) bool {
	o, ok := other.(*AccountKeys)
	step := func(l keyring.Ledger) keyring.Ledger {
		l.Revision, l.Published = 0, time.Time{}
		return l
	}
	return ok && reflect.DeepEqual(step(k.Ledger), step(o.Ledger))
}

// Restore stores what a backup has as it is, byte by byte. The invariants of a write are not asked: what a backup says of a key that
// was lost is better than nothing. It fails with AlreadyExists if there is something of the name.
func (s *Store) Restore(ctx context.Context, kept Kept) error {
	switch k := kept.(type) {
	case *Record:
		if err := k.Ledger.Check(); err != nil {
			return broken("%v", err)
		}
		_, err := s.cas.put(ctx, k)
		return err
	case *AccountKeys:
		if err := k.Ledger.Check(); err != nil {
			return brokenKeys("%v", err)
		}
		_, err := s.accountKeys.put(ctx, k)
		return err
	case *Family:
		_, err := s.CreateFamily(ctx, k)
		return err
	default:
		return nil // there is no other kind
	}
}

// Remove deletes the Secret of what is kept, if nobody wrote it since it was read. The operator has no right to; whoever restores another one
// in its place has.
func (s *Store) Remove(ctx context.Context, kept Kept) error {
	switch k := kept.(type) {
	case *Record:
		return s.cas.remove(ctx, k)
	case *AccountKeys:
		return s.accountKeys.remove(ctx, k)
	case *Family:
		return s.removeFamily(ctx, k)
	default:
		return nil // there is no other kind
	}
}

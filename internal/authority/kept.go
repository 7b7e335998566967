package authority

import (
	"context"
	"maps"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The kinds of objects for which the authority namespace keeps something, as the API names them.
const (
	KindCA          = "ClusterCA"
	KindAccountKeys = "ServiceAccountKey"
)

// Kept is what the authority namespace keeps for one object: a CA, or service account keys. Whose it is, and its end, follow the same
// rules whatever it is.
type Kept interface {
	Kind() string       // of the object
	Whose() Identity    // it is
	SecretName() string // in the authority namespace
	Tombstone() bool    // its keys were destroyed; their numbers go on
	MarkedAt() time.Time
	States() []NumberedState
	// Given is a copy that belongs to other objects, or is marked as deleted, or no longer.
	Given(id Identity, deleted time.Time) Kept
	// Destroyed is a copy without keys: a tombstone.
	Destroyed() Kept
}

// NumberedState is the number of a key, and where it stands in its life.
type NumberedState struct {
	Number int32
	State  string
}

// Kind implements Kept.
func (*Record) Kind() string { return KindCA }

// Whose implements Kept.
func (r *Record) Whose() Identity { return r.Identity }

// SecretName implements Kept.
func (r *Record) SecretName() string { return SecretName(r.Namespace, r.Name) }

// MarkedAt implements Kept.
func (r *Record) MarkedAt() time.Time { return r.Deleted }

// States implements Kept.
func (r *Record) States() []NumberedState {
	out := []NumberedState{}
	for _, g := range r.Ledger.Generations {
		out = append(out, NumberedState{g.Number, string(g.State)})
	}
	return out
}

// Given implements Kept.
func (r *Record) Given(id Identity, deleted time.Time) Kept {
	next := r.Next()
	next.Identity, next.Deleted = id, deleted
	return next
}

// Destroyed implements Kept.
func (r *Record) Destroyed() Kept {
	next := r.Next()
	next.Ledger, next.CAs, next.Err = r.Ledger.Tombstone(), nil, nil
	return next
}

// Kind implements Kept.
func (*AccountKeys) Kind() string { return KindAccountKeys }

// Whose implements Kept.
func (k *AccountKeys) Whose() Identity { return k.Identity }

// SecretName implements Kept.
func (k *AccountKeys) SecretName() string { return AccountKeysName(k.Namespace, k.Name) }

// MarkedAt implements Kept.
func (k *AccountKeys) MarkedAt() time.Time { return k.Deleted }

// States implements Kept.
func (k *AccountKeys) States() []NumberedState {
	out := []NumberedState{}
	for _, key := range k.Ledger.Keys {
		out = append(out, NumberedState{key.Number, string(key.State)})
	}
	return out
}

// Given implements Kept.
func (k *AccountKeys) Given(id Identity, deleted time.Time) Kept {
	next := k.Next()
	next.Identity, next.Deleted = id, deleted
	return next
}

// Destroyed implements Kept.
func (k *AccountKeys) Destroyed() Kept {
	next := k.Next()
	next.Ledger, next.Keys, next.Public, next.Err = k.Ledger.Tombstone(), nil, nil, nil
	return next
}

// KeptFor reads what is kept for an object, with its keys, from the API server; nil where nothing is.
func (s *Store) KeptFor(ctx context.Context, kind, namespace, name string) (Kept, error) {
	if kind == KindAccountKeys {
		k, err := s.LiveAccountKeys(ctx, namespace, name)
		if k == nil {
			return nil, err
		}
		return k, err
	}
	r, err := s.Live(ctx, namespace, name)
	if r == nil {
		return nil, err
	}
	return r, err
}

// ListKept reads all that is kept, with its keys, from the API server. Secrets that cannot be read are told by their names.
func (s *Store) ListKept(ctx context.Context) (kept []Kept, damaged map[string]error, err error) {
	records, damaged, err := s.List(ctx)
	if err != nil {
		return nil, nil, err
	}
	accountKeys, others, err := s.ListAccountKeys(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, r := range records {
		kept = append(kept, r)
	}
	for _, k := range accountKeys {
		kept = append(kept, k)
	}
	maps.Copy(damaged, others)
	return kept, damaged, nil
}

// CommitKept stores next, which was made from was, in its place: see Commit.
func (s *Store) CommitKept(ctx context.Context, was, next Kept) (Kept, error) {
	if now, ok := was.(*AccountKeys); ok {
		then, _ := next.(*AccountKeys) // it was made from it
		k, err := s.CommitAccountKeys(ctx, now, then)
		if err != nil {
			return nil, err
		}
		return k, nil
	}
	now, _ := was.(*Record)
	then, _ := next.(*Record)
	r, err := s.Commit(ctx, now, then)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// KeptIn says for which object a Secret of the authority namespace keeps something; ok is false where it is for none.
func KeptIn(o client.Object) (kind string, id Identity, ok bool) {
	if id, ok := IdentityOf(o); ok {
		return KindCA, id, true
	}
	id, ok = AccountKeysIdentityOf(o)
	return KindAccountKeys, id, ok
}

package authority

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// The kinds of objects for which the authority namespace keeps something, as the API names them.
const (
	KindCA          = "ClusterCA"
	KindAccountKeys = "ServiceAccountKey"
	KindFamily      = "ClusterPKI"
)

// Ref names an object for which the authority namespace keeps something.
type Ref struct {
	Kind string
	types.NamespacedName
}

// refKinds are how the command line calls the kinds, by the plural, the singular and the short name.
var refKinds = map[string]string{
	"clustercas": KindCA, "clusterca": KindCA, "cca": KindCA,
	"serviceaccountkeys": KindAccountKeys, "serviceaccountkey": KindAccountKeys, "sak": KindAccountKeys,
	"clusterpkis": KindFamily, "clusterpki": KindFamily, "cpki": KindFamily,
}

// ErrNoRef refuses a text that names no object.
var ErrNoRef = errors.New("it takes the CA's namespace and name, as in prod/k8s, or those of service account keys, as in serviceaccountkeys/prod/k8s-sa, " +
	"or of a ClusterPKI, as in clusterpkis/prod/k8s")

// ParseRef reads NAMESPACE/NAME of a ClusterCA, or KIND/NAMESPACE/NAME.
func ParseRef(text string) (Ref, error) {
	parts, kind := strings.Split(text, "/"), KindCA
	if len(parts) == 3 {
		kind, parts = refKinds[strings.ToLower(parts[0])], parts[1:]
	}
	if len(parts) != 2 || kind == "" || parts[0] == "" || parts[1] == "" {
		return Ref{}, fmt.Errorf("%q: %w", text, ErrNoRef)
	}
	return Ref{kind, types.NamespacedName{Namespace: parts[0], Name: parts[1]}}, nil
}

// String is what ParseRef reads.
func (r Ref) String() string {
	switch r.Kind {
	case KindAccountKeys:
		return "serviceaccountkeys/" + r.NamespacedName.String()
	case KindFamily:
		return "clusterpkis/" + r.NamespacedName.String()
	default:
		return r.NamespacedName.String()
	}
}

// SecretName is the name of the Secret in the authority namespace.
func (r Ref) SecretName() string {
	switch r.Kind {
	case KindAccountKeys:
		return AccountKeysName(r.Namespace, r.Name)
	case KindFamily:
		return FamilyName(r.Namespace, r.Name)
	default:
		return SecretName(r.Namespace, r.Name)
	}
}

// Kept is what the authority namespace keeps for one object: a CA, service account keys, or which objects a ClusterPKI has made. Whose it is,
// and its end, follow the same rules whatever it is.
type Kept interface {
	Ref() Ref
	Whose() Identity
	Tombstone() bool     // its keys were destroyed; their numbers go on
	MarkedAt() time.Time // when its object was seen to be deleted with deletionPolicy 'Delete'; zero: it was not
	CreatedAt() time.Time
	States() []NumberedState
	// Given is a copy that belongs to other objects, or is marked as deleted, or no longer.
	Given(id Identity, deleted time.Time) Kept
	// Destroyed is a copy without keys: a tombstone.
	Destroyed() Kept
	// Rebound is what a backup has, for a namespace that another one of that name held before, or one of another name. Which object it
	// belongs to is left open: the operator binds it to the one of its name.
	Rebound(namespace string, uid, home types.UID) Kept
	// InPlaceOf is what a backup has, in place of what was made meanwhile.
	InPlaceOf(other Kept) Kept
	// SameAs says whether two are at the same step: after a restore that was interrupted, it is there already.
	SameAs(other Kept) bool
}

// NumberedState is the number of a key, and where it stands in its life.
type NumberedState struct {
	Number int32
	State  string
}

// Ref implements Kept.
func (r *Record) Ref() Ref {
	return Ref{KindCA, types.NamespacedName{Namespace: r.Namespace, Name: r.Name}}
}

// Whose implements Kept.
func (r *Record) Whose() Identity { return r.Identity }

// MarkedAt implements Kept.
func (r *Record) MarkedAt() time.Time { return r.Deleted }

// CreatedAt implements Kept.
func (r *Record) CreatedAt() time.Time { return r.Created }

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

// Ref implements Kept.
func (k *AccountKeys) Ref() Ref {
	return Ref{KindAccountKeys, types.NamespacedName{Namespace: k.Namespace, Name: k.Name}}
}

// Whose implements Kept.
func (k *AccountKeys) Whose() Identity { return k.Identity }

// MarkedAt implements Kept.
func (k *AccountKeys) MarkedAt() time.Time { return k.Deleted }

// CreatedAt implements Kept.
func (k *AccountKeys) CreatedAt() time.Time { return k.Created }

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
func (s *Store) KeptFor(ctx context.Context, of Ref) (Kept, error) {
	if of.Kind == KindFamily {
		f, err := s.LiveFamily(ctx, of.Namespace, of.Name)
		if f == nil {
			return nil, err
		}
		return f, err
	}
	if of.Kind == KindAccountKeys {
		k, err := s.LiveAccountKeys(ctx, of.Namespace, of.Name)
		if k == nil {
			return nil, err
		}
		return k, err
	}
	r, err := s.Live(ctx, of.Namespace, of.Name)
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
	families, others, err := s.listFamilies(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, f := range families {
		kept = append(kept, f)
	}
	maps.Copy(damaged, others)
	return kept, damaged, nil
}

// CommitKept stores next, which was made from was, in its place: see Commit.
func (s *Store) CommitKept(ctx context.Context, was, next Kept) (Kept, error) {
	switch was := was.(type) {
	case *AccountKeys:
		return commitAs(ctx, was, next, s.CommitAccountKeys)
	case *Family:
		return commitAs(ctx, was, next, s.CommitFamily)
	case *Record:
		return commitAs(ctx, was, next, s.Commit)
	default:
		return nil, fmt.Errorf("store what is kept: %T is of no known kind", was)
	}
}

// commitAs commits what is of one kind.
func commitAs[T Kept](ctx context.Context, was T, next Kept, commit func(ctx context.Context, was, next T) (T, error)) (Kept, error) {
	then, ok := next.(T)
	if !ok {
		return nil, fmt.Errorf("store what is kept: a %T was not made from a %T", next, was)
	}
	kept, err := commit(ctx, was, then)
	if err != nil {
		return nil, err
	}
	return kept, nil
}

// KeptIn says for which object a Secret of the authority namespace keeps something; ok is false where it is for none.
func KeptIn(o client.Object) (of Ref, ok bool) {
	kind := KindCA
	id, ok := IdentityOf(o)
	if !ok {
		kind = KindAccountKeys
		id, ok = AccountKeysIdentityOf(o)
	}
	return Ref{kind, types.NamespacedName{Namespace: id.Namespace, Name: id.Name}}, ok
}

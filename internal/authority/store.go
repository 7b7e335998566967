package authority

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Store reads and writes the CAs and the service account keys of the authority namespace.
type Store struct {
	namespace   string
	live        client.Client // not cached
	cache       client.Reader // of the authority namespace, without keys; nil: everything is read live
	cas         shelf[Record, *Record]
	accountKeys shelf[AccountKeys, *AccountKeys]
	sealer      sealer
	deliveries  deliveries
	families    families
}

// New makes the store of an authority namespace. live must not read from a cache; cached reads from one whose objects went
// through WithoutKeys, and may be nil.
func New(namespace string, live client.Client, cached client.Reader) *Store {
	return &Store{
		namespace: namespace, live: live, cache: cached,
		cas:         shelf[Record, *Record]{kind: kindOfCAs, namespace: namespace, live: live, cache: cached},
		accountKeys: shelf[AccountKeys, *AccountKeys]{kind: kindOfAccountKeys, namespace: namespace, live: live, cache: cached},
	}
}

var kindOfCAs = kind[Record]{"the CA", "the CAs", SecretType, SecretName, Decode, check}

// Namespace is the authority namespace.
func (s *Store) Namespace() string { return s.namespace }

// Cached reads a CA without its keys, as the cache has it; nil where it has none. It may lag behind.
func (s *Store) Cached(ctx context.Context, namespace, name string) (*Record, error) {
	return s.cas.cachedOne(ctx, namespace, name)
}

// CachedIn are the CAs of a user's namespace, without their keys, as the cache has them. Those that cannot be read are left out.
func (s *Store) CachedIn(ctx context.Context, namespace string) ([]*Record, error) {
	return s.cas.cached(ctx, client.MatchingFields{NamespaceIndex: namespace})
}

// CachedAll are the CAs of all namespaces, as CachedIn.
func (s *Store) CachedAll(ctx context.Context) ([]*Record, error) { return s.cas.cached(ctx) }

// NamespaceIndex is the field of the cache by which the CAs and the service account keys of a user's namespace are found.
const NamespaceIndex = "namespace"

// NamespaceOf is the user's namespace of such a Secret, for that index.
func NamespaceOf(o client.Object) []string {
	if id, ok := IdentityOf(o); ok {
		return []string{id.Namespace}
	}
	if id, ok := AccountKeysIdentityOf(o); ok {
		return []string{id.Namespace}
	}
	return nil
}

// IdentityOf says whose a Secret of the authority namespace is; ok is false where it is no CA's.
func IdentityOf(o client.Object) (id Identity, ok bool) { return identityOf(o, SecretType, SecretName) }

func identityOf(o client.Object, t corev1.SecretType, secretName func(namespace, name string) string) (id Identity, ok bool) {
	s, secret := o.(*corev1.Secret)
	if !secret || s.Type != t || json.Unmarshal(s.Data[documentKey], &id) != nil || secretName(id.Namespace, id.Name) != s.Name {
		return Identity{}, false
	}
	return id, true
}

// Live reads a CA with its keys from the API server; nil where there is none. Everybody who waits when the read begins
// shares it. What is returned must not be changed.
func (s *Store) Live(ctx context.Context, namespace, name string) (*Record, error) {
	return s.cas.liveOne(ctx, namespace, name)
}

// UnreadableError says that a Secret of the authority namespace is there and cannot be read: it was damaged.
type UnreadableError struct{ err error }

func (e *UnreadableError) Error() string { return e.err.Error() }

// Unwrap is what is wrong with it.
func (e *UnreadableError) Unwrap() error { return e.err }

// IsUnreadable says whether something could not be read because of what is stored, and not because of the API server, or the way to it.
func IsUnreadable(err error) bool {
	_, damaged := errors.AsType[*UnreadableError](err)
	return damaged
}

func unreadable(err error) error {
	if err == nil {
		return nil
	}
	return &UnreadableError{err}
}

// List reads all CAs with their keys from the API server. Secrets that cannot be read are told by their names.
func (s *Store) List(ctx context.Context) (records []*Record, damaged map[string]error, err error) {
	return s.cas.list(ctx)
}

// Create stores a new CA. It fails with AlreadyExists if there is one of the name.
func (s *Store) Create(ctx context.Context, next *Record) (*Record, error) {
	return s.cas.create(ctx, next)
}

// Commit stores next in place of was, as it was read: if anybody wrote in between, it fails with a conflict. The invariants
// are checked before.
func (s *Store) Commit(ctx context.Context, was, next *Record) (*Record, error) {
	return s.cas.commit(ctx, was, next)
}

// WithoutKeys takes the private keys out of what a cache is to hold of the authority namespace.
func WithoutKeys(o any) (any, error) {
	s, ok := o.(*corev1.Secret)
	if !ok {
		return o, nil
	}
	out := &corev1.Secret{ObjectMeta: s.ObjectMeta, Type: s.Type}
	out.ManagedFields, out.Annotations = nil, map[string]string{withoutKeysAnnotation: "true"}
	if s.Type == FamilySecretType { // which holds no key
		out.Data = s.Data
		return out, nil
	}
	public, known := map[corev1.SecretType]string{SecretType: ".crt", AccountKeysSecretType: ".pub"}[s.Type]
	if !known {
		return out, nil
	}
	out.Data = map[string][]byte{}
	for k, v := range s.Data {
		if k == documentKey || strings.HasSuffix(k, public) {
			out.Data[k] = v
		}
	}
	return out, nil
}

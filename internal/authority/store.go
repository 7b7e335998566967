package authority

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Store reads and writes the CAs of the authority namespace.
type Store struct {
	namespace  string
	live       client.Client // not cached
	cache      client.Reader // of the authority namespace, without keys; nil: everything is read live
	reads      sharedReads
	parsed     memo
	sealer     sealer
	deliveries deliveries
	families   families
}

// New makes the store of an authority namespace. live must not read from a cache; cached reads from one whose objects went
// through WithoutKeys, and may be nil.
func New(namespace string, live client.Client, cached client.Reader) *Store {
	return &Store{namespace: namespace, live: live, cache: cached}
}

// Namespace is the authority namespace.
func (s *Store) Namespace() string { return s.namespace }

// Cached reads a CA without its keys, as the cache has it; nil where it has none. It may lag behind.
func (s *Store) Cached(ctx context.Context, namespace, name string) (*Record, error) {
	if s.cache == nil {
		return s.Live(ctx, namespace, name)
	}
	var secret corev1.Secret
	err := s.cache.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: SecretName(namespace, name)}, &secret)
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // absence is an answer
	}
	if err != nil {
		return nil, fmt.Errorf("read the CA %s/%s: %w", namespace, name, err)
	}
	r, err := s.parsed.decode(&secret)
	return r, unreadable(err)
}

// CachedIn are the CAs of a user's namespace, without their keys, as the cache has them. Those that cannot be read are left out.
func (s *Store) CachedIn(ctx context.Context, namespace string) ([]*Record, error) {
	return s.cached(ctx, client.MatchingFields{NamespaceIndex: namespace})
}

// CachedAll are the CAs of all namespaces, as CachedIn.
func (s *Store) CachedAll(ctx context.Context) ([]*Record, error) { return s.cached(ctx) }

func (s *Store) cached(ctx context.Context, opts ...client.ListOption) ([]*Record, error) {
	var list corev1.SecretList
	if s.cache == nil {
		return nil, errors.New("this store has no cache")
	}
	opts = append(opts, client.InNamespace(s.namespace), client.UnsafeDisableDeepCopy)
	if err := s.cache.List(ctx, &list, opts...); err != nil {
		return nil, fmt.Errorf("list the CAs: %w", err)
	}
	var out []*Record
	for i := range list.Items {
		if list.Items[i].Type != SecretType {
			continue
		}
		if r, err := s.parsed.decode(&list.Items[i]); err == nil {
			out = append(out, r)
		}
	}
	return out, nil
}

// NamespaceIndex is the field of the cache by which the CAs of a user's namespace are found.
const NamespaceIndex = "namespace"

// NamespaceOf is the user's namespace of a CA's Secret, for that index.
func NamespaceOf(o client.Object) []string {
	id, ok := IdentityOf(o)
	if !ok {
		return nil
	}
	return []string{id.Namespace}
}

// IdentityOf says whose a Secret of the authority namespace is; ok is false where it is no CA's.
func IdentityOf(o client.Object) (id Identity, ok bool) {
	s, secret := o.(*corev1.Secret)
	if !secret || s.Type != SecretType || json.Unmarshal(s.Data[documentKey], &id) != nil || SecretName(id.Namespace, id.Name) != s.Name {
		return Identity{}, false
	}
	return id, true
}

// Live reads a CA with its keys from the API server; nil where there is none. Everybody who waits when the read begins
// shares it. What is returned must not be changed.
func (s *Store) Live(ctx context.Context, namespace, name string) (*Record, error) {
	return s.reads.do(ctx, SecretName(namespace, name), func(ctx context.Context) (*Record, error) {
		var secret corev1.Secret
		err := s.live.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: SecretName(namespace, name)}, &secret)
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read the CA %s/%s: %w", namespace, name, err)
		}
		r, err := Decode(&secret)
		return r, unreadable(err)
	})
}

// UnreadableError says that a CA's Secret is there and cannot be read: it was damaged.
type UnreadableError struct{ err error }

func (e *UnreadableError) Error() string { return e.err.Error() }

// Unwrap is what is wrong with it.
func (e *UnreadableError) Unwrap() error { return e.err }

// IsUnreadable says whether a CA could not be read because of what is stored, and not because of the API server, or the way to it.
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
	damaged = map[string]error{}
	opts := client.ListOptions{Namespace: s.namespace, Limit: 100}
	for {
		var list corev1.SecretList
		if err := s.live.List(ctx, &list, &opts); err != nil {
			return nil, nil, fmt.Errorf("list the CAs: %w", err)
		}
		for i := range list.Items {
			if list.Items[i].Type != SecretType {
				continue
			}
			r, err := Decode(&list.Items[i])
			if err != nil {
				damaged[list.Items[i].Name] = err
				continue
			}
			records = append(records, r)
		}
		if opts.Continue = list.Continue; opts.Continue == "" {
			return records, damaged, nil
		}
	}
}

// Create stores a new CA. It fails with AlreadyExists if there is one of the name.
func (s *Store) Create(ctx context.Context, next *Record) (*Record, error) {
	if err := check(nil, next); err != nil {
		return nil, err
	}
	data, err := next.encode()
	if err != nil {
		return nil, err
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: SecretName(next.Namespace, next.Name)},
		Type:       SecretType, Data: data,
	}
	if err := s.live.Create(ctx, secret); err != nil {
		return nil, fmt.Errorf("create the CA %s/%s: %w", next.Namespace, next.Name, err)
	}
	return Decode(secret)
}

// Commit stores next in place of was, as it was read: if anybody wrote in between, it fails with a conflict. The invariants
// are checked before.
func (s *Store) Commit(ctx context.Context, was, next *Record) (*Record, error) {
	if err := check(was, next); err != nil {
		return nil, err
	}
	data, err := next.encode()
	if err != nil {
		return nil, err
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: s.namespace, Name: SecretName(was.Namespace, was.Name), UID: was.uid, ResourceVersion: was.Version,
		},
		Type: SecretType, Data: data,
	}
	if err := s.live.Update(ctx, secret); err != nil {
		return nil, fmt.Errorf("write the CA %s/%s: %w", was.Namespace, was.Name, err)
	}
	return Decode(secret)
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
	if s.Type != SecretType {
		return out, nil
	}
	out.Data = map[string][]byte{}
	for k, v := range s.Data {
		if k == documentKey || strings.HasSuffix(k, ".crt") {
			out.Data[k] = v
		}
	}
	return out, nil
}

// memo keeps what was read of the cache's objects: thousands of leaves ask for the same few CAs.
type memo struct {
	mu sync.Mutex
	of map[string]*Record
}

func (m *memo) decode(s *corev1.Secret) (*Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.of[s.Name]; r != nil && r.Version == s.ResourceVersion && r.uid == s.UID {
		return r, nil
	}
	r, err := Decode(s)
	if err != nil {
		return nil, err
	}
	if m.of == nil {
		m.of = map[string]*Record{}
	}
	m.of[s.Name] = r
	return r, nil
}

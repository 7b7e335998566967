package authority

import (
	"context"
	"errors"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// families are the last ones that this process has read or written, by the names of their Secrets. A family holds no key: what is read
// from the cache may be written again, and the resourceVersion tells where somebody else was faster.
type families struct {
	mu sync.Mutex
	of map[string]*Family
}

// newest is the newer of a family and the one that is known.
func (f *families) newest(secret string, read *Family) *Family {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.of == nil {
		f.of = map[string]*Family{}
	}
	if known := f.of[secret]; known != nil {
		if order, err := resourceversion.CompareResourceVersion(read.Version, known.Version); err == nil && order <= 0 {
			return known
		}
	}
	f.of[secret] = read
	return read
}

func (f *families) known(secret string) *Family {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.of[secret]
}

func (f *families) forget(secret string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.of, secret)
}

// LiveFamily reads a ClusterPKI's family from the API server; nil where there is none.
func (s *Store) LiveFamily(ctx context.Context, namespace, name string) (*Family, error) {
	secret := FamilyName(namespace, name)
	f, err := s.readFamily(ctx, s.live, secret)
	if err == nil && f == nil {
		s.families.forget(secret)
	}
	if f == nil || err != nil {
		return nil, err
	}
	return s.families.newest(secret, f), nil
}

// CachedFamily reads a family as the cache has it, or as this process has written it since. What is not known yet is read from the API
// server: a cache may have begun with something older. What is returned must not be changed.
func (s *Store) CachedFamily(ctx context.Context, namespace, name string) (*Family, error) {
	secret := FamilyName(namespace, name)
	known := s.families.known(secret)
	if s.cache == nil || known == nil {
		return s.LiveFamily(ctx, namespace, name)
	}
	var o corev1.Secret
	err := s.cache.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: secret}, &o, client.UnsafeDisableDeepCopy)
	switch {
	case apierrors.IsNotFound(err): // it is on its way, or gone
		return s.LiveFamily(ctx, namespace, name)
	case err != nil:
		return nil, fmt.Errorf("read what belongs to ClusterPKI %s/%s: %w", namespace, name, err)
	case o.ResourceVersion == known.Version:
		return known, nil
	}
	f, err := DecodeFamily(&o)
	if err != nil {
		return nil, unreadable(err)
	}
	return s.families.newest(secret, f), nil
}

func (s *Store) readFamily(ctx context.Context, from client.Reader, secret string) (*Family, error) {
	var o corev1.Secret
	err := from.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: secret}, &o)
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // absence is an answer
	}
	if err != nil {
		return nil, fmt.Errorf("read Secret %q of the authority namespace: %w", secret, err)
	}
	f, err := DecodeFamily(&o)
	return f, unreadable(err)
}

// MadeBy is the name of the ClusterPKI that has made an object, as far as this process knows; "" where none has.
func (s *Store) MadeBy(namespace string, key ChildKey) string {
	s.families.mu.Lock()
	defer s.families.mu.Unlock()
	for _, f := range s.families.of {
		if _, ok := f.Children[key]; ok && f.Namespace == namespace {
			return f.Name
		}
	}
	return ""
}

// WroteFamily says whether a Secret is a family as this process has written or read it: nobody else has changed it since.
func (s *Store) WroteFamily(o *corev1.Secret) bool {
	known := s.families.known(o.Name)
	return known != nil && known.Version == o.ResourceVersion
}

// CreateFamily stores a new family. It fails with AlreadyExists if there is one of the name.
func (s *Store) CreateFamily(ctx context.Context, next *Family) (*Family, error) {
	return s.writeFamily(ctx, nil, next)
}

// CommitFamily stores next in place of was, as it was read: if anybody wrote in between, it fails with a conflict. The invariants are checked
// before.
func (s *Store) CommitFamily(ctx context.Context, was, next *Family) (*Family, error) {
	if was == nil {
		return nil, errors.New("commit a family that was not read")
	}
	return s.writeFamily(ctx, was, next)
}

func (s *Store) writeFamily(ctx context.Context, was, next *Family) (*Family, error) {
	if err := checkFamily(was, next); err != nil {
		return nil, err
	}
	data, err := next.encode()
	if err != nil {
		return nil, err
	}
	o := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: FamilyName(next.Namespace, next.Name)}, Type: FamilySecretType, Data: data,
	}
	if was == nil {
		err = s.live.Create(ctx, o)
	} else {
		o.UID, o.ResourceVersion = was.uid, was.Version
		err = s.live.Update(ctx, o)
	}
	if err != nil {
		s.families.forget(o.Name) // what is there is read again
		return nil, fmt.Errorf("record what belongs to ClusterPKI %s/%s: %w", next.Namespace, next.Name, err)
	}
	stored := next.Next()
	stored.Version, stored.uid = o.ResourceVersion, o.UID
	return s.families.newest(o.Name, stored), nil
}

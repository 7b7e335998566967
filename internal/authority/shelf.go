package authority

import (
	"context"
	"errors"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// record is what one Secret of the authority namespace says of one object.
type record[T any] interface {
	*T
	identity() Identity
	encode() (map[string][]byte, error)
	stands() (version string, uid types.UID) // of the Secret; empty for one that is not stored yet
}

// kind says how the records of one kind are stored.
type kind[T any] struct {
	what       string // such as "the CA"
	all        string // such as "the CAs"
	secretType corev1.SecretType
	secretName func(namespace, name string) string
	decode     func(*corev1.Secret) (*T, error)
	check      func(was, next *T) error // what is wrong with a write; was is nil for a new one
}

// shelf reads and writes the records of one kind.
type shelf[T any, R record[T]] struct {
	kind[T]
	namespace string
	live      client.Client
	cache     client.Reader
	reads     sharedReads[T]
	parsed    memo[T, R]
}

func (s *shelf[T, R]) key(namespace, name string) client.ObjectKey {
	return client.ObjectKey{Namespace: s.namespace, Name: s.secretName(namespace, name)}
}

func (s *shelf[T, R]) cachedOne(ctx context.Context, namespace, name string) (*T, error) {
	if s.cache == nil {
		return s.liveOne(ctx, namespace, name)
	}
	var secret corev1.Secret
	err := s.cache.Get(ctx, s.key(namespace, name), &secret)
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // absence is an answer
	}
	if err != nil {
		return nil, fmt.Errorf("read %s %s/%s: %w", s.what, namespace, name, err)
	}
	r, err := s.parsed.decode(&secret, s.decode)
	return r, unreadable(err)
}

func (s *shelf[T, R]) cached(ctx context.Context, opts ...client.ListOption) ([]*T, error) {
	var list corev1.SecretList
	if s.cache == nil {
		return nil, errors.New("this store has no cache")
	}
	opts = append(opts, client.InNamespace(s.namespace), client.UnsafeDisableDeepCopy)
	if err := s.cache.List(ctx, &list, opts...); err != nil {
		return nil, fmt.Errorf("list %s: %w", s.all, err)
	}
	var out []*T
	for i := range list.Items {
		if list.Items[i].Type != s.secretType {
			continue
		}
		if r, err := s.parsed.decode(&list.Items[i], s.decode); err == nil {
			out = append(out, r)
		}
	}
	return out, nil
}

func (s *shelf[T, R]) liveOne(ctx context.Context, namespace, name string) (*T, error) {
	return s.reads.do(ctx, s.secretName(namespace, name), func(ctx context.Context) (*T, error) {
		var secret corev1.Secret
		err := s.live.Get(ctx, s.key(namespace, name), &secret)
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read %s %s/%s: %w", s.what, namespace, name, err)
		}
		r, err := s.decode(&secret)
		return r, unreadable(err)
	})
}

func (s *shelf[T, R]) list(ctx context.Context) (records []*T, damaged map[string]error, err error) {
	damaged = map[string]error{}
	opts := client.ListOptions{Namespace: s.namespace, Limit: 100}
	for {
		var list corev1.SecretList
		if err := s.live.List(ctx, &list, &opts); err != nil {
			return nil, nil, fmt.Errorf("list %s: %w", s.all, err)
		}
		for i := range list.Items {
			if list.Items[i].Type != s.secretType {
				continue
			}
			r, err := s.decode(&list.Items[i])
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

func (s *shelf[T, R]) create(ctx context.Context, next *T) (*T, error) {
	if err := s.check(nil, next); err != nil {
		return nil, err
	}
	return s.put(ctx, next)
}

// put stores a new record, whatever the invariants say.
func (s *shelf[T, R]) put(ctx context.Context, next *T) (*T, error) {
	secret, err := s.secret(next)
	if err != nil {
		return nil, err
	}
	if err := s.live.Create(ctx, secret); err != nil {
		return nil, fmt.Errorf("create %s %s: %w", s.what, R(next).identity(), err)
	}
	return s.decode(secret)
}

func (s *shelf[T, R]) commit(ctx context.Context, was, next *T) (*T, error) {
	if err := s.check(was, next); err != nil {
		return nil, err
	}
	secret, err := s.secret(next)
	if err != nil {
		return nil, err
	}
	secret.ResourceVersion, secret.UID = R(was).stands()
	if err := s.live.Update(ctx, secret); err != nil {
		return nil, fmt.Errorf("write %s %s: %w", s.what, R(was).identity(), err)
	}
	return s.decode(secret)
}

func (s *shelf[T, R]) remove(ctx context.Context, r *T) error {
	id := R(r).identity()
	version, uid := R(r).stands()
	key := s.key(id.Namespace, id.Name)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	if err := s.live.Delete(ctx, secret, client.Preconditions{UID: &uid, ResourceVersion: &version}); err != nil {
		return fmt.Errorf("delete %s %s: %w", s.what, id, err)
	}
	return nil
}

func (s *shelf[T, R]) secret(r *T) (*corev1.Secret, error) {
	data, err := R(r).encode()
	if err != nil {
		return nil, err
	}
	id := R(r).identity()
	key := s.key(id.Namespace, id.Name)
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}, Type: s.secretType, Data: data}, nil
}

// memo keeps what was read of the cache's objects: thousands of leaves ask for the same few CAs.
type memo[T any, R record[T]] struct {
	mu sync.Mutex
	of map[string]*T
}

func (m *memo[T, R]) decode(s *corev1.Secret, decode func(*corev1.Secret) (*T, error)) (*T, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.of[s.Name]; r != nil {
		if version, uid := R(r).stands(); version == s.ResourceVersion && uid == s.UID {
			return r, nil
		}
	}
	r, err := decode(s)
	if err != nil {
		return nil, err
	}
	if m.of == nil {
		m.of = map[string]*T{}
	}
	m.of[s.Name] = r
	return r, nil
}

package records

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Store reads and writes the records of an authority namespace. What it has read it keeps: nobody else writes there but a restore,
// which Refresh notices.
type Store struct {
	namespace string
	live      client.Client
	now       func() time.Time
	standing  Standing
	window    time.Duration // for which issues are gathered

	mu     sync.Mutex
	spaces map[string]*space
}

// Standing is the UID of the object that a namespace has of a kind and name, "" where it has none; known is false where that cannot be said now.
type Standing func(ctx context.Context, namespace, kind, name string) (uid types.UID, known bool)

// New makes the store of an authority namespace. live must not read from a cache.
func New(namespace string, live client.Client, now func() time.Time, standing Standing) *Store {
	return &Store{namespace: namespace, live: live, now: now, standing: standing, window: gathering, spaces: map[string]*space{}}
}

// space are the records of one user's namespace.
type space struct {
	requests sync.Mutex // held while the API server is asked: below it, nobody waits who only reads

	mu           sync.Mutex
	loads        int // that have begun
	loaded       bool
	shards       []shard
	bound        map[types.UID][]Issue
	unbound      map[Object][]Issue   // restored ones, by kind and name
	named        map[Object][]Issue   // all of them, by kind and name
	acknowledged map[types.UID]string // by serial number, also where that could not be stored yet
	queue        commits
}

// shard is one Secret as it was last read or written.
type shard struct {
	document
	uid     types.UID
	version string
}

func (s *Store) space(namespace string) *space {
	s.mu.Lock()
	defer s.mu.Unlock()
	sp := s.spaces[namespace]
	if sp == nil {
		sp = &space{acknowledged: map[types.UID]string{}}
		s.spaces[namespace] = sp
	}
	return sp
}

// Of are the issues of an object.
func (s *Store) Of(ctx context.Context, namespace string, o Object) (Issues, error) {
	sp := s.space(namespace)
	if err := s.ensure(ctx, namespace, sp); err != nil {
		return nil, err
	}
	sp.mu.Lock()
	defer sp.mu.Unlock()
	return sp.of(o), nil
}

// Known are the issues of an object as far as they were read already; ok is false where they were not.
func (s *Store) Known(namespace string, o Object) (issues Issues, ok bool) {
	sp := s.space(namespace)
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if !sp.loaded {
		return nil, false
	}
	return sp.of(o), true
}

// Spent says whether the approval of a key, by its digest, was used up by an object of a kind and name, whatever its UID was.
func (s *Store) Spent(ctx context.Context, namespace string, o Object, keySHA256 string) (bool, error) {
	sp := s.space(namespace)
	if err := s.ensure(ctx, namespace, sp); err != nil {
		return false, err
	}
	sp.mu.Lock()
	defer sp.mu.Unlock()
	named := sp.named[o.named()]
	return slices.ContainsFunc(named, func(i Issue) bool { return i.ApprovedKeySHA256 == keySHA256 && i.spent(named) }), nil
}

// of are those that count, under the lock of the space: what is older than what was acknowledged goes only with the next write.
func (sp *space) of(o Object) []Issue {
	out := sp.all(o)
	return out[max(placeOf(out, sp.last(out, o.UID)), 0):]
}

// last is the serial number of the issue, among those of an object, that was acknowledged last; "" where none was. It is under the lock of the space.
func (sp *space) last(issues []Issue, uid types.UID) string {
	for _, i := range slices.Backward(issues) {
		if i.Acknowledged || i.SerialNumber == sp.acknowledged[uid] {
			return i.SerialNumber
		}
	}
	return ""
}

func placeOf(issues []Issue, serial string) int {
	return slices.IndexFunc(issues, func(i Issue) bool { return i.SerialNumber == serial })
}

// all is under the lock of the space. What was restored beside what is there still is one issue.
func (sp *space) all(o Object) []Issue {
	out := slices.Clone(sp.bound[o.UID])
	if restored := sp.unbound[o.named()]; len(restored) > 0 {
		for _, i := range restored {
			if i.UID = o.UID; !slices.ContainsFunc(out, i.same) {
				i.UID = ""
				out = append(out, i)
			}
		}
		sortByTime(out)
	}
	return out
}

// ensure reads the records of a namespace once.
func (s *Store) ensure(ctx context.Context, namespace string, sp *space) error {
	sp.mu.Lock()
	loaded := sp.loaded
	sp.mu.Unlock()
	if loaded {
		return nil
	}
	return s.Refresh(ctx, namespace)
}

// Refresh reads the records of a namespace from the API server. Everybody who waits when a read begins shares it.
func (s *Store) Refresh(ctx context.Context, namespace string) error {
	sp := s.space(namespace)
	sp.mu.Lock()
	asked := sp.loads
	sp.mu.Unlock()
	sp.requests.Lock()
	defer sp.requests.Unlock()
	sp.mu.Lock()
	if sp.loaded && sp.loads > asked { // one that began since is over
		sp.mu.Unlock()
		return nil
	}
	sp.mu.Unlock()
	return s.load(ctx, namespace, sp)
}

// load reads every Secret of a namespace. The requests are the caller's alone.
func (s *Store) load(ctx context.Context, namespace string, sp *space) error {
	sp.mu.Lock()
	sp.loads++
	sp.mu.Unlock()
	var shards []shard
	for number := 0; ; number++ {
		var secret corev1.Secret
		err := s.live.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: SecretName(namespace, number)}, &secret)
		if apierrors.IsNotFound(err) {
			break
		}
		if err != nil {
			return fmt.Errorf("read the records of namespace %q: %w", namespace, err)
		}
		d, err := decode(&secret, namespace, number)
		if err != nil {
			return err
		}
		shards = append(shards, shard{document: d, uid: secret.UID, version: secret.ResourceVersion})
	}
	sp.mu.Lock()
	defer sp.mu.Unlock()
	sp.shards, sp.loaded = shards, true
	sp.index()
	return nil
}

// index finds the issues by their objects. It is under the lock of the space.
func (sp *space) index() {
	sp.bound, sp.unbound, sp.named = map[types.UID][]Issue{}, map[Object][]Issue{}, map[Object][]Issue{}
	for _, sh := range sp.shards {
		for _, i := range sh.Issues {
			sp.named[i.named()] = append(sp.named[i.named()], i)
			switch {
			case i.Ended:
			case i.UID == "":
				sp.unbound[i.named()] = append(sp.unbound[i.named()], i)
			default:
				sp.bound[i.UID] = append(sp.bound[i.UID], i)
			}
		}
	}
	for _, issues := range sp.bound {
		sortByTime(issues)
	}
	for _, issues := range sp.unbound {
		sortByTime(issues)
	}
}

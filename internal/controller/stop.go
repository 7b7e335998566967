package controller

import (
	"context"
	"sync"

	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
)

// A manager of controller-runtime 0.25 that is told to stop before its caches are filled, as where a right or a kind is missing,
// goes on waiting for them, and turns in a circle meanwhile. Here the wait ends with the manager.

// stoppable is a manager that stops at any time.
type stoppable struct {
	ctrl.Manager
	stopping *stopping
}

// Start implements ctrl.Manager.
func (m stoppable) Start(ctx context.Context) error {
	defer context.AfterFunc(ctx, m.stopping.now)()
	return m.Manager.Start(ctx) //nolint:wrapcheck // it is the manager's own
}

// stopping tells caches that their manager stops.
type stopping struct {
	once sync.Once
	told chan struct{}
}

func (s *stopping) now() { s.once.Do(func() { close(s.told) }) }

// newCache makes a cache whose wait ends with the manager.
func (s *stopping) newCache(cfg *rest.Config, o cache.Options) (cache.Cache, error) {
	c, err := cache.New(cfg, o)
	return endingCache{c, s.told}, err //nolint:wrapcheck // the manager says what failed
}

type endingCache struct {
	cache.Cache
	end <-chan struct{}
}

// WaitForCacheSync implements cache.Cache. It is true at the end too: there is nothing more to wait for.
func (c endingCache) WaitForCacheSync(ctx context.Context) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	synced := make(chan bool, 1)
	go func() { synced <- c.Cache.WaitForCacheSync(ctx) }()
	select {
	case ok := <-synced:
		return ok
	case <-c.end:
		return true
	}
}

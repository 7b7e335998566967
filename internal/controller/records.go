package controller

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/queue"
	"clusterpki.io/operator/internal/records"
	"clusterpki.io/operator/internal/visits"
)

// recorder records what is issued. While that is written, together with what others issue, the worker that waits lends its slot: else as
// few would be written at once as there are workers.
type recorder struct {
	*records.Store

	mu    sync.Mutex
	lends map[string]*queue.Slots // by kind
}

// Record implements leaf.Records.
func (r *recorder) Record(ctx context.Context, p records.Place, i records.Issue, inUse ...string) error {
	return r.lent(i.Kind).Lend(func() error { return r.Store.Record(ctx, p, i, inUse...) })
}

// Acknowledged notes that the agent of an object has acknowledged a certificate. It is for a visit to that object.
func (r *recorder) Acknowledged(ctx context.Context, namespace string, o records.Object, serial string) error {
	store, err := r.Store.Acknowledged(ctx, namespace, o, serial)
	if err != nil || store == nil {
		return err
	}
	return r.lent(o.Kind).Lend(store)
}

func (r *recorder) lent(kind string) *queue.Slots {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lends[kind]
}

// slots are those of the workers of a kind's controller.
func (r *recorder) slots(kind string, workers int) *queue.Slots {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lends == nil {
		r.lends = map[string]*queue.Slots{}
	}
	r.lends[kind] = visits.Lending(workers)
	return r.lends[kind]
}

// standing says which object has a kind and name, by a cache.
func standing(cache client.Reader) records.Standing {
	return func(ctx context.Context, namespace, kind, name string) (types.UID, bool) {
		for _, k := range v1alpha1.Kinds() {
			if k.Name != kind {
				continue
			}
			o := k.New()
			err := cache.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, o, client.UnsafeDisableDeepCopy)
			return o.GetUID(), client.IgnoreNotFound(err) == nil
		}
		return "", false
	}
}

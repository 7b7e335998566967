package controller

import (
	"context"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/agents"
	"clusterpki.io/operator/internal/queue"
	"clusterpki.io/operator/internal/stall"
	"clusterpki.io/operator/internal/visits"
)

// agentsRefused are the hosts whose agents get no access, and why: the objects of such a host say it. Nothing depends on them: after a restart each is
// found again.
type agentsRefused struct {
	mu     sync.Mutex
	why    map[agents.Host]string
	queues map[string]visits.Queue // of the kinds whose objects say it
}

func newAgentsRefused() *agentsRefused {
	return &agentsRefused{why: map[agents.Host]string{}, queues: map[string]visits.Queue{}}
}

// of says why the agent of a host gets no access, "" where nothing is known against it.
func (r *agentsRefused) of(host agents.Host) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.why[host]
}

// set notes why the agent of a host gets no access, nil: it does. Where that has changed, the objects of the host are visited.
func (r *agentsRefused) set(host agents.Host, st *stall.Error, objects []v1alpha1.Object) {
	var why string
	if st != nil {
		why = fmt.Sprintf("%s: %s", st.Reason, st.Message)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.why[host] == why {
		return
	}
	if why == "" {
		delete(r.why, host)
	} else {
		r.why[host] = why
	}
	for _, o := range objects {
		if q, ok := r.queues[o.Kind()]; ok {
			visits.Enqueue(q, queue.Repair, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}})
		}
	}
}

// changed brings a visit to each object of a kind whose host's agent gets access, or does not any more.
func (r *agentsRefused) changed(kind string) source.Source {
	return source.Func(func(_ context.Context, q visits.Queue) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.queues[kind] = q
		return nil
	})
}

package visits

import (
	"context"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

const (
	// paceBurst is how many visits an object's Lease brings at once, and paceEvery how often it brings one after that: whoever may write it, in
	// whose hands that host ever is, must not be able to have the operator work, and write, all the time.
	paceBurst = 8
	paceEvery = 20 * time.Second
	// paceKept is how many objects are remembered before those are looked for that may go.
	paceKept = 1024
)

// pace says when others may bring visits to an object.
type pace struct {
	mu sync.Mutex
	of map[reconcile.Request]allowance
}

// allowance is how many visits were left at a time. It is below zero while a visit waits that is taken off already.
type allowance struct {
	left float64
	at   time.Time
	due  time.Time // when the visit comes that was made to wait last
}

func (a allowance) since(now time.Time) allowance {
	left := a.left + float64(now.Sub(a.at))/float64(paceEvery)
	return allowance{left: min(paceBurst, left), at: now, due: a.due}
}

// delay is how long a visit has to wait that somebody else brings now. Those that wait are one visit.
func (p *pace) delay(req reconcile.Request, now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of == nil {
		p.of = map[reconcile.Request]allowance{}
	}
	a, known := p.of[req]
	if !known {
		if len(p.of) >= paceKept {
			p.sweep(now)
		}
		a = allowance{left: paceBurst, at: now}
	}
	if a.due.After(now) {
		return a.due.Sub(now)
	}
	a = a.since(now)
	a.left--
	var wait time.Duration
	if a.left < 0 {
		wait = time.Duration(-a.left * float64(paceEvery))
		a.due = now.Add(wait)
	}
	p.of[req] = a
	return wait
}

// sweep forgets those that have everything left. It is under the lock.
func (p *pace) sweep(now time.Time) {
	for req, a := range p.of {
		if a.since(now).left >= paceBurst {
			delete(p.of, req)
		}
	}
}

// Paced enqueues what a Lease concerns beside the object that it was made for, as seldom as that one.
func Paced(find Finder) Handler {
	p := &pace{}
	visit := func(ctx context.Context, o client.Object, q Queue) {
		found := find(ctx, o, nil)
		if len(found) == 0 {
			return
		}
		wait := p.delay(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(o)}, time.Now()) //nolint:forbidigo // how long ago, not what time it is
		for _, d := range found {
			enqueueAfter(q, d.class, d.request, wait)
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q Queue) { visit(ctx, e.Object, q) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q Queue) { visit(ctx, e.ObjectNew, q) },
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q Queue) { visit(ctx, e.Object, q) },
	}
}

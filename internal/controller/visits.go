package controller

import (
	"context"
	"maps"
	"sync"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/queue"
)

type (
	requestQueue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	eventHandler = handler.TypedEventHandler[client.Object, reconcile.Request]
)

// enqueue adds a request in a class.
func enqueue(q requestQueue, class queue.Class, request reconcile.Request) {
	if classed, ok := q.(priorityqueue.PriorityQueue[reconcile.Request]); ok { // as each controller's is
		classed.AddWithOpts(priorityqueue.AddOpts{Priority: class.Priority()}, request)
	}
}

// visits are those to the objects of one kind, and the events that bring them. An event that tells of nothing but what this
// operator wrote itself brings none: whoever wrote it has seen to what follows. A watch may be faster than the answer to a
// write, so that what is told of an object while it is visited is looked at when the visit ends.
type visits struct {
	kind       string
	reconciler reconcile.Reconciler
	wrote      *owned.Writes
	clock      clock.PassiveClock

	mu       sync.Mutex
	underWay map[reconcile.Request]map[thing]news
}

// thing is an object of a kind: one that is visited, or that was made for it.
type thing struct {
	kind string
	types.NamespacedName
}

// news are the last event of a thing, and the highest class that the events of it came in.
type news struct {
	version string
	class   queue.Class
	queue   requestQueue
}

func (b *base) visits(kind string, r reconcile.Reconciler) *visits {
	return &visits{kind: kind, reconciler: r, wrote: b.wrote, clock: b.clock, underWay: map[reconcile.Request]map[thing]news{}}
}

// Reconcile implements reconcile.Reconciler.
func (v *visits) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	v.mu.Lock()
	v.underWay[req] = nil
	v.mu.Unlock()
	defer v.end(req)
	return v.reconciler.Reconcile(ctx, req) //nolint:wrapcheck // it is the reconciler's own
}

// end enqueues another visit, if one is needed for what was told meanwhile.
func (v *visits) end(req reconcile.Request) {
	v.mu.Lock()
	heard := maps.Clone(v.underWay[req])
	delete(v.underWay, req)
	v.mu.Unlock()
	for of, n := range heard {
		v.hear(req, of, n)
	}
}

// hear enqueues a visit to an object, if what is told of a thing of its does not come from this operator.
func (v *visits) hear(req reconcile.Request, of thing, n news) {
	if v.later(req, of, n) || v.wrote.Echo(of.kind, of.NamespacedName, n.version) {
		return
	}
	enqueue(n.queue, n.class, req)
}

// later keeps an event until the visit to the object that is under way has ended; false: there is none. A later event of the
// same thing takes its place: what this operator wrote was written under the resourceVersion of all that came before.
func (v *visits) later(req reconcile.Request, of thing, n news) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	heard, busy := v.underWay[req]
	if !busy {
		return false
	}
	if heard == nil {
		heard = map[thing]news{}
		v.underWay[req] = heard
	}
	if was, ok := heard[of]; ok {
		n.class = min(n.class, was.class)
	}
	heard[of] = n
	return true
}

// own hears of the objects of the kind themselves.
func (v *visits) own() eventHandler {
	of := func(o client.Object, class queue.Class, q requestQueue) {
		key := client.ObjectKeyFromObject(o)
		v.hear(reconcile.Request{NamespacedName: key}, thing{v.kind, key}, news{o.GetResourceVersion(), class, q})
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q requestQueue) {
			of(e.Object, atStart(e.IsInInitialList && !pressing(e.Object, v.clock.Now()), queue.Urgent), q)
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q requestQueue) {
			switch {
			case e.ObjectOld.GetResourceVersion() == e.ObjectNew.GetResourceVersion(): // the cache tells of everything anew
				enqueue(q, queue.Mass, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(e.ObjectNew)})
			case edited(e.ObjectOld, e.ObjectNew):
				of(e.ObjectNew, queue.Urgent, q)
			default:
				of(e.ObjectNew, queue.Repair, q)
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q requestQueue) { of(gone(e.Object), queue.Urgent, q) },
		GenericFunc: func(_ context.Context, e event.GenericEvent, q requestQueue) { // of something else than a write
			enqueue(q, queue.Repair, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(e.Object)})
		},
	}
}

// products hears of what was made for objects of the kind, in objects of one kind themselves.
func (v *visits) products(made string) eventHandler {
	of := func(o client.Object, class queue.Class, q requestQueue) {
		owner := ownerName(o, v.kind)
		if owner == "" {
			return
		}
		req := reconcile.Request{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: owner}}
		v.hear(req, thing{made, client.ObjectKeyFromObject(o)}, news{o.GetResourceVersion(), class, q})
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q requestQueue) {
			of(e.Object, atStart(e.IsInInitialList, queue.Repair), q)
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q requestQueue) {
			if e.ObjectOld.GetResourceVersion() == e.ObjectNew.GetResourceVersion() {
				return // its owner is visited by itself
			}
			if ownerName(e.ObjectOld, v.kind) != ownerName(e.ObjectNew, v.kind) {
				of(e.ObjectOld, queue.Repair, q)
			}
			class := queue.Repair
			if asks(e.ObjectOld) != asks(e.ObjectNew) {
				class = queue.Urgent
			}
			of(e.ObjectNew, class, q)
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q requestQueue) { of(gone(e.Object), queue.Repair, q) },
	}
}

// gone is an object that was deleted: in no version that this operator wrote. A relist tells of it in the last one that was known.
func gone(o client.Object) client.Object {
	out, ok := o.DeepCopyObject().(client.Object)
	if !ok {
		return o
	}
	out.SetResourceVersion("")
	return out
}

// atStart is the class of what is there when the operator starts: one of very many.
func atStart(started bool, otherwise queue.Class) queue.Class {
	if started {
		return queue.Mass
	}
	return otherwise
}

// asks is the certificate signing request that the agent of a host has put into a Lease.
func asks(o client.Object) string {
	if l, ok := o.(*coordinationv1.Lease); ok {
		return l.Annotations[v1alpha1.CSRAnnotation]
	}
	return ""
}

// edited says whether somebody changed an object, and not its status alone.
func edited(was, now client.Object) bool {
	return was.GetUID() != now.GetUID() || was.GetGeneration() != now.GetGeneration() ||
		was.GetDeletionTimestamp().IsZero() != now.GetDeletionTimestamp().IsZero() ||
		!maps.Equal(was.GetLabels(), now.GetLabels()) || !maps.Equal(was.GetAnnotations(), now.GetAnnotations())
}

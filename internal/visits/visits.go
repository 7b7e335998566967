// Package visits says which events have which objects reconciled, and in which class of the queue; which visits are spared, because
// nothing changed since the last one; and whether visits come to an end.
package visits

import (
	"context"
	"maps"
	"sync"
	"time"

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
	// Queue is the queue of a controller.
	Queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	// Handler brings visits because of events.
	Handler = handler.TypedEventHandler[client.Object, reconcile.Request]
)

// Enqueue adds a request in a class.
func Enqueue(q Queue, class queue.Class, request reconcile.Request) {
	enqueueAfter(q, class, request, 0)
}

func enqueueAfter(q Queue, class queue.Class, request reconcile.Request, after time.Duration) {
	if classed, ok := q.(priorityqueue.PriorityQueue[reconcile.Request]); ok { // as each controller's is
		classed.AddWithOpts(priorityqueue.AddOpts{Priority: class.Priority(), After: after}, request)
	}
}

// Visits are those to the objects of one kind, and the events that bring them. An event that tells of nothing but what this
// operator wrote itself brings none: whoever wrote it has seen to what follows. A watch may be faster than the answer to a
// write, so that an event of an object that is being visited is looked at when the visit ends.
type Visits struct {
	kind       string
	reconciler reconcile.Reconciler
	wrote      *owned.Writes
	clock      clock.PassiveClock
	pace       pace // of what others write all the time

	mu       sync.Mutex
	underWay map[reconcile.Request]map[source]latest
}

// source is the object that an event is of: one that is visited, or that was made for it.
type source struct {
	kind string
	types.NamespacedName
}

// latest is the last event of a source, and the highest class that its events came in.
type latest struct {
	version string
	class   queue.Class
	queue   Queue
}

// New are the visits that a reconciler makes to the objects of a kind.
func New(kind string, r reconcile.Reconciler, wrote *owned.Writes, now clock.PassiveClock) *Visits {
	return &Visits{kind: kind, reconciler: r, wrote: wrote, clock: now, underWay: map[reconcile.Request]map[source]latest{}}
}

// Reconcile implements reconcile.Reconciler.
func (v *Visits) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	v.mu.Lock()
	v.underWay[req] = nil
	v.mu.Unlock()
	defer v.end(req)
	return v.reconciler.Reconcile(ctx, req) //nolint:wrapcheck // it is the reconciler's own
}

// end enqueues another visit, if one is needed for the events that came meanwhile.
func (v *Visits) end(req reconcile.Request) {
	v.mu.Lock()
	events := maps.Clone(v.underWay[req])
	delete(v.underWay, req)
	v.mu.Unlock()
	for of, n := range events {
		v.received(req, of, n)
	}
}

// received enqueues a visit to an object because of an event, unless that is of what this operator wrote.
func (v *Visits) received(req reconcile.Request, of source, n latest) {
	if v.later(req, of, n) || v.wrote.Echo(of.kind, of.NamespacedName, n.version) {
		return
	}
	var after time.Duration
	if v.floods(of.kind) && n.version != "" {
		after = v.pace.delay(req, time.Now()) //nolint:forbidigo // how long ago, not what time it is
	}
	if of.kind == childKind {
		after = childrenPace
	}
	enqueueAfter(n.queue, n.class, req, after)
}

// floods says whether what others write of an object is paced: the Leases that hosts write, and the Secret of service account keys, of which each repair
// is written in the authority namespace too. What is issued anew is paced where it is issued.
func (v *Visits) floods(kind string) bool {
	return kind == owned.LeaseKind || kind == owned.SecretKind && v.kind == v1alpha1.KindServiceAccountKey
}

// later keeps an event until the visit to the object that is under way has ended; false: there is none. A later event of the
// same source takes its place: what this operator wrote was written under the resourceVersion of all that came before.
func (v *Visits) later(req reconcile.Request, of source, n latest) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	events, busy := v.underWay[req]
	if !busy {
		return false
	}
	if events == nil {
		events = map[source]latest{}
		v.underWay[req] = events
	}
	if was, ok := events[of]; ok {
		n.class = min(n.class, was.class)
	}
	events[of] = n
	return true
}

// Own handles the events of the objects of the kind themselves.
func (v *Visits) Own() Handler {
	of := func(o client.Object, class queue.Class, q Queue) {
		key := client.ObjectKeyFromObject(o)
		v.received(reconcile.Request{NamespacedName: key}, source{v.kind, key}, latest{o.GetResourceVersion(), class, q})
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q Queue) {
			of(e.Object, atStart(e.IsInInitialList && !pressing(e.Object, v.clock.Now()), queue.Urgent), q)
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q Queue) {
			switch {
			case e.ObjectOld.GetResourceVersion() == e.ObjectNew.GetResourceVersion(): // the cache tells of everything anew
				Enqueue(q, queue.Mass, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(e.ObjectNew)})
			case edited(e.ObjectOld, e.ObjectNew):
				of(e.ObjectNew, queue.Urgent, q)
			default:
				of(e.ObjectNew, queue.Repair, q)
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q Queue) { of(gone(e.Object), queue.Urgent, q) },
		GenericFunc: func(_ context.Context, e event.GenericEvent, q Queue) { // of something else than a write
			Enqueue(q, queue.Repair, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(e.Object)})
		},
	}
}

// Products handles the events of what was made for objects of the kind: of one kind of products, such as owned.SecretKind.
func (v *Visits) Products(made string) Handler {
	of := func(o client.Object, class queue.Class, q Queue) {
		owner := ownerName(o, v.kind)
		if owner == "" {
			return
		}
		req := reconcile.Request{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: owner}}
		v.received(req, source{made, client.ObjectKeyFromObject(o)}, latest{o.GetResourceVersion(), class, q})
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q Queue) {
			of(e.Object, atStart(e.IsInInitialList, queue.Repair), q)
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q Queue) {
			if e.ObjectOld.GetResourceVersion() == e.ObjectNew.GetResourceVersion() {
				return // its owner is visited by itself
			}
			if ownerName(e.ObjectOld, v.kind) != ownerName(e.ObjectNew, v.kind) {
				of(gone(e.ObjectOld), queue.Repair, q) // whoever wrote it: its owner loses it
			}
			class := queue.Repair
			if asks(e.ObjectOld) != asks(e.ObjectNew) {
				class = queue.Urgent
			}
			of(e.ObjectNew, class, q)
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q Queue) { of(gone(e.Object), queue.Repair, q) },
	}
}

// gone is an object that was deleted, or taken from its owner: in no version that this operator wrote. A relist tells of it in the last one that was known.
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

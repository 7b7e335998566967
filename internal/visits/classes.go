package visits

import (
	"context"
	"time"

	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/internal/queue"
)

// Which visit comes first: docs/decisions/0015-the-queue.md.

// pressing says whether an object has no certificate yet, or one that is overdue: then nothing that concerns it is a mere part
// of a mass.
func pressing(o client.Object, now time.Time) bool {
	ours, ok := o.(v1alpha1.Object)
	if !ok {
		return false
	}
	c := ours.IssuedCertificate()
	due := c.RenewalTime.Time
	if due.IsZero() {
		due = c.NotAfter.Time
	}
	return c.SerialNumber == "" || !now.Before(due)
}

// Dependent is an object that depends on what changed, and the class of its visit.
type Dependent struct {
	request reconcile.Request
	class   queue.Class
}

// dependentOn is a visit to an object because of a change that concerns many.
func dependentOn(o client.Object, now time.Time) Dependent {
	class := queue.Mass
	if pressing(o, now) {
		class = queue.Urgent
	}
	return Dependent{reconcile.Request{NamespacedName: client.ObjectKeyFromObject(o)}, class}
}

// All enqueues everything that depends on an object.
func All(find Finder) Handler {
	visit := func(ctx context.Context, o client.Object, q Queue) {
		for _, d := range find(ctx, o, nil) {
			Enqueue(q, d.class, d.request)
		}
	}
	return handler.Funcs{
		CreateFunc:  func(ctx context.Context, e event.CreateEvent, q Queue) { visit(ctx, e.Object, q) },
		UpdateFunc:  func(ctx context.Context, e event.UpdateEvent, q Queue) { visit(ctx, e.ObjectNew, q) },
		DeleteFunc:  func(ctx context.Context, e event.DeleteEvent, q Queue) { visit(ctx, e.Object, q) },
		GenericFunc: func(ctx context.Context, e event.GenericEvent, q Queue) { visit(ctx, e.Object, q) },
	}
}

// Timeout ends a visit: none can hold up another namespace's for ever.
const Timeout = plan.LongestWrite

// Waiting is how many further visits of a controller may wait for what they share with others, beside its workers.
const Waiting = 48

// Lending are the slots of a controller's workers, of whom some may wait for others.
func Lending(workers int) *queue.Slots { return queue.NewSlots(workers) }

// Options are those of each controller: its workers, and the queue that they take from. slots are those of its workers; nil: none of them
// waits for others.
func Options[request comparable](workers int, slots *queue.Slots, placeOf func(request) queue.Place) controller.TypedOptions[request] {
	if slots != nil {
		workers += Waiting
	}
	return controller.TypedOptions[request]{
		MaxConcurrentReconciles: workers, ReconciliationTimeout: Timeout,
		NewQueue: func(name string, limiter workqueue.TypedRateLimiter[request]) workqueue.TypedRateLimitingInterface[request] {
			return queue.New(queue.Config[request]{Name: name, Limiter: limiter, Clock: clock.RealClock{}, Place: placeOf, Slots: slots})
		},
	}
}

// PlaceOfCA is the place of a ClusterCA in the queue: it belongs to itself.
func PlaceOfCA(r reconcile.Request) queue.Place {
	return queue.Place{Namespace: r.Namespace, CA: r.Name}
}

// PlaceOfLeaf is the place of a leaf in the queue: it belongs to the CA that signs it, as far as a cache knows that.
func PlaceOfLeaf(ctx context.Context, cache client.Reader, empty func() v1alpha1.Object) func(reconcile.Request) queue.Place {
	return func(r reconcile.Request) queue.Place {
		place := queue.Place{Namespace: r.Namespace}
		o := empty()
		if cache.Get(ctx, r.NamespacedName, o, client.UnsafeDisableDeepCopy) == nil {
			place.CA = o.SignerName()
		}
		return place
	}
}

// Itself enqueues the object that a Secret of the authority namespace is of.
var Itself Handler = handler.Funcs{
	CreateFunc: func(_ context.Context, e event.CreateEvent, q Queue) {
		Enqueue(q, atStart(e.IsInInitialList, queue.Repair), reconcile.Request{NamespacedName: client.ObjectKeyFromObject(e.Object)})
	},
	GenericFunc: func(_ context.Context, e event.GenericEvent, q Queue) {
		Enqueue(q, queue.Repair, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(e.Object)})
	},
}

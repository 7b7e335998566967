package visits

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"clusterpki.io/operator/internal/queue"
)

// childKind is the source of events of objects that others of ours were made from. What they tell is never an echo here: who wrote it was the
// reconciler of the other kind.
const childKind = "child"

// childrenPace is how long a visit waits for further events of the kind: a rotation changes the status of thousands of children, one by one.
const childrenPace = time.Second

// Children handles the events of objects that an object of the kind has made. parent is the name of that; "" for none.
func (v *Visits) Children(parent func(client.Object) string) Handler {
	of := func(o client.Object, class queue.Class, q Queue) {
		name := parent(o)
		if name == "" {
			return
		}
		req := reconcile.Request{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: name}}
		v.received(req, source{childKind, req.NamespacedName}, latest{o.GetResourceVersion(), class, q})
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q Queue) {
			of(e.Object, atStart(e.IsInInitialList, queue.Repair), q)
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q Queue) {
			if e.ObjectOld.GetResourceVersion() != e.ObjectNew.GetResourceVersion() {
				of(e.ObjectNew, queue.Repair, q)
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q Queue) { of(e.Object, queue.Repair, q) },
	}
}

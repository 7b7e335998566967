package controller

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/binding"
	"clusterpki.io/operator/internal/ca"
	"clusterpki.io/operator/internal/queue"
	"clusterpki.io/operator/internal/visits"
)

// deletion is an object that is gone, and for which keys are kept. UID is empty where only the mark is to be looked after.
type deletion struct {
	authority.Ref
	UID types.UID
}

// deletions destroys the keys of deleted CAs and ServiceAccountKeys.
type deletions struct {
	ends     binding.Ender
	progress *visits.Progress
}

// deletions makes what ends what is kept for deleted objects.
func (b *base) deletions() *deletions {
	copies := ca.Maker{Client: b.client, Store: b.store, Secrets: b.secrets, Keeper: b.keeper}
	return &deletions{
		ends: binding.Ender{
			Binder: binding.Binder{Client: b.client, Live: b.live, Home: b.home, Wrote: b.wrote}, Store: b.store, Clock: b.clock,
			EmptyCopies: copies.EmptyCopies,
		},
		progress: b.progress,
	}
}

func (r *deletions) setup(mgr ctrl.Manager, authorities cache.Cache) error {
	marked := handler.TypedEnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []deletion {
		of, ok := authority.KeptIn(o)
		if !ok {
			return nil
		}
		return []deletion{{Ref: of}}
	})
	var cas, accountKeys client.Object = &v1alpha1.ClusterCA{}, &v1alpha1.ServiceAccountKey{}
	err := builder.TypedControllerManagedBy[deletion](mgr).
		Named("deletion").
		WatchesRawSource(source.TypedKind(mgr.GetCache(), cas, deleted())).
		WatchesRawSource(source.TypedKind(mgr.GetCache(), accountKeys, deleted())).
		WatchesRawSource(source.TypedKind(authorities, secretObject(), marked)).
		WithOptions(visits.Options(1, nil, placeOfDeletion)).
		Complete(visits.Timed[deletion](r, r.progress))
	return setupError(err, "deletion")
}

// deleted enqueues the objects of one watch whose end is their deletion, with deletionPolicy 'Delete'.
func deleted() handler.TypedEventHandler[client.Object, deletion] {
	ends := endings{}
	return handler.TypedFuncs[client.Object, deletion]{
		CreateFunc: func(_ context.Context, e event.CreateEvent, _ workqueue.TypedRateLimitingInterface[deletion]) {
			ends.found(e.Object)
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, _ workqueue.TypedRateLimitingInterface[deletion]) {
			ends.changed(e.ObjectOld, e.ObjectNew)
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q workqueue.TypedRateLimitingInterface[deletion]) {
			counts := ends.gone(e.Object, e.DeleteStateUnknown)
			if kind, policy := deletionOf(e.Object); counts && policy == v1alpha1.DeletionDelete {
				q.Add(deletion{authority.Ref{Kind: kind, NamespacedName: client.ObjectKeyFromObject(e.Object)}, e.Object.GetUID()})
			}
		},
	}
}

// deletionOf is the kind of an object for which keys are kept, and what is to become of them when it is deleted.
func deletionOf(o client.Object) (kind string, policy v1alpha1.DeletionPolicy) {
	switch o := o.(type) {
	case *v1alpha1.ClusterCA:
		return o.Kind(), o.Spec.DeletionPolicy
	case *v1alpha1.ServiceAccountKey:
		return o.Kind(), o.Spec.DeletionPolicy
	default:
		return "", ""
	}
}

// Reconcile marks what is kept for an object that was deleted, and destroys the keys that were marked long enough ago.
func (r *deletions) Reconcile(ctx context.Context, d deletion) (ctrl.Result, error) {
	wait, err := r.ends.Deleted(ctx, d.Ref, d.UID)
	return ctrl.Result{RequeueAfter: wait, Priority: queue.Repair.Priority()}, err
}

// placeOfDeletion is the place of a deleted object in the queue.
func placeOfDeletion(d deletion) queue.Place { return queue.Place{Namespace: d.Namespace, CA: d.Name} }

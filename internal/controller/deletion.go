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
	"clusterpki.io/operator/internal/ca"
	"clusterpki.io/operator/internal/queue"
	"clusterpki.io/operator/internal/visits"
)

// deletion is a ClusterCA that is gone. UID is empty where only the mark is to be looked after.
type deletion struct {
	types.NamespacedName
	UID types.UID
}

// deletions destroys the keys of deleted CAs.
type deletions struct {
	cas      *ca.Maker
	progress *visits.Progress
}

func (r *deletions) setup(mgr ctrl.Manager, authorities cache.Cache) error {
	ends := endings{}
	deleted := handler.TypedFuncs[client.Object, deletion]{
		CreateFunc: func(_ context.Context, e event.CreateEvent, _ workqueue.TypedRateLimitingInterface[deletion]) {
			ends.found(e.Object)
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, _ workqueue.TypedRateLimitingInterface[deletion]) {
			ends.changed(e.ObjectOld, e.ObjectNew)
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q workqueue.TypedRateLimitingInterface[deletion]) {
			counts := ends.gone(e.Object, e.DeleteStateUnknown)
			if deleted, ok := e.Object.(*v1alpha1.ClusterCA); ok && counts && deleted.Spec.DeletionPolicy == v1alpha1.DeletionDelete {
				q.Add(deletion{client.ObjectKeyFromObject(deleted), deleted.UID})
			}
		},
	}
	marked := handler.TypedEnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []deletion {
		id, ok := authority.IdentityOf(o)
		if !ok {
			return nil
		}
		return []deletion{{NamespacedName: types.NamespacedName{Namespace: id.Namespace, Name: id.Name}}}
	})
	var object client.Object = &v1alpha1.ClusterCA{}
	err := builder.TypedControllerManagedBy[deletion](mgr).
		Named("deletion").
		WatchesRawSource(source.TypedKind(mgr.GetCache(), object, deleted)).
		WatchesRawSource(source.TypedKind(authorities, secretObject(), marked)).
		WithOptions(visits.Options(1, nil, placeOfDeletion)).
		Complete(visits.Timed[deletion](r, r.progress))
	return setupError(err, "deletion")
}

// Reconcile marks the CA of a ClusterCA that was deleted, and destroys the keys of one that was marked long enough ago.
func (r *deletions) Reconcile(ctx context.Context, d deletion) (ctrl.Result, error) {
	wait, err := r.cas.Deleted(ctx, d.NamespacedName, d.UID)
	return ctrl.Result{RequeueAfter: wait, Priority: queue.Repair.Priority()}, err
}

// placeOfDeletion is the place of a deleted ClusterCA in the queue.
func placeOfDeletion(d deletion) queue.Place { return queue.Place{Namespace: d.Namespace, CA: d.Name} }

package controller

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/queue"
)

// An absent ClusterCA is not a deleted one: it may not be restored yet, its CRD may be gone, or a flag was changed. Its keys are
// destroyed only after a DELETE that was seen and meant that object, with deletionPolicy 'Delete': the CA is marked first, and
// the keys go after DestroyAfter, unless the object is back.

// DestroyAfter is how long the keys of a deleted CA are kept.
const DestroyAfter = 7 * 24 * time.Hour

// deletion is a ClusterCA that is gone. UID is empty where only the mark is to be looked after.
type deletion struct {
	types.NamespacedName
	UID types.UID
}

// deletions destroys the keys of deleted CAs.
type deletions struct{ base }

func (r *deletions) setup(mgr ctrl.Manager, authorities cache.Cache) error {
	deleted := handler.TypedFuncs[client.Object, deletion]{
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q workqueue.TypedRateLimitingInterface[deletion]) {
			ca, ok := e.Object.(*v1alpha1.ClusterCA)
			// One that the watch did not bring itself is absence. So is one that went with an owner, whoever added that.
			if ok && !e.DeleteStateUnknown && ca.Spec.DeletionPolicy == v1alpha1.DeletionDelete && len(ca.OwnerReferences) == 0 {
				q.Add(deletion{client.ObjectKeyFromObject(ca), ca.UID})
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
		WithOptions(options(1, placeOfDeletion)).
		Complete(timed[deletion]{r, r.progress})
	return setupError(err, "deletion")
}

// Reconcile marks the CA of a ClusterCA that was deleted, and destroys the keys of one that was marked long enough ago.
func (r *deletions) Reconcile(ctx context.Context, d deletion) (ctrl.Result, error) {
	if err := r.home.ensure(ctx); err != nil {
		return ctrl.Result{}, err
	}
	record, err := r.store.Live(ctx, d.Namespace, d.Name)
	if err != nil || record == nil || record.Tombstone() || !r.keeps(record) {
		return ctrl.Result{}, err
	}
	if d.UID != "" {
		return ctrl.Result{}, r.mark(ctx, record, d)
	}
	if record.Deleted.IsZero() {
		return ctrl.Result{}, nil
	}
	if wait := record.Deleted.Add(DestroyAfter).Sub(r.clock.Now()); wait > 0 {
		return ctrl.Result{RequeueAfter: wait, Priority: queue.Repair.Priority()}, nil
	}
	return ctrl.Result{}, r.destroy(ctx, record)
}

// mark notes that the ClusterCA was deleted, if that object is what the ledger was bound to, and namespace and CRD stand.
func (r *deletions) mark(ctx context.Context, record *authority.Record, d deletion) error {
	if record.UID != d.UID || !record.Deleted.IsZero() {
		return nil
	}
	stands, err := r.stand(ctx, record)
	if err != nil || !stands {
		return err
	}
	next := record.Next()
	next.Deleted = r.clock.Latest().UTC().Truncate(time.Second).Add(time.Second) // rounded up
	if _, err := r.store.Commit(ctx, record, next); err != nil {
		return err
	}
	log.FromContext(ctx).Info("Marked the keys of a deleted ClusterCA: they are destroyed in seven days, unless it is back",
		"clusterCA", klog.KRef(d.Namespace, d.Name))
	return nil
}

// stand says whether namespace and CRD are those that the ledger recorded, and neither is on its way out: what goes with
// them was not deleted by itself.
func (r *deletions) stand(ctx context.Context, record *authority.Record) (bool, error) {
	namespace, err := r.uid(ctx, "", "Namespace", record.Namespace)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	crd, err := r.uid(ctx, "apiextensions.k8s.io", "CustomResourceDefinition", clusterCACRD)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return namespace.UID == record.NamespaceUID && namespace.DeletionTimestamp.IsZero() &&
		crd.UID == record.CRDUID && crd.DeletionTimestamp.IsZero(), nil
}

// destroy empties the CA's Secret to a tombstone, unless a ClusterCA of its name is back: that one's reconciler takes it up.
func (r *deletions) destroy(ctx context.Context, record *authority.Record) error {
	var ca v1alpha1.ClusterCA
	err := r.live.Get(ctx, client.ObjectKey{Namespace: record.Namespace, Name: record.Name}, &ca)
	if err == nil {
		return nil
	}
	if !apierrors.IsNotFound(err) {
		return fmt.Errorf("look whether the ClusterCA is back: %w", err)
	}
	if stands, err := r.stand(ctx, record); err != nil || !stands {
		return err
	}
	if _, err := Destroy(ctx, r.store, record); err != nil {
		return err
	}
	log.FromContext(ctx).Info("Destroyed the keys of a ClusterCA that was deleted seven days ago", "clusterCA", klog.KRef(record.Namespace, record.Name))
	return nil
}

// Destroy empties the Secret of a CA that is marked as deleted to a tombstone. Its numbers go on.
func Destroy(ctx context.Context, store *authority.Store, record *authority.Record) (*authority.Record, error) {
	next := record.Next()
	next.Ledger, next.CAs, next.Err = record.Ledger.Tombstone(), nil, nil
	return store.Commit(ctx, record, next)
}

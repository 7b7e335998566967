package controller

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/queue"
	"clusterpki.io/operator/internal/visits"
)

func (r *clusterPKIs) setup(_ context.Context, mgr ctrl.Manager, o Options, authorities cache.Cache) error {
	own := visits.New(v1alpha1.KindClusterPKI, r, r.wrote, r.clock)
	children := own.Children(r.parentOf)
	err := ctrl.NewControllerManagedBy(mgr).Named(controllerName(v1alpha1.KindClusterPKI)).
		Watches(&v1alpha1.ClusterPKI{}, own.Own()).
		Watches(&v1alpha1.ClusterCA{}, children).
		Watches(&v1alpha1.ServiceAccountKey{}, children).
		Watches(&v1alpha1.APIServerCertificate{}, children).
		Watches(&v1alpha1.NodeCredential{}, children).
		WatchesRawSource(source.TypedKind(authorities, secretObject(), r.familyGone())).
		WithOptions(visits.Options(o.Workers, nil, placeOfCluster)).
		Complete(visits.Timed[reconcile.Request](own, r.progress))
	return setupError(err, v1alpha1.KindClusterPKI)
}

// parentOf is the ClusterPKI that has made an object, by the record: not by a label, which users write.
func (r *clusterPKIs) parentOf(o client.Object) string {
	ours, ok := o.(v1alpha1.Object)
	if !ok {
		return ""
	}
	return r.store.MadeBy(o.GetNamespace(), authority.ChildKey{Kind: ours.Kind(), Name: o.GetName()})
}

// familyGone brings a visit where somebody else has changed, restored or deleted a record.
func (r *clusterPKIs) familyGone() handler.TypedEventHandler[client.Object, reconcile.Request] {
	return handler.TypedFuncs[client.Object, reconcile.Request]{
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q visits.Queue) { r.visitFamily(e.Object, q) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q visits.Queue) {
			if s, ok := e.ObjectNew.(*corev1.Secret); ok && !r.store.WroteFamily(s) {
				r.visitFamily(s, q)
			}
		},
		CreateFunc: func(_ context.Context, e event.CreateEvent, q visits.Queue) {
			if s, ok := e.Object.(*corev1.Secret); ok && !e.IsInInitialList && !r.store.WroteFamily(s) {
				r.visitFamily(s, q)
			}
		},
	}
}

func (r *clusterPKIs) visitFamily(o client.Object, q visits.Queue) {
	if id, ok := authority.FamilyOf(o); ok {
		visits.Enqueue(q, queue.Repair, reconcile.Request{NamespacedName: client.ObjectKey{Namespace: id.Namespace, Name: id.Name}})
	}
}

// placeOfCluster is the place of a ClusterPKI in the queue: it belongs to itself.
func placeOfCluster(req reconcile.Request) queue.Place {
	return queue.Place{Namespace: req.Namespace, CA: req.Name}
}

package visits

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
)

// OfDelivery enqueues what agents deliver in a namespace when its delivery keys change: all of it is to be signed again. Where they are made, the
// visits that ask for them are under way.
func OfDelivery(find Finder) Handler {
	return handler.Funcs{UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q Queue) {
		namespace, ok := authority.DeliveryNamespace(e.ObjectNew)
		if !ok || e.ObjectOld.GetResourceVersion() == e.ObjectNew.GetResourceVersion() {
			return
		}
		for _, d := range find(ctx, anyIn(namespace), nil) {
			Enqueue(q, d.class, d.request)
		}
	}}
}

// anyIn stands for all objects of a namespace.
func anyIn(namespace string) client.Object {
	o := &v1alpha1.ClusterCA{}
	o.Namespace = namespace
	return o
}

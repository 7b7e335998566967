package visits

import (
	"context"

	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"k8s.io/apimachinery/pkg/types"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/queue"
)

// The rotation of a service account key goes from API server to API server: what the agent of one reports concerns the key, and the others
// that name it.

// AccountKeyIndex is the field of the cache by which the APIServerCertificates are found that name a ServiceAccountKey.
const AccountKeyIndex = "serviceAccountKey"

func accountKeyNames(o client.Object) []string {
	if c, ok := o.(*v1alpha1.APIServerCertificate); ok && c.ServiceAccountKeyName() != "" {
		return []string{c.ServiceAccountKeyName()}
	}
	return nil
}

// OfAccountKeys lets handlers see the Secrets of the authority namespace as changes of the ServiceAccountKeys that they are of.
func OfAccountKeys(handlers ...Handler) Handler {
	pass := func(ctx context.Context, o client.Object, initial bool, q Queue) {
		id, ok := authority.AccountKeysIdentityOf(o)
		if !ok {
			return
		}
		k := &v1alpha1.ServiceAccountKey{}
		k.Namespace, k.Name = id.Namespace, id.Name
		for _, h := range handlers {
			h.Create(ctx, event.CreateEvent{Object: k, IsInInitialList: initial}, q)
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q Queue) { pass(ctx, e.Object, e.IsInInitialList, q) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q Queue) { pass(ctx, e.ObjectNew, false, q) },
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q Queue) { pass(ctx, e.Object, false, q) },
	}
}

// AccountKeyOf enqueues the ServiceAccountKey that an APIServerCertificate names, and the one that it named before.
var AccountKeyOf Handler = handler.Funcs{
	CreateFunc: func(_ context.Context, e event.CreateEvent, q Queue) {
		namedBy(e.Object, q, atStart(e.IsInInitialList, queue.Repair))
	},
	UpdateFunc: func(_ context.Context, e event.UpdateEvent, q Queue) {
		namedBy(e.ObjectOld, q, queue.Repair)
		namedBy(e.ObjectNew, q, queue.Repair)
	},
	DeleteFunc: func(_ context.Context, e event.DeleteEvent, q Queue) { namedBy(e.Object, q, queue.Repair) },
}

func namedBy(o client.Object, q Queue, class queue.Class) {
	for _, name := range accountKeyNames(o) {
		Enqueue(q, class, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: name}})
	}
}

// AccountKeyThrough finds the ServiceAccountKey of the API server that a Lease was made for.
func (d Dependents) AccountKeyThrough() Finder {
	return func(ctx context.Context, o client.Object, _ func(client.Object) bool) []Dependent {
		c := d.serverOf(ctx, o)
		if c == nil || c.ServiceAccountKeyName() == "" {
			return nil
		}
		name := types.NamespacedName{Namespace: c.Namespace, Name: c.ServiceAccountKeyName()}
		return []Dependent{{reconcile.Request{NamespacedName: name}, queue.Repair}}
	}
}

// WithSameAccountKey finds the API servers that name the same ServiceAccountKey as the one that a Lease was made for, but for that one.
func (d Dependents) WithSameAccountKey() Finder {
	return func(ctx context.Context, o client.Object, _ func(client.Object) bool) []Dependent {
		c := d.serverOf(ctx, o)
		if c == nil || c.ServiceAccountKeyName() == "" {
			return nil
		}
		var found v1alpha1.APIServerCertificateList
		if !d.lookUp(ctx, o, AccountKeyIndex, c.ServiceAccountKeyName(), &found) {
			return nil
		}
		var out []Dependent
		for i := range found.Items {
			if found.Items[i].Name != c.Name {
				out = append(out, Dependent{reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&found.Items[i])}, queue.Repair})
			}
		}
		return out
	}
}

// serverOf is the APIServerCertificate that a Lease was made for, as a cache knows it; nil where it was made for none.
func (d Dependents) serverOf(ctx context.Context, o client.Object) *v1alpha1.APIServerCertificate {
	name := ownerName(o, v1alpha1.KindAPIServerCertificate)
	if name == "" {
		return nil
	}
	var c v1alpha1.APIServerCertificate
	err := d.Cache.Get(ctx, client.ObjectKey{Namespace: o.GetNamespace(), Name: name}, &c, client.UnsafeDisableDeepCopy)
	if client.IgnoreNotFound(err) != nil {
		log.FromContext(ctx).Error(err, "Could not read whose Lease it is", "lease", klog.KObj(o))
	}
	if err != nil {
		return nil
	}
	return &c
}

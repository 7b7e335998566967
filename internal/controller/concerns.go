package controller

import (
	"context"
	"maps"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki/plan"
)

// The replacement of a CA writes its ledger many times, once for each wave, and thousands of leaves may depend on it.
// Here is which of these writes concern which leaves. In doubt, all do.

// another passes a ClusterCA that comes, goes, or is another of the same name. What follows for its leaves from its
// spec is told by its trust ConfigMap.
var another = builder.WithPredicates(predicate.Funcs{
	UpdateFunc: func(e event.UpdateEvent) bool { return e.ObjectOld.GetUID() != e.ObjectNew.GetUID() },
})

// ofSigning enqueues what depends on a ClusterCA when the Secret of its generation that signs comes, goes or changes.
// Leaves read no other. One that begins to sign later is told of by the ledger, when the cache holds its Secret already.
func (b *base) ofSigning(find finder) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []reconcile.Request {
		ca := caOwner(o)
		if ca == "" {
			return nil
		}
		var cm corev1.ConfigMap
		err := b.client.Get(ctx, client.ObjectKey{Namespace: o.GetNamespace(), Name: v1alpha1.TrustConfigMapName(ca)}, &cm)
		if err == nil {
			l, err := plan.ParseLedger(cm.Data[ledgerKey])
			if signing, _ := l.Signing(); err == nil && signing.SecretName != o.GetName() {
				return nil
			}
		}
		return find(ctx, o, nil)
	})
}

// concerned enqueues the leaves that a change of a trust ConfigMap concerns.
func concerned(find finder) handler.EventHandler { return concernedOnly{all(find), find} }

type concernedOnly struct {
	handler.EventHandler
	find finder
}

// Update enqueues fewer than the other events do.
func (h concernedOnly) Update(ctx context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
	was, ok := e.ObjectOld.(*corev1.ConfigMap)
	now, too := e.ObjectNew.(*corev1.ConfigMap)
	var seeds func(uint32) bool
	if ok && too {
		seeds = concernsOnly(was, now)
	}
	if seeds == nil {
		h.EventHandler.Update(ctx, e, q)
		return
	}
	for _, request := range h.find(ctx, e.ObjectNew, func(o client.Object) bool { return seeds(seedOf(o)) }) {
		q.Add(request)
	}
}

// concernsOnly says which leaves, by their seeds, may act upon a change of a trust ConfigMap: those that may be issued
// again from now on, where nothing else changed that issuerFrom reads. nil stands for all leaves.
func concernsOnly(was, now *corev1.ConfigMap) func(seed uint32) bool {
	before, err := plan.ParseLedger(was.Data[ledgerKey])
	after, afterErr := plan.ParseLedger(now.Data[ledgerKey])
	if err != nil || afterErr != nil {
		return nil
	}
	signed, _ := before.Signing()
	signs, _ := after.Signing()
	if signed != signs || before.TrustRevision != after.TrustRevision || was.Data[bundleKey] != now.Data[bundleKey] ||
		was.UID != now.UID || !maps.Equal(was.Annotations, now.Annotations) || !sameReferences(was.OwnerReferences, now.OwnerReferences) {
		return nil
	}
	return func(seed uint32) bool { return before.Admits(seed) != after.Admits(seed) }
}

package controller

import (
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/keypool"
	"clusterpki.io/operator/internal/leaf"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/queue"
	"clusterpki.io/operator/internal/visits"
)

// keys is where the keys of objects come from. An RSA key takes long: it is made in the pool, and the error is a
// keypool.PendingError until it is there, which brings another visit.
type keys struct{ *keypool.Pool }

// of is where the keys of an object come from.
func (k keys) of(o v1alpha1.Object) pki.KeySource {
	owner := keypool.Owner{
		Kind: o.Kind(), Namespace: o.GetNamespace(), Name: o.GetName(), UID: string(o.GetUID()), CA: o.Kind() == v1alpha1.KindClusterCA,
	}
	return func(spec pki.KeySpec) (pki.PrivateKey, error) {
		if spec.Algorithm != pki.RSA {
			k.Forget(owner) // it may have asked for an RSA key before
			return pki.GenerateKey(spec)
		}
		return k.Pool.Key(owner, spec)
	}
}

// Key implements leaf.Keys.
func (k keys) Key(_ context.Context, o v1alpha1.Object, spec pki.KeySpec) (pki.PrivateKey, error) {
	return k.of(o)(spec)
}

// forget drops the keys that are made for an object which is gone.
func (k keys) forget(kind string, name types.NamespacedName) {
	k.Forget(keypool.Owner{Kind: kind, Namespace: name.Namespace, Name: name.Name})
}

// keysReady brings a visit to each object of a kind whose key is there.
func (b *base) keysReady(kind string) source.Source {
	return source.Func(func(_ context.Context, q visits.Queue) error {
		b.keys.Notify(kind, func(o keypool.Owner) {
			visits.Enqueue(q, queue.Urgent, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: o.Namespace, Name: o.Name}})
		})
		return nil
	})
}

// awaitKey makes of a key that is being made, or is made later, something that an object waits for, and no error; until is when to look again.
func (r *report) awaitKey() (until time.Time) {
	if pending, ok := errors.AsType[*keypool.PendingError](r.err); ok {
		r.err, r.known, r.reason, r.waiting = nil, true, v1alpha1.ReasonKeyPending, pending.Error()
	}
	if delayed, ok := errors.AsType[*leaf.DelayedError](r.err); ok {
		r.err, r.known, r.reason, r.waiting, until = nil, true, v1alpha1.ReasonRepairDelayed, delayed.Error(), delayed.Until
	}
	return until
}

// isPending says whether a key will come by itself.
func isPending(err error) bool {
	_, pending := errors.AsType[*keypool.PendingError](err)
	_, delayed := errors.AsType[*leaf.DelayedError](err)
	return pending || delayed
}

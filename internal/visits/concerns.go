package visits

import (
	"bytes"
	"context"
	"maps"
	"reflect"

	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/desired"
)

// The rotation of a CA writes its ledger many times, once for each wave, and thousands of leaves may depend on it.
// Here is which of these writes concern which leaves. In doubt, all do.

// Another passes a ClusterCA that comes, goes, is another of the same name, or is served by another installation. What follows for its leaves from its
// spec is told by its ledger.
var Another = builder.WithPredicates(predicate.Funcs{
	UpdateFunc: func(e event.UpdateEvent) bool {
		was, ok := e.ObjectOld.(*v1alpha1.ClusterCA)
		now, too := e.ObjectNew.(*v1alpha1.ClusterCA)
		return !ok || !too || was.UID != now.UID || was.Status.Authority != now.Status.Authority
	},
})

// AnotherPolicy passes a ClusterCA whose spec.policy changed, or which is gone: nobody knows what it would allow. It goes for all that is
// issued below it too.
var AnotherPolicy = builder.WithPredicates(predicate.Funcs{
	CreateFunc:  func(event.CreateEvent) bool { return false },
	GenericFunc: func(event.GenericEvent) bool { return false },
	UpdateFunc: func(e event.UpdateEvent) bool {
		was, ok := e.ObjectOld.(*v1alpha1.ClusterCA)
		now, too := e.ObjectNew.(*v1alpha1.ClusterCA)
		return ok && too && !equality.Semantic.DeepEqual(was.Spec.Policy, now.Spec.Policy)
	},
})

// OfAuthority lets handlers see the Secrets of the authority namespace as changes of the ClusterCAs that they are of.
func OfAuthority(handlers ...Handler) Handler { return authorityHandler(handlers) }

type authorityHandler []Handler

// change is a CA's Secret under the name of its ClusterCA.
type change struct {
	*corev1.Secret
	of *v1alpha1.ClusterCA
}

// caOf is the ClusterCA that a Secret is of, by name; nil where it is no CA's.
func caOf(o client.Object) *change {
	id, ok := authority.IdentityOf(o)
	if !ok {
		return nil
	}
	ca := &v1alpha1.ClusterCA{}
	ca.Namespace, ca.Name = id.Namespace, id.Name
	s, _ := o.(*corev1.Secret) // IdentityOf made sure of it
	return &change{s, ca}
}

// Create implements handler.TypedEventHandler.
func (a authorityHandler) Create(ctx context.Context, e event.CreateEvent, q Queue) {
	if c := caOf(e.Object); c != nil {
		for _, h := range a {
			h.Create(ctx, event.CreateEvent{Object: c.of, IsInInitialList: e.IsInInitialList}, q)
		}
	}
}

// Delete implements handler.TypedEventHandler.
func (a authorityHandler) Delete(ctx context.Context, e event.DeleteEvent, q Queue) {
	a.Create(ctx, event.CreateEvent{Object: e.Object}, q)
}

// Generic implements handler.TypedEventHandler.
func (a authorityHandler) Generic(ctx context.Context, e event.GenericEvent, q Queue) {
	a.Create(ctx, event.CreateEvent{Object: e.Object}, q)
}

// Update implements handler.TypedEventHandler.
func (a authorityHandler) Update(ctx context.Context, e event.UpdateEvent, q Queue) {
	was, now := caOf(e.ObjectOld), caOf(e.ObjectNew)
	if was == nil || now == nil {
		a.Create(ctx, event.CreateEvent{Object: e.ObjectNew}, q)
		return
	}
	for _, h := range a {
		if c, picks := h.(concernedOnly); picks {
			c.changed(ctx, was, now, q)
			continue
		}
		h.Generic(ctx, event.GenericEvent{Object: now.of}, q)
	}
}

// Concerned enqueues the leaves that a change of a CA's ledger concerns.
func Concerned(find Finder) Handler { return concernedOnly{All(find), find} }

type concernedOnly struct {
	Handler
	find Finder
}

// changed enqueues fewer than the other events do.
func (h concernedOnly) changed(ctx context.Context, was, now *change, q Queue) {
	concerned := concernsOnly(was.Secret, now.Secret)
	if concerned == nil {
		h.Generic(ctx, event.GenericEvent{Object: now.of}, q)
		return
	}
	for _, d := range h.find(ctx, now.of, func(o client.Object) bool { return concerned(desired.Seed(o), v1alpha1.HostName(o)) }) {
		Enqueue(q, d.class, d.request)
	}
}

// concernsOnly says which leaves, by their seeds and hosts, may act upon a change of a CA's Secret: those that may be re-issued from now on, and those
// of a host whose turn has come, where nothing else changed that leaf.Issuers reads. nil stands for all leaves.
func concernsOnly(was, now *corev1.Secret) func(seed uint32, host string) bool {
	if was.ResourceVersion != now.ResourceVersion && maps.EqualFunc(was.Data, now.Data, bytes.Equal) {
		return nil // what the cache does not hold was changed: a person has put a key back
	}
	before, err := authority.Decode(was)
	after, afterErr := authority.Decode(now)
	if err != nil || afterErr != nil {
		return nil
	}
	had, _ := before.Ledger.Active()
	has, _ := after.Ledger.Active()
	if !has.Root && before.Copied() != after.Copied() { // what an intermediate CA publishes follows from that too
		return nil
	}
	if !reflect.DeepEqual(had, has) || before.Ledger.BundleRevision != after.Ledger.BundleRevision || before.UID != after.UID {
		return nil
	}
	return func(seed uint32, host string) bool {
		return before.Ledger.Admits(seed) != after.Ledger.Admits(seed) || before.Ledger.Awaits(host) != after.Ledger.Awaits(host)
	}
}

package controller

import (
	"context"
	"fmt"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/queue"
	"clusterpki.io/operator/internal/records"
	"clusterpki.io/operator/internal/visits"
)

// deliveryKeys change namespaces over to their next delivery keys, once every agent has them. A request is for a namespace.
type deliveryKeys struct{ base }

func (r *deliveryKeys) setup(mgr ctrl.Manager, authorities cache.Cache) error {
	of := handler.TypedEnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
		namespace, ok := authority.DeliveryNamespace(o)
		if !ok {
			return nil
		}
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: namespace}}}
	})
	err := ctrl.NewControllerManagedBy(mgr).Named("deliverykey").
		WatchesRawSource(source.TypedKind(authorities, secretObject(), of)).
		WithOptions(visits.Options(1, nil, visits.PlaceOfCA)).
		Complete(visits.Timed[reconcile.Request](r, r.progress))
	return setupError(err, "deliverykey")
}

// Reconcile publishes the delivery keys of a namespace, looks whether every agent has the next one, and lets that sign then.
func (r *deliveryKeys) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	key, err := r.store.PublishDelivery(ctx, req.Namespace)
	if err != nil || key == nil || key.NextID() == "" {
		return ctrl.Result{}, err
	}
	agents, err := agentsOf(ctx, r.client, r.reports, req.Namespace)
	if err != nil {
		return ctrl.Result{}, err
	}
	if !consumers.EachHasKey(agents, consumers.NextKey{ID: key.NextID(), Named: key.NextNamed}, r.clock.Now()) {
		return ctrl.Result{RequeueAfter: 2 * r.poll, Priority: queue.Repair.Priority()}, nil
	}
	if here, err := r.isHere(ctx, key); err != nil || !here {
		return ctrl.Result{}, err
	}
	if err := r.store.ReplaceDelivery(ctx, key, key.Succeeded()); err != nil {
		if owned.LostRace(err) {
			return ctrl.Result{RequeueAfter: raceDelay}, nil
		}
		return ctrl.Result{}, err
	}
	log.FromContext(ctx).Info("The next delivery key signs from now on", "namespace", req.Namespace, "key", key.NextID(), "before", key.ID())
	return ctrl.Result{}, nil
}

// isHere says whether the namespace that a key is for is the one that has its name now. In another one of that name anybody may have made what is
// delivered there, and its agents say nothing of those that the key signs for.
func (r *deliveryKeys) isHere(ctx context.Context, key *authority.DeliveryKey) (bool, error) {
	var n corev1.Namespace
	if err := r.live.Get(ctx, client.ObjectKey{Name: key.Namespace}, &n); client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("look which namespace %q is: %w", key.Namespace, err)
	}
	return n.UID == key.NamespaceUID, nil
}

// AgentsOf are the agents that deliver in a namespace, with what they have reported. home is the authority namespace.
func AgentsOf(ctx context.Context, api client.Client, home, namespace string) ([]consumers.Agent, error) {
	return agentsOf(ctx, api, &reports{records: records.New(home, api, nil, nil)}, namespace)
}

// agentsOf are the agents that deliver in a namespace, with what they have reported of each object.
func agentsOf(ctx context.Context, from client.Reader, said *reports, namespace string) ([]consumers.Agent, error) {
	var leases coordinationv1.LeaseList
	var servers v1alpha1.APIServerCertificateList
	var credentials v1alpha1.NodeCredentialList
	for _, l := range []client.ObjectList{&leases, &servers, &credentials} {
		if err := from.List(ctx, l, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("list what agents deliver in namespace %q: %w", namespace, err)
		}
	}
	byName := map[string]*coordinationv1.Lease{}
	for i := range leases.Items {
		byName[leases.Items[i].Name] = &leases.Items[i]
	}
	var out []consumers.Agent
	add := func(o v1alpha1.Object, d v1alpha1.DeliverySpec, host, lease string) error {
		if d.Mode != v1alpha1.DeliveryAgent {
			return nil
		}
		report, err := said.of(ctx, byName[lease], recordedOwner(o))
		out = append(out, consumers.Agent{Host: host, Object: o.Kind() + " " + o.GetName(), Delivery: d, Reported: report})
		return err
	}
	for i := range servers.Items {
		c := &servers.Items[i]
		if err := add(c, c.Spec.Delivery, c.Spec.HostName, c.LeaseName()); err != nil {
			return nil, err
		}
	}
	for i := range credentials.Items {
		c := &credentials.Items[i]
		if err := add(c, c.Spec.Delivery, c.Spec.HostName, c.LeaseName()); err != nil {
			return nil, err
		}
	}
	return out, nil
}

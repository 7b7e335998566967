package controller

import (
	"context"
	"fmt"
	"strings"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/desired"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/visits"
)

// specChanged passes creation, deletion and changes of the spec, not of the status.
var specChanged = builder.WithPredicates(predicate.GenerationChangedPredicate{})

// specOrCertificateChanged passes an APIServerCertificate that has another certificate too: only then is its CA there for sure, and known below
// which root that is.
var specOrCertificateChanged = builder.WithPredicates(predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, predicate.Funcs{
	UpdateFunc: func(e event.UpdateEvent) bool {
		was, ok := e.ObjectOld.(*v1alpha1.APIServerCertificate)
		now, too := e.ObjectNew.(*v1alpha1.APIServerCertificate)
		return ok && too && was.Status.Certificate.SerialNumber != now.Status.Certificate.SerialNumber
	},
}))

// secretObject is a Secret as an object: what handlers of any kind are made for.
func secretObject() client.Object { return &corev1.Secret{} }

func (r *clusterCAs) setup(_ context.Context, mgr ctrl.Manager, o Options, authorities cache.Cache) error {
	list := func() client.ObjectList { return &v1alpha1.ClusterCAList{} }
	on := visits.Dependents{Cache: r.client, Clock: r.clock}
	own := visits.New(v1alpha1.KindClusterCA, r, r.wrote, r.clock)
	err := ctrl.NewControllerManagedBy(mgr).Named(controllerName(v1alpha1.KindClusterCA)).
		Watches(&v1alpha1.ClusterCA{}, own.Own()).
		Watches(&corev1.Secret{}, own.Products(owned.SecretKind)).
		Watches(&corev1.ConfigMap{}, own.Products(owned.ConfigMapKind)).
		WatchesRawSource(source.TypedKind(authorities, secretObject(), visits.OfAuthority(visits.Itself, visits.All(on.Of(list, visits.CAIndex))))).
		Watches(&v1alpha1.ClusterCA{}, visits.All(on.Of(list, visits.CAIndex)), specChanged).
		WatchesRawSource(r.keysReady(v1alpha1.KindClusterCA)).
		WithOptions(visits.Options(o.Workers, nil, visits.PlaceOfCA)).
		Complete(visits.Timed[reconcile.Request](own, r.progress))
	return setupError(err, v1alpha1.KindClusterCA)
}

func (r *serviceAccountKeys) setup(_ context.Context, mgr ctrl.Manager, o Options, authorities cache.Cache) error {
	on := visits.Dependents{Cache: r.client, Clock: r.clock}
	own := visits.New(v1alpha1.KindServiceAccountKey, r, r.wrote, r.clock)
	err := ctrl.NewControllerManagedBy(mgr).Named(controllerName(v1alpha1.KindServiceAccountKey)).
		Watches(&v1alpha1.ServiceAccountKey{}, own.Own()).
		Watches(&corev1.Secret{}, own.Products(owned.SecretKind)).
		Watches(&corev1.ConfigMap{}, own.Products(owned.ConfigMapKind)).
		WatchesRawSource(source.TypedKind(authorities, secretObject(), visits.OfAccountKeys(visits.Itself))).
		Watches(&v1alpha1.APIServerCertificate{}, visits.AccountKeyOf, specChanged).
		Watches(&coordinationv1.Lease{}, visits.Paced(on.AccountKeyThrough()), r.leaseChanged()).
		WatchesRawSource(r.keysReady(v1alpha1.KindServiceAccountKey)).
		WithOptions(visits.Options(o.Workers, nil, visits.PlaceOfCA)).
		Complete(visits.Timed[reconcile.Request](own, r.progress))
	return setupError(err, v1alpha1.KindServiceAccountKey)
}

func (r *apiServerCertificates) setup(ctx context.Context, mgr ctrl.Manager, o Options, authorities cache.Cache) error {
	list := func() client.ObjectList { return &v1alpha1.APIServerCertificateList{} }
	on := visits.Dependents{Cache: r.client, Clock: r.clock}
	ofCA := on.Of(list, visits.CAIndex)
	own := visits.New(v1alpha1.KindAPIServerCertificate, r, r.wrote, r.clock)
	empty := func() v1alpha1.Object { return &v1alpha1.APIServerCertificate{} }
	err := ctrl.NewControllerManagedBy(mgr).Named(controllerName(v1alpha1.KindAPIServerCertificate)).
		Watches(empty(), own.Own()).
		Watches(&corev1.Secret{}, own.Products(owned.SecretKind)).
		Watches(&coordinationv1.Lease{}, own.Products(owned.LeaseKind), r.leaseChanged()).
		Watches(&coordinationv1.Lease{}, visits.Paced(on.WithSameAccountKey()), r.leaseChanged()).
		WatchesRawSource(source.TypedKind(authorities, secretObject(), visits.OfAccountKeys(visits.All(on.Of(list, visits.AccountKeyIndex))))).
		Watches(&v1alpha1.ServiceAccountKey{}, visits.All(on.Of(list, visits.AccountKeyIndex)), specChanged).
		WatchesRawSource(source.TypedKind(authorities, secretObject(), visits.OfAuthority(visits.Concerned(on.Below(ofCA))))).
		WatchesRawSource(source.TypedKind(authorities, secretObject(), visits.OfDelivery(on.Among(list, byAgent)))).
		Watches(&v1alpha1.ClusterCA{}, visits.All(ofCA), visits.Another).
		Watches(&v1alpha1.ClusterCA{}, visits.All(on.Among(list, everything)), visits.AnotherPolicy).
		WatchesRawSource(source.Channel(r.existing, own.Own())).
		WatchesRawSource(r.keysReady(v1alpha1.KindAPIServerCertificate)).
		WatchesRawSource(r.noAccess.changed(v1alpha1.KindAPIServerCertificate)).
		WithOptions(visits.Options(o.Workers, r.recorder.slots(v1alpha1.KindAPIServerCertificate, o.Workers), visits.PlaceOfLeaf(ctx, mgr.GetCache(), empty))).
		Complete(visits.Timed[reconcile.Request](own, r.progress))
	return setupError(err, v1alpha1.KindAPIServerCertificate)
}

func (r *nodeCredentials) setup(ctx context.Context, mgr ctrl.Manager, o Options, authorities cache.Cache) error {
	list := func() client.ObjectList { return &v1alpha1.NodeCredentialList{} }
	on := visits.Dependents{Cache: r.client, Clock: r.clock}
	ofCA, ofServer := on.Of(list, visits.CAIndex), on.ThroughServers()
	own := visits.New(v1alpha1.KindNodeCredential, r, r.wrote, r.clock)
	empty := func() v1alpha1.Object { return &v1alpha1.NodeCredential{} }
	err := ctrl.NewControllerManagedBy(mgr).Named(controllerName(v1alpha1.KindNodeCredential)).
		Watches(empty(), own.Own()).
		Watches(&corev1.Secret{}, own.Products(owned.SecretKind)).
		Watches(&coordinationv1.Lease{}, own.Products(owned.LeaseKind), r.leaseChanged()).
		WatchesRawSource(source.TypedKind(authorities, secretObject(),
			visits.OfAuthority(visits.Concerned(on.Below(ofCA)), visits.Concerned(on.Below(ofServer))))).
		WatchesRawSource(source.TypedKind(authorities, secretObject(), visits.OfDelivery(on.Among(list, byAgent)))).
		Watches(&v1alpha1.ClusterCA{}, visits.All(ofCA), visits.Another).
		Watches(&v1alpha1.ClusterCA{}, visits.All(on.Among(list, everything)), visits.AnotherPolicy).
		Watches(&v1alpha1.ClusterCA{}, visits.All(ofServer), visits.Another).
		Watches(&v1alpha1.APIServerCertificate{}, visits.All(on.Of(list, visits.ServerIndex)), specChanged).
		Watches(&v1alpha1.APIServerCertificate{}, visits.All(on.Among(list, serves)), specOrCertificateChanged).
		WatchesRawSource(r.keysReady(v1alpha1.KindNodeCredential)).
		WatchesRawSource(r.noAccess.changed(v1alpha1.KindNodeCredential)).
		WithOptions(visits.Options(o.Workers, r.recorder.slots(v1alpha1.KindNodeCredential, o.Workers), visits.PlaceOfLeaf(ctx, mgr.GetCache(), empty))).
		Complete(visits.Timed[reconcile.Request](own, r.progress))
	return setupError(err, v1alpha1.KindNodeCredential)
}

// everything depends on a policy, as far as specs tell: a CA may have been signed below another one that its spec does not name any more.
func everything(client.Object) bool { return true }

// serves says whether what a credential is for serves under names, which API servers' names may concern.
func serves(o client.Object) bool {
	c, ok := o.(*v1alpha1.NodeCredential)
	return ok && desired.Serves(c)
}

// byAgent says whether an agent delivers what is issued for an object.
func byAgent(o client.Object) bool { return v1alpha1.AgentHost(o) != "" }

// controllerName is how metrics and logs call the controller of a kind.
func controllerName(kind string) string { return strings.ToLower(kind) }

func setupError(err error, kind string) error {
	if err != nil {
		return fmt.Errorf("set up the %s controller: %w", kind, err)
	}
	return nil
}

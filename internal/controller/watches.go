package controller

import (
	"context"
	"fmt"
	"strings"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"clusterpki.io/operator/api/v1alpha1"
)

// Field indexes of the cache: no reconciliation lists what it can look up.
const (
	caIndex     = "caNames"     // ClusterCAs that an object depends on
	serverIndex = "apiServer"   // the APIServerCertificate that a NodeCredential names
	secretIndex = "secretNames" // Secrets that an object asks for
)

func addIndexes(ctx context.Context, idx client.FieldIndexer) error {
	for _, k := range v1alpha1.Kinds() {
		for field, of := range map[string]func(v1alpha1.Object) []string{caIndex: v1alpha1.Object.CANames, secretIndex: v1alpha1.Object.SecretNames} {
			if err := idx.IndexField(ctx, k.New(), field, ours(of)); err != nil {
				return fmt.Errorf("index %s by %s: %w", k.Name, field, err)
			}
		}
	}
	if err := idx.IndexField(ctx, &v1alpha1.NodeCredential{}, serverIndex, serverNames); err != nil {
		return fmt.Errorf("index NodeCredential by %s: %w", serverIndex, err)
	}
	return nil
}

// ours lets what our kinds share be asked of any object.
func ours(of func(v1alpha1.Object) []string) func(client.Object) []string {
	return func(o client.Object) []string {
		if own, ok := o.(v1alpha1.Object); ok {
			return of(own)
		}
		return nil
	}
}

func serverNames(o client.Object) []string {
	if c, ok := o.(*v1alpha1.NodeCredential); ok && c.Spec.APIServerRef != nil {
		return []string{c.Spec.APIServerRef.Name}
	}
	return nil
}

// finder finds the objects that depend on another one, of those that keep says; a nil keep stands for all.
type finder func(ctx context.Context, o client.Object, keep func(client.Object) bool) []reconcile.Request

// all enqueues everything that depends on an object.
func all(find finder) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []reconcile.Request { return find(ctx, o, nil) })
}

// dependents maps an object to those of a kind that an index names it in.
func (b *base) dependents(list func() client.ObjectList, field string, nameOf func(client.Object) string) finder {
	return func(ctx context.Context, o client.Object, keep func(client.Object) bool) []reconcile.Request {
		name := nameOf(o)
		if name == "" {
			return nil
		}
		found := list()
		if !b.lookUp(ctx, o, field, name, found) {
			return nil
		}
		return requests(found, keep)
	}
}

// throughServers maps a ClusterCA's name to the NodeCredentials whose API server's certificate it signs: their
// kubeconfigs hold its bundle.
func (b *base) throughServers(nameOf func(client.Object) string) finder {
	return func(ctx context.Context, o client.Object, keep func(client.Object) bool) []reconcile.Request {
		name := nameOf(o)
		if name == "" {
			return nil
		}
		var servers v1alpha1.APIServerCertificateList
		if !b.lookUp(ctx, o, caIndex, name, &servers) {
			return nil
		}
		var out []reconcile.Request
		for i := range servers.Items {
			var credentials v1alpha1.NodeCredentialList
			if !b.lookUp(ctx, o, serverIndex, servers.Items[i].Name, &credentials) {
				return nil
			}
			out = append(out, requests(&credentials, keep)...)
		}
		return out
	}
}

// lookUp lists by an index in the namespace of an object that changed. An error is logged: the next timed
// visit heals a missed event.
func (b *base) lookUp(ctx context.Context, changed client.Object, field, value string, into client.ObjectList) bool {
	err := b.client.List(ctx, into, client.InNamespace(changed.GetNamespace()), client.MatchingFields{field: value}, client.UnsafeDisableDeepCopy)
	if err != nil {
		log.FromContext(ctx).Error(err, "Could not list what depends on an object", "object", klog.KObj(changed))
	}
	return err == nil
}

func requests(list client.ObjectList, keep func(client.Object) bool) []reconcile.Request {
	var out []reconcile.Request
	//nolint:errcheck // it fails on what is no list, and the function never does
	_ = meta.EachListItem(list, func(item runtime.Object) error {
		if o, ok := item.(client.Object); ok && (keep == nil || keep(o)) {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(o)})
		}
		return nil
	})
	return out
}

// toOwner maps a generated object to the object that it was made for.
func toOwner(kind string) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
		name := ownerName(o, kind)
		if name == "" {
			return nil
		}
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: name}}}
	})
}

// ownerName is the name of the object of a kind that o was made for, "" for none.
func ownerName(o client.Object, kind string) string {
	name, ok := strings.CutPrefix(o.GetAnnotations()[v1alpha1.OwnerAnnotation], kind+"/")
	if !ok {
		return ""
	}
	return name
}

func objectName(o client.Object) string { return o.GetName() }

// specChanged passes creation, deletion and changes of the spec, not of the status.
var specChanged = builder.WithPredicates(predicate.GenerationChangedPredicate{})

// secretObject is a Secret as an object: what handlers of any kind are made for.
func secretObject() client.Object { return &corev1.Secret{} }

func (r *clusterCAs) setup(mgr ctrl.Manager, o Options, authorities cache.Cache) error {
	list := func() client.ObjectList { return &v1alpha1.ClusterCAList{} }
	err := ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.ClusterCA{}).
		Watches(&corev1.Secret{}, toOwner(v1alpha1.KindClusterCA)).
		Watches(&corev1.ConfigMap{}, toOwner(v1alpha1.KindClusterCA)).
		WatchesRawSource(source.TypedKind(authorities, secretObject(), ofAuthority(itself, all(r.dependents(list, caIndex, objectName))))).
		Watches(&v1alpha1.ClusterCA{}, all(r.dependents(list, caIndex, objectName)), specChanged).
		WithOptions(options(o.Workers)).
		Complete(timed[reconcile.Request]{r, r.progress})
	return setupError(err, v1alpha1.KindClusterCA)
}

func (r *apiServerCertificates) setup(mgr ctrl.Manager, o Options, authorities cache.Cache) error {
	list := func() client.ObjectList { return &v1alpha1.APIServerCertificateList{} }
	ofCA := r.dependents(list, caIndex, objectName)
	err := ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.APIServerCertificate{}).
		Watches(&corev1.Secret{}, toOwner(v1alpha1.KindAPIServerCertificate)).
		Watches(&coordinationv1.Lease{}, toOwner(v1alpha1.KindAPIServerCertificate), r.leaseChanged()).
		WatchesRawSource(source.TypedKind(authorities, secretObject(), ofAuthority(concerned(ofCA)))).
		Watches(&v1alpha1.ClusterCA{}, all(ofCA), another).
		WatchesRawSource(source.Channel(r.seen, &handler.EnqueueRequestForObject{})).
		WithOptions(options(o.Workers)).
		Complete(timed[reconcile.Request]{r, r.progress})
	return setupError(err, v1alpha1.KindAPIServerCertificate)
}

func (r *nodeCredentials) setup(mgr ctrl.Manager, o Options, authorities cache.Cache) error {
	list := func() client.ObjectList { return &v1alpha1.NodeCredentialList{} }
	ofCA, ofServer := r.dependents(list, caIndex, objectName), r.throughServers(objectName)
	err := ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.NodeCredential{}).
		Watches(&corev1.Secret{}, toOwner(v1alpha1.KindNodeCredential)).
		Watches(&coordinationv1.Lease{}, toOwner(v1alpha1.KindNodeCredential), r.leaseChanged()).
		WatchesRawSource(source.TypedKind(authorities, secretObject(), ofAuthority(concerned(ofCA), concerned(ofServer)))).
		Watches(&v1alpha1.ClusterCA{}, all(ofCA), another).
		Watches(&v1alpha1.ClusterCA{}, all(ofServer), another).
		Watches(&v1alpha1.APIServerCertificate{}, all(r.dependents(list, serverIndex, objectName)), specChanged).
		WithOptions(options(o.Workers)).
		Complete(timed[reconcile.Request]{r, r.progress})
	return setupError(err, v1alpha1.KindNodeCredential)
}

func setupError(err error, kind string) error {
	if err != nil {
		return fmt.Errorf("set up the %s controller: %w", kind, err)
	}
	return nil
}

package controller

import (
	"context"
	"fmt"
	"strings"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
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
	parentIndex = "parent"      // the ClusterCA that signs another one
)

func addIndexes(ctx context.Context, idx client.FieldIndexer) error {
	for _, i := range []struct {
		on    client.Object
		field string
		of    func(client.Object) []string
	}{
		{&v1alpha1.ClusterCA{}, parentIndex, parentNames},
		{&v1alpha1.APIServerCertificate{}, caIndex, caNames},
		{&v1alpha1.NodeCredential{}, caIndex, caNames},
		{&v1alpha1.NodeCredential{}, serverIndex, serverNames},
		{&v1alpha1.ClusterCA{}, secretIndex, secretNames},
		{&v1alpha1.APIServerCertificate{}, secretIndex, secretNames},
		{&v1alpha1.NodeCredential{}, secretIndex, secretNames},
	} {
		if err := idx.IndexField(ctx, i.on, i.field, i.of); err != nil {
			return fmt.Errorf("index %T by %s: %w", i.on, i.field, err)
		}
	}
	return nil
}

func parentNames(o client.Object) []string {
	if ca, ok := o.(*v1alpha1.ClusterCA); ok && ca.ParentName() != "" {
		return []string{ca.ParentName()}
	}
	return nil
}

func caNames(o client.Object) []string {
	switch c := o.(type) {
	case *v1alpha1.APIServerCertificate:
		names := append([]string{c.Spec.CARef.Name}, c.ClientCANames()...)
		if c.Spec.RequestHeaderCARef != nil {
			names = append(names, c.Spec.RequestHeaderCARef.Name)
		}
		return names
	case *v1alpha1.NodeCredential:
		return []string{c.Spec.CARef.Name}
	default:
		return nil
	}
}

func serverNames(o client.Object) []string {
	if c, ok := o.(*v1alpha1.NodeCredential); ok && c.Spec.APIServerRef != nil {
		return []string{c.Spec.APIServerRef.Name}
	}
	return nil
}

func secretNames(o client.Object) []string {
	var names []string
	switch c := o.(type) {
	case *v1alpha1.ClusterCA:
		names = []string{c.Spec.SecretName}
	case *v1alpha1.APIServerCertificate:
		names = []string{c.TLSSecretName(), c.ServiceAccountSecretName()}
	case *v1alpha1.NodeCredential:
		names = []string{c.TLSSecretName(), c.KubeconfigSecretName()}
	}
	out := names[:0]
	for _, n := range names {
		if n != "" {
			out = append(out, n)
		}
	}
	return out
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
	add := func(o client.Object) {
		if keep == nil || keep(o) {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(o)})
		}
	}
	switch l := list.(type) {
	case *v1alpha1.ClusterCAList:
		for i := range l.Items {
			add(&l.Items[i])
		}
	case *v1alpha1.APIServerCertificateList:
		for i := range l.Items {
			add(&l.Items[i])
		}
	case *v1alpha1.NodeCredentialList:
		for i := range l.Items {
			add(&l.Items[i])
		}
	}
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
		WatchesRawSource(source.TypedKind(authorities, secretObject(), ofAuthority(itself, all(r.dependents(list, parentIndex, objectName))))).
		Watches(&v1alpha1.ClusterCA{}, all(r.dependents(list, parentIndex, objectName)), specChanged).
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

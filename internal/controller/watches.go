package controller

import (
	"context"
	"fmt"
	"strings"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/owned"
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
type finder func(ctx context.Context, o client.Object, keep func(client.Object) bool) []dependent

// dependents maps an object to those of a kind that an index names it in.
func (b *base) dependents(list func() client.ObjectList, field string, nameOf func(client.Object) string) finder {
	return func(ctx context.Context, o client.Object, keep func(client.Object) bool) []dependent {
		name := nameOf(o)
		if name == "" {
			return nil
		}
		found := list()
		if !b.lookUp(ctx, o, field, name, found) {
			return nil
		}
		return b.dependentsIn(found, keep)
	}
}

// below finds what depends on a CA, and on the CAs below it: their bundles are its.
func (b *base) below(find finder) finder {
	return func(ctx context.Context, o client.Object, keep func(client.Object) bool) []dependent {
		out := find(ctx, o, keep)
		known, next := map[string]bool{o.GetName(): true}, []client.Object{o}
		for len(next) > 0 {
			var children v1alpha1.ClusterCAList
			if !b.lookUp(ctx, o, caIndex, next[0].GetName(), &children) {
				return out
			}
			next = next[1:]
			for i := range children.Items {
				child := &children.Items[i]
				if known[child.Name] {
					continue
				}
				known[child.Name], next = true, append(next, child)
				out = append(out, find(ctx, child, keep)...)
			}
		}
		return out
	}
}

// throughServers maps a ClusterCA's name to the NodeCredentials whose API server's certificate it signs: their
// kubeconfigs hold its bundle.
func (b *base) throughServers(nameOf func(client.Object) string) finder {
	return func(ctx context.Context, o client.Object, keep func(client.Object) bool) []dependent {
		name := nameOf(o)
		if name == "" {
			return nil
		}
		var servers v1alpha1.APIServerCertificateList
		if !b.lookUp(ctx, o, caIndex, name, &servers) {
			return nil
		}
		var out []dependent
		for i := range servers.Items {
			var credentials v1alpha1.NodeCredentialList
			if !b.lookUp(ctx, o, serverIndex, servers.Items[i].Name, &credentials) {
				return nil
			}
			out = append(out, b.dependentsIn(&credentials, keep)...)
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

func (b *base) dependentsIn(list client.ObjectList, keep func(client.Object) bool) []dependent {
	var out []dependent
	//nolint:errcheck // it fails on what is no list, and the function never does
	_ = meta.EachListItem(list, func(item runtime.Object) error {
		if o, ok := item.(client.Object); ok && (keep == nil || keep(o)) {
			out = append(out, b.dependentOn(o))
		}
		return nil
	})
	return out
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

func (r *clusterCAs) setup(_ context.Context, mgr ctrl.Manager, o Options, authorities cache.Cache) error {
	list := func() client.ObjectList { return &v1alpha1.ClusterCAList{} }
	visits := r.visits(v1alpha1.KindClusterCA, r)
	err := ctrl.NewControllerManagedBy(mgr).Named(controllerName(v1alpha1.KindClusterCA)).
		Watches(&v1alpha1.ClusterCA{}, visits.own()).
		Watches(&corev1.Secret{}, visits.products(owned.SecretKind)).
		Watches(&corev1.ConfigMap{}, visits.products(owned.ConfigMapKind)).
		WatchesRawSource(source.TypedKind(authorities, secretObject(), ofAuthority(itself, all(r.dependents(list, caIndex, objectName))))).
		Watches(&v1alpha1.ClusterCA{}, all(r.dependents(list, caIndex, objectName)), specChanged).
		WatchesRawSource(r.keysReady(v1alpha1.KindClusterCA)).
		WithOptions(options(o.Workers, placeOfCA)).
		Complete(timed[reconcile.Request]{visits, r.progress})
	return setupError(err, v1alpha1.KindClusterCA)
}

func (r *apiServerCertificates) setup(ctx context.Context, mgr ctrl.Manager, o Options, authorities cache.Cache) error {
	list := func() client.ObjectList { return &v1alpha1.APIServerCertificateList{} }
	ofCA := r.dependents(list, caIndex, objectName)
	visits := r.visits(v1alpha1.KindAPIServerCertificate, r)
	empty := func() client.Object { return &v1alpha1.APIServerCertificate{} }
	err := ctrl.NewControllerManagedBy(mgr).Named(controllerName(v1alpha1.KindAPIServerCertificate)).
		Watches(empty(), visits.own()).
		Watches(&corev1.Secret{}, visits.products(owned.SecretKind)).
		Watches(&coordinationv1.Lease{}, visits.products(owned.LeaseKind), r.leaseChanged()).
		WatchesRawSource(source.TypedKind(authorities, secretObject(), ofAuthority(concerned(r.below(ofCA))))).
		Watches(&v1alpha1.ClusterCA{}, all(ofCA), another).
		WatchesRawSource(source.Channel(r.seen, visits.own())).
		WatchesRawSource(r.keysReady(v1alpha1.KindAPIServerCertificate)).
		WithOptions(options(o.Workers, placeOfLeaf(ctx, mgr.GetCache(), empty))).
		Complete(timed[reconcile.Request]{visits, r.progress})
	return setupError(err, v1alpha1.KindAPIServerCertificate)
}

func (r *nodeCredentials) setup(ctx context.Context, mgr ctrl.Manager, o Options, authorities cache.Cache) error {
	list := func() client.ObjectList { return &v1alpha1.NodeCredentialList{} }
	ofCA, ofServer := r.dependents(list, caIndex, objectName), r.throughServers(objectName)
	visits := r.visits(v1alpha1.KindNodeCredential, r)
	empty := func() client.Object { return &v1alpha1.NodeCredential{} }
	err := ctrl.NewControllerManagedBy(mgr).Named(controllerName(v1alpha1.KindNodeCredential)).
		Watches(empty(), visits.own()).
		Watches(&corev1.Secret{}, visits.products(owned.SecretKind)).
		Watches(&coordinationv1.Lease{}, visits.products(owned.LeaseKind), r.leaseChanged()).
		WatchesRawSource(source.TypedKind(authorities, secretObject(), ofAuthority(concerned(r.below(ofCA)), concerned(r.below(ofServer))))).
		Watches(&v1alpha1.ClusterCA{}, all(ofCA), another).
		Watches(&v1alpha1.ClusterCA{}, all(ofServer), another).
		Watches(&v1alpha1.APIServerCertificate{}, all(r.dependents(list, serverIndex, objectName)), specChanged).
		WatchesRawSource(r.keysReady(v1alpha1.KindNodeCredential)).
		WithOptions(options(o.Workers, placeOfLeaf(ctx, mgr.GetCache(), empty))).
		Complete(timed[reconcile.Request]{visits, r.progress})
	return setupError(err, v1alpha1.KindNodeCredential)
}

// controllerName is how metrics and logs call the controller of a kind.
func controllerName(kind string) string { return strings.ToLower(kind) }

func setupError(err error, kind string) error {
	if err != nil {
		return fmt.Errorf("set up the %s controller: %w", kind, err)
	}
	return nil
}

// Package backup reads everything that the PKI of a namespace consists of, and restores it, in the same cluster or another one:
// what decides about each CA, from the authority namespace, and what stands in the namespace itself.
package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/records"
)

// The kinds, in the order in which they are restored: what was made before what it was made for. Leases are not among them:
// what an agent said counts when it says it again.
var (
	secrets    = corev1.SchemeGroupVersion.WithKind("Secret")
	configMaps = corev1.SchemeGroupVersion.WithKind("ConfigMap")
	cas        = v1alpha1.GroupVersion.WithKind(v1alpha1.KindClusterCA)
	servers    = v1alpha1.GroupVersion.WithKind(v1alpha1.KindAPIServerCertificate)
	nodes      = v1alpha1.GroupVersion.WithKind(v1alpha1.KindNodeCredential)
	clusters   = v1alpha1.GroupVersion.WithKind(v1alpha1.KindClusterPKI)
	order      = []schema.GroupVersionKind{secrets, configMaps, cas, accountKeys, servers, nodes, clusters}

	accountKeys = v1alpha1.GroupVersion.WithKind(v1alpha1.KindServiceAccountKey)
	// keepers are the kinds of objects for which the authority namespace keeps something.
	keepers = []schema.GroupVersionKind{cas, accountKeys, clusters}
)

// attempts is how often a namespace is read until no ledger made a step meanwhile.
const attempts = 5

// ErrBusy says that a ledger made steps all the time.
var ErrBusy = errors.New("the ledgers of CAs or service account keys change while they are read: try again in a minute")

// Source is what a backup is made of.
type Source struct {
	Reader    client.Reader
	Namespace string // "": all
	// AuthorityNamespace holds the ledgers and keys of the CAs and the ServiceAccountKeys.
	AuthorityNamespace string
	// WithoutKeys leaves out every Secret, and the authority namespace.
	WithoutKeys bool
}

// Gather reads what decides about the CAs and the service account keys of a namespace, the custom resources, what the operator made
// for them, and the Secrets that keys are imported from. All belongs together: where a ledger makes a step meanwhile, all is read again,
// and in the end the error is ErrBusy.
func (s Source) Gather(ctx context.Context) ([]unstructured.Unstructured, error) {
	for range attempts {
		before, err := s.authorities(ctx)
		if err != nil {
			return nil, err
		}
		all, err := s.objects(ctx)
		if err != nil {
			return nil, err
		}
		after, err := s.authorities(ctx)
		if err != nil {
			return nil, err
		}
		if !maps.Equal(versions(before), versions(after)) {
			continue
		}
		issued, err := s.issued(ctx, after) // after the certificates themselves: what is issued meanwhile does no harm
		if err != nil {
			return nil, err
		}
		return slices.Concat(after, issued, all), nil
	}
	return nil, ErrBusy
}

// objects reads what stands in the namespace.
func (s Source) objects(ctx context.Context) ([]unstructured.Unstructured, error) {
	var all []unstructured.Unstructured
	for _, kind := range order {
		if kind == secrets && s.WithoutKeys {
			continue
		}
		found, err := s.list(ctx, kind)
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	if s.WithoutKeys {
		return all, nil
	}
	imported, err := s.imports(ctx, all)
	return append(imported, all...), err
}

// list reads the objects of a kind that belong to a backup, but for those that are being deleted, and those of users that
// look like the authority's.
func (s Source) list(ctx context.Context, kind schema.GroupVersionKind) ([]unstructured.Unstructured, error) {
	var list unstructured.UnstructuredList
	list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
	opts := []client.ListOption{client.InNamespace(s.Namespace)}
	if kind.Group != v1alpha1.GroupVersion.Group {
		opts = append(opts, client.MatchingLabels{v1alpha1.ManagedLabel: v1alpha1.ManagedValue})
	}
	if err := s.Reader.List(ctx, &list, opts...); err != nil {
		return nil, withoutKeys(fmt.Errorf("list %ss: %w", kind.Kind, err), kind)
	}
	return slices.DeleteFunc(list.Items, func(o unstructured.Unstructured) bool {
		return o.GetDeletionTimestamp() != nil || ofAuthority(o)
	}), nil
}

// authorities reads the Secrets of the authority namespace: of each ClusterCA and ServiceAccountKey, of the delivery keys of their
// namespaces, which the agents of hosts trust, and of the key of seals, by which the operator knows again what it made. What has no key
// yet has none.
func (s Source) authorities(ctx context.Context) ([]unstructured.Unstructured, error) {
	if s.WithoutKeys {
		return nil, nil
	}
	var out []unstructured.Unstructured
	names := map[string]string{authority.SealSecretName: "the key of seals"}
	for _, kind := range keepers {
		all, err := s.list(ctx, kind)
		if err != nil {
			return nil, err
		}
		for _, o := range all {
			secret, err := s.keptFor(ctx, o)
			if err != nil {
				return nil, err
			}
			if secret != nil {
				out = append(out, *secret)
			}
			names[authority.DeliveryName(o.GetNamespace())] = "the delivery key of namespace " + o.GetNamespace()
		}
	}
	if len(out) == 0 {
		return nil, nil
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		secret, err := s.secret(ctx, s.AuthorityNamespace, name)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", names[name], err)
		}
		if secret != nil {
			out = append(out, *secret)
		}
	}
	return out, nil
}

// keptFor reads what the authority namespace keeps for an object; nil where it never had a key.
func (s Source) keptFor(ctx context.Context, o unstructured.Unstructured) (*unstructured.Unstructured, error) {
	of := refOf(o)
	secret, err := s.secret(ctx, s.AuthorityNamespace, of.SecretName())
	if err != nil {
		return nil, fmt.Errorf("read the key of %s %s: %w", of.Kind, of.NamespacedName, err)
	}
	if secret == nil && begun(o) {
		return nil, fmt.Errorf("%s %s has a key, and the namespace %q has no Secret %q: name the operator's by --authority-namespace, or "+
			"leave the keys out by --without-keys", of.Kind, of.NamespacedName, s.AuthorityNamespace, of.SecretName())
	}
	return secret, nil
}

// refOf names an object whose keys the authority namespace keeps.
func refOf(o unstructured.Unstructured) authority.Ref {
	return authority.Ref{Kind: o.GetKind(), NamespacedName: client.ObjectKeyFromObject(&o)}
}

// keeps says whether an object is of a kind whose keys the authority namespace keeps.
func keeps(o unstructured.Unstructured) bool { return slices.Contains(keepers, o.GroupVersionKind()) }

// issued reads which certificates were issued in the namespaces of what is kept, and for which keys: what agents sign is verified by that.
func (s Source) issued(ctx context.Context, kept []unstructured.Unstructured) ([]unstructured.Unstructured, error) {
	namespaces := map[string]bool{}
	for _, o := range kept {
		if _, namespace, _ := strings.Cut(o.GetName(), "."); o.GetName() != authority.SealSecretName {
			namespace, _, _ = strings.Cut(namespace, ".")
			namespaces[namespace] = true
		}
	}
	var out []unstructured.Unstructured
	for _, namespace := range slices.Sorted(maps.Keys(namespaces)) {
		for number := 0; ; number++ {
			secret, err := s.secret(ctx, s.AuthorityNamespace, records.SecretName(namespace, number))
			if err != nil {
				return nil, fmt.Errorf("read which certificates were issued in namespace %q: %w", namespace, err)
			}
			if secret == nil {
				break
			}
			out = append(out, *secret)
		}
	}
	return out, nil
}

// begun says whether the status of a ClusterCA, or of a ServiceAccountKey, names a key, or that of a ClusterPKI its hosts.
func begun(o unstructured.Unstructured) bool {
	field := "generations"
	switch o.GetKind() {
	case accountKeys.Kind:
		field = "keys"
	case clusters.Kind:
		_, found, err := unstructured.NestedFieldNoCopy(o.Object, "status", "hosts")
		return err == nil && found
	}
	keys, _, err := unstructured.NestedSlice(o.Object, "status", field)
	return err == nil && len(keys) > 0
}

// secret reads a Secret; nil where there is none.
func (s Source) secret(ctx context.Context, namespace, name string) (*unstructured.Unstructured, error) {
	var out unstructured.Unstructured
	out.SetGroupVersionKind(secrets)
	err := s.Reader.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &out)
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // absence is an answer
	}
	if err != nil {
		return nil, withoutKeys(err, secrets)
	}
	return &out, nil
}

// withoutKeys says how to go on without the right to read keys, whose verb the API server names.
func withoutKeys(err error, kind schema.GroupVersionKind) error {
	if !apierrors.IsForbidden(err) || kind != secrets {
		return err
	}
	return fmt.Errorf("%w: whoever administers the PKI has that right, and --without-keys goes on without any key", err)
}

// imports reads the Secrets that keys are imported from, which are not the operator's. One that is gone was not
// needed any more: the key is in the authority namespace.
func (s Source) imports(ctx context.Context, all []unstructured.Unstructured) ([]unstructured.Unstructured, error) {
	var out []unstructured.Unstructured
	for _, o := range all {
		name, found, err := unstructured.NestedString(o.Object, "spec", "source", "import", "secretRef", "name")
		same := func(s unstructured.Unstructured) bool {
			return s.GetKind() == secrets.Kind && s.GetNamespace() == o.GetNamespace() && s.GetName() == name
		}
		if err != nil || !found || !keeps(o) || slices.ContainsFunc(all, same) || slices.ContainsFunc(out, same) {
			continue
		}
		secret, err := s.secret(ctx, o.GetNamespace(), name)
		if err != nil {
			return nil, fmt.Errorf("read Secret %q, from which %s %q is imported: %w", name, o.GetKind(), o.GetName(), err)
		}
		if secret != nil && !ofAuthority(*secret) {
			out = append(out, *secret)
		}
	}
	return out, nil
}

func versions(objects []unstructured.Unstructured) map[string]string {
	out := map[string]string{}
	for i := range objects {
		out[objects[i].GetName()] = objects[i].GetResourceVersion()
	}
	return out
}

// ofAuthority says whether an object is a Secret of the authority namespace, by its type.
func ofAuthority(o unstructured.Unstructured) bool {
	t, _, err := unstructured.NestedString(o.Object, "type")
	types := []corev1.SecretType{
		authority.SecretType, authority.AccountKeysSecretType, authority.FamilySecretType, authority.SealSecretType, authority.DeliverySecretType,
		records.SecretType,
	}
	return err == nil && o.GroupVersionKind() == secrets && slices.Contains(types, corev1.SecretType(t))
}

// Render writes objects as YAML documents in the order of their restoration. What belongs to the cluster they come
// from is left out: the status, UIDs, and the owner references, by whose UIDs Kubernetes would delete what is restored.
// Custom resources are marked as restored, so that the operator makes nothing in place of what was made for them.
func Render(objects []unstructured.Unstructured) ([]byte, error) {
	sorted := slices.Clone(objects)
	slices.SortStableFunc(sorted, func(a, b unstructured.Unstructured) int { return place(a) - place(b) })
	keys := map[string]bool{}
	for i := range objects {
		keys[objects[i].GetName()] = ofAuthority(objects[i])
	}
	var out bytes.Buffer
	for i := range sorted {
		o := portable(sorted[i])
		// A key that never was is to be made, not to be waited for.
		hadKey := !keeps(o) || begun(sorted[i]) || keys[refOf(o).SecretName()]
		if o.GroupVersionKind().Group == v1alpha1.GroupVersion.Group && hadKey {
			annotate(&o, v1alpha1.RestoredAnnotation, "true")
		}
		text, err := yaml.Marshal(o.Object)
		if err != nil {
			return nil, fmt.Errorf("encode %s %q: %w", o.GetKind(), o.GetName(), err)
		}
		out.WriteString("---\n")
		out.Write(text)
	}
	return out.Bytes(), nil
}

// place is where an object stands in the order of restoration: what decides comes first.
func place(o unstructured.Unstructured) int {
	if ofAuthority(o) {
		return -1
	}
	return slices.Index(order, o.GroupVersionKind())
}

// portable is an object without what ties it to its cluster, and without what kubectl apply remembers of it: that is a
// second copy of every key of a Secret, and the next apply would take the mark of a restored object away for it.
func portable(o unstructured.Unstructured) unstructured.Unstructured {
	out := *o.DeepCopy()
	delete(out.Object, "status")
	meta, _, err := unstructured.NestedMap(out.Object, "metadata")
	if err != nil {
		return out
	}
	for _, field := range []string{
		"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "ownerReferences", "selfLink", "generateName",
	} {
		delete(meta, field)
	}
	out.Object["metadata"] = meta
	annotate(&out, corev1.LastAppliedConfigAnnotation, "")
	return out
}

// annotate sets an annotation; "" takes it away.
func annotate(o *unstructured.Unstructured, name, value string) {
	annotations := o.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	if annotations[name] = value; value == "" {
		delete(annotations, name)
	}
	if len(annotations) == 0 {
		annotations = nil
	}
	o.SetAnnotations(annotations)
}

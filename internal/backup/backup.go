// Package backup reads everything that the PKI of a namespace consists of, in the form in which it can be created again in
// another cluster.
package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/api/v1alpha1"
)

// The kinds, in the order in which they are to be restored: what was made before what it was made for.
var (
	secrets    = corev1.SchemeGroupVersion.WithKind("Secret")
	configMaps = corev1.SchemeGroupVersion.WithKind("ConfigMap")
	leases     = schema.GroupVersionKind{Group: "coordination.k8s.io", Version: "v1", Kind: "Lease"}
	cas        = v1alpha1.GroupVersion.WithKind("ClusterCA")
	servers    = v1alpha1.GroupVersion.WithKind("APIServerCertificate")
	nodes      = v1alpha1.GroupVersion.WithKind("NodeCredential")
	order      = []schema.GroupVersionKind{secrets, configMaps, leases, cas, servers, nodes}
)

// attempts is how often a namespace is read until no CA made a step meanwhile.
const attempts = 5

// ErrBusy says that a CA was being replaced all the time.
var ErrBusy = errors.New("the trust bundles change while they are read: try again in a minute")

// Gather reads a namespace: the custom resources, what the operator made for them, and the Secrets that CAs are imported
// from. Ledgers and keys belong together: where a CA makes a step meanwhile, all is read again, and in the end
// the error is ErrBusy.
func Gather(ctx context.Context, from client.Reader, namespace string) ([]unstructured.Unstructured, error) {
	for range attempts {
		before, err := read(ctx, from, namespace, configMaps)
		if err != nil {
			return nil, err
		}
		var all []unstructured.Unstructured
		for _, kind := range order {
			found, err := read(ctx, from, namespace, kind)
			if err != nil {
				return nil, err
			}
			all = append(all, found...)
		}
		imported, err := imports(ctx, from, all)
		if err != nil {
			return nil, err
		}
		after, err := read(ctx, from, namespace, configMaps)
		if err != nil {
			return nil, err
		}
		if maps.Equal(versions(before), versions(after)) {
			return append(imported, all...), nil
		}
	}
	return nil, ErrBusy
}

// read lists the objects of a kind that belong to a backup, but for those that are being deleted.
func read(ctx context.Context, from client.Reader, namespace string, kind schema.GroupVersionKind) ([]unstructured.Unstructured, error) {
	var list unstructured.UnstructuredList
	list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
	opts := []client.ListOption{client.InNamespace(namespace)}
	if kind.Group != v1alpha1.GroupVersion.Group {
		opts = append(opts, client.MatchingLabels{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue})
	}
	if err := from.List(ctx, &list, opts...); err != nil {
		return nil, fmt.Errorf("list %ss: %w", kind.Kind, err)
	}
	return slices.DeleteFunc(list.Items, func(o unstructured.Unstructured) bool { return o.GetDeletionTimestamp() != nil }), nil
}

// imports reads the Secrets that ClusterCAs are imported from, which are not the operator's. One that is gone was not
// needed any more: the CA's key is in a Secret of the operator's.
func imports(ctx context.Context, from client.Reader, all []unstructured.Unstructured) ([]unstructured.Unstructured, error) {
	var out []unstructured.Unstructured
	for _, o := range all {
		name, found, err := unstructured.NestedString(o.Object, "spec", "source", "import", "secretRef", "name")
		same := func(s unstructured.Unstructured) bool {
			return s.GetKind() == secrets.Kind && s.GetNamespace() == o.GetNamespace() && s.GetName() == name
		}
		if err != nil || !found || o.GetKind() != cas.Kind || slices.ContainsFunc(all, same) || slices.ContainsFunc(out, same) {
			continue
		}
		var s unstructured.Unstructured
		s.SetGroupVersionKind(secrets)
		err = from.Get(ctx, client.ObjectKey{Namespace: o.GetNamespace(), Name: name}, &s)
		if client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("read Secret %q, from which ClusterCA %q is imported: %w", name, o.GetName(), err)
		}
		if err == nil {
			out = append(out, s)
		}
	}
	return out, nil
}

func versions(objects []unstructured.Unstructured) map[string]string {
	out := map[string]string{}
	for i := range objects {
		out[objects[i].GetNamespace()+"/"+objects[i].GetName()] = objects[i].GetResourceVersion()
	}
	return out
}

// Render writes objects as YAML documents in the order of their restoration. What belongs to the cluster they come
// from is left out: the status, UIDs, and the owner references, by whose UIDs Kubernetes would delete what is restored.
// Custom resources are marked as restored, so that the operator waits for what was made for them.
func Render(objects []unstructured.Unstructured) ([]byte, error) {
	sorted := slices.Clone(objects)
	slices.SortStableFunc(sorted, func(a, b unstructured.Unstructured) int { return place(a) - place(b) })
	var out bytes.Buffer
	for i := range sorted {
		text, err := yaml.Marshal(portable(sorted[i]).Object)
		if err != nil {
			return nil, fmt.Errorf("encode %s %q: %w", sorted[i].GetKind(), sorted[i].GetName(), err)
		}
		out.WriteString("---\n")
		out.Write(text)
	}
	return out.Bytes(), nil
}

func place(o unstructured.Unstructured) int { return slices.Index(order, o.GroupVersionKind()) }

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
	annotations := out.GetAnnotations()
	delete(annotations, corev1.LastAppliedConfigAnnotation)
	if out.GroupVersionKind().Group == v1alpha1.GroupVersion.Group {
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[v1alpha1.RestoredAnnotation] = "true"
	}
	out.SetAnnotations(annotations)
	return out
}

package restore_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/backup"
)

// dump is a backup: objects as they are to be created.
type dump []unstructured.Unstructured

// kinds in Velero's order: those that it ranks high, then the others by name.
var kinds = []schema.GroupVersionKind{
	{Version: "v1", Kind: "Secret"},
	{Version: "v1", Kind: "ConfigMap"},
	{Group: "clusterpki.io", Version: "v1alpha1", Kind: "APIServerCertificate"},
	{Group: "clusterpki.io", Version: "v1alpha1", Kind: "ClusterCA"},
	{Group: "clusterpki.io", Version: "v1alpha1", Kind: "ClusterPKI"},
	{Group: "coordination.k8s.io", Version: "v1", Kind: "Lease"},
	{Group: "clusterpki.io", Version: "v1alpha1", Kind: "NodeCredential"},
	{Group: "clusterpki.io", Version: "v1alpha1", Kind: "ServiceAccountKey"},
}

// velero is the namespace and the authority's as Velero 1.18 restores them (pkg/restore: resetMetadataAndStatus, addRestoreLabels).
func (w *fixture) velero() dump {
	w.t.Helper()
	var out dump
	for _, kind := range kinds {
		for _, ns := range []string{w.authority, w.ns} {
			var list unstructured.UnstructuredList
			list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
			if err := w.api.List(w.t.Context(), &list, client.InNamespace(ns)); err != nil {
				w.t.Fatal(err)
			}
			out = append(out, list.Items...)
		}
	}
	return out.each(func(o *unstructured.Unstructured) {
		for _, field := range []string{
			"generateName", "selfLink", "uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp",
			"deletionGracePeriodSeconds", "ownerReferences", "managedFields",
		} {
			unstructured.RemoveNestedField(o.Object, "metadata", field)
		}
		unstructured.RemoveNestedField(o.Object, "status")
		labels := o.GetLabels()
		if labels == nil {
			labels = map[string]string{}
		}
		labels["velero.io/backup-name"], labels["velero.io/restore-name"] = "nightly", "nightly-1"
		o.SetLabels(labels)
	})
}

// backup is the namespace as `clusterpki backup` writes it.
func (w *fixture) backup() []byte {
	w.t.Helper()
	objects, err := backup.Source{Reader: w.api, Namespace: w.ns, AuthorityNamespace: w.authority}.Gather(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	text, err := backup.Render(objects)
	if err != nil {
		w.t.Fatal(err)
	}
	return text
}

// restoreArchive is `clusterpki restore`. What it is to replace is a CA, or kind/name.
func (w *fixture) restoreArchive(text []byte, replace ...string) (backup.Result, error) {
	w.t.Helper()
	archive, err := backup.Parse(bytes.NewReader(text))
	if err != nil {
		w.t.Fatal(err)
	}
	target := backup.Target{Client: w.api, AuthorityNamespace: w.authority, Namespaces: map[string]string{archive.Namespaces()[0]: w.ns}}
	for _, name := range replace {
		kind := authority.KindCA
		if key, ok := strings.CutPrefix(name, "serviceaccountkeys/"); ok {
			kind, name = authority.KindAccountKeys, key
		}
		target.Replace = append(target.Replace, authority.Ref{Kind: kind, NamespacedName: types.NamespacedName{Namespace: w.ns, Name: name}})
	}
	return target.Restore(w.t.Context(), archive)
}

// mustRestore is restoreArchive where it must succeed, and find nothing that it does not know.
func (w *fixture) mustRestore(text []byte, replace ...string) backup.Result {
	w.t.Helper()
	result, err := w.restoreArchive(text, replace...)
	if err != nil || len(result.Foreign) > 0 {
		w.t.Fatalf("%+v: %v", result, err)
	}
	return result
}

// parse reads YAML documents.
func parse(t *testing.T, text []byte) dump {
	t.Helper()
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	var out dump
	for {
		var o unstructured.Unstructured
		err := decoder.Decode(&o.Object)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(o.Object) > 0 {
			out = append(out, o)
		}
	}
}

// each is a copy with every object changed.
func (d dump) each(change func(*unstructured.Unstructured)) dump {
	out := make(dump, 0, len(d))
	for i := range d {
		o := d[i].DeepCopy()
		change(o)
		out = append(out, *o)
	}
	return out
}

// only are the objects that keep says.
func (d dump) only(keep func(unstructured.Unstructured) bool) dump {
	return slices.DeleteFunc(slices.Clone(d), func(o unstructured.Unstructured) bool { return !keep(o) })
}

// ours says whether an object is a custom resource.
func ours(o unstructured.Unstructured) bool { return o.GroupVersionKind().Group == "clusterpki.io" }

// decides says whether an object is of the authority namespace.
func (w *fixture) decides(o unstructured.Unstructured) bool { return o.GetNamespace() == w.authority }

// products says whether an object is none of the two.
func (w *fixture) products(o unstructured.Unstructured) bool { return !ours(o) && !w.decides(o) }

// restore creates the objects. What is there already stays, as every backup tool has it: that may be Leases, and Secrets of the same
// contents.
func (w *fixture) restore(d dump) {
	w.t.Helper()
	for i := range d {
		o := d[i].DeepCopy()
		err := w.api.Create(w.t.Context(), o)
		if apierrors.IsAlreadyExists(err) && (o.GetKind() == "Lease" || w.holds(*o)) {
			continue
		}
		if err != nil {
			w.t.Fatalf("restore %s %s: %v", o.GetKind(), o.GetName(), err)
		}
	}
}

// holds says whether there is a Secret of the same contents, or a ConfigMap.
func (w *fixture) holds(o unstructured.Unstructured) bool {
	there := o.DeepCopy()
	if o.GetKind() == "ConfigMap" {
		return true
	}
	if o.GetKind() != "Secret" || w.api.Get(w.t.Context(), client.ObjectKeyFromObject(&o), there) != nil {
		return false
	}
	return equality.Semantic.DeepEqual(there.Object["data"], o.Object["data"])
}

// deleteSecret deletes a Secret of the namespace.
func (w *fixture) deleteSecret(name string) {
	w.t.Helper()
	s := &corev1.Secret{}
	s.Namespace, s.Name = w.ns, name
	if err := w.api.Delete(w.t.Context(), s); err != nil {
		w.t.Fatal(err)
	}
}

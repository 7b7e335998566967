package restore_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

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
	{Group: "coordination.k8s.io", Version: "v1", Kind: "Lease"},
	{Group: "clusterpki.io", Version: "v1alpha1", Kind: "NodeCredential"},
}

// everything is all of a namespace, as it is.
func (w *world) everything() dump {
	w.t.Helper()
	var out dump
	for _, kind := range kinds {
		var list unstructured.UnstructuredList
		list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
		if err := w.api.List(w.t.Context(), &list, client.InNamespace(w.ns)); err != nil {
			w.t.Fatal(err)
		}
		out = append(out, list.Items...)
	}
	return out
}

// velero is a namespace as Velero 1.18 restores it (pkg/restore: resetMetadataAndStatus, addRestoreLabels).
func (w *world) velero() dump {
	w.t.Helper()
	return w.everything().each(func(o *unstructured.Unstructured) {
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

// plain is a namespace as `kubectl get -o yaml` shows it, without what kubectl create refuses. Owner references are
// those of the old cluster.
func (w *world) plain() dump {
	w.t.Helper()
	return w.everything().each(func(o *unstructured.Unstructured) {
		for _, field := range []string{"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"} {
			unstructured.RemoveNestedField(o.Object, "metadata", field)
		}
		unstructured.RemoveNestedField(o.Object, "status")
	})
}

// backup is a namespace as `clusterpki backup` writes it.
func (w *world) backup() dump {
	w.t.Helper()
	objects, err := backup.Gather(w.t.Context(), w.api, w.ns)
	if err != nil {
		w.t.Fatal(err)
	}
	text, err := backup.Render(objects)
	if err != nil {
		w.t.Fatal(err)
	}
	return parse(w.t, text)
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

// backwards is the worst order: the custom resources before what was made for them, the ledgers before the keys, and the
// keys of CAs before the leaves.
func (d dump) backwards() dump {
	rank := func(o unstructured.Unstructured) int {
		switch name := o.GetName(); {
		case ours(o):
			return 0
		case o.GetKind() == "Lease":
			return 1
		case o.GetKind() == "ConfigMap":
			return 2
		case strings.Contains(name, "-g1-") || strings.Contains(name, "-g2-"):
			return 3
		default:
			return 4
		}
	}
	out := slices.Clone(d)
	slices.SortStableFunc(out, func(a, b unstructured.Unstructured) int { return rank(a) - rank(b) })
	return out
}

// ours says whether an object is a custom resource.
func ours(o unstructured.Unstructured) bool { return o.GroupVersionKind().Group == "clusterpki.io" }

// restore creates the objects. What is there already stays, as every backup tool has it: that may be Leases, and what
// the operator derives from a key that has come already, byte by byte the same.
func (w *world) restore(d dump, between ...func(next unstructured.Unstructured)) {
	w.t.Helper()
	for i := range d {
		o := d[i].DeepCopy()
		for _, f := range between {
			f(*o)
		}
		o.SetNamespace(w.ns)
		err := w.api.Create(w.t.Context(), o)
		if apierrors.IsAlreadyExists(err) && (o.GetKind() == "Lease" || w.holds(*o)) {
			continue
		}
		if err != nil {
			w.t.Fatalf("restore %s %s: %v", o.GetKind(), o.GetName(), err)
		}
	}
}

// holds says whether there is a Secret of the same contents.
func (w *world) holds(o unstructured.Unstructured) bool {
	there := o.DeepCopy()
	if o.GetKind() != "Secret" || w.api.Get(w.t.Context(), client.ObjectKeyFromObject(&o), there) != nil {
		return false
	}
	return equality.Semantic.DeepEqual(there.Object["data"], o.Object["data"])
}

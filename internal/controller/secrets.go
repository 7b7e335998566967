package controller

import (
	"context"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
)

// ownerText is the value of OwnerAnnotation.
func ownerText(kind, name string) string { return kind + "/" + name }

// ownedBy says whether a generated object was made for owner: by its controller reference or, where a
// backup tool stripped or outlived that, by its annotation.
func ownedBy(o client.Object, owner client.Object, kind string) bool {
	ref := metav1.GetControllerOf(o)
	if ref != nil && ref.UID == owner.GetUID() {
		return true
	}
	if ref != nil && (ref.Kind != kind || ref.Name != owner.GetName()) {
		return false
	}
	return o.GetAnnotations()[v1alpha1.OwnerAnnotation] == ownerText(kind, owner.GetName())
}

// stamp puts the marks of an owner on a generated object and says whether that changed anything.
// Nothing is copied from the owner's own labels and annotations: a GitOps tool would then take the
// generated object for one of its own, and prune it.
func stamp(o client.Object, owner client.Object, kind string, controlled bool, facts map[string]string) bool {
	labels := maps.Clone(o.GetLabels())
	if labels == nil {
		labels = map[string]string{}
	}
	labels[v1alpha1.ManagedByLabel] = v1alpha1.ManagedByValue
	labels[v1alpha1.OwnerKindLabel] = kind
	annotations := maps.Clone(o.GetAnnotations())
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[v1alpha1.OwnerAnnotation] = ownerText(kind, owner.GetName())
	maps.Copy(annotations, facts)
	refs := otherReferences(o.GetOwnerReferences())
	if controlled {
		refs = append(refs, metav1.OwnerReference{
			APIVersion: v1alpha1.GroupVersion.String(), Kind: kind,
			Name: owner.GetName(), UID: owner.GetUID(), Controller: new(true),
		})
	}
	changed := !maps.Equal(labels, o.GetLabels()) || !maps.Equal(annotations, o.GetAnnotations()) ||
		!sameReferences(refs, o.GetOwnerReferences())
	o.SetLabels(labels)
	o.SetAnnotations(annotations)
	o.SetOwnerReferences(refs)
	return changed
}

// otherReferences drops the reference of whichever object controls this one.
func otherReferences(refs []metav1.OwnerReference) []metav1.OwnerReference {
	var out []metav1.OwnerReference
	for _, r := range refs {
		if !ptr.Deref(r.Controller, false) {
			out = append(out, r)
		}
	}
	return out
}

func sameReferences(a, b []metav1.OwnerReference) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].UID != b[i].UID || ptr.Deref(a[i].Controller, false) != ptr.Deref(b[i].Controller, false) {
			return false
		}
	}
	return true
}

// wanted is a Secret as it should be. Keys of its data that are not named here are left alone.
type wanted struct {
	name   string
	kind   string // of the owner
	typ    corev1.SecretType
	data   map[string][]byte
	absent []string          // keys that must go
	facts  map[string]string // annotations
}

// ensureSecret writes a Secret if it differs from what is wanted. seen is what was read before, nil
// for nothing: the write then is a Create, which fails if somebody was faster; else it is an Update
// under seen's resourceVersion. Either failure means to read and decide again.
func (b *base) ensureSecret(ctx context.Context, owner client.Object, seen *corev1.Secret, w wanted) error {
	if seen == nil {
		s := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: owner.GetNamespace(), Name: w.name},
			Type:       w.typ,
			Data:       w.data,
		}
		stamp(s, owner, w.kind, true, w.facts)
		if err := b.client.Create(ctx, s); err != nil {
			return fmt.Errorf("create Secret %q: %w", w.name, err)
		}
		return nil
	}
	next := seen.DeepCopy()
	changed := stamp(next, owner, w.kind, true, w.facts)
	if next.Data == nil {
		next.Data = map[string][]byte{}
	}
	for key, value := range w.data {
		if old, ok := next.Data[key]; !ok || string(old) != string(value) {
			next.Data[key] = value
			changed = true
		}
	}
	for _, key := range w.absent {
		if _, there := next.Data[key]; there {
			delete(next.Data, key)
			changed = true
		}
	}
	if !changed {
		return nil
	}
	if err := b.client.Update(ctx, next); err != nil {
		return fmt.Errorf("update Secret %q: %w", w.name, err)
	}
	return nil
}

// cachedSecret reads a Secret of ours from the cache; nil where it holds none of this name.
func (b *base) cachedSecret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	return readSecret(ctx, b.client, namespace, name)
}

// liveSecret reads a Secret from the API server itself: the cache knows only labelled ones, and may
// lag. A key is generated only after this.
func (b *base) liveSecret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	return readSecret(ctx, b.live, namespace, name)
}

func readSecret(ctx context.Context, from client.Reader, namespace, name string) (*corev1.Secret, error) {
	var s corev1.Secret
	err := from.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &s)
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // absence is an answer
	}
	if err != nil {
		return nil, fmt.Errorf("read Secret %q: %w", name, err)
	}
	return &s, nil
}

func conflict(kind, name string) error {
	return stalled(v1alpha1.ReasonSecretConflict,
		"%s %q exists and was not made for this object, so it is left alone: delete it, or choose another name in the spec", kind, name)
}

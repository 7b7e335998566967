package owned

import (
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
)

// Anybody who may make objects in a namespace may put the operator's label on them, on as many as he likes. Of one without the operator's seal the cache
// keeps that it is there. Where the seal itself was restored since, that may be wrong: what was cut is read live by whoever needs it.

// maxOwner bounds, in bytes, what is kept of the annotation by which an owner, or the host of an agent, is found: two names.
const maxOwner = 512

// foreign is what the cache keeps of what the operator did not make; nil of what it made, or may have made.
func (c *Cache) foreign(o any) client.Object {
	var into client.Object
	switch o.(type) {
	case *corev1.Secret:
		into = &corev1.Secret{Data: map[string][]byte{notedNote: {}}}
	case *corev1.ConfigMap:
		into = &corev1.ConfigMap{}
	case *coordinationv1.Lease:
		into = &coordinationv1.Lease{}
	case *rbacv1.Role:
		into = &rbacv1.Role{}
	case *rbacv1.RoleBinding:
		into = &rbacv1.RoleBinding{}
	default:
		return nil
	}
	from, ok := o.(client.Object)
	if !ok || c.Seal == nil || c.sealed(from) {
		return nil
	}
	into.SetNamespace(from.GetNamespace())
	into.SetName(from.GetName())
	into.SetUID(from.GetUID())
	into.SetResourceVersion(from.GetResourceVersion())
	into.SetCreationTimestamp(from.GetCreationTimestamp())
	into.SetLabels(map[string]string{v1alpha1.ManagedLabel: v1alpha1.ManagedValue})
	annotations := map[string]string{cutAnnotation: "true"}
	for _, name := range []string{v1alpha1.OwnerAnnotation, v1alpha1.AgentAnnotation} {
		if owner := from.GetAnnotations()[name]; owner != "" && len(owner) <= maxOwner {
			annotations[name] = owner
		}
	}
	into.SetAnnotations(annotations)
	return into
}

// sealed says whether an object bears the operator's seal, or may: where the seal is not known, as long as nobody can say.
func (c *Cache) sealed(o client.Object) bool {
	if o.GetAnnotations()[v1alpha1.ClaimAnnotation] == "" {
		return false
	}
	for _, again := range []bool{false, true} { // it may have been made, or restored, since it was read
		seal, ok := c.Seal(again)
		if !ok || consumers.Sealed(seal, o.GetAnnotations(), kindOf(o), o.GetNamespace(), o.GetName()) {
			return true
		}
	}
	return false
}

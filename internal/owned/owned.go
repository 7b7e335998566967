// Package owned writes what the operator makes in users' namespaces: Secrets, ConfigMaps and Leases. It says whose they are,
// makes them, and repairs them.
//
// Everything is made by a Create, never by a write over what stands there, and bears a claim under the operator's seal
// (consumers.Claim). What bears none, or one that was copied, is somebody else's and is left alone. A product stays with the
// object that it was made for, for as long as that exists and names it; nobody, older or younger, takes it over.
package owned

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
)

// Product is what the operator makes.
type Product interface {
	*corev1.Secret | *corev1.ConfigMap | *coordinationv1.Lease
	client.Object
}

// Selector selects products by their label.
var Selector = labels.SelectorFromSet(labels.Set{v1alpha1.ManagedLabel: v1alpha1.ManagedValue})

// Marks are what a product bears beside its contents.
type Marks struct {
	Claim consumers.Claim // its UID is filled in
	// Controlled lets Kubernetes delete the product with its owner.
	Controlled bool
	// Shared lets a controller of somebody else's stay one.
	Shared bool
	// Labels are needed by what reads the product: no template puts others there.
	Labels map[string]string
}

// Keeper writes products.
type Keeper struct {
	Client client.Client
	Seal   consumers.Sealer
	// Holds says whether an object of that UID exists and names the product of that kind; for messages also how it is called.
	Holds func(ctx context.Context, product client.Object, kind string, uid types.UID) (owner string, holds bool, err error)
}

// ConflictError says that a product of a name is somebody else's.
type ConflictError struct{ text string }

func (e *ConflictError) Error() string { return e.text }

// IsConflict says whether an error is a ConflictError.
func IsConflict(err error) bool {
	_, ok := errors.AsType[*ConflictError](err)
	return ok
}

func kindOf(o client.Object) string {
	switch o.(type) {
	case *corev1.Secret:
		return "Secret"
	case *corev1.ConfigMap:
		return "ConfigMap"
	case *coordinationv1.Lease:
		return "Lease"
	case *rbacv1.Role:
		return "Role"
	case *rbacv1.RoleBinding:
		return "RoleBinding"
	default:
		return fmt.Sprintf("%T", o) // Product admits no other, and the cache marks none
	}
}

// ClaimOf reads the claim of a product; ok is false where the operator did not make it.
func (k *Keeper) ClaimOf(o client.Object) (c consumers.Claim, ok bool) {
	return consumers.ParseClaim(k.Seal, o.GetAnnotations(), kindOf(o), o.GetNamespace(), o.GetName())
}

// Mine says whether a product was made for an object.
func (k *Keeper) Mine(owner v1alpha1.Object, o client.Object) bool {
	c, ok := k.ClaimOf(o)
	return ok && c.UID == owner.GetUID()
}

// Check says, as a ConflictError, why a product that is there must not be written for an owner. nil: it was made for it, or
// for an object that is gone or does not name it any more. What holds a copy of a CA's key goes to no other object: that might leave the key there.
func (k *Keeper) Check(ctx context.Context, owner v1alpha1.Object, o client.Object) error {
	if c, ok := k.ClaimOf(o); ok && c.CAKey && c.UID != owner.GetUID() {
		return &ConflictError{fmt.Sprintf("%s %q holds a copy of a CA's key, which was made for another object: delete it, or choose another name in the spec",
			kindOf(o), o.GetName())}
	}
	return k.CheckCopy(ctx, owner, o)
}

// CheckCopy is Check for a copy of a CA's key that is recorded as this CA's, even where it was made for a ClusterCA that is gone.
func (k *Keeper) CheckCopy(ctx context.Context, owner v1alpha1.Object, o client.Object) error {
	c, ok := k.ClaimOf(o)
	switch {
	case !ok:
		return &ConflictError{fmt.Sprintf("%s %q exists, and the operator did not make it, so it is left alone: delete it, or choose another name in the spec",
			kindOf(o), o.GetName())}
	case c.UID == owner.GetUID():
		return nil
	}
	holder, holds, err := k.Holds(ctx, o, kindOf(o), c.UID)
	if err != nil || !holds {
		return err
	}
	return &ConflictError{fmt.Sprintf("%s %q was made for %s, which names it and keeps it: choose another name in the spec", kindOf(o), o.GetName(), holder)}
}

// Create makes a product. It fails with AlreadyExists where one of the name is there.
func Create[T Product](ctx context.Context, k *Keeper, owner v1alpha1.Object, product T, m Marks) error {
	k.mark(product, owner, m)
	if err := k.Client.Create(ctx, product); err != nil {
		return fmt.Errorf("create %s %q: %w", kindOf(product), product.GetName(), err)
	}
	return nil
}

// Update writes what differs between next and existing, as it was read: what a cache has left out stays as it is. It fails with a
// conflict if anybody wrote in between.
func Update[T Product](ctx context.Context, k *Keeper, owner v1alpha1.Object, existing, next T, m Marks) error {
	k.mark(next, owner, m)
	if equal(existing, next) {
		return nil
	}
	err := k.Client.Patch(ctx, next, client.MergeFromWithOptions(existing, client.MergeFromWithOptimisticLock{}))
	if cannotChange(err) {
		return unchangeable(next, err)
	}
	if err != nil {
		return fmt.Errorf("update %s %q: %w", kindOf(next), next.GetName(), err)
	}
	return nil
}

// Changeable says, as a ConflictError, that nothing can be written into a Secret, because somebody made it immutable, which never ends; nil where something
// can, or there is none.
func Changeable(s *corev1.Secret) error {
	if s == nil || !ptr.Deref(s.Immutable, false) {
		return nil
	}
	return unchangeable(s, errors.New("somebody made it immutable"))
}

func unchangeable(o client.Object, why error) error {
	return &ConflictError{fmt.Sprintf("%s %q cannot be changed: delete it, and it is made again: %v", kindOf(o), o.GetName(), why)}
}

// cannotChange says whether the API server refuses a change by its own validation, which names a field: the product is immutable. A
// policy may give the same reason, and names none.
func cannotChange(err error) bool {
	status, ok := errors.AsType[*apierrors.StatusError](err)
	if !ok || !apierrors.IsInvalid(err) || status.Status().Details == nil {
		return false
	}
	return slices.ContainsFunc(status.Status().Details.Causes, func(c metav1.StatusCause) bool { return c.Field != "" })
}

// equal compares two products: what Secrets hold by itself, because reflection would look at each byte.
func equal(a, b client.Object) bool {
	x, ok := a.(*corev1.Secret)
	y, also := b.(*corev1.Secret)
	if !ok || !also {
		return equality.Semantic.DeepEqual(a, b)
	}
	if !maps.EqualFunc(x.Data, y.Data, bytes.Equal) {
		return false
	}
	one, other := *x, *y
	one.Data, other.Data = nil, nil
	return equality.Semantic.DeepEqual(one, other)
}

// mark puts the marks of an owner on a product. Nothing is copied from the owner's own labels and annotations: a GitOps
// tool would then take the product for one of its own, and prune it.
func (k *Keeper) mark(o client.Object, owner v1alpha1.Object, m Marks) {
	own := orEmpty(o.GetLabels())
	own[v1alpha1.ManagedLabel] = v1alpha1.ManagedValue
	if o.GetResourceVersion() == "" { // for information: whoever changes it later may
		own[v1alpha1.ManagedByLabel] = v1alpha1.ManagedByValue
	}
	own[v1alpha1.OwnerKindLabel] = owner.Kind()
	o.SetLabels(own)
	annotations := orEmpty(o.GetAnnotations())
	annotations[v1alpha1.OwnerAnnotation] = owner.Kind() + "/" + owner.GetName() // for people, and to find the owner when a product changes; it proves nothing
	m.Claim.UID = owner.GetUID()
	if _, isSecret := o.(*corev1.Secret); isSecret {
		was, _ := k.ClaimOf(o)
		t := owner.Template()
		free := maps.Clone(t.Labels)
		maps.DeleteFunc(free, func(name string, _ v1alpha1.TemplateText) bool { _, needed := m.Labels[name]; return needed })
		m.Claim.Template.Labels = dress(own, free, was.Template.Labels)
		maps.Copy(own, m.Labels)
		m.Claim.Template.Annotations = dress(annotations, t.Annotations, was.Template.Annotations)
	}
	annotations[v1alpha1.ClaimAnnotation] = m.Claim.Text(k.Seal, kindOf(o), o.GetNamespace(), o.GetName())
	o.SetAnnotations(annotations)
	o.SetOwnerReferences(references(o.GetOwnerReferences(), owner, m))
}

// dress puts the labels or annotations of a template onto a product, and takes off what a template put there and has no longer. Returned
// is what to take off later. What the operator keeps for itself is left out, whatever admission did.
func dress(texts map[string]string, template map[string]v1alpha1.TemplateText, was []string) []string {
	for _, name := range was {
		if _, still := template[name]; !still && !v1alpha1.Reserved(name) {
			delete(texts, name)
		}
	}
	var put []string
	for name, value := range template {
		if !v1alpha1.Reserved(name) {
			texts[name] = string(value)
			put = append(put, name)
		}
	}
	slices.Sort(put)
	return put
}

func orEmpty(in map[string]string) map[string]string {
	if in == nil {
		return map[string]string{}
	}
	return maps.Clone(in)
}

// references are those of others, and that of the owner where it controls the product.
func references(old []metav1.OwnerReference, owner v1alpha1.Object, m Marks) []metav1.OwnerReference {
	var out []metav1.OwnerReference
	for _, r := range old {
		if (m.Shared || !ptr.Deref(r.Controller, false)) && r.UID != owner.GetUID() {
			out = append(out, r)
		}
	}
	if m.Controlled {
		out = append(out, metav1.OwnerReference{
			APIVersion: v1alpha1.GroupVersion.String(), Kind: owner.Kind(),
			Name: owner.GetName(), UID: owner.GetUID(), Controller: new(true),
		})
	}
	return out
}

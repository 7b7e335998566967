// Package binding says whose it is what the authority namespace keeps: the object of its name, in the namespace that held it, and one
// installation of the operator. ClusterCAs and ServiceAccountKeys are bound by the same rules.
package binding

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/home"
	"clusterpki.io/operator/internal/limits"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/stall"
)

// Binder binds what is kept to objects.
type Binder struct {
	Client client.Client
	Live   client.Reader // reads from the API server
	Home   *home.Home
	Wrote  *owned.Writes // what the cache does not have yet
}

// Bound says whether what is kept under an identity belongs to the object that has its name; where it does not, Take may give it to it. deleted is
// when that was marked as deleted. An error: it is not this installation's.
func (b Binder) Bound(o v1alpha1.Kept, id authority.Identity, deleted time.Time) (bool, error) {
	if !b.Home.Keeps(id) {
		return false, stall.Because(v1alpha1.ReasonAuthorityRetained,
			"the Secret of this %s came from another authority namespace (UID %s), by a copy or from a backup: if no other operator serves it, whoever "+
				"administers the PKI lets this one, by `clusterpki authority release %s`", what(o), id.HomeUID, reference(o))
	}
	if id.UID == o.GetUID() && deleted.IsZero() {
		return true, b.Home.Serves(o)
	}
	return false, nil
}

// Take is the identity of what was retained, for the object that has its name now, if that stands in the namespace which held it.
// A namespace that was made anew, perhaps by somebody else, inherits nothing.
func (b Binder) Take(ctx context.Context, o v1alpha1.Kept, was authority.Identity) (authority.Identity, error) {
	released := was.UID == "" // by a person, who says that it belongs here
	if !released {
		if err := b.Home.Serves(o); err != nil {
			return authority.Identity{}, err
		}
	}
	id, err := b.identity(ctx, o)
	if err != nil {
		return authority.Identity{}, err
	}
	if was.NamespaceUID != id.NamespaceUID {
		return authority.Identity{}, stall.Because(v1alpha1.ReasonAuthorityRetained,
			"the authority namespace keeps a %s of this name, which another namespace %q held before: whoever administers the PKI can give it to this one by "+
				"`clusterpki authority release %s`, or destroy it by `clusterpki authority delete %s`", what(o), o.GetNamespace(), reference(o), reference(o))
	}
	return id, b.enter(ctx, o)
}

// Begin is the identity of what is made for an object for the first time. noTraces says, as an error, where anything tells that it was there
// already; nil where nobody asks that.
func (b Binder) Begin(ctx context.Context, o v1alpha1.Kept, noTraces func() error) (authority.Identity, error) {
	if err := b.Home.Still(ctx); err != nil {
		return authority.Identity{}, stall.Here(v1alpha1.ReasonAuthorityNotReady, "%v", err)
	}
	if err := b.Home.Serves(o); err != nil {
		return authority.Identity{}, err
	}
	if noTraces != nil {
		if err := noTraces(); err != nil {
			return authority.Identity{}, err
		}
	}
	if err := b.enter(ctx, o); err != nil {
		return authority.Identity{}, err
	}
	return b.identity(ctx, o)
}

// identity names the objects that what is kept belongs to, read live.
func (b Binder) identity(ctx context.Context, o v1alpha1.Kept) (authority.Identity, error) {
	namespace, err := b.metadata(ctx, "", "Namespace", o.GetNamespace())
	if err != nil {
		return authority.Identity{}, err
	}
	crd, err := b.metadata(ctx, crdGroup, crdKind, crdOf(o.Kind()))
	if err != nil {
		return authority.Identity{}, err
	}
	return authority.Identity{
		Namespace: o.GetNamespace(), Name: o.GetName(), NamespaceUID: namespace.UID, CRDUID: crd.UID, UID: o.GetUID(), HomeUID: types.UID(b.Home.UID()),
	}, nil
}

const crdGroup, crdKind = "apiextensions.k8s.io", "CustomResourceDefinition"

// crdOf is the name of the CustomResourceDefinition of a kind.
func crdOf(kind string) string { return resourceOf(kind) + "." + v1alpha1.GroupVersion.Group }

// resourceOf is the resource of a kind.
func resourceOf(kind string) string {
	for _, k := range v1alpha1.Kinds() {
		if k.Name == kind {
			return k.Plural
		}
	}
	return kind
}

// metadata reads the metadata of an object without a namespace from the API server.
func (b Binder) metadata(ctx context.Context, group, kind, name string) (*metav1.PartialObjectMetadata, error) {
	o := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: kind}}
	if group != "" {
		o.APIVersion = group + "/v1"
	}
	if err := b.Live.Get(ctx, client.ObjectKey{Name: name}, o); err != nil {
		return nil, fmt.Errorf("read %s %q: %w", kind, name, err)
	}
	return o, nil
}

// enter enters this installation as the one, of several, that serves the object: the one whose authority namespace the status names. The write fails if
// anybody wrote in between; and where there is nothing to write, the object is read live: it may be another one by now.
func (b Binder) enter(ctx context.Context, o v1alpha1.Kept) error {
	own := b.Home.UID()
	if o.AuthorityStatus().NamespaceUID == own {
		return b.EnsureFresh(ctx, o)
	}
	before, ok := o.DeepCopyObject().(v1alpha1.Kept)
	if !ok {
		return errors.New("a copy of an object is of another kind") // it is of the same
	}
	o.AuthorityStatus().NamespaceUID = own
	if _, err := limits.PatchStatus(ctx, b.Client, before, o); err != nil {
		return fmt.Errorf("enter the authority namespace into the status: %w", err)
	}
	b.Wrote.Updated(o.Kind(), o)
	return nil
}

// EnsureFresh says, as a lost race, where the API server has another spec than a decision was made from. That what is kept is the
// same is what its resourceVersion is for.
func (b Binder) EnsureFresh(ctx context.Context, o v1alpha1.Object) error {
	now, ok := o.DeepCopyObject().(v1alpha1.Object)
	if !ok {
		return errors.New("a copy of an object is of another kind") // it is of the same
	}
	if err := b.Live.Get(ctx, client.ObjectKeyFromObject(o), now); err != nil {
		return fmt.Errorf("read the %s again: %w", o.Kind(), err)
	}
	if now.GetUID() != o.GetUID() || now.GetGeneration() != o.GetGeneration() || !now.GetDeletionTimestamp().IsZero() {
		kind := schema.GroupResource{Group: v1alpha1.GroupVersion.Group, Resource: resourceOf(o.Kind())}
		return fmt.Errorf("decide again: %w", apierrors.NewConflict(kind, o.GetName(), ErrOutdated))
	}
	return nil
}

// ErrOutdated is why a race was lost.
var ErrOutdated = errors.New("it was changed in the meantime")

// Stands says whether the namespace and the CRD are those that were recorded, and neither is on its way out: what goes with
// them was not deleted by itself.
func (b Binder) Stands(ctx context.Context, kind string, id authority.Identity) (bool, error) {
	namespace, err := b.metadata(ctx, "", "Namespace", id.Namespace)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	crd, err := b.metadata(ctx, crdGroup, crdKind, crdOf(kind))
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return namespace.UID == id.NamespaceUID && namespace.DeletionTimestamp.IsZero() &&
		crd.UID == id.CRDUID && crd.DeletionTimestamp.IsZero(), nil
}

// what is the word for what is kept for an object.
func what(o v1alpha1.Object) string {
	switch o.Kind() {
	case v1alpha1.KindClusterCA:
		return "CA"
	case v1alpha1.KindServiceAccountKey:
		return "service account key"
	default:
		return "record of what was made"
	}
}

// reference is how the command line names what is kept for an object.
func reference(o v1alpha1.Object) string {
	return authority.Ref{Kind: o.Kind(), NamespacedName: client.ObjectKeyFromObject(o)}.String()
}

// Package families brings the objects that a ClusterPKI makes to what is wanted of them: it makes, changes and removes them, and says which
// objects of others stand in the way.
//
// Whose child an object is, the authority namespace says, by its UID. Before an object is made, a random nonce is recorded there, which it
// then bears: what is found under its name later is the ClusterPKI's only if it bears that nonce, and no other one was known by a UID yet.
// Labels, annotations and owner references, which whoever may write in a namespace can forge, are no proof of anything.
package families

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/cluster"
)

// Batch is how many objects one visit makes, changes or removes at most. The next visit goes on; others' come in between.
const Batch = 50

// Maker makes children.
type Maker struct {
	Client client.Client // reads from a cache, and writes
	Live   client.Reader // reads from the API server
	Store  *authority.Store

	mu      sync.Mutex
	settled map[types.UID]compared
}

// Problem is why a child is not as it is wanted, and what keeps nobody else's child from being so.
type Problem struct {
	cluster.Key
	Reason  string // of the API
	Message string
}

// View is what there is of a family.
type View struct {
	// Children are those that are there, also such as are not wanted any more.
	Children map[cluster.Key]v1alpha1.Object
	// Gone are those that were there, and were deleted by somebody.
	Gone []cluster.Key
	// Beside are the NodeCredentials of the namespace that are no children.
	Beside []v1alpha1.Object
	// Taken are those that were there, and in whose place stands somebody else's object.
	Taken []cluster.Key
}

// Look finds the children of a family, by the cache. One that the cache does not have is looked for live: it may be on its way there.
func (m *Maker) Look(ctx context.Context, f *authority.Family) (View, error) {
	v := View{Children: make(map[cluster.Key]v1alpha1.Object, len(f.Children))}
	cached, err := m.cached(ctx, f.Namespace)
	if err != nil {
		return v, err
	}
	for key, c := range f.Children {
		if c.UID == "" {
			continue
		}
		k := cluster.Key(key)
		o := cached[k]
		if o == nil || o.GetUID() != c.UID {
			if o, err = m.live(ctx, f.Namespace, k); err != nil {
				return v, err
			}
		}
		switch {
		case o == nil:
			v.Gone = append(v.Gone, k)
		case o.GetUID() != c.UID:
			v.Taken = append(v.Taken, k)
		default:
			v.Children[k] = o
		}
	}
	for k, o := range cached {
		if v.Children[k] == nil && k.Kind == v1alpha1.KindNodeCredential {
			v.Beside = append(v.Beside, o)
		}
	}
	return v, nil
}

// WithBeside are the children, and the other NodeCredentials of the namespace.
func (v View) WithBeside() map[cluster.Key]v1alpha1.Object {
	all := maps.Clone(v.Children)
	for _, o := range v.Beside {
		all[cluster.Key{Kind: o.Kind(), Name: o.GetName()}] = o
	}
	return all
}

// kinds are those of children.
func kinds() []v1alpha1.KindInfo {
	return slices.DeleteFunc(v1alpha1.Kinds(), func(k v1alpha1.KindInfo) bool { return k.Name == v1alpha1.KindClusterPKI })
}

// cached are all objects of these kinds in a namespace.
func (m *Maker) cached(ctx context.Context, namespace string) (map[cluster.Key]v1alpha1.Object, error) {
	out := map[cluster.Key]v1alpha1.Object{}
	for _, k := range kinds() {
		list := k.NewList()
		if err := m.Client.List(ctx, list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("list %s: %w", k.Plural, err)
		}
		//nolint:errcheck // it fails on what is no list, and the function never does
		_ = meta.EachListItem(list, func(item runtime.Object) error {
			if o, ok := item.(v1alpha1.Object); ok {
				out[cluster.Key{Kind: k.Name, Name: o.GetName()}] = o
			}
			return nil
		})
	}
	return out, nil
}

// live reads an object from the API server; nil where there is none.
func (m *Maker) live(ctx context.Context, namespace string, key cluster.Key) (v1alpha1.Object, error) {
	o := empty(key.Kind)
	if o == nil {
		return nil, fmt.Errorf("%s is of no kind of a ClusterPKI's children", key)
	}
	err := m.Live.Get(ctx, client.ObjectKey{Namespace: namespace, Name: key.Name}, o)
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // absence is an answer
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return o, nil
}

func empty(kind string) v1alpha1.Object {
	for _, k := range kinds() {
		if k.Name == kind {
			return k.New()
		}
	}
	return nil
}

// Reserve enters into a family what is wanted and is not there: each gets a nonce, by which it will be known. It says whether it entered any.
func Reserve(next *authority.Family, wanted cluster.Children, v View) bool {
	changed := false
	for _, c := range wanted {
		key := authority.ChildKey(c.Key())
		was, recorded := next.Children[key]
		child := authority.Child{Host: c.Host, Guarded: cluster.Guarded(c.Object), Nonce: was.Nonce, UID: was.UID}
		if !recorded || slices.Contains(v.Gone, c.Key()) {
			child.Nonce, child.UID = rand.Text(), ""
		}
		if child != was {
			next.Children[key], changed = child, true
		}
	}
	return changed
}

package families

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/util/csaupgrade"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/cluster"
	"clusterpki.io/operator/internal/refusal"
	"clusterpki.io/operator/internal/shell"
)

// compared is which state of a child was compared with what is wanted, and found to be the same.
type compared struct {
	generation int64
	wanted     [sha256.Size]byte
}

// change brings the children that are there to what is wanted, those of a few hosts at a time.
func (m *Maker) change(ctx context.Context, v View, p Plan, r *Result) error {
	differing, changes, err := m.differing(v, p.Wanted, r)
	if err != nil {
		return err
	}
	r.Wave = p.Wanted.Wave(v.Children, changes, p.MaxUnavailable)
	for _, d := range differing {
		switch {
		case d.applies && d.child.Host != "" && !r.Wave.Hosts[d.child.Host]: // it waits
		case r.full():
			r.Left++
		default:
			if err := m.adjust(ctx, d.child, v.Children[d.child.Key()], r); err != nil {
				return err
			}
		}
	}
	return nil
}

// differs is a child that is not what is wanted.
type differs struct {
	child   cluster.Child
	applies bool // there is something for the operator to change; else others have set what is not wanted
}

// differing are the children that differ, and the hosts for which something is to be changed.
func (m *Maker) differing(v View, wanted cluster.Children, r *Result) (out []differs, changes map[string]bool, err error) {
	changes = map[string]bool{}
	for _, c := range wanted {
		o, there := v.Children[c.Key()]
		if !there || !o.GetDeletionTimestamp().IsZero() || r.others[c.Key()] {
			continue
		}
		digest, err := digestOf(c.Object)
		if err != nil {
			return nil, nil, err
		}
		if m.isSettled(o, digest) {
			continue
		}
		diff, err := compare(c.Object, o)
		if err != nil {
			return nil, nil, err
		}
		if diff.same() {
			m.settle(o, digest)
			continue
		}
		applies := (len(diff.wrong) > 0 || diff.own(o)) && !diff.leads(o)
		changes[c.Host] = changes[c.Host] || applies
		out = append(out, differs{c, applies})
	}
	return out, changes, nil
}

func digestOf(o v1alpha1.Object) (digest [sha256.Size]byte, err error) {
	text, err := json.Marshal(o)
	if err != nil {
		return digest, fmt.Errorf("encode %s/%s: %w", o.Kind(), o.GetName(), err)
	}
	return sha256.Sum256(text), nil
}

func (m *Maker) isSettled(o v1alpha1.Object, digest [sha256.Size]byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.settled[o.GetUID()] == compared{o.GetGeneration(), digest}
}

func (m *Maker) settle(o v1alpha1.Object, digest [sha256.Size]byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.settled == nil {
		m.settled = map[types.UID]compared{}
	}
	m.settled[o.GetUID()] = compared{o.GetGeneration(), digest}
}

// Forget drops what is remembered of children.
func (m *Maker) Forget(v View) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, o := range v.Children {
		delete(m.settled, o.GetUID())
	}
}

// adjust sets the fields of a child that differ, live, and tells of those that others have set.
func (m *Maker) adjust(ctx context.Context, c cluster.Child, cached v1alpha1.Object, r *Result) error {
	key := c.Key()
	now, err := m.live(ctx, cached.GetNamespace(), key)
	if err != nil {
		return err
	}
	if now == nil || now.GetUID() != cached.GetUID() { // the next visit sees what is there
		r.Left++
		return nil
	}
	diff, err := compare(c.Object, now)
	if err != nil || diff.same() {
		return err
	}
	if (len(diff.wrong) > 0 || diff.own(now)) && !diff.leads(now) {
		if now, err = m.apply(ctx, c, now); err != nil {
			return r.refused(key, err)
		}
		r.Changed++
		if diff, err = compare(c.Object, now); err != nil {
			return err
		}
	}
	for _, path := range diff.all() {
		r.Problems = append(r.Problems, foreign(key, path, managersOf(now, path)))
	}
	return nil
}

// refused makes a problem of what will be refused as long as nobody does anything about it.
func (r *Result) refused(key cluster.Key, err error) error {
	if out := refusal.WayOut(err); out != "" {
		r.Problems = append(r.Problems, Problem{key, v1alpha1.ReasonWriteRefused, fmt.Sprintf("a change of %s is refused: %v: %s", key, err, out)})
		return nil
	}
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) { // somebody was faster
		r.Left++
		return nil
	}
	return err
}

func foreign(key cluster.Key, path []string, managers []string) Problem {
	by := "somebody"
	if len(managers) > 0 {
		quoted := make([]string, 0, len(managers)) // whoever writes chooses the name
		for _, m := range managers {
			quoted = append(quoted, shell.Quote(m))
		}
		by = strings.Join(quoted, ", ")
	}
	return Problem{key, v1alpha1.ReasonForeignField, fmt.Sprintf(
		"%s of %s was set by %s, and the ClusterPKI does not ask for it: take it off, or say it in the ClusterPKI", strings.Join(path, "."), key, by)}
}

// apply sets the spec of a child, under its UID: nothing else is changed, and nothing is made. What the operator set when it made the child is
// its own to take off again only once it is held in the way that applies are.
func (m *Maker) apply(ctx context.Context, c cluster.Child, now v1alpha1.Object) (v1alpha1.Object, error) {
	patch, err := csaupgrade.UpgradeManagedFieldsPatch(now, sets.New(FieldManager), FieldManager)
	if err != nil {
		return nil, fmt.Errorf("see who has set the fields of %s: %w", c.Key(), err)
	}
	if len(patch) > 0 {
		taken, _ := now.DeepCopyObject().(v1alpha1.Object) // of one kind with the other
		if err := m.Client.Patch(ctx, taken, client.RawPatch(types.JSONPatchType, patch)); err != nil {
			return nil, fmt.Errorf("take over the fields of %s: %w", c.Key(), err)
		}
	}
	u, err := bare(c.Object)
	if err != nil {
		return nil, err
	}
	u.SetNamespace(now.GetNamespace())
	u.SetUID(now.GetUID())
	u.SetLabels(only(now.GetLabels(), v1alpha1.ClusterLabel)) // what an apply leaves out that was set before goes
	u.SetAnnotations(only(now.GetAnnotations(), v1alpha1.NonceAnnotation))
	err = m.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner(FieldManager), client.ForceOwnership)
	if err != nil {
		return nil, fmt.Errorf("change %s: %w", c.Key(), err)
	}
	return typed(u, c.Object.Kind())
}

// bare is an object of a kind, name and spec alone. A spec that says nothing is there all the same: the API server fills it in.
func bare(o v1alpha1.Object) (*unstructured.Unstructured, error) {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return nil, fmt.Errorf("encode %s/%s: %w", o.Kind(), o.GetName(), err)
	}
	spec, said := fields[specField]
	if !said {
		spec = map[string]any{}
	}
	u := &unstructured.Unstructured{Object: map[string]any{specField: spec}}
	u.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(o.Kind()))
	u.SetName(o.GetName())
	return u, nil
}

func typed(u *unstructured.Unstructured, kind string) (v1alpha1.Object, error) {
	out := empty(kind)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, out); err != nil {
		return nil, fmt.Errorf("read %s/%s: %w", kind, u.GetName(), err)
	}
	return out, nil
}

func only(texts map[string]string, name string) map[string]string {
	if text, there := texts[name]; there {
		return map[string]string{name: text}
	}
	return nil
}

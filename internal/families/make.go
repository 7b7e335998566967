package families

import (
	"context"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/cluster"
	"clusterpki.io/operator/internal/refusal"
)

// FieldManager is by which name the operator sets the fields of children. The programs for people write under another one.
const FieldManager = "clusterpki-operator"

// Result is what a visit has done, and what is left.
type Result struct {
	Family *authority.Family // as it is recorded now
	// Made, Changed and Removed are how many there were of each.
	Made, Changed, Removed int
	// Left is how many children are still to be made, changed or removed, and nothing but time is missing for that.
	Left     int
	Problems []Problem
	// Wave is which hosts the changes reach now, and which wait.
	Wave cluster.Wave
	// others are the children in whose place somebody else's object stands, and those that name one of them.
	others map[cluster.Key]bool
}

// Work says whether a visit did anything.
func (r *Result) Work() bool { return r.Made+r.Changed+r.Removed > 0 }

func (r *Result) full() bool { return r.Made+r.Changed+r.Removed >= Batch || len(r.Problems) >= Batch }

// Plan is what a family is to be.
type Plan struct {
	Wanted cluster.Children
	Gone   []cluster.Key // what is to be removed
	// MaxUnavailable bounds on how many nodes at a time something is changed: see cluster.Children.Wave.
	MaxUnavailable *intstr.IntOrString
}

// Bring makes what is wanted and not there, changes what differs, in waves of hosts, and removes some. f must be as it is recorded, with a nonce for each
// child that is to be made. What was made is recorded, whatever happens to the rest.
func (m *Maker) Bring(ctx context.Context, f *authority.Family, v View, p Plan) (Result, error) {
	r := Result{Family: f, others: map[cluster.Key]bool{}}
	next := f.Next()
	err := m.make(ctx, next, v, p.Wanted, &r)
	if err == nil {
		err = m.change(ctx, v, p, &r)
	}
	if err == nil {
		err = m.remove(ctx, next, p.Gone, &r)
	}
	if r.Made+r.Removed == 0 && len(next.Children) == len(f.Children) {
		return r, err
	}
	stored, failed := m.Store.CommitFamily(ctx, f, next)
	if failed != nil {
		return r, errors.Join(failed, err)
	}
	r.Family = stored
	return r, err
}

// make makes the children that have a nonce. One in whose place something else stands is left out, and so is whatever names it: the operator may
// issue from every CA, and who wants the ClusterPKI may not.
func (m *Maker) make(ctx context.Context, next *authority.Family, v View, wanted cluster.Children, r *Result) error {
	for _, c := range wanted { // in which what is named stands before what names it
		key := c.Key()
		if slices.Contains(v.Taken, key) {
			r.others[key] = true
			r.Problems = append(r.Problems, conflict(key))
			continue
		}
		if slices.ContainsFunc(cluster.Named(c.Object), func(named cluster.Key) bool { return r.others[named] }) {
			r.others[key] = true
			continue
		}
		child := next.Children[authority.ChildKey(key)]
		if child.Nonce == "" {
			continue
		}
		if r.full() {
			r.Left++
			continue
		}
		o, problem, err := m.post(ctx, c, child.Nonce, next)
		switch {
		case err != nil:
			return err
		case problem != nil:
			r.others[key] = true
			r.Problems = append(r.Problems, *problem)
		default:
			child.Nonce, child.UID = "", o.GetUID()
			next.Children[authority.ChildKey(key)] = child
			v.Children[key] = o
			r.Made++
		}
	}
	return nil
}

// post makes one child, or finds the one that a visit before has made, and could not record any more.
func (m *Maker) post(ctx context.Context, c cluster.Child, nonce string, f *authority.Family) (v1alpha1.Object, *Problem, error) {
	key := c.Key()
	u, err := bare(c.Object)
	if err != nil {
		return nil, nil, err
	}
	u.SetNamespace(f.Namespace)
	u.SetLabels(map[string]string{v1alpha1.ClusterLabel: f.Name})
	u.SetAnnotations(map[string]string{v1alpha1.NonceAnnotation: nonce})
	err = m.Client.Create(ctx, u, client.FieldOwner(FieldManager))
	switch {
	case err == nil:
		o, err := typed(u, key.Kind)
		return o, nil, err
	case refusal.WayOut(err) != "":
		return nil, &Problem{key, v1alpha1.ReasonWriteRefused, fmt.Sprintf("%s is refused: %v: %s", key, err, refusal.WayOut(err))}, nil
	case !apierrors.IsAlreadyExists(err):
		return nil, nil, fmt.Errorf("make %s: %w", key, err)
	}
	there, err := m.live(ctx, f.Namespace, key)
	if err != nil {
		return nil, nil, err
	}
	if there == nil || there.GetAnnotations()[v1alpha1.NonceAnnotation] != nonce {
		problem := conflict(key)
		return nil, &problem, nil
	}
	return there, nil, nil
}

func conflict(key cluster.Key) Problem {
	return Problem{key, v1alpha1.ReasonChildConflict, fmt.Sprintf(
		"%s %q is there, and this ClusterPKI did not make it: it is left alone, and nothing is made that names it. Delete it, and it is made as spec "+
			"asks for, or name the ClusterPKI otherwise",
		key.Kind, key.Name)}
}

// remove deletes children that are not wanted any more, each under its UID, and takes them off the record.
func (m *Maker) remove(ctx context.Context, next *authority.Family, gone []cluster.Key, r *Result) error {
	for _, key := range gone {
		child, recorded := next.Children[authority.ChildKey(key)]
		if !recorded {
			continue
		}
		if r.full() {
			r.Left++
			continue
		}
		problem, err := m.delete(ctx, next.Namespace, key, child)
		if err != nil {
			return err
		}
		if problem != nil {
			r.Problems = append(r.Problems, *problem)
			continue
		}
		delete(next.Children, authority.ChildKey(key))
		r.Removed++
	}
	return nil
}

// delete deletes a child, if it is there. One that was to be made may have been.
func (m *Maker) delete(ctx context.Context, namespace string, key cluster.Key, child authority.Child) (*Problem, error) {
	switch key.Kind {
	case v1alpha1.KindAPIServerCertificate, v1alpha1.KindNodeCredential:
	default: // whose keys others depend on
		return nil, fmt.Errorf("%s does not go with a host", key)
	}
	if child.UID == "" {
		o, err := m.live(ctx, namespace, key)
		if err != nil {
			return nil, err
		}
		if o == nil || o.GetAnnotations()[v1alpha1.NonceAnnotation] != child.Nonce {
			return nil, nil //nolint:nilnil // there is nothing to do, and that is no problem
		}
		child.UID = o.GetUID()
	}
	o := empty(key.Kind)
	o.SetNamespace(namespace)
	o.SetName(key.Name)
	err := m.Client.Delete(ctx, o, client.Preconditions{UID: &child.UID})
	switch {
	case err == nil, apierrors.IsNotFound(err), apierrors.IsConflict(err): // it is gone; or another one stands there, which is not ours
		return nil, nil //nolint:nilnil // it went, and that is no problem
	case refusal.WayOut(err) != "":
		return &Problem{key, v1alpha1.ReasonWriteRefused, fmt.Sprintf("the removal of %s is refused: %v: %s", key, err, refusal.WayOut(err))}, nil
	default:
		return nil, fmt.Errorf("remove %s: %w", key, err)
	}
}

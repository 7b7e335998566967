package backup

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/records"
)

// Target is where a backup is restored.
type Target struct {
	Client             client.Client // not cached
	AuthorityNamespace string
	// Namespaces says which namespace takes the place of one of the backup, where it is another one.
	Namespaces map[string]string
	// Replace names what may be replaced by what the backup has of it: CAs, with what was issued from them, and service account keys.
	Replace []authority.Ref
}

// Result is what a restore did.
type Result struct {
	CAs, AccountKeys, Clusters, Objects int // that were written
	Kept                                int // that were there already
	// Foreign are Secrets and ConfigMaps that bear no claim of the operator of where they come from: it will leave them alone.
	Foreign []string
}

// ExistsError says that something is there already. Nothing was written.
type ExistsError struct{ What []string }

// shown is how many things a message names.
const shown = 10

func (e *ExistsError) Error() string {
	text := strings.Join(e.What[:min(shown, len(e.What))], "; ")
	if more := len(e.What) - shown; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text + ". Nothing was written"
}

// restore is one run. What is to be written is found out first.
type restore struct {
	Target
	Archive
	store *authority.Store
	seal  authority.Seal // the target's
	uids  map[string]types.UID
	home  types.UID // of the authority namespace
	// removals go before writes: a CA that is to be replaced must not react to the return of another one.
	removals, writes []func(context.Context) error
	exists           []string
	result           Result
}

// Restore writes a backup: what decides about CAs and service account keys first, then what was made from them, and in the end the objects that
// ask for it. What is there already is left alone or, where it is another CA or another key than the backup's, refused
// before anything is written.
func (t Target) Restore(ctx context.Context, a Archive) (Result, error) {
	r := &restore{Target: t, Archive: a, store: authority.New(t.AuthorityNamespace, t.Client, nil), uids: map[string]types.UID{}}
	var err error
	for _, namespace := range a.Namespaces() {
		if r.uids[namespace], err = r.uid(ctx, r.to(namespace)); err != nil {
			return Result{}, err
		}
	}
	if r.home, err = r.homeUID(ctx); err != nil {
		return Result{}, err
	}
	if r.seal, err = r.store.Seal(ctx); err != nil {
		return Result{}, err
	}
	for _, kept := range a.kept() {
		if err := r.planKept(ctx, kept); err != nil {
			return Result{}, err
		}
	}
	for _, key := range a.Deliveries {
		if err := r.planDelivery(ctx, key); err != nil {
			return Result{}, err
		}
	}
	r.planIssued()
	objects := slices.Clone(a.Objects)
	slices.SortStableFunc(objects, func(a, b unstructured.Unstructured) int { return place(a) - place(b) })
	for _, o := range objects {
		if err := r.planObject(ctx, o); err != nil {
			return Result{}, err
		}
	}
	if len(r.exists) > 0 {
		return Result{}, &ExistsError{r.exists}
	}
	for _, write := range append(r.removals, r.writes...) {
		if err := write(ctx); err != nil {
			return r.result, err
		}
	}
	return r.result, nil
}

func (r *restore) to(namespace string) string {
	if other, renamed := r.Target.Namespaces[namespace]; renamed {
		return other
	}
	return namespace
}

// uid is that of a namespace, which has to be there.
func (r *restore) uid(ctx context.Context, name string) (types.UID, error) {
	var ns corev1.Namespace
	err := r.Client.Get(ctx, client.ObjectKey{Name: name}, &ns)
	switch {
	case apierrors.IsNotFound(err):
		return "", fmt.Errorf("there is no namespace %q: create it before", name)
	case err != nil:
		return "", fmt.Errorf("read namespace %q: %w", name, err)
	case !ns.DeletionTimestamp.IsZero():
		return "", fmt.Errorf("namespace %q is being deleted: wait until it is gone, and create it", name)
	case name == r.AuthorityNamespace:
		return "", fmt.Errorf("namespace %q is the authority's: it holds no objects", name)
	}
	return ns.UID, nil
}

// homeUID is that of the authority namespace.
func (r *restore) homeUID(ctx context.Context) (types.UID, error) {
	var ns corev1.Namespace
	if err := r.Client.Get(ctx, client.ObjectKey{Name: r.AuthorityNamespace}, &ns); err != nil {
		return "", fmt.Errorf("read the authority namespace %q: %w", r.AuthorityNamespace, err)
	}
	return ns.UID, nil
}

// planKept decides about one CA, or the keys of one ServiceAccountKey.
func (r *restore) planKept(ctx context.Context, kept authority.Kept) error {
	of, count := kept.Ref(), &r.result.CAs
	switch of.Kind {
	case authority.KindAccountKeys:
		count = &r.result.AccountKeys
	case authority.KindFamily:
		count = &r.result.Clusters
	}
	if f, ok := kept.(*authority.Family); ok {
		kept = f.KnownBy(r.nonces(f.Namespace))
	}
	next := kept.Rebound(r.to(of.Namespace), r.uids[of.Namespace], r.home)
	of = next.Ref()
	there, err := r.store.KeptFor(ctx, of)
	name := of.Kind + " " + of.NamespacedName.String()
	switch {
	case err != nil:
		return err
	case there == nil:
		r.write(count, func(ctx context.Context) error { return r.store.Restore(ctx, next) })
	case there.SameAs(kept) && there.Whose().NamespaceUID == next.Whose().NamespaceUID && there.Whose().HomeUID == next.Whose().HomeUID:
		r.result.Kept++
	case slices.Contains(r.Replace, of):
		r.removals = append(r.removals, func(ctx context.Context) (err error) {
			there, err = r.remove(ctx, there)
			return err
		})
		r.write(count, func(ctx context.Context) error { return r.store.Restore(ctx, next.InPlaceOf(there)) })
	case there.SameAs(kept):
		r.exists = append(r.exists, name+" is kept for a namespace that held it before, or was copied here from another authority namespace: "+
			"`clusterpki authority release` gives it to this one")
	default:
		r.exists = append(r.exists, fmt.Sprintf("%s has a key already, or has gone on since the backup: --replace %s puts the backup in its place",
			name, of))
	}
	return nil
}

// planIssued restores which certificates were issued: the objects that are restored, or are there, take that up by their names.
func (r *restore) planIssued() {
	issued := records.New(r.AuthorityNamespace, r.Client, nil, nil)
	for _, namespace := range slices.Sorted(maps.Keys(r.Issued)) {
		place := records.Place{Namespace: r.to(namespace), NamespaceUID: r.uids[namespace], HomeUID: r.home}
		r.writes = append(r.writes, func(ctx context.Context) error { return issued.Restore(ctx, place, r.Issued[namespace]) })
	}
}

// remove deletes what is to be replaced, as it is by now, and returns that.
func (r *restore) remove(ctx context.Context, there authority.Kept) (authority.Kept, error) {
	err := r.store.Remove(ctx, there)
	for n := 1; n < maxWrites && apierrors.IsConflict(err); n++ {
		now, readErr := r.store.KeptFor(ctx, there.Ref())
		if readErr != nil || now == nil {
			return there, readErr
		}
		there = now
		err = r.store.Remove(ctx, there)
	}
	return there, err
}

func (r *restore) write(count *int, f func(context.Context) error) {
	r.writes = append(r.writes, func(ctx context.Context) error {
		if err := f(ctx); err != nil {
			return err
		}
		*count++
		return nil
	})
}

// planObject decides about one object of a user's namespace.
func (r *restore) planObject(ctx context.Context, o unstructured.Unstructured) error {
	if r.isCopy(o) {
		return nil
	}
	next := portable(o)
	next.SetNamespace(r.to(o.GetNamespace()))
	claim, claimed := r.claimOf(o)
	if _, marked := o.GetAnnotations()[v1alpha1.ClaimAnnotation]; marked && !claimed {
		r.result.Foreign = append(r.result.Foreign, fmt.Sprintf("%s %s/%s", o.GetKind(), next.GetNamespace(), o.GetName()))
	}
	r.claim(&next, claim, claimed)
	there := unstructured.Unstructured{}
	there.SetGroupVersionKind(o.GroupVersionKind())
	err := r.Client.Get(ctx, client.ObjectKeyFromObject(&next), &there)
	switch {
	case apierrors.IsNotFound(err):
		r.write(&r.result.Objects, func(ctx context.Context) error { return r.create(ctx, next, claim, claimed) })
	case err != nil:
		return fmt.Errorf("look for %s %s/%s: %w", o.GetKind(), next.GetNamespace(), o.GetName(), err)
	case o.GroupVersionKind() != secrets, equality.Semantic.DeepEqual(lasting(there), lasting(next)):
		r.result.Kept++ // an object is as its user wants it now; and the operator repairs a bundle
	case claimed && r.isOurs(there) && r.ofAccountKeys(o, claim):
		r.result.Kept++ // the operator writes what the keys say that were restored, or are there
	case claimed && r.replaced(there):
		r.write(&r.result.Objects, func(ctx context.Context) error { return r.overwrite(ctx, next, claim, r.replaced) })
	default:
		r.exists = append(r.exists, fmt.Sprintf("Secret %s/%s holds something else than in the backup: delete it, if it is to be "+
			"as it was", next.GetNamespace(), o.GetName()))
	}
	return nil
}

// lasting is what a Secret holds but for what the operator signs anew for each object.
func lasting(o unstructured.Unstructured) map[string]any {
	data, _, err := unstructured.NestedMap(o.Object, "data")
	if err != nil {
		return nil
	}
	delete(data, consumers.DeliveryKey)
	return data
}

// create writes what was not there. What the operator, or somebody else, has made since is left alone, but for a Secret that
// the operator made for an object that was waiting for this very restore.
func (r *restore) create(ctx context.Context, o unstructured.Unstructured, claim consumers.Claim, claimed bool) error {
	err := r.Client.Create(ctx, &o)
	switch {
	case apierrors.IsAlreadyExists(err) && o.GroupVersionKind() != secrets:
		return nil
	case apierrors.IsAlreadyExists(err) && claimed:
		return r.overwrite(ctx, o, claim, r.isOurs)
	case err != nil:
		return fmt.Errorf("create %s %s/%s: %w", o.GetKind(), o.GetNamespace(), o.GetName(), err)
	}
	return nil
}

// claim puts the target's seal on what the operator made. What it did not make bears none.
func (r *restore) claim(o *unstructured.Unstructured, c consumers.Claim, claimed bool) {
	text := ""
	if claimed {
		text = c.Text(r.seal, o.GetKind(), o.GetNamespace(), o.GetName())
	}
	annotate(o, v1alpha1.ClaimAnnotation, text)
}

// isOurs says whether the operator made a Secret that is there.
func (r *restore) isOurs(there unstructured.Unstructured) bool {
	_, ours := r.claimThere(there)
	return ours
}

func (r *restore) claimThere(o unstructured.Unstructured) (c consumers.Claim, ok bool) {
	return consumers.ParseClaim(r.seal, o.GetAnnotations(), o.GetKind(), o.GetNamespace(), o.GetName())
}

// replaced says whether a Secret was made from a CA that is to be replaced.
func (r *restore) replaced(there unstructured.Unstructured) bool {
	c, ours := r.claimThere(there)
	return ours && slices.ContainsFunc(r.Replace, func(of authority.Ref) bool {
		return of.Kind == authority.KindCA && of.Namespace == there.GetNamespace() && slices.Contains(c.CAs(), of.Name)
	})
}

// maxWrites is how often a write is tried against the operator's.
const maxWrites = 10

// overwrite gives a Secret that the operator made meanwhile what the backup says, if it is one that may be. It stays with the
// object it was made for.
func (r *restore) overwrite(ctx context.Context, next unstructured.Unstructured, claim consumers.Claim, may func(unstructured.Unstructured) bool) error {
	write := func() error {
		there := unstructured.Unstructured{}
		there.SetGroupVersionKind(secrets)
		if err := r.Client.Get(ctx, client.ObjectKeyFromObject(&next), &there); err != nil {
			return err //nolint:wrapcheck // below
		}
		if !may(there) {
			return errors.New("it is another one meanwhile")
		}
		now, _ := r.claimThere(there)
		claim.UID = now.UID
		there.Object["data"] = next.Object["data"]
		r.claim(&there, claim, true)
		return r.Client.Update(ctx, &there)
	}
	err := write()
	for n := 1; n < maxWrites && apierrors.IsConflict(err); n++ {
		err = write()
	}
	if err != nil {
		return fmt.Errorf("write Secret %s/%s: %w", next.GetNamespace(), next.GetName(), err)
	}
	return nil
}

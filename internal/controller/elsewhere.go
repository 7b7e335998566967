package controller

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/stall"
)

// Two installations of the operator may serve one namespace, each with an authority namespace of its own. The status of a
// ClusterCA names the one that it belongs to. The other installation signs nothing and makes nothing for it, says so once, and
// then leaves the statuses alone: else the two would write them in turns, without an end.

// keeps says whether a CA's Secret was written for the authority namespace of this installation.
func (b *base) keeps(record *authority.Record) bool {
	return string(record.HomeUID) == b.authorityUID()
}

// ours says, as a stall, where another installation of the operator serves the ClusterCA.
func (b *base) ours(ca *v1alpha1.ClusterCA) error {
	own, named := b.authorityUID(), ca.Status.Authority.NamespaceUID
	if named == "" || named == own {
		return nil
	}
	return stalled(v1alpha1.ReasonAuthorityMissing,
		"another installation of the operator serves this ClusterCA: its status names the authority namespace of UID %s, and this one's is %s. Let only "+
			"one serve the namespace; if the other one is gone for good, delete this ClusterCA and create it again", named, own)
}

// servedElsewhere says, as a stall, where another installation serves the ClusterCA that signs for a leaf.
func (b *base) servedElsewhere(ctx context.Context, namespace, name string) error {
	var ca v1alpha1.ClusterCA
	err := b.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &ca)
	switch {
	case apierrors.IsNotFound(err):
		return nil // which is told as what is wrong with the issuer
	case err != nil:
		return fmt.Errorf("read ClusterCA %q: %w", name, err)
	case b.ours(&ca) != nil:
		return stalled(v1alpha1.ReasonAuthorityMissing, "another installation of the operator serves ClusterCA %q: see its condition Stalled", name)
	default:
		return nil
	}
}

// isElsewhere says whether an error is that another installation serves an object.
func isElsewhere(err error) bool {
	st, ok := stall.Of(err)
	return ok && st.Reason == v1alpha1.ReasonAuthorityMissing
}

// claim lets one of several installations have the CA: the one whose authority namespace the status names. The write fails if
// anybody wrote in between; and where there is nothing to write, the ClusterCA is read live: it may be another one by now.
func (r *clusterCAs) claim(ctx context.Context, ca *v1alpha1.ClusterCA) error {
	own := r.authorityUID()
	if ca.Status.Authority.NamespaceUID == own {
		return r.current(ctx, ca)
	}
	before := ca.DeepCopy()
	ca.Status.Authority.NamespaceUID = own
	err := r.client.Status().Patch(ctx, ca, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	if err != nil {
		return fmt.Errorf("enter the authority namespace into the status: %w", err)
	}
	r.wrote.Updated(ca.Kind(), ca)
	return nil
}

// concludeElsewhere is the end of a reconciliation of an object that another installation serves: of its status, only the
// conditions are written, and each only once for a generation of the object. A restart of the operator begins anew.
func (b *base) concludeElsewhere(ctx context.Context, before v1alpha1.Object, rep report, o outcome) (ctrl.Result, error) {
	after, ok := before.DeepCopyObject().(v1alpha1.Object)
	if !ok || lostRace(rep.err) {
		return b.result(rep.err, zeroTime)
	}
	conds := after.StatusConditions()
	old := *conds
	*conds = settle(b.clock.Now(), after.GetGeneration(), old, conditions(rep))
	*after.ObservedGeneration() = after.GetGeneration()
	text := reasonsOf(*conds)
	if b.told.knows(after, text) {
		return b.result(rep.err, o.nextCheck)
	}
	if err := b.patchStatus(ctx, before, after); err != nil {
		return b.result(err, zeroTime)
	}
	b.told.note(after, text)
	b.announceStalled(after, old, *conds)
	return b.result(rep.err, o.nextCheck)
}

// reasonsOf is what conditions say, without what may differ from one time to the next.
func reasonsOf(conds []metav1.Condition) string {
	var b strings.Builder
	for _, c := range conds {
		fmt.Fprintf(&b, "%s=%s/%s ", c.Type, c.Status, c.Reason)
	}
	return b.String()
}

// told is what this operator has said of objects that another installation serves.
type told struct {
	mu sync.Mutex
	of map[types.UID]telling
}

type telling struct {
	generation int64
	texts      map[string]bool
}

// maxTold bounds of how many objects is remembered what was said. Beyond that it begins anew.
const maxTold = 100_000

func (t *told) knows(o client.Object, text string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.of[o.GetUID()]
	return was.generation == o.GetGeneration() && was.texts[text]
}

func (t *told) note(o client.Object, text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.of == nil || len(t.of) >= maxTold {
		t.of = map[types.UID]telling{}
	}
	now := telling{o.GetGeneration(), map[string]bool{text: true}}
	if was := t.of[o.GetUID()]; was.generation == now.generation {
		maps.Copy(now.texts, was.texts)
	}
	t.of[o.GetUID()] = now
}

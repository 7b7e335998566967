package binding

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/apitime"
	"clusterpki.io/operator/internal/authority"
)

// An absent object is not a deleted one: it may not be restored yet, its CRD may be gone, or a flag was changed. Its keys are
// destroyed only after a DELETE that was seen and meant that object, with deletionPolicy 'Delete': what is kept is marked first, and
// the keys go after DestroyAfter, unless the object is back.

// DestroyAfter is how long the keys of a deleted object are kept.
const DestroyAfter = 7 * 24 * time.Hour

// Ender ends what is kept for objects that were deleted.
type Ender struct {
	Binder
	Store *authority.Store
	Clock apitime.Timekeeper
	// EmptyCopies takes the copies of a CA's key out of the user's namespace.
	EmptyCopies func(ctx context.Context, record *authority.Record, but ...string) (*authority.Record, error)
}

// Deleted marks what is kept for an object of a UID that was deleted. An empty UID stands for nobody: then the keys that were marked
// long enough ago are destroyed. What is returned is how long they are still kept; zero where there is nothing to wait for.
func (e Ender) Deleted(ctx context.Context, of authority.Ref, uid types.UID) (time.Duration, error) {
	if err := e.Home.Ensure(ctx); err != nil {
		return 0, err
	}
	kept, err := e.Store.KeptFor(ctx, of)
	if err != nil || kept == nil || kept.Tombstone() || !e.Home.Keeps(kept.Whose()) {
		return 0, err
	}
	marked := kept.MarkedAt()
	if uid != "" {
		return 0, e.mark(ctx, kept, uid)
	}
	if marked.IsZero() {
		return 0, nil
	}
	if wait := marked.Add(DestroyAfter).Sub(e.Clock.Now()); wait > 0 {
		return wait, nil
	}
	return 0, e.destroy(ctx, kept)
}

// mark notes that the object was deleted, if it is the one that the ledger was bound to, and namespace and CRD stand.
func (e Ender) mark(ctx context.Context, kept authority.Kept, uid types.UID) error {
	id := kept.Whose()
	if id.UID != uid || !kept.MarkedAt().IsZero() {
		return nil
	}
	stands, err := e.Stands(ctx, kept.Ref().Kind, id)
	if err != nil || !stands {
		return err
	}
	deleted := e.Clock.Latest().UTC().Truncate(time.Second).Add(time.Second) // rounded up
	if _, err := e.Store.CommitKept(ctx, kept, kept.Given(id, deleted)); err != nil {
		return err
	}
	log.FromContext(ctx).Info("Marked the keys of a deleted object: they are destroyed in seven days, unless it is back",
		"kind", kept.Ref().Kind, "object", klog.KRef(id.Namespace, id.Name))
	return nil
}

// destroy empties the Secret to a tombstone, unless an object of the name is back: that one's reconciler takes it up. The copies of a CA's key go before:
// nothing would know of one that is left.
func (e Ender) destroy(ctx context.Context, kept authority.Kept) error {
	id := kept.Whose()
	back, err := e.back(ctx, kept.Ref())
	if err != nil || back {
		return err
	}
	if stands, err := e.Stands(ctx, kept.Ref().Kind, id); err != nil || !stands {
		return err
	}
	if record, ok := kept.(*authority.Record); ok && record.Copied() {
		if kept, err = e.EmptyCopies(ctx, record); err != nil {
			return err
		}
	}
	if _, err := e.Store.CommitKept(ctx, kept, kept.Destroyed()); err != nil {
		return err
	}
	log.FromContext(ctx).Info("Destroyed the keys of an object that was deleted seven days ago",
		"kind", kept.Ref().Kind, "object", klog.KRef(id.Namespace, id.Name))
	return nil
}

// back says whether an object of the name is there, read live.
func (e Ender) back(ctx context.Context, of authority.Ref) (bool, error) {
	for _, k := range v1alpha1.Kinds() {
		if k.Name != of.Kind {
			continue
		}
		err := e.Live.Get(ctx, of.NamespacedName, k.New())
		if client.IgnoreNotFound(err) != nil {
			return true, fmt.Errorf("look whether the %s is back: %w", of.Kind, err)
		}
		return !apierrors.IsNotFound(err), nil
	}
	return true, fmt.Errorf("there is no kind %q", of.Kind)
}

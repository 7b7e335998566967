package ca

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
	"clusterpki.io/operator/internal/authority"
)

// An absent ClusterCA is not a deleted one: it may not be restored yet, its CRD may be gone, or a flag was changed. Its keys are
// destroyed only after a DELETE that was seen and meant that object, with deletionPolicy 'Delete': the CA is marked first, and
// the keys go after DestroyAfter, unless the object is back.

// DestroyAfter is how long the keys of a deleted CA are kept.
const DestroyAfter = 7 * 24 * time.Hour

// Deleted marks the CA of a ClusterCA of a UID that was deleted. An empty UID stands for nobody: then the keys of a CA that was marked
// long enough ago are destroyed. What is returned is how long its keys are still kept; zero where there is nothing to wait for.
func (m *Maker) Deleted(ctx context.Context, name types.NamespacedName, uid types.UID) (time.Duration, error) {
	if err := m.Home.Ensure(ctx); err != nil {
		return 0, err
	}
	record, err := m.Store.Live(ctx, name.Namespace, name.Name)
	if err != nil || record == nil || record.Tombstone() || !m.Home.Keeps(record.Identity) {
		return 0, err
	}
	if uid != "" {
		return 0, m.mark(ctx, record, uid)
	}
	if record.Deleted.IsZero() {
		return 0, nil
	}
	if wait := record.Deleted.Add(DestroyAfter).Sub(m.Clock.Now()); wait > 0 {
		return wait, nil
	}
	return 0, m.destroy(ctx, record)
}

// mark notes that the ClusterCA was deleted, if that object is what the ledger was bound to, and namespace and CRD stand.
func (m *Maker) mark(ctx context.Context, record *authority.Record, uid types.UID) error {
	if record.UID != uid || !record.Deleted.IsZero() {
		return nil
	}
	stands, err := m.binder().Stands(ctx, v1alpha1.KindClusterCA, record.Identity)
	if err != nil || !stands {
		return err
	}
	next := record.Next()
	next.Deleted = m.Clock.Latest().UTC().Truncate(time.Second).Add(time.Second) // rounded up
	if _, err := m.Store.Commit(ctx, record, next); err != nil {
		return err
	}
	log.FromContext(ctx).Info("Marked the keys of a deleted ClusterCA: they are destroyed in seven days, unless it is back",
		"clusterCA", klog.KRef(record.Namespace, record.Name))
	return nil
}

// destroy empties the CA's Secret to a tombstone, unless a ClusterCA of its name is back: that one's reconciler takes it up.
func (m *Maker) destroy(ctx context.Context, record *authority.Record) error {
	var ca v1alpha1.ClusterCA
	err := m.Live.Get(ctx, client.ObjectKey{Namespace: record.Namespace, Name: record.Name}, &ca)
	if err == nil {
		return nil
	}
	if !apierrors.IsNotFound(err) {
		return fmt.Errorf("look whether the ClusterCA is back: %w", err)
	}
	if stands, err := m.binder().Stands(ctx, v1alpha1.KindClusterCA, record.Identity); err != nil || !stands {
		return err
	}
	if _, err := Destroy(ctx, m.Store, record); err != nil {
		return err
	}
	log.FromContext(ctx).Info("Destroyed the keys of a ClusterCA that was deleted seven days ago", "clusterCA", klog.KRef(record.Namespace, record.Name))
	return nil
}

// Destroy empties the Secret of a CA that is marked as deleted to a tombstone. Its numbers go on.
func Destroy(ctx context.Context, store *authority.Store, record *authority.Record) (*authority.Record, error) {
	next := record.Next()
	next.Ledger, next.CAs, next.Err = record.Ledger.Tombstone(), nil, nil
	return store.Commit(ctx, record, next)
}

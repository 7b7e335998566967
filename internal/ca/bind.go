package ca

import (
	"context"
	"time"

	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/binding"
	"clusterpki.io/operator/internal/pki/plan"
)

// binder binds CAs to ClusterCAs.
func (m *Maker) binder() binding.Binder {
	return binding.Binder{Client: m.Client, Live: m.Live, Home: m.Home, Wrote: m.Wrote}
}

// bind gives a CA that was retained to the object that has its name now, if that stands in the namespace which held it.
func (m *Maker) bind(ctx context.Context, ca *v1alpha1.ClusterCA, record *authority.Record) (*authority.Record, error) {
	identity, err := m.binder().Take(ctx, ca, record.Identity)
	if err != nil {
		return nil, err
	}
	next := record.Next()
	next.Identity, next.Deleted, next.Ledger = identity, time.Time{}, record.Ledger.TakeUp()
	record, err = m.Store.Commit(ctx, record, next)
	if err == nil {
		log.FromContext(ctx).Info("Took up a retained certificate authority", "clusterCA", klog.KObj(ca))
	}
	return record, err
}

// taken notes with which spec a CA was taken up, once that can be told.
func (m *Maker) taken(ctx context.Context, record *authority.Record, aim target, aimErr error) (*authority.Record, error) {
	if record.Ledger.TakenUp != plan.UnknownSpec || aimErr != nil || aim.Hold {
		return record, nil //nolint:nilerr // it is told by whoever has it; the spec is not known yet
	}
	next := record.Next()
	next.Ledger = record.Ledger.TakenAs(aim.SpecHash)
	stored, err := m.Store.Commit(ctx, record, next)
	if err != nil {
		return record, err
	}
	return stored, nil
}

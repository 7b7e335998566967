package ca

import (
	"context"
	"errors"
	"time"

	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/internal/stall"
)

// record is what the authority namespace says of a CA, bound to this object. Where there is nothing and never was, the
// first key is made.
func (m *Maker) record(ctx context.Context, ca *v1alpha1.ClusterCA) (record *authority.Record, created bool, err error) {
	if err := m.Home.Ready(ctx, ca.Namespace); err != nil {
		return nil, false, err
	}
	record, err = m.Store.Live(ctx, ca.Namespace, ca.Name)
	switch {
	case authority.IsUnreadable(err):
		return nil, false, stall.Because(v1alpha1.ReasonLedgerUnreadable, "%v: restore it from a backup", err)
	case err != nil:
		return nil, false, err
	case record == nil || record.Tombstone():
		record, err = m.bootstrap(ctx, ca, record)
		return record, err == nil, err
	}
	bound, err := m.binder().Bound(ca, record.Identity, record.Deleted)
	switch {
	case bound:
		return record, false, err
	case err != nil:
		return nil, false, err
	default:
		record, err = m.bind(ctx, ca, record)
		return record, false, err
	}
}

// bootstrap makes the first key of a CA, or, after a tombstone, the first one again. Before that it makes sure that there
// was none: a CA that was there once and is not any more is an error for a person, never a reason to make another.
func (m *Maker) bootstrap(ctx context.Context, ca *v1alpha1.ClusterCA, tombstone *authority.Record) (*authority.Record, error) {
	was, noTraces := &authority.Record{}, func() error { return m.noTraces(ctx, ca) }
	if tombstone != nil {
		was, noTraces = tombstone, nil
	}
	identity, err := m.binder().Begin(ctx, ca, noTraces)
	if err != nil {
		return nil, err
	}
	aim, err := m.targetOf(ctx, ca, was)
	if err != nil {
		return nil, err
	}
	next := was.Next()
	next.Identity, next.Deleted = identity, time.Time{}
	made, err := m.newKey(ctx, ca, was, aim)
	if err != nil {
		return nil, err
	}
	next.Ledger = plan.Bootstrap(m.Clock.Latest(), was.Ledger, made.generation)
	next.CAs = map[int32]pki.CA{made.generation.Number: made.pair}
	if err := m.mayTake(ctx, ca, next, aim); err != nil {
		return nil, err
	}
	if tombstone != nil {
		next, err = m.Store.Commit(ctx, tombstone, next)
	} else {
		next, err = m.Store.Create(ctx, next)
	}
	if err != nil {
		return nil, tooLarge(err)
	}
	log.FromContext(ctx).Info("Created a certificate authority", "clusterCA", klog.KObj(ca),
		"subject", made.pair.Cert.Subject.String(), "serialNumber", pki.SerialOf(made.pair.Cert), "notAfter", made.pair.Cert.NotAfter)
	return next, nil
}

// tooLarge makes a stall of a CA that cannot be stored.
func tooLarge(err error) error {
	if large, ok := errors.AsType[*authority.TooLargeError](err); ok {
		return stall.Because(v1alpha1.ReasonImportInvalid, "%v", large)
	}
	return err
}

package ca

import (
	"context"
	"fmt"
	"time"

	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/pki/plan"
)

// advance makes the one transition of the ledger that is due, if any. Each is one write of the authority Secret under the
// resourceVersion that was read; whoever loses that race decides again from what is there then.
func (m *Maker) advance(ctx context.Context, ca *v1alpha1.ClusterCA, st State, w target) (State, error) {
	record := st.Record
	o, err := m.cached(ctx, record, w.DesiredLedger)
	if err != nil {
		return st, err
	}
	now := m.Clock.Now()
	st.Gate = record.Ledger.GateOf(now, o.Observation)
	desired := withLimits(ca, record.Ledger, w.DesiredLedger, o)
	if o.newer != "" {
		st.Waits, st.WaitsReason = o.newer, v1alpha1.ReasonLedgerOutdated
	}
	_, t := record.Ledger.Step(now, desired, o.Observation)
	until := record.Ledger.Restored(now, o.Observation)
	if t == plan.Nothing && st.Waits == "" && !until.IsZero() && record.Ledger.CauseOf(w.DesiredLedger) != "" {
		st.Waits = fmt.Sprintf("a rotation is due, and this CA was restored less than %.0f minutes ago: its consumers may still be missing, and it "+
			"begins at %s",
			plan.Settling.Minutes(), until.UTC().Format(time.RFC3339))
		st.WaitsReason = v1alpha1.ReasonRestoreIncomplete
		return st, nil
	}
	if t == plan.Nothing {
		return st, nil
	}
	// Nobody may have come or gone since the cache was filled, nor may the spec be another.
	if err := m.binder().EnsureFresh(ctx, ca); err != nil {
		return st, err
	}
	if o, err = m.live(ctx, record, w.DesiredLedger, o); err != nil {
		return st, err
	}
	o.Latest = m.Clock.Latest() // since then at the latest, all of it is as it was read
	st.Gate = record.Ledger.GateOf(now, o.Observation)
	desired = withLimits(ca, record.Ledger, w.DesiredLedger, o)
	next, again := record.Ledger.Step(now, desired, o.Observation)
	if again != t {
		return st, nil
	}
	w.DesiredLedger = desired
	stored, step, err := m.commit(ctx, ca, record, Step{Transition: t, From: record.Ledger, To: next, Asked: o.Consumers}, w)
	if err != nil {
		return st, err
	}
	st.Record, st.Step = stored, step
	return st, nil
}

// commit stores the ledger after a step, and the key that belongs to it.
func (m *Maker) commit(ctx context.Context, ca *v1alpha1.ClusterCA, was *authority.Record, s Step, w target) (*authority.Record, Step, error) {
	next := was.Next()
	if s.Transition == plan.NewKey {
		made, err := m.newKey(ctx, ca, was, w)
		if err != nil {
			return nil, s, err
		}
		s.To, s.Transition = was.Ledger.Enter(m.Clock.Latest(), made.generation, w.DesiredLedger)
		s.NotCrossSigned = made.notCrossSigned
		next.CAs[made.generation.Number] = made.pair
		next.Ledger = s.To
		if err := m.mayTake(ctx, ca, next, w); err != nil {
			return nil, s, err
		}
	}
	next.Ledger = s.To
	stored, err := m.Store.Commit(ctx, was, next)
	if err != nil {
		return nil, s, tooLarge(err)
	}
	s.To = stored.Ledger
	log.FromContext(ctx).Info("Made a step of a CA's rotation",
		"clusterCA", klog.KObj(ca), "transition", s.Transition, "from", s.From.Phase(), "to", s.To.Phase())
	return stored, s, nil
}

// Approved says whether a person lets the old CA of the rotation under way be withdrawn, whatever is only assumed.
func Approved(ca *v1alpha1.ClusterCA, l plan.Ledger) bool {
	id := l.RotationID(ca.Name)
	return ca.Spec.Rotation.Withdraws(id)
}

// withLimits adds to what the spec asks for how many leaves may be on their way at one time, whether the ledger is behind
// what was issued from it, and what a person has approved.
func withLimits(ca *v1alpha1.ClusterCA, l plan.Ledger, w plan.DesiredLedger, o observation) plan.DesiredLedger {
	leaves := 0
	for _, c := range o.Consumers {
		if c.HasLeaf && !c.Orphaned {
			leaves++
		}
	}
	w.MaxUnavailable = consumers.MaxUnavailable(ca.Spec.Rotation.MaxUnavailable, leaves)
	w.Hold = w.Hold || o.newer != ""
	w.WithdrawalApproved = Approved(ca, l)
	return w
}

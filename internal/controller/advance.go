package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/pki/plan"
)

// gatePoll is how often an open gate is looked at by default: at a fixed interval, because consumers acknowledge by the
// passing of time.
const gatePoll = 5 * time.Second

// step is what became of the ledger in a reconciliation.
type step struct {
	record     *authority.Record // as it is stored now
	gate       plan.Gate         // of the present phase, where it was looked at
	moved      bool
	held       string // why a step that is due waits; "" where none does
	heldReason string
	unnamed    string // why the import Secret, or a trigger, decides nothing
}

// advance makes the one transition of the ledger that is due, if any. Each is one write of the authority Secret under the
// resourceVersion that was read; whoever loses that race decides again from what is there then.
func (r *clusterCAs) advance(ctx context.Context, ca *v1alpha1.ClusterCA, record *authority.Record, w wish) (step, error) {
	out := step{record: record, unnamed: w.unnamed}
	seen, err := r.observe(ctx, r.client, record, w.Want)
	if err != nil {
		return out, err
	}
	now := r.clock.Now()
	out.gate = record.Ledger.GateOf(now, seen.Observation)
	want := wanting(ca, w.Want, seen)
	if seen.newer != "" {
		out.held, out.heldReason = seen.newer, v1alpha1.ReasonLedgerOutdated
	}
	_, t := record.Ledger.Step(now, want, seen.Observation)
	if until := record.Ledger.Restored(now, seen.Observation); t == plan.Nothing && out.held == "" && !until.IsZero() && record.Ledger.CauseOf(w.Want) != "" {
		out.held = fmt.Sprintf("a rotation is due, and this CA was restored less than ten minutes ago: its consumers may still be missing, and it begins at %s",
			until.UTC().Format(time.RFC3339))
		out.heldReason = v1alpha1.ReasonRestoreIncomplete
		return out, nil
	}
	if t == plan.Nothing {
		return out, nil
	}
	// Nobody may have come or gone since the cache was filled, nor may the spec be another.
	if err := r.current(ctx, ca); err != nil {
		return out, err
	}
	if seen, err = r.observe(ctx, r.live, record, w.Want); err != nil {
		return out, err
	}
	seen.Latest = r.clock.Latest() // since then at the latest, all of it is as it was read
	out.gate = record.Ledger.GateOf(now, seen.Observation)
	want = wanting(ca, w.Want, seen)
	next, again := record.Ledger.Step(now, want, seen.Observation)
	if again != t {
		return out, nil
	}
	w.Want = want
	return r.commit(ctx, ca, out, next, t, w, seen.Consumers)
}

// commit stores the ledger after a transition, and the key that belongs to it.
func (r *clusterCAs) commit(
	ctx context.Context, ca *v1alpha1.ClusterCA, s step, ledger plan.Ledger, t plan.Transition, w wish, asked []plan.Consumer,
) (step, error) {
	was := s.record
	next := was.Next()
	if t == plan.NewKey {
		g, pair, err := r.newCAKey(ctx, ca, was, w)
		if err != nil {
			return s, err
		}
		ledger, t = was.Ledger.Enter(r.clock.Latest(), g, w.Want)
		next.CAs[g.Number] = pair
	}
	next.Ledger = ledger
	stored, err := r.store.Commit(ctx, was, next)
	if err != nil {
		return s, tooLarge(err)
	}
	s.record, s.moved = stored, true
	r.announceStep(ctx, ca, was.Ledger, stored.Ledger, t, asked)
	return s, nil
}

// announceStep says what a transition did.
func (r *clusterCAs) announceStep(ctx context.Context, ca *v1alpha1.ClusterCA, was, now plan.Ledger, t plan.Transition, asked []plan.Consumer) {
	log.FromContext(ctx).Info("Made a step of a CA's rotation", "clusterCA", klog.KObj(ca), "transition", t, "from", was.Phase(), "to", now.Phase())
	if now.Rotation != nil && len(now.Generations) > len(was.Generations) {
		r.counts.Issued(ca.Kind(), string(now.Rotation.Cause))
	}
	kind := corev1.EventTypeNormal
	if emergencyOf(now) && (t == plan.Supersede || t == plan.Withdraw) {
		kind = corev1.EventTypeWarning
	}
	if t != plan.Admit && t != plan.Arrive {
		r.events.Eventf(ca, nil, kind, string(t), "Rotate", "%s", transitionNote(t, was, now, asked))
	}
}

func emergencyOf(l plan.Ledger) bool { return l.Rotation != nil && l.Rotation.Emergency }

// wanting adds to what the spec asks for how many leaves may be on their way at one time, and whether the ledger is behind
// what was issued from it.
func wanting(ca *v1alpha1.ClusterCA, w plan.Want, seen observation) plan.Want {
	leaves := 0
	for _, c := range seen.Consumers {
		if c.HasLeaf && !c.Orphaned {
			leaves++
		}
	}
	if limit := ca.Spec.Rotation.MaxUnavailable; limit != nil {
		n, err := intstr.GetScaledValueFromIntOrPercent(limit, leaves, true)
		if err == nil { // admission sees to it
			w.MaxUnavailable = max(1, n)
		}
	}
	w.Hold = w.Hold || seen.newer != ""
	return w
}

// current says, as a lost race, where the API server has another spec than a decision was made from. That the ledger is the
// same is what its resourceVersion is for.
func (r *clusterCAs) current(ctx context.Context, ca *v1alpha1.ClusterCA) error {
	var now v1alpha1.ClusterCA
	if err := r.live.Get(ctx, client.ObjectKeyFromObject(ca), &now); err != nil {
		return fmt.Errorf("read the ClusterCA again: %w", err)
	}
	if now.UID != ca.UID || now.Generation != ca.Generation || !now.DeletionTimestamp.IsZero() {
		kind := schema.GroupResource{Group: v1alpha1.GroupVersion.Group, Resource: "clustercas"}
		return fmt.Errorf("decide again: %w", apierrors.NewConflict(kind, ca.Name, errOutdated))
	}
	return nil
}

var errOutdated = errors.New("it was changed in the meantime")

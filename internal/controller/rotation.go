package controller

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

// gatePoll is how often a gate is looked at by default: at a fixed interval, because consumers acknowledge by the
// passing of time.
const gatePoll = 5 * time.Second

// rotate makes the one transition of the ledger that is due, if any. Each is one write of the trust ConfigMap
// under the resourceVersion that was read; whoever loses that race decides again from what is there then.
func (r *clusterCAs) rotate(ctx context.Context, ca *v1alpha1.ClusterCA, st *caState, trust *corev1.ConfigMap) error {
	want := r.want(ca, st)
	seen, err := r.seen(ctx, r.client, ca, st.ledger)
	if err != nil {
		return err
	}
	st.gate = st.ledger.GateOf(seen)
	next, t := st.ledger.Step(r.clock.Now(), want, seen)
	if t == plan.Nothing {
		return nil
	}
	if t != plan.Stage { // nobody may have come or gone since the cache was filled
		if seen, err = r.seen(ctx, r.live, ca, st.ledger); err != nil {
			return err
		}
		again, same := st.ledger.Step(r.clock.Now(), want, seen)
		if same != t {
			st.gate = st.ledger.GateOf(seen)
			return nil
		}
		next = again
	}
	if t == plan.Stage {
		g, _, err := r.generate(ctx, ca, st.ledger.NextNumber())
		if err != nil {
			return err
		}
		next = st.ledger.Add(r.clock.Now(), g)
	}
	if err := r.forget(ctx, ca, st.ledger, next); err != nil {
		return err
	}
	return r.transit(ctx, ca, st, trust, next, t)
}

// transit writes the next ledger and the bundle that belongs to it.
func (r *clusterCAs) transit(ctx context.Context, ca *v1alpha1.ClusterCA, st *caState, trust *corev1.ConfigMap, next plan.Ledger, t plan.Transition) error {
	was := st.ledger
	st.ledger = next
	st.signing, _ = next.Signing() // a step never takes the signing generation away
	bundle, err := r.bundle(ctx, ca, st)
	if err != nil {
		return err
	}
	text, err := next.Encode()
	if err != nil {
		return err
	}
	cm := trust.DeepCopy()
	cm.Data = map[string]string{bundleKey: string(bundle), ledgerKey: text}
	if err := r.client.Update(ctx, cm); err != nil {
		return fmt.Errorf("update ConfigMap %q: %w", cm.Name, err)
	}
	log.FromContext(ctx).Info("Made a step of a CA's rotation", "configMap", klog.KObj(cm), "transition", t, "from", was.Phase(), "to", next.Phase())
	kind := corev1.EventTypeNormal
	if t == plan.Supersede {
		kind = corev1.EventTypeWarning
	}
	r.events.Eventf(ca, nil, kind, string(t), "Rotate", "%s", transitionNote(t, st.signing))
	st.moved = true
	return nil
}

func transitionNote(t plan.Transition, signing plan.Generation) string {
	switch t {
	case plan.Stage:
		return "Another CA is wanted: its key was made"
	case plan.Publish:
		return "The new CA is published beside the old one, which signs until every consumer trusts both"
	case plan.Switch:
		return fmt.Sprintf("Every consumer trusts the new CA: generation %d signs now, and every certificate is issued again", signing.Number)
	case plan.Withdraw:
		return "Every certificate in use is of the new CA: the old one is no longer trusted"
	case plan.Forget:
		return "Nothing trusts the old CA any more: its key was deleted"
	case plan.Abort:
		return "The new CA is no longer wanted, and signed nothing: it is given up"
	case plan.Supersede:
		return fmt.Sprintf("Generation %d signs and is trusted alone from now on: "+
			"whatever holds an older certificate or bundle stops working until it is delivered anew", signing.Number)
	default:
		return string(t)
	}
}

// want is what the spec asks of the ledger.
func (r *clusterCAs) want(ca *v1alpha1.ClusterCA, st *caState) plan.Want {
	d := desiredCA(ca)
	return plan.Want{
		RequestHash: d.Request.Hash(),
		Trigger:     ca.Spec.Rotation.Revision,
		Due:         !r.clock.Now().Before(d.RenewalTime(st.pair.Cert)),
		Emergency:   ca.Spec.Rotation.Mode == v1alpha1.RotationEmergency,
	}
}

// seen gathers what a step is decided from.
func (r *clusterCAs) seen(ctx context.Context, from client.Reader, ca *v1alpha1.ClusterCA, l plan.Ledger) (plan.Seen, error) {
	seen := plan.Seen{Stored: map[int32]bool{}}
	for _, g := range l.Generations {
		if g.State != plan.Staged {
			continue
		}
		s, err := r.liveSecret(ctx, ca.Namespace, g.SecretName)
		if err != nil {
			return plan.Seen{}, err
		}
		_, err = generationPair(s, g)
		seen.Stored[g.Number] = err == nil
	}
	if l.Phase() == plan.Completed || l.Phase() == plan.Preparing {
		return seen, nil
	}
	n, err := readNamespace(ctx, from, ca.Namespace)
	if err != nil {
		return plan.Seen{}, err
	}
	seen.Peers = n.peers(ca.Name, r.clock.Now())
	return seen, nil
}

// forget deletes the keys of generations that the next ledger no longer names, before it is written: what is
// cut short in between is a key that nothing needs, still named.
func (r *clusterCAs) forget(ctx context.Context, ca *v1alpha1.ClusterCA, was, next plan.Ledger) error {
	for _, g := range was.Generations {
		if next.Names(g.Number) {
			continue
		}
		s, err := r.liveSecret(ctx, ca.Namespace, g.SecretName)
		if err != nil {
			return err
		}
		if s == nil || !isGeneration(s, ca) {
			continue
		}
		err = r.client.Delete(ctx, s, client.Preconditions{UID: &s.UID})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("delete Secret %q: %w", s.Name, err)
		}
	}
	return nil
}

// reportRotation puts a rotation into the status, and sets the next look at its gate.
func (r *clusterCAs) reportRotation(ca *v1alpha1.ClusterCA, st caState, now time.Time, rep *report, out *outcome) {
	status, conds := rotationStatus(ca, st, now)
	ca.Status.Rotation, rep.warnings = status, append(rep.warnings, conds...)
	if st.moved {
		out.nextCheck = now.Add(time.Second)
	} else if st.ledger.Phase() != plan.Completed {
		out.nextCheck = now.Add(r.poll)
	}
}

// rotationStatus describes a rotation for people, and as conditions.
func rotationStatus(ca *v1alpha1.ClusterCA, st caState, now time.Time) (v1alpha1.RotationStatus, []metav1.Condition) {
	phase := st.ledger.Phase()
	if phase == plan.Completed {
		return v1alpha1.RotationStatus{}, nil
	}
	g := st.gate
	s := v1alpha1.RotationStatus{Phase: string(phase), SinceTime: metav1.NewTime(st.ledger.Since)}
	if g.Name == phase { // a phase that has just begun is looked at in a moment
		s.Acknowledged, s.Required = new(int32(g.Acknowledged)), new(int32(g.Required)) //nolint:gosec // counts of objects
		s.Pending = g.Pending[:min(len(g.Pending), maxPending)]
	}
	conds := []metav1.Condition{{
		Type: v1alpha1.RotatingCondition, Status: metav1.ConditionTrue, Reason: string(phase), Message: phaseNotes[phase],
	}}
	if g.Name == phase && !g.Open() && now.Sub(st.ledger.Since) > ca.Spec.Rotation.Timeout.Duration {
		conds = append(conds, metav1.Condition{
			Type: v1alpha1.RotationBlockedCondition, Status: metav1.ConditionTrue, Reason: string(phase),
			Message: "the phase has waited for longer than spec.rotation.timeout, and skips nobody: status.rotation.pending names whom it waits for",
		})
	}
	return s, conds
}

const maxPending = 10

var phaseNotes = map[plan.Phase]string{
	plan.Preparing:         "the new CA's key is being made",
	plan.DistributingTrust: "both CAs are published; the old one signs until every consumer trusts both",
	plan.Reissuing:         "the new CA signs; every certificate is being issued again",
	plan.WithdrawingTrust:  "the old CA is out of the bundle; its key is deleted once nothing trusts it any more",
}

// generationStatuses lists the ledger's generations for people.
func generationStatuses(l plan.Ledger) []v1alpha1.GenerationStatus {
	out := make([]v1alpha1.GenerationStatus, 0, len(l.Generations))
	for _, g := range l.Generations {
		out = append(out, v1alpha1.GenerationStatus{Number: g.Number, State: string(g.State), SecretName: g.SecretName})
	}
	return out
}

// entry makes the entry of a new generation.
func entry(g int32, hash, trigger, secret string, pair pki.KeyPair) plan.Generation {
	return plan.Generation{Number: g, State: plan.Staged, SecretName: secret, RequestHash: hash, Trigger: trigger, SHA256: pki.FingerprintOf(pair.Cert)}
}

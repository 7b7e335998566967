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
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

// gatePoll is how often an open gate is looked at by default: at a fixed interval, because consumers acknowledge by the
// passing of time.
const gatePoll = 5 * time.Second

// rotate makes the one transition of the ledger that is due, if any. Each is one write of the trust ConfigMap
// under the resourceVersion that was read; whoever loses that race decides again from what is there then.
func (r *clusterCAs) rotate(ctx context.Context, ca *v1alpha1.ClusterCA, st *caState, trust *corev1.ConfigMap) error {
	seen, err := r.seen(ctx, r.client, ca, st, trust)
	if err != nil {
		return err
	}
	now := r.clock.Now()
	st.gate = st.ledger.GateOf(now, seen)
	want := wanting(ca, st.want, seen)
	_, t := st.ledger.Step(now, want, seen)
	if now.Before(awaits(ca)) { // keys that the ledger names, or should, may still be on their way
		compromised := st.want.Emergency && len(st.pairs) == len(st.ledger.Generations)
		if t == plan.Nothing || !compromised {
			st.held = t != plan.Nothing
			return nil
		}
	}
	if t == plan.Nothing {
		return r.sweep(ctx, ca, st.ledger, trust)
	}
	// Nobody may have come or gone since the cache was filled, nor may the spec or the ledger be others.
	if err := r.current(ctx, ca, trust); err != nil {
		return err
	}
	if seen, err = r.seen(ctx, r.live, ca, st, trust); err != nil {
		return err
	}
	st.gate = st.ledger.GateOf(now, seen)
	want = wanting(ca, st.want, seen)
	next, again := st.ledger.Step(now, want, seen)
	switch {
	case again != t:
		return nil
	case t == plan.Stage:
		g, err := r.generate(ctx, ca, st)
		if err != nil {
			return err
		}
		next = st.ledger.Add(now, g, st.ledger.CauseOf(want))
	case t == plan.Forget:
		if err := r.forget(ctx, ca, st.ledger, next); err != nil {
			return err
		}
	}
	return r.transit(ctx, ca, st, trust, next, transitionNote(t, st.ledger, next, seen), t)
}

// wanting adds to what the spec asks for how many leaves may be on their way at one time.
func wanting(ca *v1alpha1.ClusterCA, w plan.Want, seen plan.Seen) plan.Want {
	leaves := 0
	for _, p := range seen.Peers {
		if p.HasLeaf && !p.Adrift {
			leaves++
		}
	}
	if limit := ca.Spec.Rotation.MaxUnavailable; limit != nil {
		n, err := intstr.GetScaledValueFromIntOrPercent(limit, leaves, true)
		if err == nil { // admission sees to it
			w.MaxUnavailable = max(1, n)
		}
	}
	return w
}

// current says, as a lost race, where the API server has another version of what a decision was made from.
func (r *clusterCAs) current(ctx context.Context, ca *v1alpha1.ClusterCA, trust *corev1.ConfigMap) error {
	var cm corev1.ConfigMap
	if err := r.live.Get(ctx, client.ObjectKeyFromObject(trust), &cm); err != nil {
		return fmt.Errorf("read ConfigMap %q again: %w", trust.Name, err)
	}
	var now v1alpha1.ClusterCA
	if err := r.live.Get(ctx, client.ObjectKeyFromObject(ca), &now); err != nil {
		return fmt.Errorf("read the ClusterCA again: %w", err)
	}
	if cm.ResourceVersion != trust.ResourceVersion || now.UID != ca.UID || now.Generation != ca.Generation || !now.DeletionTimestamp.IsZero() {
		return fmt.Errorf("decide again: %w", apierrors.NewConflict(schema.GroupResource{Resource: "configmaps"}, trust.Name, errOutdated))
	}
	return nil
}

// transit writes the next ledger and the bundle that belongs to it.
func (r *clusterCAs) transit(
	ctx context.Context, ca *v1alpha1.ClusterCA, st *caState, trust *corev1.ConfigMap, next plan.Ledger, note string, t plan.Transition,
) error {
	was := st.ledger
	st.ledger = next
	st.signing, _ = next.Signing() // a step never takes the signing generation away
	cm, err := r.write(ctx, ca, st, trust)
	if err != nil { // what is told is what is stored
		st.ledger = was
		st.signing, _ = was.Signing()
		return errors.Join(err, r.generations(ctx, ca, st, false))
	}
	log.FromContext(ctx).Info("Made a step of a CA's replacement", "configMap", klog.KObj(cm), "transition", t, "from", was.Phase(), "to", next.Phase())
	kind := corev1.EventTypeNormal
	if t == plan.Supersede || t == plan.Withdraw && next.Emergency {
		kind = corev1.EventTypeWarning
	}
	if t == plan.Stage {
		r.counts.Issued(kindClusterCA, string(next.Cause))
	}
	if t != plan.Admit {
		r.events.Eventf(ca, nil, kind, string(t), "Rotate", "%s", note)
	}
	st.moved = true
	return nil
}

// write stores the ledger of st and the bundle that belongs to it.
func (r *clusterCAs) write(ctx context.Context, ca *v1alpha1.ClusterCA, st *caState, trust *corev1.ConfigMap) (*corev1.ConfigMap, error) {
	if err := r.generations(ctx, ca, st, false); err != nil {
		return nil, err
	}
	cm, err := r.wantedTrust(ctx, ca, st, trust)
	if err != nil {
		return nil, err
	}
	if err := r.client.Update(ctx, cm); err != nil {
		return nil, fmt.Errorf("update ConfigMap %q: %w", cm.Name, err)
	}
	return cm, nil
}

// seen gathers what a step is decided from.
func (r *clusterCAs) seen(ctx context.Context, from client.Reader, ca *v1alpha1.ClusterCA, st *caState, trust *corev1.ConfigMap) (plan.Seen, error) {
	l := st.ledger
	seen := plan.Seen{Stored: map[int32]bool{}, Created: trust.CreationTimestamp.Time}
	for _, g := range l.Generations {
		if g.State != plan.Staged && g.State != plan.Trusted {
			continue
		}
		s, err := r.liveSecret(ctx, ca.Namespace, g.SecretName)
		if err != nil {
			return plan.Seen{}, err
		}
		_, err = generationPair(s, g)
		seen.Stored[g.Number] = err == nil
	}
	if phase := l.Phase(); phase == plan.Completed || phase == plan.Preparing && !st.want.Emergency {
		return seen, nil
	}
	n, err := r.readNamespace(ctx, from, ca.Namespace)
	if err != nil {
		return plan.Seen{}, err
	}
	if n.published, err = pki.ParseCertificates([]byte(trust.Data[bundleKey])); err != nil {
		return plan.Seen{}, fmt.Errorf("read the trust bundle: %w", err)
	}
	for _, g := range l.Generations {
		if anchor := st.pairs[g.Number].Anchor(); anchor != nil && g.State == plan.Withdrawn {
			n.withdrawn = append(n.withdrawn, anchor)
		}
	}
	seen.Peers = n.peers(ca.Name, l.Revision)
	return seen, nil
}

// forget deletes the keys of generations that the next ledger no longer names, before it is written: what is
// cut short in between is a key that nothing needs, still named. They are in a state that no step leaves, so that
// an operator with an older ledger cannot need them either.
func (r *clusterCAs) forget(ctx context.Context, ca *v1alpha1.ClusterCA, was, next plan.Ledger) error {
	for _, g := range was.Generations {
		if !next.Names(g.Number) {
			if err := r.deleteKey(ctx, ca, g.SecretName); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *clusterCAs) deleteKey(ctx context.Context, ca *v1alpha1.ClusterCA, name string) error {
	s, err := r.liveSecret(ctx, ca.Namespace, name)
	if err != nil || s == nil || !isGeneration(s, ca) {
		return err
	}
	err = r.client.Delete(ctx, s, client.Preconditions{UID: &s.UID})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete Secret %q: %w", s.Name, err)
	}
	return nil
}

// sweep deletes keys that were made and never entered in the ledger, because another operator was faster: once
// nothing is under way, the ledger names every key that was ever published.
func (r *clusterCAs) sweep(ctx context.Context, ca *v1alpha1.ClusterCA, l plan.Ledger, trust *corev1.ConfigMap) error {
	if l.Phase() != plan.Completed {
		return nil
	}
	var list corev1.SecretList
	err := r.client.List(ctx, &list, client.InNamespace(ca.Namespace), client.UnsafeDisableDeepCopy,
		client.MatchingLabels{v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue, v1alpha1.OwnerKindLabel: kindClusterCA})
	if err != nil {
		return fmt.Errorf("look for keys that are not needed: %w", err)
	}
	for i := range list.Items {
		s := &list.Items[i]
		if n := number(s.Annotations[v1alpha1.GenerationAnnotation]); !isGeneration(s, ca) || n > l.Last || l.NamesSecret(s.Name) {
			continue
		}
		if err := r.current(ctx, ca, trust); err != nil {
			return err
		}
		if err := r.deleteKey(ctx, ca, s.Name); err != nil {
			return err
		}
	}
	return nil
}

package controller

import (
	"context"
	"fmt"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/owned"
)

// defaultLeaseDuration is delivery.leaseDuration of an object that was stored before there was a default.
const defaultLeaseDuration = 15 * time.Minute

// attendLease makes sure that there is a Lease in which the agent of a leaf's host can report, and resolves what it has
// reported there. Where no agent delivers, there is none. An error keeps nothing from being issued.
func (b *base) attendLease(ctx context.Context, l *leaf) error {
	l.said = consumers.AcknowledgmentOf(l.deliver, nil, l.host, b.clock.Now())
	seen, err := readLease(ctx, b.client, l.owner.GetNamespace(), l.lease)
	if err != nil {
		return err
	}
	if l.deliver.Mode != v1alpha1.DeliveryAgent {
		if seen != nil && l.keeper.Mine(ownerOf(l.owner), seen) {
			return b.deleteLease(ctx, seen)
		}
		return nil
	}
	if seen != nil && !l.keeper.Mine(ownerOf(l.owner), seen) {
		if err := l.keeper.Check(ctx, ownerOf(l.owner), seen); err != nil {
			return conflict(err)
		}
		if err := b.deleteLease(ctx, seen); err != nil { // what the agent of another object reported is of another certificate
			return err
		}
		seen = nil
	}
	l.agent = seen
	ensured, err := b.ensureLease(ctx, *l, seen)
	if err == nil {
		l.agent = ensured
	}
	l.said = consumers.AcknowledgmentOf(l.deliver, l.agent, l.host, b.clock.Now())
	return err
}

// ensureLease writes a leaf's Lease if its marks or its length differ. What the agent writes there is left alone. If the agent
// writes at the same time, one of the two fails.
func (b *base) ensureLease(ctx context.Context, l leaf, seen *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	after := l.deliver.LeaseDuration.Duration
	if after <= 0 {
		after = defaultLeaseDuration
	}
	seconds := int32(after / time.Second) // admission bounds it to a week
	marks := owned.Marks{Controlled: true}
	if seen != nil {
		next := seen.DeepCopy()
		next.Spec.LeaseDurationSeconds = &seconds
		err := owned.Update(ctx, l.keeper, ownerOf(l.owner), seen, next, marks)
		if err == nil && next.ResourceVersion != seen.ResourceVersion {
			b.wrote.updated(leaseKind, next)
		}
		return next, err
	}
	next := &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: l.owner.GetNamespace(), Name: l.lease},
		Spec:       coordinationv1.LeaseSpec{LeaseDurationSeconds: &seconds},
	}
	if err := owned.Create(ctx, l.keeper, ownerOf(l.owner), next, marks); err != nil {
		return nil, b.unexpectedLease(ctx, l, err)
	}
	b.wrote.created(leaseKind, next)
	return next, nil
}

// unexpectedLease looks at a Lease that is there although the cache does not know it, as unexpected does at a Secret.
func (b *base) unexpectedLease(ctx context.Context, l leaf, lost error) error {
	if !apierrors.IsAlreadyExists(lost) {
		return lost
	}
	there, err := readLease(ctx, b.live, l.owner.GetNamespace(), l.lease)
	if err != nil {
		return err
	}
	if there == nil {
		return lost
	}
	if err := conflict(l.keeper.Check(ctx, ownerOf(l.owner), there)); err != nil {
		return err
	}
	if _, err := b.ensureLease(ctx, l, there); err != nil {
		return err
	}
	return lost
}

func (b *base) deleteLease(ctx context.Context, l *coordinationv1.Lease) error {
	err := b.client.Delete(ctx, l, client.Preconditions{UID: &l.UID})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete Lease %q: %w", l.Name, err)
	}
	return nil
}

func readLease(ctx context.Context, from client.Reader, namespace, name string) (*coordinationv1.Lease, error) {
	var l coordinationv1.Lease
	err := from.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &l)
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // absence is an answer
	}
	if err != nil {
		return nil, fmt.Errorf("read Lease %q: %w", name, err)
	}
	return &l, nil
}

// acknowledged says, as a condition, whether the agent of a host has seen in use what stands in some Secrets; nil where
// no agent is to say it. An empty name is of no Secret.
func (b *base) acknowledged(ctx context.Context, l leaf, host string, secrets ...string) ([]metav1.Condition, error) {
	if l.agent == nil {
		return nil, nil
	}
	c := metav1.Condition{Type: v1alpha1.TrustAcknowledgedCondition, Status: metav1.ConditionFalse, Reason: l.said.Reason}
	report := ack.Of(l.agent)
	switch l.said.Reason {
	case v1alpha1.ReasonLeaseExpired:
		c.Message = silence(l.agent, host, b.clock.Now())
		return []metav1.Condition{c}, nil
	case v1alpha1.ReasonAgentProblem:
		c.Message = report.Problem
		return []metav1.Condition{c}, nil
	}
	held, names, err := b.contents(ctx, l.owner.GetNamespace(), secrets)
	switch {
	case err != nil:
		return nil, err
	case held == nil:
		c.Reason, c.Message = v1alpha1.ReasonNotInstalled, "not everything is issued that the agent is to install"
	case report.Verified.Covers(*held):
		c.Status, c.Reason, c.Message = metav1.ConditionTrue, v1alpha1.ReasonInUse, "the agent has seen in use what is in "+names
	case report.Installed.Covers(*held):
		c.Reason, c.Message = v1alpha1.ReasonNotInUse, "the agent has installed what is in "+names+", and has not seen it in use yet"
	default:
		c.Reason, c.Message = v1alpha1.ReasonNotInstalled, "the agent has not installed yet what is in "+names
	}
	return []metav1.Condition{c}, nil
}

// contents are what Secrets hold together, nil where one is not there or cannot be read, and how they are called.
func (b *base) contents(ctx context.Context, namespace string, secrets []string) (held *ack.State, names string, err error) {
	var all []*corev1.Secret
	var called []string
	for _, name := range secrets {
		if name == "" {
			continue
		}
		s, err := b.cachedSecret(ctx, namespace, name)
		if s == nil {
			return nil, "", err
		}
		all, called = append(all, s), append(called, fmt.Sprintf("Secret %q", name))
	}
	state, err := ack.StateOf(all[0], all[1:]...)
	if err != nil {
		return nil, "", nil //nolint:nilerr // it is about to be repaired, or its owner says why not
	}
	return &state, strings.Join(called, " and "), nil
}

// silence says why nothing that an agent says counts.
func silence(l *coordinationv1.Lease, host string, now time.Time) string {
	switch renewed := l.Spec.RenewTime; {
	case renewed == nil:
		return fmt.Sprintf("no agent has reported through Lease %q yet", l.Name)
	case renewed.Time.Before(l.CreationTimestamp.Time):
		return fmt.Sprintf("Lease %q was restored, and the agent of host %q has not renewed it since: nothing that it said before counts", l.Name, host)
	case ptr.Deref(l.Spec.HolderIdentity, "") != host:
		return fmt.Sprintf("Lease %q is held by the agent of host %q, and this object is for host %q: nothing that another host's agent says counts; "+
			"see its configuration", l.Name, ptr.Deref(l.Spec.HolderIdentity, ""), host)
	case renewed.After(now):
		return fmt.Sprintf("the agent of host %q has renewed Lease %q as of a time that lies far ahead: "+
			"nothing that it says counts; is the clock of the host right?", host, l.Name)
	default:
		return fmt.Sprintf("the agent of host %q has not renewed Lease %q for longer than delivery.leaseDuration: "+
			"nothing that it has said counts until it does; is it running, and is the clock of the host right?", host, l.Name)
	}
}

// turnsAt is when what an agent says ceases to count, or begins to, without another word of it; zero: never.
func turnsAt(l *coordinationv1.Lease, now time.Time) time.Time {
	switch {
	case ack.AliveUntil(l, now).After(now):
		return ack.AliveUntil(l, now).Add(time.Second)
	case l == nil || l.Spec.RenewTime == nil || !l.Spec.RenewTime.After(now):
		return time.Time{}
	default: // of a clock that is ahead
		return l.Spec.RenewTime.Add(-time.Duration(ptr.Deref(l.Spec.LeaseDurationSeconds, 0)) * time.Second)
	}
}

// announceAgent emits one event when an agent falls silent or has a problem, and one when that is over. One that was
// never heard is no news.
func (b *base) announceAgent(on client.Object, old, next []metav1.Condition) {
	was := meta.FindStatusCondition(old, v1alpha1.TrustAcknowledgedCondition)
	now := meta.FindStatusCondition(next, v1alpha1.TrustAcknowledgedCondition)
	if was == nil || now == nil || was.Reason == now.Reason {
		return
	}
	amiss := func(c *metav1.Condition) bool {
		return c.Reason == v1alpha1.ReasonLeaseExpired || c.Reason == v1alpha1.ReasonAgentProblem
	}
	switch {
	case amiss(now):
		b.events.Eventf(on, nil, corev1.EventTypeWarning, now.Reason, "Acknowledge", "%s", now.Message)
	case amiss(was):
		b.events.Eventf(on, nil, corev1.EventTypeNormal, now.Reason, "Acknowledge", "%s", now.Message)
	}
}

// leaseChanged passes the events of a Lease, but for a mere sign of life of an agent that counts as alive already, or goes on
// to count as silent: thousands of them come all the time.
func (b *base) leaseChanged() builder.Predicates {
	return builder.WithPredicates(predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		was, ok := e.ObjectOld.(*coordinationv1.Lease)
		now, too := e.ObjectNew.(*coordinationv1.Lease)
		if !ok || !too {
			return true
		}
		at := b.clock.Now()
		return ack.AliveUntil(was, at).After(at) != ack.AliveUntil(now, at).After(at) ||
			!equality.Semantic.DeepEqual(withoutHeartbeat(was), withoutHeartbeat(now))
	}})
}

// withoutHeartbeat is a Lease but for what changes with every sign of life.
func withoutHeartbeat(l *coordinationv1.Lease) coordinationv1.Lease {
	out := coordinationv1.Lease{Spec: l.Spec}
	out.UID, out.Labels, out.Annotations, out.OwnerReferences = l.UID, l.Labels, l.Annotations, l.OwnerReferences
	out.Spec.RenewTime = nil
	return out
}

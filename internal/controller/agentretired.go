package controller

import (
	"context"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"clusterpki.io/operator/internal/agents"
	"clusterpki.io/operator/internal/owned"
)

// Absence is not deletion. An object may have gone by a slip, and an agent that has lost its ServiceAccount needs a person on its host.

// retire takes from the agent of a host to which no agent delivers any more what it may do there, at once. Its ServiceAccount, and with it its tokens, stay
// while anything is there of the host, and agents.KeptFor longer. It returns when that ends, the zero time for not yet.
func (g grantor) retire(ctx context.Context, account *corev1.ServiceAccount, record agents.Record, gone bool) (ends time.Time, err error) {
	strays, err := g.strays(ctx, record)
	if err != nil {
		return zeroTime, err
	}
	now, next := g.clock.Now(), record
	if account != nil {
		next = g.retired(record, gone, now)
	}
	ends = next.Ends()
	over := !ends.IsZero() && !now.Before(ends)
	if len(strays) == 0 && !over && next.Equal(record) {
		return ends, nil
	}
	if err := g.stillRetired(ctx, gone); err != nil {
		return zeroTime, err
	}
	if err := g.delete(ctx, strays...); err != nil || account == nil {
		return zeroTime, err
	}
	if over {
		return zeroTime, g.end(ctx, account, record)
	}
	return ends, g.withdraw(ctx, account, record, next)
}

// retired is the record of an agent that has nothing to deliver.
func (g grantor) retired(record agents.Record, gone bool, now time.Time) agents.Record {
	next := record
	next.Grants = maps.Clone(record.Grants)
	delete(next.Grants, g.host.Namespace)
	switch {
	case !gone:
		next.GoneTime = metav1.Time{}
	case next.GoneTime.IsZero():
		next.GoneTime = metav1.NewTime(now.Truncate(time.Second))
	}
	return next
}

// stillRetired is an error where a live read finds what the cache did not: that may be behind.
func (g grantor) stillRetired(ctx context.Context, gone bool) error {
	all, err := g.objectsOf(ctx, g.live, g.host)
	if err != nil {
		return err
	}
	if len(byAgents(all)) > 0 || gone && len(all) > 0 {
		return fmt.Errorf("take from the agent of host %q what it may do: %w", g.host.Name, owned.ErrBehind)
	}
	return nil
}

// withdraw deletes what an agent was given, but for its tokens, and records that.
func (g grantor) withdraw(ctx context.Context, account *corev1.ServiceAccount, record, next agents.Record) error {
	if name, given := record.Grants[g.host.Namespace]; given {
		if err := g.deleteGrant(ctx, agents.Grant{Namespace: g.host.Namespace, Name: name}); err != nil {
			return err
		}
		log.FromContext(ctx).Info("Withdrew what the agent of a host could read: nothing is delivered there by an agent", "account", klog.KObj(account))
	}
	if next.Equal(record) {
		return nil
	}
	return g.record(ctx, account, next)
}

// end deletes the identity of an agent.
func (g grantor) end(ctx context.Context, account *corev1.ServiceAccount, record agents.Record) error {
	if err := g.remove(ctx, account, record); err != nil {
		return err
	}
	log.FromContext(ctx).Info("Ended the identity of a host's agent: nothing has been there of the host for long", "account", klog.KObj(account),
		"since", record.GoneTime)
	return nil
}

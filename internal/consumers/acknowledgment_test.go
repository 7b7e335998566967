package consumers_test

import (
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/consumers"
)

func TestAcknowledgmentOf(t *testing.T) {
	verified := &ack.State{Contents: map[string]string{"a/tls.crt": "x"}}
	for name, tc := range map[string]struct {
		delivery v1alpha1.DeliverySpec
		lease    *coordinationv1.Lease
		reason   string
		agent    bool
		since    time.Time
	}{
		"mounted":                      {mounted, lease("node1", 0, ack.Report{Verified: verified}), "", false, time.Time{}},
		"an agent, for another mode":   {accepting(byAgent), lease("node1", 0, ack.Report{Verified: verified}), "", true, time.Time{}},
		"acknowledged":                 {manual("1"), nil, "", false, time.Time{}},
		"nothing acknowledged":         {v1alpha1.DeliverySpec{Mode: v1alpha1.DeliveryManual}, nil, "", false, time.Time{}},
		"mounted, and accepted":        {accepting(mounted), nil, "", false, time.Time{}},
		"an agent":                     {byAgent, lease("node1", 0, ack.Report{Verified: verified}), "", true, time.Time{}},
		"an agent that only installed": {byAgent, lease("node1", 0, ack.Report{Installed: verified}), "", false, time.Time{}},
		"an agent with a problem":      {byAgent, lease("node1", 0, ack.Report{Verified: verified, Problem: "disk full"}), v1alpha1.ReasonAgentProblem, true, time.Time{}},
		"an expired Lease":             {byAgent, lease("node1", time.Hour, ack.Report{Verified: verified}), v1alpha1.ReasonLeaseExpired, false, now.Add(-45 * time.Minute)},
		"another host's":               {byAgent, lease("node2", 0, ack.Report{Verified: verified}), v1alpha1.ReasonLeaseExpired, false, time.Time{}},
		"no agent":                     {byAgent, nil, v1alpha1.ReasonLeaseExpired, false, time.Time{}},
		"a mode of a later version":    {v1alpha1.DeliverySpec{Mode: "Pigeon"}, nil, v1alpha1.PendingUnknownDelivery, false, time.Time{}},
	} {
		got := consumers.AcknowledgmentOf(tc.delivery, tc.lease, "node1", now)
		if got.Reason != tc.reason || got.Agent.Has("a/tls.crt", "x") != tc.agent || !got.Since.Equal(tc.since) {
			t.Errorf("%s: %+v", name, got)
		}
		if got.AcceptsAssumed != (tc.delivery.AcceptAssumed == v1alpha1.AcceptAssumedAlways && got.Mounted) {
			t.Errorf("%s accepts what is assumed: %v", name, got.AcceptsAssumed)
		}
		if got.Mounted != strings.HasPrefix(name, "mounted") || (got.Manual != nil) != (tc.delivery.Mode == v1alpha1.DeliveryManual) || got.Mounted && got.Delay != 10*time.Minute {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestSettled: when nothing that a Secret held before is in use any more.
func TestSettled(t *testing.T) {
	ca := root("k8s")
	p := product("a-tls", "a", leaf(ca), map[string][]certificate{consumers.BundleKey: anchors(ca)})
	unclaimed := p
	unclaimed.Claimed = false
	serial := serialOf(p)
	agent := func(s *ack.State) *coordinationv1.Lease { return lease("node1", 0, ack.Report{Verified: s}) }
	without := stateOf(p)
	delete(without.Contents, "a-tls/ca.crt")
	for name, tc := range map[string]struct {
		delivery v1alpha1.DeliverySpec
		lease    *coordinationv1.Lease
		p        consumers.Product
		at       time.Time
		want     bool
	}{
		"mounted, a second early":        {mounted, nil, p, p.Claim.Changed.Add(10*time.Minute - time.Second), false},
		"mounted":                        {mounted, nil, p, p.Claim.Changed.Add(10 * time.Minute), true},
		"mounted, and not ours":          {mounted, nil, unclaimed, now, false},
		"an agent that has all":          {byAgent, agent(stateOf(p)), p, now, true},
		"one that lacks a bundle":        {byAgent, agent(without), p, now, false},
		"one that lacks the certificate": {byAgent, agent(&ack.State{Contents: map[string]string{"a-tls/ca.crt": stateOf(p).Contents["a-tls/ca.crt"]}}), p, now, false},
		"an expired Lease":               {byAgent, nil, p, now, false},
		"acknowledged":                   {manual(serial), nil, p, now, true},
		"another serial number":          {manual("00"), nil, p, now, false},
		"an unknown mode":                {v1alpha1.DeliverySpec{Mode: "Pigeon"}, nil, p, now, false},
	} {
		if got := consumers.AcknowledgmentOf(tc.delivery, tc.lease, "node1", now).Settled(tc.p, tc.at); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

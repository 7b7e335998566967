package consumers_test

import (
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/consumers"
)

// TestAlive: whose word counts, at one second before and at the end of the Lease.
func TestAlive(t *testing.T) {
	changed := func(mod func(*coordinationv1.Lease)) *coordinationv1.Lease {
		l := lease("node1", 0, ack.Report{})
		mod(l)
		return l
	}
	for name, tc := range map[string]struct {
		lease *coordinationv1.Lease
		want  bool
	}{
		"renewed now":                      {lease("node1", 0, ack.Report{}), true},
		"a second before its end":          {lease("node1", 899*time.Second, ack.Report{}), true},
		"at its end":                       {lease("node1", 900*time.Second, ack.Report{}), false},
		"another host's":                   {lease("node2", 0, ack.Report{}), false},
		"nobody's":                         {changed(func(l *coordinationv1.Lease) { l.Spec.HolderIdentity = nil }), false},
		"never renewed":                    {changed(func(l *coordinationv1.Lease) { l.Spec.RenewTime = nil }), false},
		"of no length":                     {changed(func(l *coordinationv1.Lease) { l.Spec.LeaseDurationSeconds = nil }), false},
		"none":                             {nil, false},
		"a clock that is ahead by less":    {lease("node1", -900*time.Second, ack.Report{}), true},
		"a clock that is ahead by more":    {lease("node1", -901*time.Second, ack.Report{}), false},
		"restored, and not renewed since":  {changed(func(l *coordinationv1.Lease) { l.CreationTimestamp = metav1.NewTime(now.Add(time.Second)) }), false},
		"created in the second of renewal": {changed(func(l *coordinationv1.Lease) { l.CreationTimestamp = metav1.NewTime(now) }), true},
	} {
		if got := consumers.Alive(tc.lease, "node1", now); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

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
		"stated":                       {manual("1"), nil, "", false, time.Time{}},
		"nothing stated":               {v1alpha1.DeliverySpec{Mode: v1alpha1.DeliveryManual}, nil, "", false, time.Time{}},
		"an agent":                     {byAgent, lease("node1", 0, ack.Report{Verified: verified}), "", true, time.Time{}},
		"an agent that only installed": {byAgent, lease("node1", 0, ack.Report{Installed: verified}), "", false, time.Time{}},
		"an agent with a problem":      {byAgent, lease("node1", 0, ack.Report{Verified: verified, Problem: "disk full"}), v1alpha1.ReasonAgentProblem, true, time.Time{}},
		"an agent that is silent":      {byAgent, lease("node1", time.Hour, ack.Report{Verified: verified}), v1alpha1.ReasonLeaseExpired, false, now.Add(-45 * time.Minute)},
		"another host's":               {byAgent, lease("node2", 0, ack.Report{Verified: verified}), v1alpha1.ReasonLeaseExpired, false, time.Time{}},
		"no agent":                     {byAgent, nil, v1alpha1.ReasonLeaseExpired, false, time.Time{}},
		"a mode of a later version":    {v1alpha1.DeliverySpec{Mode: "Pigeon"}, nil, v1alpha1.PendingUnknownDelivery, false, time.Time{}},
	} {
		got := consumers.AcknowledgmentOf(tc.delivery, tc.lease, "node1", now)
		if got.Reason != tc.reason || got.Agent.Has("a/tls.crt", "x") != tc.agent || !got.Since.Equal(tc.since) {
			t.Errorf("%s: %+v", name, got)
		}
		if got.Mounted != (name == "mounted") || (got.Manual != nil) != (tc.delivery.Mode == v1alpha1.DeliveryManual) || got.Mounted && got.Delay != 10*time.Minute {
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
		"a silent one":                   {byAgent, nil, p, now, false},
		"stated":                         {manual(serial), nil, p, now, true},
		"another serial number":          {manual("00"), nil, p, now, false},
		"an unknown mode":                {v1alpha1.DeliverySpec{Mode: "Pigeon"}, nil, p, now, false},
	} {
		if got := consumers.AcknowledgmentOf(tc.delivery, tc.lease, "node1", now).Settled(tc.p, tc.at); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

package consumers_test

import (
	"strings"
	"testing"
	"time"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/consumers"
)

var none consumers.Reported // what is said where there is no Lease

func TestAcknowledgmentOf(t *testing.T) {
	forged := lease("node1", 0, ack.Report{Verified: &ack.State{Contents: map[string]string{"a/tls.crt": "x"}}})
	forged.Proof = ack.Forged
	unsigned := forged
	unsigned.Proof = ack.Unsigned
	verified := &ack.State{Contents: map[string]string{"a/tls.crt": "x"}}
	for name, tc := range map[string]struct {
		delivery v1alpha1.DeliverySpec
		reported consumers.Reported
		reason   string
		agent    bool
		since    time.Time
	}{
		"mounted":                      {mounted, lease("node1", 0, ack.Report{Verified: verified}), "", false, time.Time{}},
		"an agent, for another mode":   {accepting(byAgent), lease("node1", 0, ack.Report{Verified: verified}), "", true, time.Time{}},
		"mounted, and accepted":        {accepting(mounted), none, "", false, time.Time{}},
		"acknowledged":                 {manual("1"), none, "", false, time.Time{}},
		"nothing acknowledged":         {v1alpha1.DeliverySpec{Mode: v1alpha1.DeliveryManual}, none, "", false, time.Time{}},
		"an agent":                     {byAgent, lease("node1", 0, ack.Report{Verified: verified}), "", true, time.Time{}},
		"an agent that only installed": {byAgent, lease("node1", 0, ack.Report{Installed: verified}), "", false, time.Time{}},
		"an agent with a problem":      {byAgent, lease("node1", 0, ack.Report{Verified: verified, Problem: "disk full"}), v1alpha1.ReasonAgentProblem, true, time.Time{}},
		"an expired Lease":             {byAgent, lease("node1", time.Hour, ack.Report{Verified: verified}), v1alpha1.ReasonLeaseExpired, false, now.Add(-45 * time.Minute)},
		"another host's":               {byAgent, lease("node2", 0, ack.Report{Verified: verified}), v1alpha1.ReasonLeaseExpired, false, time.Time{}},
		"a forged report":              {byAgent, forged, v1alpha1.ReasonAcknowledgmentInvalid, false, time.Time{}},
		"what nobody has signed":       {byAgent, unsigned, "", false, time.Time{}},
		"no agent":                     {byAgent, none, v1alpha1.ReasonLeaseExpired, false, time.Time{}},
		"a mode of a later version":    {v1alpha1.DeliverySpec{Mode: "Pigeon"}, none, v1alpha1.PendingUnknownDelivery, false, time.Time{}},
	} {
		got := consumers.AcknowledgmentOf(tc.delivery, tc.reported, "node1", now)
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
	agent := func(s *ack.State) consumers.Reported { return lease("node1", 0, ack.Report{Verified: s}) }
	previous := agent(stateOf(p))
	previous.Report.SignedBy = "01"
	without := stateOf(p)
	delete(without.Contents, "a-tls/ca.crt")
	for name, tc := range map[string]struct {
		delivery v1alpha1.DeliverySpec
		reported consumers.Reported
		p        consumers.Product
		at       time.Time
		want     bool
	}{
		"mounted, a second early":        {mounted, none, p, p.Claim.Changed.Add(10*time.Minute - time.Second), false},
		"mounted":                        {mounted, none, p, p.Claim.Changed.Add(10 * time.Minute), true},
		"mounted, and not ours":          {mounted, none, unclaimed, now, false},
		"an agent that has all":          {byAgent, agent(stateOf(p)), p, now, true},
		"by the previous key":            {byAgent, previous, p, now, false},
		"one that lacks a bundle":        {byAgent, agent(without), p, now, false},
		"one that lacks the certificate": {byAgent, agent(&ack.State{Contents: map[string]string{"a-tls/ca.crt": stateOf(p).Contents["a-tls/ca.crt"]}}), p, now, false},
		"an expired Lease":               {byAgent, none, p, now, false},
		"acknowledged":                   {manual(serial), none, p, now, true},
		"another serial number":          {manual("00"), none, p, now, false},
		"an unknown mode":                {v1alpha1.DeliverySpec{Mode: "Pigeon"}, none, p, now, false},
	} {
		if got := consumers.AcknowledgmentOf(tc.delivery, tc.reported, "node1", now).Settled(tc.p, tc.at); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestPreviousKey: by it an agent says which trust anchors it has, and nothing of the certificate that it has not installed.
func TestPreviousKey(t *testing.T) {
	ca := root("k8s")
	p := product("a-tls", "a", leaf(ca), map[string][]certificate{consumers.BundleKey: anchors(ca)})
	uses := []consumers.Use{{Secret: "a-tls", Key: "tls.crt", CAs: []string{"k8s"}}, {Secret: "a-tls", Key: consumers.BundleKey, CAs: []string{"k8s"}}}
	published := func(string) string { return "" }
	for signer, want := range map[string]struct{ cert, trust, covers bool }{serialOf(p): {true, true, true}, "01": {false, true, false}, "": {false, true, false}} {
		said := lease("node1", 0, ack.Report{Verified: stateOf(p)})
		said.Report.SignedBy = signer
		a := consumers.AcknowledgmentOf(byAgent, said, "node1", now)
		cert, trust := a.InUse(uses[:1], []consumers.Product{p}, published), a.InUse(uses[1:], []consumers.Product{p}, published)
		if cert != want.cert || trust != want.trust || a.Covers(*stateOf(p)) != want.covers {
			t.Errorf("signed by %q: certificate %t, trust %t", signer, cert, trust)
		}
	}
}

package controller_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/pki/plan"
)

// waitsFor says that a replacement is in a phase still once the operator has looked at everything anew, and whom it
// waits for, and why.
func (w *env) waitsFor(phase plan.Phase, pending ...string) {
	w.t.Helper()
	w.later(0)
	if got := w.ledger("k8s").Phase(); got != phase {
		w.t.Fatalf("the phase is %q instead of %q", got, phase)
	}
	var got []string
	for _, p := range w.clusterCA("k8s").Status.Rotation.Pending {
		got = append(got, fmt.Sprintf("%s/%s: %s", p.Kind, p.Name, p.Reason))
	}
	if !slices.Equal(got, pending) {
		w.t.Errorf("%s: pending are %v instead of %v", phase, got, pending)
	}
}

// delivering is a namespace with one host that is delivered to by an agent, whose CA is being replaced.
func delivering(t *testing.T) *env {
	t.Helper()
	w := newEnv(t)
	w.create(newCA("k8s"), newServer("k8s-master"), newKubelet("node1", byAgent))
	w.ready("k8s-master", &v1alpha1.APIServerCertificate{})
	w.ready("node1", &v1alpha1.NodeCredential{})
	w.validity("k8s", 50000)
	w.phase("k8s", "DistributingTrust")
	w.published("node1", 2)
	return w
}

// TestAgentsAcknowledge replaces a CA whose consumer is an agent: every phase waits for what it has seen in use,
// however much else it reports, and for as long as its Lease has expired.
func TestAgentsAcknowledge(t *testing.T) {
	t.Parallel()
	const lease, name = "node1-tls", "NodeCredential/node1"
	w := delivering(t)
	all := func() *ack.State { return w.contents("node1-tls") }

	w.later(13 * time.Minute)
	w.waitsFor(plan.DistributingTrust, name+": LeaseExpired")
	now := all()
	old := &ack.State{SerialNumber: now.SerialNumber, Contents: maps.Clone(now.Contents)}
	old.Contents["node1-tls/apiserver-ca.crt"] = w.clusterCA("k8s").Status.Certificate.SHA256Fingerprint
	for what, c := range map[string]struct {
		off    time.Duration
		said   ack.Report
		reason string
	}{
		"installed":         {0, ack.Report{Installed: now}, "NotInUse"},
		"an older one":      {0, ack.Report{Installed: now, Verified: old}, "NotInUse"},
		"a problem":         {0, ack.Report{Verified: old, Problem: "disk full"}, "AgentProblem"},
		"long ago":          {-15 * time.Minute, ack.Report{Verified: now}, "LeaseExpired"},
		"far in the future": {16 * time.Minute, ack.Report{Verified: now}, "LeaseExpired"},
	} {
		t.Log(what)
		w.reports(lease, c.off, c.said)
		w.waitsFor(plan.DistributingTrust, name+": "+c.reason)
	}
	w.reports(lease, 0, ack.Report{Verified: now})
	w.phase("k8s", "Reissuing")

	w.later(13 * time.Minute)
	next := all()
	foreign := &ack.State{SerialNumber: next.SerialNumber, Contents: maps.Clone(next.Contents)}
	foreign.Contents["node1-tls/tls.crt"] = now.Contents["node1-tls/tls.crt"]
	for _, s := range []*ack.State{now, foreign} {
		w.reports(lease, 0, ack.Report{Installed: next, Verified: s})
		w.waitsFor(plan.Reissuing, name+": NotInUse")
	}
	w.reports(lease, 0, ack.Report{Verified: next})
	w.phase("k8s", "WithdrawingTrust")

	w.published("node1", 1)
	w.reports(lease, 0, ack.Report{Verified: all()})
	w.later(16 * time.Minute)
	w.waitsFor(plan.WithdrawingTrust, name+": LeaseExpired")
	w.breathes(lease)
	w.phase("k8s", "")
	w.settled()
	w.whole("k8s")
}

// TestAgentIsAskedAgain lets an agent take back what it said, while the operator's cache does not hear of it.
func TestAgentIsAskedAgain(t *testing.T) {
	t.Parallel()
	w := delivering(t)
	now := w.contents("node1-tls")
	w.reports("node1-tls", 0, ack.Report{Verified: now})
	w.eventually("the operator has heard it", func() error {
		var l coordinationv1.Lease
		if err := w.mgr.GetCache().Get(t.Context(), client.ObjectKey{Namespace: w.ns, Name: "node1-tls"}, &l); err != nil {
			return err
		}
		if ack.Of(&l).Verified == nil {
			return errors.New("its cache is behind")
		}
		return nil
	})
	w.settled()
	thaw := w.freeze("leases")
	w.reports("node1-tls", 0, ack.Report{Installed: now})
	w.clock.SetTime(w.clock.Now().Add(13 * time.Minute))
	before := w.mgr.Requests.Made()
	w.eventually("the operator asks again", func() error {
		if n := w.mgr.Requests.Made() - before; n < 30 {
			return fmt.Errorf("it made %d requests", n)
		}
		return nil
	})
	if got := w.ledger("k8s").Phase(); got != plan.DistributingTrust {
		t.Errorf("the phase is %q", got)
	}
	thaw()
	w.reports("node1-tls", 0, ack.Report{Verified: now})
	w.phase("k8s", "Reissuing")
}

// TestNoAgentSpeaksForAnother lets an agent write on its own Lease that this is another object's.
func TestNoAgentSpeaksForAnother(t *testing.T) {
	t.Parallel()
	w := delivering(t)
	w.create(newKubelet("node2", byAgent))
	w.ready("node2", &v1alpha1.NodeCredential{})
	w.settled()
	now := w.contents("node1-tls")
	w.stop()
	edit(w, "node2-tls", &coordinationv1.Lease{}, func(l *coordinationv1.Lease) {
		mine := w.lease("node1-tls")
		l.OwnerReferences, l.Annotations = mine.OwnerReferences, mine.Annotations
	})
	w.reports("node2-tls", 0, ack.Report{Verified: now})
	w.start()
	w.settled()
	w.clock.SetTime(w.clock.Now().Add(13 * time.Minute))
	w.waitsFor(plan.DistributingTrust, "NodeCredential/node1: LeaseExpired", "NodeCredential/node2: LeaseExpired")
}

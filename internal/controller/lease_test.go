package controller_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/test/testenv"
)

func byAgent(c *v1alpha1.NodeCredential) { c.Spec.Delivery.Mode = v1alpha1.DeliveryAgent }

// reports lets the agent of a host report in its Lease, by a clock that is off by so much, and sign by the key in its Secret.
func (w *env) reports(lease string, off time.Duration, r ack.Report) {
	w.t.Helper()
	w.signs(lease, off, r, w.pair(lease))
}

// signs lets whoever has a certificate and its key report in a Lease.
func (w *env) signs(lease string, off time.Duration, r ack.Report, by pki.Leaf) {
	w.t.Helper()
	edit(w, lease, &coordinationv1.Lease{}, func(l *coordinationv1.Lease) {
		r.Host, r.Time = w.hostOf(l), w.clock.Now().Add(off)
		if err := testenv.Report(l, r, by); err != nil {
			w.t.Fatal(err)
		}
	})
}

// hostOf is the host whose agent writes a Lease.
func (w *env) hostOf(l *coordinationv1.Lease) string {
	w.t.Helper()
	kind, name, _ := strings.Cut(l.Annotations[v1alpha1.OwnerAnnotation], "/")
	if kind == "APIServerCertificate" {
		var c v1alpha1.APIServerCertificate
		w.get(name, &c)
		return c.Spec.HostName
	}
	var c v1alpha1.NodeCredential
	w.get(name, &c)
	return c.Spec.HostName
}

// TestAnotherHostsAgent: what the agent of one host says counts for nothing once the object is for another host.
func TestAnotherHostsAgent(t *testing.T) {
	t.Parallel()
	w := standard(t)
	w.create(newKubelet("node2", byAgent, func(c *v1alpha1.NodeCredential) { c.Spec.HostName = "k8s-node2" }))
	w.ready("node2", &v1alpha1.NodeCredential{})
	w.reports("node2-tls", 0, ack.Report{Verified: w.contents("node2-tls")})
	w.condition("node2", &v1alpha1.NodeCredential{}, v1alpha1.TrustAcknowledgedCondition, metav1.ConditionTrue, v1alpha1.ReasonInUse)
	edit(w, "node2", &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) { c.Spec.HostName = "k8s-node3" })
	w.condition("node2", &v1alpha1.NodeCredential{}, v1alpha1.TrustAcknowledgedCondition, metav1.ConditionFalse, v1alpha1.ReasonLeaseExpired)
}

// breathes lets an agent renew its Lease and say nothing new.
func (w *env) breathes(lease string) {
	w.t.Helper()
	now := w.clock.Now()
	edit(w, lease, &coordinationv1.Lease{}, func(l *coordinationv1.Lease) {
		r := ack.Of(l)
		r.Time = now
		if err := testenv.Report(l, r, w.pair(lease)); err != nil {
			w.t.Fatal(err)
		}
	})
	w.eventually("the operator has heard it", func() error {
		var l coordinationv1.Lease
		if err := w.mgr.GetCache().Get(w.t.Context(), client.ObjectKey{Namespace: w.ns, Name: lease}, &l); err != nil {
			return err
		}
		if l.Spec.RenewTime == nil || l.Spec.RenewTime.Before(&metav1.MicroTime{Time: now.Truncate(time.Microsecond)}) {
			return errors.New("its cache is behind")
		}
		return nil
	})
}

// contents is what Secrets hold, as an agent reports it.
func (w *env) contents(tls string, others ...string) *ack.State {
	w.t.Helper()
	var more []*corev1.Secret
	for _, name := range others {
		more = append(more, w.secret(name))
	}
	s, err := ack.StateOf(w.secret(tls), more...)
	if err != nil {
		w.t.Fatal(err)
	}
	return &s
}

func (w *env) lease(name string) *coordinationv1.Lease {
	w.t.Helper()
	var l coordinationv1.Lease
	w.get(name, &l)
	return &l
}

// TestLease follows the Lease of an agent from its creation to its deletion. What the agent writes stays.
func TestLease(t *testing.T) {
	t.Parallel()
	w := standard(t)
	w.create(newKubelet("node2", byAgent, func(c *v1alpha1.NodeCredential) {
		c.Labels, c.Annotations = map[string]string{"team": "a"}, map[string]string{"argocd.argoproj.io/tracking-id": "x"}
	}), newServer("other", func(c *v1alpha1.APIServerCertificate) {
		c.Spec.Delivery.Mode, c.Spec.Delivery.LeaseDuration.Duration = v1alpha1.DeliveryAgent, time.Minute
	}))
	w.ready("node2", &v1alpha1.NodeCredential{})
	w.ready("other", &v1alpha1.APIServerCertificate{})
	if !w.missing("node1-tls", &coordinationv1.Lease{}) {
		t.Error("there is a Lease although no agent delivers")
	}
	if got := *w.lease("other-tls").Spec.LeaseDurationSeconds; got != 60 {
		t.Errorf("the API server's Lease is %d s long", got)
	}
	var owner v1alpha1.NodeCredential
	w.get("node2", &owner)
	l := w.lease("node2-tls")
	if ref := metav1.GetControllerOf(l); ref == nil || ref.UID != owner.UID || ref.Kind != "NodeCredential" {
		t.Errorf("it is controlled by %+v", ref)
	}
	if got := *l.Spec.LeaseDurationSeconds; got != 900 {
		t.Errorf("it is %d s long", got)
	}
	want := map[string]string{
		v1alpha1.ManagedLabel: v1alpha1.ManagedValue, v1alpha1.ManagedByLabel: v1alpha1.ManagedByValue, v1alpha1.OwnerKindLabel: "NodeCredential",
	}
	if diff := cmp.Diff(want, l.Labels); diff != "" || len(l.Annotations) != 2 {
		t.Error(diff, l.Annotations)
	}

	w.reports("node2-tls", 0, ack.Report{Problem: "none"})
	said := w.lease("node2-tls")
	delete(want, v1alpha1.ManagedByLabel) // nothing selects by it, so it is not repaired
	edit(w, "node2-tls", l, func(l *coordinationv1.Lease) {
		l.Labels, l.OwnerReferences, l.Spec.LeaseDurationSeconds = nil, nil, new(int32(1<<30))
	})
	edit(w, "node2", &owner, func(c *v1alpha1.NodeCredential) { c.Spec.Delivery.LeaseDuration.Duration = 20 * time.Minute })
	w.eventually("it is put right", func() error {
		l := w.lease("node2-tls")
		if metav1.GetControllerOf(l) == nil || !maps.Equal(l.Labels, want) || *l.Spec.LeaseDurationSeconds != 1200 {
			return fmt.Errorf("it is %+v", l)
		}
		return nil
	})
	l = w.lease("node2-tls")
	if l.UID != said.UID || !maps.Equal(l.Annotations, said.Annotations) || *l.Spec.HolderIdentity != *said.Spec.HolderIdentity || !l.Spec.RenewTime.Equal(said.Spec.RenewTime) {
		t.Errorf("what the agent wrote was changed: %+v", l)
	}

	w.withoutLease()
}

// withoutLease lets no agent deliver to node2 any more: its Lease goes, and what was said of the agent.
func (w *env) withoutLease() {
	w.t.Helper()
	var owner v1alpha1.NodeCredential
	edit(w, "node2", &owner, func(c *v1alpha1.NodeCredential) { c.Spec.Delivery.Mode = v1alpha1.DeliveryMounted })
	w.eventually("it is deleted", func() error {
		if !w.missing("node2-tls", &coordinationv1.Lease{}) {
			return errors.New("it is still there")
		}
		return nil
	})
	w.settled()
	w.get("node2", &owner)
	for _, c := range owner.Status.Conditions {
		if c.Type == v1alpha1.TrustAcknowledgedCondition {
			w.t.Errorf("a condition is left: %+v", c)
		}
	}
}

// TestForeignLease leaves a Lease alone that is somebody else's, and issues all the same.
func TestForeignLease(t *testing.T) {
	t.Parallel()
	w := standard(t)
	w.create(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "node2-tls"}, Spec: coordinationv1.LeaseSpec{HolderIdentity: new("me")}})
	before := w.lease("node2-tls")
	w.create(newKubelet("node2", byAgent))
	c := w.condition("node2", &v1alpha1.NodeCredential{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonSecretConflict)
	if !strings.HasPrefix(c.Message, `Lease "node2-tls" exists, and the operator did not make it`) {
		t.Errorf("the message is %q", c.Message)
	}
	w.ready("node2", &v1alpha1.NodeCredential{})
	if got := w.lease("node2-tls"); got.ResourceVersion != before.ResourceVersion {
		t.Errorf("it was written: %+v", got)
	}
}

// TestLeaseChangesHands lets an object take over the Secret that another one has left: what the agent of that one said counts
// for nothing any more. Before, it stays with the one that it was made for.
func TestLeaseChangesHands(t *testing.T) {
	t.Parallel()
	w := standard(t)
	w.create(newKubelet("node2", byAgent))
	w.ready("node2", &v1alpha1.NodeCredential{})
	w.create(newKubelet("node3", byAgent, func(c *v1alpha1.NodeCredential) { c.Spec.SecretName = "shared" }))
	w.ready("node3", &v1alpha1.NodeCredential{})
	w.reports("shared", 0, ack.Report{Verified: w.contents("shared")})
	w.condition("node3", &v1alpha1.NodeCredential{}, v1alpha1.TrustAcknowledgedCondition, metav1.ConditionTrue, v1alpha1.ReasonInUse)
	edit(w, "node2", &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) { c.Spec.SecretName = "shared" })
	w.condition("node2", &v1alpha1.NodeCredential{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonSecretConflict)
	w.condition("node3", &v1alpha1.NodeCredential{}, v1alpha1.TrustAcknowledgedCondition, metav1.ConditionTrue, v1alpha1.ReasonInUse)

	edit(w, "node3", &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) { c.Spec.SecretName = "" })
	w.ready("node3", &v1alpha1.NodeCredential{})
	w.restartAt(w.clock.Now())
	w.eventually("the other one has the Lease", func() error {
		var l coordinationv1.Lease
		if err := w.api.Get(t.Context(), client.ObjectKey{Namespace: w.ns, Name: "shared"}, &l); err != nil { // it is made anew
			return err
		}
		if l.Annotations[v1alpha1.OwnerAnnotation] != "NodeCredential/node2" || l.Annotations[v1alpha1.ReportAnnotation] != "" {
			return fmt.Errorf("it is %+v", l.ObjectMeta)
		}
		return nil
	})
	w.condition("node2", &v1alpha1.NodeCredential{}, v1alpha1.TrustAcknowledgedCondition, metav1.ConditionFalse, v1alpha1.ReasonAgentNotStarted)
}

// TestTrustAcknowledged lets an agent report one thing after the other, its Lease expire, and the agent come back.
func TestTrustAcknowledged(t *testing.T) {
	t.Parallel()
	w := standard(t)
	w.create(newKubelet("node2", byAgent, func(c *v1alpha1.NodeCredential) { c.Spec.HostName = "k8s-node2" }))
	is := func(status metav1.ConditionStatus, reason, message string) {
		t.Helper()
		c := w.condition("node2", &v1alpha1.NodeCredential{}, v1alpha1.TrustAcknowledgedCondition, status, reason)
		if !strings.Contains(c.Message, message) {
			t.Errorf("%s: the message is %q", reason, c.Message)
		}
		w.ready("node2", &v1alpha1.NodeCredential{})
	}
	no, yes := metav1.ConditionFalse, metav1.ConditionTrue
	is(no, v1alpha1.ReasonAgentNotStarted, `no agent has reported through Lease "node2-tls" yet`)
	all := w.contents("node2-tls")
	w.reports("node2-tls", 0, ack.Report{})
	is(no, v1alpha1.ReasonNotInstalled, `not installed yet what is in Secret "node2-tls"`)
	w.reports("node2-tls", 0, ack.Report{Installed: all})
	is(no, v1alpha1.ReasonNotInUse, "has not seen it in use yet")
	w.reports("node2-tls", 0, ack.Report{Installed: all, Verified: all})
	is(yes, v1alpha1.ReasonInUse, "has seen in use")
	w.reports("node2-tls", 0, ack.Report{Verified: all, Problem: "kubelet does\nnot start; $(reboot) 'x"})
	is(no, v1alpha1.ReasonAgentProblem, `the agent of host "k8s-node2" reports: 'kubelet does not start; $(reboot) '\''x'`)
	w.reports("node2-tls", 16*time.Minute, ack.Report{Verified: all})
	is(no, v1alpha1.ReasonLeaseExpired, "a time that lies far ahead")
	w.reports("node2-tls", 0, ack.Report{Verified: all})
	is(yes, v1alpha1.ReasonInUse, "")

	w.settled()
	old := w.secret("node2-tls").Data["tls.crt"]
	w.delete(w.secret("node2-tls"))
	w.eventually("another certificate is issued", func() error {
		var s corev1.Secret
		if w.missing("node2-tls", &s) || string(w.secret("node2-tls").Data["tls.crt"]) == string(old) {
			return errors.New("it is not")
		}
		return nil
	})
	is(no, v1alpha1.ReasonNotInstalled, "")
	w.reports("node2-tls", 0, ack.Report{Verified: w.contents("node2-tls")})
	is(yes, v1alpha1.ReasonInUse, "")
	w.later(15*time.Minute - time.Second)
	is(yes, v1alpha1.ReasonInUse, "")
	w.later(time.Second)
	is(no, v1alpha1.ReasonLeaseExpired, `the agent of host "k8s-node2" has not renewed Lease "node2-tls" for longer than delivery.leaseDuration`)
	w.breathes("node2-tls")
	is(yes, v1alpha1.ReasonInUse, "")

	want := []string{"Normal InUse", "Normal NotInstalled", "Warning AgentProblem", "Warning LeaseExpired"}
	w.eventually("the events are there", func() error {
		if diff := cmp.Diff(want, w.acknowledgments("node2")); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
}

// acknowledgments are the kinds of events that tell of an object's agent.
func (w *env) acknowledgments(name string) []string {
	w.t.Helper()
	var list eventsv1.EventList
	w.list(&list)
	var out []string
	for _, e := range list.Items {
		if e.Action == "Acknowledge" && e.Regarding.Name == name {
			out = append(out, e.Type+" "+e.Reason)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// TestHeartbeat lets an agent live: the operator does nothing about it, and takes note of one that comes back.
func TestHeartbeat(t *testing.T) {
	t.Parallel()
	w := standard(t)
	w.create(newKubelet("node2", byAgent))
	w.ready("node2", &v1alpha1.NodeCredential{})
	w.reports("node2-tls", 0, ack.Report{Verified: w.contents("node2-tls")})
	w.condition("node2", &v1alpha1.NodeCredential{}, v1alpha1.TrustAcknowledgedCondition, metav1.ConditionTrue, v1alpha1.ReasonInUse)
	w.settled()
	_, before := w.mgr.Progress.Visits()
	for range 5 {
		w.clock.SetTime(w.clock.Now().Add(5 * time.Minute))
		w.breathes("node2-tls")
	}
	w.settled()
	if _, visits := w.mgr.Progress.Visits(); visits != before {
		t.Errorf("there were %d reconciliations", visits-before)
	}
	w.clock.SetTime(w.clock.Now().Add(15 * time.Minute))
	w.breathes("node2-tls")
	w.eventually("the return of the agent is noticed", func() error {
		if _, visits := w.mgr.Progress.Visits(); visits == before {
			return errors.New("it was not")
		}
		return nil
	})
}

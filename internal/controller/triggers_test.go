package controller_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/limits"
	"clusterpki.io/operator/internal/pki/plan"
)

// triggers sets rotation.trigger and rotation.emergencyTrigger.
func (w *env) triggers(trigger, emergency string) {
	w.t.Helper()
	edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) {
		c.Spec.Rotation.Trigger, c.Spec.Rotation.EmergencyTrigger = trigger, emergency
	})
}

// nothingFollows says that the CA is not being rotated once the operator has looked at everything.
func (w *env) nothingFollows() {
	w.t.Helper()
	before := w.ledger("k8s").Revision
	w.later(13 * time.Minute)
	if l := w.ledger("k8s"); l.Revision != before || l.Phase() != plan.Completed {
		w.t.Errorf("the ledger is %+v", l)
	}
}

// TestTriggers gives triggers, and former ones again: those start nothing, but for one whose rotation was rolled back.
func TestTriggers(t *testing.T) {
	t.Parallel()
	w := standard(t)
	w.triggers("one", "")
	w.replaced("k8s", nil)
	last := w.clusterCA("k8s").Status.LastRotation
	if last.Trigger != "one" || last.Result != v1alpha1.RotationCompleted || last.From != 1 || last.To != 2 || len(last.Phases) != 3 ||
		last.EndTime.Before(&last.StartTime) || last.Reason != "TriggerChanged" {
		t.Errorf("the last rotation is %+v", last)
	}
	w.triggers("", "")
	w.nothingFollows()
	w.triggers("one", "one")
	w.nothingFollows()

	w.triggers("two", "")
	w.phase("k8s", v1alpha1.PhaseDistributingTrust)
	w.triggers("one", "")
	w.phase("k8s", v1alpha1.PhaseWithdrawingTrust)
	if r := w.clusterCA("k8s").Status.Rotation; r.Result != v1alpha1.RotationRolledBack {
		t.Errorf("the rotation is %+v", r)
	}
	w.walk("k8s", nil)
	w.whole("k8s")
	last = w.clusterCA("k8s").Status.LastRotation
	states := []v1alpha1.PhaseState{}
	for _, p := range last.Phases {
		states = append(states, p.State)
	}
	if last.Trigger != "two" || last.Result != v1alpha1.RotationRolledBack ||
		!slices.Equal(states, []v1alpha1.PhaseState{v1alpha1.PhaseDone, v1alpha1.PhaseSkipped, v1alpha1.PhaseDone}) {
		t.Errorf("the last rotation is %+v", last)
	}
	w.nothingFollows()
	w.triggers("two", "")
	w.replaced("k8s", nil)
	if n := w.ledger("k8s").Generations[0].Number; n != 4 {
		t.Errorf("generation %d is active", n)
	}
}

// TestEmergencyOnlyByTrigger names a trigger that started nothing: no rotation goes without overlap because of that.
func TestEmergencyOnlyByTrigger(t *testing.T) {
	t.Parallel()
	w := standard(t)
	w.triggers("", "leaked")
	w.nothingFollows()
	w.validity("k8s", 50000)
	w.replaced("k8s", nil)
	w.triggers("planned", "leaked")
	w.replaced("k8s", nil)
	w.triggers("leaked", "leaked")
	if got := w.walk("k8s", nil); !slices.Equal(got, phases[2:]) {
		t.Errorf("the phases were %v", got)
	}
	if last := w.clusterCA("k8s").Status.LastRotation; last.Emergency == nil || !*last.Emergency {
		t.Errorf("the last rotation is %+v", last)
	}
}

// TestEmergencyOfARotation turns a rotation that is under way into an emergency one.
func TestEmergencyOfARotation(t *testing.T) {
	t.Parallel()
	w := standard(t)
	w.triggers("planned", "")
	w.phase("k8s", v1alpha1.PhaseDistributingTrust)
	w.triggers("planned", "planned")
	w.phase("k8s", v1alpha1.PhaseWithdrawingTrust)
	if got := w.walk("k8s", nil); !slices.Equal(got, phases[2:]) {
		t.Errorf("the phases were %v", got)
	}
	w.whole("k8s")
	if n := w.ledger("k8s").Generations[0].Number; n != 2 {
		t.Errorf("generation %d is active", n)
	}
}

// TestMaxGenerations begins more emergency rotations, none of which ends, than there may be keys: the oldest ones that nobody is
// to trust any more go.
func TestMaxGenerations(t *testing.T) {
	t.Parallel()
	w := standard(t)
	edit(w, "node1", &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) { c.Spec.Delivery.Mode = v1alpha1.DeliveryManual })
	const rotations = plan.MaxGenerations + 2
	for i := range int32(rotations) {
		trigger := fmt.Sprintf("leak %d", i)
		w.triggers(trigger, trigger)
		w.eventually(trigger, func() error {
			if active, _ := w.ledger("k8s").Active(); active.Number != i+2 {
				return fmt.Errorf("generation %d is active", active.Number)
			}
			return nil
		})
	}
	l := w.ledger("k8s")
	if len(l.Generations) != plan.MaxGenerations || l.Names(3) || !l.Names(rotations+1) {
		t.Errorf("the ledger is %+v", l)
	}
	var ca *v1alpha1.ClusterCA
	w.eventually("the status follows", func() error {
		if ca = w.clusterCA("k8s"); len(ca.Status.Generations) != plan.MaxGenerations || ca.Status.Rotation.To != rotations+1 {
			return fmt.Errorf("it is %+v", ca.Status)
		}
		return nil
	})
	if last := ca.Status.LastRotation; last.Result != v1alpha1.RotationSuperseded || last.To != rotations {
		t.Errorf("the last rotation is %+v", last)
	}
	w.ready("k8s", ca)
	w.eventually("what is issued is whole", func() error { return w.verified("node1") })
}

// TestLeft moves a credential to another CA: the one that it leaves waits until what was issued before is out of use.
func TestLeft(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.create(newCA("k8s"), newCA("clients"), newServer("k8s-master", func(c *v1alpha1.APIServerCertificate) {
		c.Spec.ClientCARefs = []v1alpha1.CAReference{{Name: "k8s"}, {Name: "clients"}}
	}), newKubelet("node1"))
	w.ready("node1", &v1alpha1.NodeCredential{})
	w.ready("clients", &v1alpha1.ClusterCA{})
	w.observe()
	edit(w, "node1", &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) { c.Spec.CARef.Name = "clients" })
	left := func() []string { return consumers.Unsealed(w.secret("node1-tls").Annotations).Left }
	w.eventually("it is of the other CA", func() error {
		if got := left(); !slices.Equal(got, []string{"k8s"}) {
			return fmt.Errorf("it has left %v", got)
		}
		return nil
	})
	w.triggers("now", "")
	w.phase("k8s", v1alpha1.PhaseDistributingTrust)
	w.replaced("k8s", nil)
	edit(w, "node1", &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) { c.Spec.Validity = hours(100) })
	w.eventually("it has arrived", func() error {
		if got := left(); len(got) > 0 {
			return fmt.Errorf("it has left %v", got)
		}
		return nil
	})
}

// TestStatusIsBounded lets a rotation wait for more consumers, of longer names, than a status has room for; and after a restore
// for those that may not be there yet.
func TestStatusIsBounded(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.restartAt(time.Now().Add(time.Minute))
	manual := func(c *v1alpha1.NodeCredential) {
		c.Spec.Delivery.Mode, c.Spec.HostName = v1alpha1.DeliveryManual, strings.Repeat("h", 50)
	}
	w.create(newCA("k8s"), newServer("k8s-master"))
	w.ready("k8s-master", &v1alpha1.APIServerCertificate{})
	const n = 25
	for i := range n {
		w.create(newKubelet(fmt.Sprintf("%0200d", i), manual))
	}
	for i := range n {
		w.ready(fmt.Sprintf("%0200d", i), &v1alpha1.NodeCredential{})
	}
	w.triggers(strings.Repeat("t", 128), "")
	named := func(phase v1alpha1.Phase, count int32) {
		t.Helper()
		w.eventually("all are waited for", func() error {
			r := w.phase("k8s", phase).Status.Rotation
			if len(r.Pending) != limits.Items(v1alpha1.KindClusterCA, "rotation", "pending") || r.PendingCount == nil || *r.PendingCount != count {
				return fmt.Errorf("the rotation is %+v", r)
			}
			return nil
		})
	}
	named(v1alpha1.PhaseDistributingTrust, n+1) // k8s-master too, which is not there yet
	w.restoreOlder("k8s", time.Hour)
	named(v1alpha1.PhaseDistributingTrust, n+2)
	w.delivered()
	named(v1alpha1.PhaseDistributingTrust, n)
	w.clock.SetTime(w.clock.Now().Add(73 * time.Hour))
	w.condition("k8s", &v1alpha1.ClusterCA{}, v1alpha1.RotationBlockedCondition, metav1.ConditionTrue, "DistributingTrust")
	w.triggers(strings.Repeat("t", 128), strings.Repeat("t", 128))
	w.condition("k8s", &v1alpha1.ClusterCA{}, v1alpha1.RedeliveryRequiredCondition, metav1.ConditionTrue, v1alpha1.ReasonEmergency)
	named(v1alpha1.PhaseWithdrawingTrust, n+1)
	w.event("Supersede")
}

// restoreOlder deletes the Secret of a CA and restores it from a backup, which says that the phase began so much earlier.
func (w *env) restoreOlder(ca string, by time.Duration) {
	w.t.Helper()
	since := w.ledger(ca).Since
	kept := w.authoritySecret(ca)
	w.delete(kept)
	w.condition(ca, &v1alpha1.ClusterCA{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonAuthorityMissing)
	kept.ResourceVersion, kept.UID = "", ""
	text := func(at time.Time) []byte { return []byte(`"since":"` + at.Format(time.RFC3339) + `"`) }
	was := kept.Data["ledger.json"]
	if kept.Data["ledger.json"] = bytes.Replace(was, text(since), text(since.Add(-by)), 1); bytes.Equal(kept.Data["ledger.json"], was) {
		w.t.Fatalf("the ledger does not say when the phase began: %s", was)
	}
	if err := w.api.Create(w.t.Context(), kept); err != nil {
		w.t.Fatal(err)
	}
}

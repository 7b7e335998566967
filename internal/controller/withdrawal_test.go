package controller_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki/plan"
)

// doubted rotates a CA whose server and credential are only assumed to use what they are given, until nothing else is missing.
func doubted(t *testing.T) *env {
	w := standard(t)
	for name, o := range map[string]v1alpha1.Object{"k8s-master": &v1alpha1.APIServerCertificate{}, "node1": &v1alpha1.NodeCredential{}} {
		w.accepts(name, o, v1alpha1.AcceptAssumedNever)
	}
	w.triggers("2026-11", "")
	w.phase("k8s", v1alpha1.PhaseDistributingTrust)
	w.delivered()
	w.phase("k8s", v1alpha1.PhaseReissuing)
	w.delivered()
	w.pendingWithdrawal()
	return w
}

func (w *env) accepts(name string, o v1alpha1.Object, accept v1alpha1.AcceptAssumed) {
	w.t.Helper()
	switch o := o.(type) {
	case *v1alpha1.APIServerCertificate:
		edit(w, name, o, func(c *v1alpha1.APIServerCertificate) { c.Spec.Delivery.AcceptAssumed = accept })
	case *v1alpha1.NodeCredential:
		edit(w, name, o, func(c *v1alpha1.NodeCredential) { c.Spec.Delivery.AcceptAssumed = accept })
	}
}

// pendingWithdrawal waits until a person is asked, and returns the CA and the condition that asks.
func (w *env) pendingWithdrawal() (*v1alpha1.ClusterCA, *metav1.Condition) {
	w.t.Helper()
	var ca v1alpha1.ClusterCA
	w.eventually("the withdrawal waits for a person", func() error {
		w.get("k8s", &ca)
		if !meta.IsStatusConditionTrue(ca.Status.Conditions, v1alpha1.WithdrawalPendingCondition) || ca.Status.ObservedGeneration != ca.Generation {
			return fmt.Errorf("%+v", ca.Status)
		}
		return nil
	})
	return &ca, meta.FindStatusCondition(ca.Status.Conditions, v1alpha1.WithdrawalPendingCondition)
}

// waitsForGood says that time changes nothing, and no deadline turns it into a fault.
func (w *env) waitsForGood() {
	w.t.Helper()
	w.later(100 * time.Hour)
	ca, _ := w.pendingWithdrawal()
	if ca.Status.Rotation.Phase != v1alpha1.PhaseReissuing || meta.IsStatusConditionTrue(ca.Status.Conditions, v1alpha1.RotationBlockedCondition) {
		w.t.Errorf("the status is %+v", ca.Status)
	}
	w.published("node1", 2)
}

// TestAWithdrawalWaitsForAPerson: both CAs are trusted meanwhile, it is a warning and no fault, and the status says what to write.
func TestAWithdrawalWaitsForAPerson(t *testing.T) {
	t.Parallel()
	w := doubted(t)
	ca, c := w.pendingWithdrawal()
	const id = "k8s/2026-11.g2"
	if r := ca.Status.Rotation; r.ID != id || *r.Acknowledged != 0 || *r.Assumed != 2 || *r.Required != 2 || *r.PendingCount != 2 {
		t.Errorf("the rotation is %+v", r)
	}
	for _, p := range ca.Status.Rotation.Pending {
		if p.Reason != v1alpha1.ReasonAssumed || !strings.Contains(p.Edit, id) || !strings.Contains(p.Edit, "acceptAssumed") {
			t.Errorf("pending is %+v", p)
		}
	}
	for _, text := range []string{id, "APIServerCertificate/k8s-master, NodeCredential/node1"} {
		if c.Reason != v1alpha1.ReasonAssumed || !strings.Contains(c.Message, text) {
			t.Errorf("the condition is %+v", c)
		}
	}
	if !meta.IsStatusConditionTrue(ca.Status.Conditions, v1alpha1.ReadyCondition) || meta.FindStatusCondition(ca.Status.Conditions, v1alpha1.StalledCondition) != nil {
		t.Errorf("the conditions are %+v", ca.Status.Conditions)
	}
	w.waitsForGood()
	approve := func(id string) {
		edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.Rotation.Approved = &v1alpha1.RotationApproval{Withdrawal: id} })
	}
	for _, other := range []string{"k8s/2026-11.g1", "k8s/2026-11.g3", "k8s/2026-12.g2", "etcd/2026-11.g2", "2026-11"} {
		approve(other)
		w.eventually("it is said that another one is approved", func() error {
			if _, c := w.pendingWithdrawal(); !strings.HasSuffix(c.Message, fmt.Sprintf("; it names '%s' now, which is no approval of this rotation", other)) {
				return errors.New(c.Message)
			}
			return nil
		})
	}
	approve(id)
	w.phase("k8s", v1alpha1.PhaseWithdrawingTrust)
	w.walk("k8s", nil)
	w.whole("k8s")

	w.triggers("2026-12", "") // what was approved says nothing of the next one
	w.phase("k8s", v1alpha1.PhaseDistributingTrust)
	w.delivered()
	w.phase("k8s", v1alpha1.PhaseReissuing)
	w.delivered()
	w.pendingWithdrawal()
}

// TestEveryObjectHasToAccept: one of two is not enough, and the last lets the rotation go on.
func TestEveryObjectHasToAccept(t *testing.T) {
	t.Parallel()
	w := doubted(t)
	w.accepts("node1", &v1alpha1.NodeCredential{}, v1alpha1.AcceptAssumedAlways)
	w.eventually("one is left", func() error {
		ca, _ := w.pendingWithdrawal()
		if p := pendingOf(ca); len(p) != 1 || p[0] != "APIServerCertificate/k8s-master" {
			return fmt.Errorf("pending are %v", p)
		}
		return nil
	})
	w.waitsForGood()
	w.accepts("k8s-master", &v1alpha1.APIServerCertificate{}, v1alpha1.AcceptAssumedAlways)
	w.phase("k8s", v1alpha1.PhaseWithdrawingTrust)
}

// TestAnEmergencyAsksNobody: it withdraws at once, also while another one waits for a person.
func TestAnEmergencyAsksNobody(t *testing.T) {
	t.Parallel()
	w := doubted(t)
	w.triggers("2026-11", "2026-11")
	w.phase("k8s", v1alpha1.PhaseWithdrawingTrust)
	w.published("node1", 1)
}

// TestTheSameKeyAsksNobody: nothing that anybody needs is withdrawn.
func TestTheSameKeyAsksNobody(t *testing.T) {
	t.Parallel()
	w := standard(t)
	w.accepts("node1", &v1alpha1.NodeCredential{}, v1alpha1.AcceptAssumedNever)
	edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) {
		c.Spec.Rotation.KeyPolicy, c.Spec.Rotation.Trigger = v1alpha1.KeyReuse, "dates"
	})
	w.phase("k8s", v1alpha1.PhaseWithdrawingTrust)
	w.walk("k8s", nil)
	w.whole("k8s")
	if l := w.ledger("k8s"); l.LastRotation == nil || !l.LastRotation.SameKey || l.Phase() != plan.Completed {
		t.Errorf("the ledger is %+v", l)
	}
}

// TestAnEmergencyTriggerLeftInGit makes no emergency of the next rotation by age, nor of another trigger, nor when it is removed
// and added again.
func TestAnEmergencyTriggerLeftInGit(t *testing.T) {
	t.Parallel()
	w := standard(t)
	w.triggers("stolen", "stolen")
	w.phase("k8s", v1alpha1.PhaseWithdrawingTrust)
	w.walk("k8s", nil)
	if last := w.clusterCA("k8s").Status.LastRotation; last.Emergency == nil || !*last.Emergency {
		t.Fatalf("the last rotation is %+v", last)
	}
	for _, again := range [][2]string{{"", ""}, {"stolen", ""}, {"", "stolen"}, {"stolen", "stolen"}} {
		w.triggers(again[0], again[1])
		w.nothingFollows()
	}
	w.later(w.clusterCA("k8s").Status.Certificate.RenewalTime.Sub(w.clock.Now()) + time.Second)
	ca := w.phase("k8s", v1alpha1.PhaseDistributingTrust)
	if r := ca.Status.Rotation; r.Reason != v1alpha1.RotationRenewalDue || r.Emergency != nil || r.ID != "k8s/age.g3" {
		t.Errorf("the rotation is %+v", r)
	}
	w.published("node1", 2)
	if err := w.verified("node1"); err != nil {
		t.Error(err)
	}
}

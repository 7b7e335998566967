package cli

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
)

// steady is a fixture with a CA that is Ready and not being rotated.
func steady(t *testing.T, mods ...func(*v1alpha1.ClusterCA)) *fixture {
	t.Helper()
	w := newFixture(t)
	ca := &v1alpha1.ClusterCA{ObjectMeta: metav1.ObjectMeta{Name: "k8s"}}
	for _, m := range mods {
		m(ca)
	}
	w.create(ca)
	w.reports(func(ca *v1alpha1.ClusterCA) {
		ca.Status.Generations = []v1alpha1.GenerationStatus{{Number: 1, State: v1alpha1.GenerationActive}}
		ca.Status.Certificate = v1alpha1.CertificateStatus{
			IssuerGeneration: 1, RenewalTime: metav1.NewTime(time.Now().Add(500 * time.Hour)), NotAfter: metav1.NewTime(time.Now().Add(1000 * time.Hour)),
		}
		ca.Status.Conditions = []metav1.Condition{{
			Type: v1alpha1.ReadyCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonIssued, LastTransitionTime: metav1.Now(),
		}}
	})
	return w
}

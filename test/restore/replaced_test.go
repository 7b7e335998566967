package restore_test

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki/plan"
)

// TestReplacedTooEarly asks for another CA just after a restore. That waits, and says so, unless the key is compromised.
func TestReplacedTooEarly(t *testing.T) {
	w := target.world(t, "replaced-too-early")
	w.restore(issued(t).velero())
	target.operate(t, optionsOf(w, nil))
	w.settled()
	revise := func(revision string, mode v1alpha1.RotationMode) {
		edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.Rotation.Revision, c.Spec.Rotation.Mode = revision, mode })
	}
	revise("wanted", v1alpha1.RotationSafe)
	c := w.condition(&v1alpha1.ClusterCA{}, "k8s", v1alpha1.ReconcilingCondition, metav1.ConditionTrue, v1alpha1.ReasonRestoreIncomplete)
	if !strings.Contains(c.Message, "ten minutes") || w.ledger("k8s").Phase() != plan.Completed {
		t.Errorf("it says %q in phase %s", c.Message, w.ledger("k8s").Phase())
	}
	revise("compromised", v1alpha1.RotationEmergency)
	w.eventually("a compromised key is replaced at once", func() error {
		if signing, _ := w.ledger("k8s").Signing(); signing.Number < 2 {
			return fmt.Errorf("generation %d signs", signing.Number)
		}
		var ca v1alpha1.ClusterCA
		w.get("k8s", &ca)
		if r := meta.FindStatusCondition(ca.Status.Conditions, v1alpha1.ReconcilingCondition); r != nil && r.Reason == v1alpha1.ReasonRestoreIncomplete {
			return fmt.Errorf("it still says %q", r.Message)
		}
		return nil
	})
}

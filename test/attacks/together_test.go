package attacks_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/test/testenv"
)

// ignoreConflict lets an attacker lose a race against the operator's repair: he tries again.
func ignoreConflict(err error) error {
	if apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// TestTogether lets all of them happen to one namespace, one after another: what decides, about any CA of any namespace, is byte
// for byte as before, and the CA can be rotated. No other test runs meanwhile, which would rotate its own.
func TestTogether(t *testing.T) {
	v := newVictim(t)
	v.create(clusterCA("bystander"))
	v.ready(&v1alpha1.ClusterCA{}, "bystander")
	newVictim(t) // in another namespace
	v.before = v.everywhere()
	for _, rotates := range []bool{false, true} { // what rotates the CA comes last
		for _, a := range attacks {
			if a.rotates == rotates {
				a.do(v, a.rights(v))
			}
		}
		v.unharmed()
	}
	v.rotates()
}

// TestOperatorDeletesNoSecret asks the API server whether the operator could: no verb of its role lets it.
func TestOperatorDeletesNoSecret(t *testing.T) {
	v := newVictim(t)
	own, err := testenv.Client(testenv.As(cfg, testenv.System, "clusterpki"))
	v.must(err)
	for _, ns := range []string{v.ns, controller.DefaultAuthorityNamespace, testenv.System} {
		err := own.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "any"}})
		if !isForbidden(err) {
			t.Errorf("in namespace %s: %v", ns, err)
		}
	}
}

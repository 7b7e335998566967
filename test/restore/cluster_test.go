package restore_test

import (
	"maps"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
)

func newClusterPKI() *v1alpha1.ClusterPKI {
	c := &v1alpha1.ClusterPKI{ObjectMeta: metav1.ObjectMeta{Name: "k8s"}}
	c.Spec.Endpoint, c.Spec.ServiceCIDRs = "https://k8s-master:6443", []string{"10.96.0.0/12"}
	c.Spec.ControlPlane.Hosts = []v1alpha1.ControlPlaneHost{{Name: "k8s-master", Addresses: []string{"10.1.10.238"}}}
	return c
}

// TestClusterPKIRestored restores a ClusterPKI after a loss. It knows its objects again, makes none anew, and nothing is re-issued.
func TestClusterPKIRestored(t *testing.T) {
	t.Parallel()
	for name, velero := range map[string]bool{"clusterpki restore": false, "Velero": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newFixture(t, strings.ToLower("cluster-by-"+strings.ReplaceAll(name, " ", "-")))
			stop := w.operate(nil)
			w.create(newClusterPKI())
			w.condition(&v1alpha1.ClusterPKI{}, "k8s", v1alpha1.ReadyCondition, metav1.ConditionTrue, "")
			w.settled()
			want, archive, saved := w.contents(), w.backup(), w.velero()
			stop()
			w.lose()
			if velero {
				w.restore(saved)
			} else {
				w.mustRestore(archive)
			}
			uids := w.uids()
			w.operate(nil)
			if velero {
				w.condition(&v1alpha1.ClusterPKI{}, "k8s", v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonAuthorityRetained)
				w.release()
			}
			w.condition(&v1alpha1.ClusterPKI{}, "k8s", v1alpha1.ReadyCondition, metav1.ConditionTrue, "")
			w.settled()
			w.ready()
			w.same(want)
			if !maps.Equal(w.uids(), uids) {
				t.Error("objects were made anew")
			}
		})
	}
}

func (w *fixture) uids() map[string]types.UID {
	w.t.Helper()
	out := map[string]types.UID{}
	for _, o := range w.resources() {
		out[o.Kind()+"/"+o.GetName()] = o.GetUID()
	}
	return out
}

// TestClusterPKIRecordDeleted takes away what is known of a ClusterPKI once that is gone, and not before.
func TestClusterPKIRecordDeleted(t *testing.T) {
	t.Parallel()
	w := newFixture(t, "cluster-forgotten")
	stop := w.operate(nil)
	w.create(newClusterPKI())
	w.condition(&v1alpha1.ClusterPKI{}, "k8s", v1alpha1.ReadyCondition, metav1.ConditionTrue, "")
	stop()
	forget := func() error {
		return w.clusterpki(t.Output(), "authority", "delete", "clusterpkis/"+w.ns+"/k8s", "--yes")
	}
	if err := forget(); err == nil {
		t.Error("it is deleted while the ClusterPKI is there")
	}
	if err := w.api.Delete(t.Context(), &v1alpha1.ClusterPKI{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "k8s"}}); err != nil {
		t.Fatal(err)
	}
	if err := forget(); err != nil {
		t.Fatal(err)
	}
	err := w.api.Get(t.Context(), client.ObjectKey{Namespace: w.authority, Name: authority.FamilyName(w.ns, "k8s")}, &corev1.Secret{})
	if client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("the record is there: %v", err)
	}
}

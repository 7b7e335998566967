package controller_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"clusterpki.io/operator/api/v1alpha1"
)

// TestEditsComeInWaves: an edit that re-issues everything reaches one master and one node, and the next ones once these use what was issued for them.
func TestEditsComeInWaves(t *testing.T) {
	t.Parallel()
	hosts := []string{"k8s-master", "k8s-master2", "k8s-node1", "k8s-node2"}
	w := clustered(t, newCluster(2, func(c *v1alpha1.ClusterPKI) {
		c.Spec.Endpoint, c.Spec.Certificates.Delivery = "https://lb.example:6443", v1alpha1.HostDelivery{Mode: v1alpha1.DeliveryAgent}
		c.Spec.ControlPlane.Hosts = append(c.Spec.ControlPlane.Hosts, v1alpha1.ControlPlaneHost{Name: "k8s-master2", Addresses: []string{"10.1.10.237"}})
		c.Spec.Rotation.MaxUnavailable = new(intstr.FromInt(1))
	}))
	w.installs(hosts...)
	reissued := func(when string, want ...string) {
		t.Helper()
		w.eventually(when, func() error { // a change of its children reaches a ClusterPKI after a moment
			var got []string
			var list v1alpha1.NodeCredentialList
			w.list(&list)
			for _, c := range list.Items {
				if s := c.Status.Certificate; s.NotAfter.Sub(s.NotBefore.Time) < 5000*time.Hour {
					got = append(got, c.Spec.HostName)
				}
			}
			slices.Sort(got)
			if got = slices.Compact(got); !slices.Equal(got, want) {
				return fmt.Errorf("%v, and not %v: %+v", got, want, w.cluster().Status.Conditions)
			}
			return nil
		})
	}
	reissued("at first")
	editCluster(w, func(c *v1alpha1.ClusterPKI) {
		c.Spec.Certificates.Validity = metav1.Duration{Duration: 4380 * time.Hour}
	})
	reissued("the first ones", "k8s-master", "k8s-node1")
	w.eventually("it says so", func() error {
		c := meta.FindStatusCondition(w.cluster().Status.Conditions, v1alpha1.ReconcilingCondition)
		if c == nil || c.Reason != v1alpha1.ReasonAwaitingTurn || !strings.Contains(c.Message, "k8s-master2, k8s-node2") ||
			!strings.Contains(c.Message, "k8s-master, k8s-node1 has to use") {
			return fmt.Errorf("%+v", c)
		}
		return nil
	})
	w.restartAt(w.clock.Now())
	w.settled()
	reissued("nobody has installed anything", "k8s-master", "k8s-node1")
	w.installs("k8s-node1")
	reissued("the node has", "k8s-master", "k8s-node1", "k8s-node2")
	w.installs("k8s-master")
	reissued("and the master", hosts...)
	w.installs(hosts...)
	w.eventually("nothing waits", func() error {
		if c := meta.FindStatusCondition(w.cluster().Status.Conditions, v1alpha1.ReconcilingCondition); c != nil {
			return fmt.Errorf("%+v", c)
		}
		return nil
	})
}

package defaults_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/defaults"
)

// TestApply: what is left out is filled in, also within what a default brings; what is set stays.
func TestApply(t *testing.T) {
	set := v1alpha1.DeliverySpec{Mode: v1alpha1.DeliveryAgent, PropagationDelay: hours(1)}
	c := &v1alpha1.NodeCredential{Spec: v1alpha1.NodeCredentialSpec{Kubeconfig: &v1alpha1.KubeconfigSpec{UserName: "jane"}, Delivery: set}}
	c.Spec.PrivateKey.Algorithm = v1alpha1.Ed25519
	c.Name, c.UID, c.Status.Revision = "k8s-node1", "u", 7
	want := c.DeepCopy()
	want.Spec.Validity, want.Spec.KeySource = hours(8760), v1alpha1.KeySourceOperator
	want.Spec.Kubeconfig = &v1alpha1.KubeconfigSpec{
		Directory: "/etc/kubernetes", ClusterName: "k8s-cluster", ContextName: "default-system", UserName: "jane",
	}
	want.Spec.Delivery.AcceptAssumed, want.Spec.Delivery.LeaseDuration.Duration = v1alpha1.AcceptAssumedNever, 15*time.Minute
	check(t, c, want)

	ca := &v1alpha1.ClusterCA{}
	check(t, ca, &v1alpha1.ClusterCA{Spec: v1alpha1.ClusterCASpec{
		Validity: hours(87600), PrivateKey: v1alpha1.PrivateKeySpec{Algorithm: v1alpha1.ECDSA, Size: 256}, DeletionPolicy: v1alpha1.DeletionRetain,
		Rotation: v1alpha1.RotationSpec{
			KeyPolicy: v1alpha1.KeyReplace, MaxUnavailable: new(intstr.FromString("25%")), ProgressDeadline: hours(72),
		},
		Delivery: v1alpha1.DeliverySpec{
			Mode: v1alpha1.DeliveryMounted, PropagationDelay: metav1.Duration{Duration: 10 * time.Minute}, AcceptAssumed: v1alpha1.AcceptAssumedNever,
			LeaseDuration: metav1.Duration{Duration: 15 * time.Minute},
		},
	}})
}

// TestApplyToLists: the items of a list have defaults too.
func TestApplyToLists(t *testing.T) {
	c := &v1alpha1.ClusterPKI{}
	c.Spec.ControlPlane.Hosts = []v1alpha1.ControlPlaneHost{{Name: "k8s-master", Delivery: &v1alpha1.HostDelivery{Mode: v1alpha1.DeliveryManual}}, {Name: "b"}}
	c.Spec.Nodes.Hosts = []v1alpha1.NodeHost{{Name: "c", Delivery: &v1alpha1.HostDelivery{}}}
	if err := defaults.Apply(c); err != nil {
		t.Fatal(err)
	}
	hosts := c.Spec.ControlPlane.Hosts
	if d := hosts[0].Delivery; d.Mode != v1alpha1.DeliveryManual || d.LeaseDuration.Duration != 15*time.Minute || hosts[1].Delivery != nil {
		t.Errorf("%+v, %+v", d, hosts[1].Delivery)
	}
	if d := c.Spec.Nodes.Hosts[0].Delivery; d.Mode != v1alpha1.DeliveryAgent { // and not that of a NodeCredential by itself
		t.Errorf("%+v", d)
	}
	if p := c.Spec.ControlPlane; p.Port != 6443 || p.Etcd.Mode != v1alpha1.EtcdStacked || !*p.Kubelet || c.Spec.Certificates.Delivery.Mode != v1alpha1.DeliveryAgent {
		t.Errorf("%+v", p)
	}
}

func check(t *testing.T, got, want v1alpha1.Object) {
	t.Helper()
	for range 2 { // a second time changes nothing
		if err := defaults.Apply(got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func hours(n int) metav1.Duration { return metav1.Duration{Duration: time.Duration(n) * time.Hour} }

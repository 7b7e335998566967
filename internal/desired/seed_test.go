package desired

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
)

// TestSeed compares an object with itself after a restore, and with its like: a restore must move no renewal and no
// wave, and two objects should not share their moment.
func TestSeed(t *testing.T) {
	seeds := map[uint32]string{}
	for name, o := range map[string]v1alpha1.Object{
		"a credential":          &v1alpha1.NodeCredential{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "k8s"}},
		"another name":          &v1alpha1.NodeCredential{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "k8s2"}},
		"another namespace":     &v1alpha1.NodeCredential{ObjectMeta: metav1.ObjectMeta{Namespace: "test", Name: "k8s"}},
		"an API server":         &v1alpha1.APIServerCertificate{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "k8s"}},
		"a CA of the same name": &v1alpha1.ClusterCA{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "k8s"}},
	} {
		o.SetUID("before")
		first := Seed(o)
		o.SetUID("after a restore")
		if got := Seed(o); got != first {
			t.Errorf("%s: the seed is %d and not %d after a restore", name, got, first)
		}
		if other, taken := seeds[first]; taken {
			t.Errorf("%s has the seed of %s", name, other)
		}
		seeds[first] = name
	}
	o := &v1alpha1.NodeCredential{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "k8s-node1-kubelet"}}
	if got, want := Seed(o), uint32(2921308994); got != want {
		t.Errorf("the seed is %d, want %d: every renewal would move on the day of the update", got, want)
	}
}

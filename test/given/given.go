// Package given builds the objects that the tests of all suites begin with: a CA k8s, its API server k8s-master, and
// credentials for nodes of that. What is mounted is accepted once it is assumed to be in use, so that rotations go through by
// themselves. What a test wants otherwise, it says in a function that changes the object.
package given

import (
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"clusterpki.io/operator/api/v1alpha1"
)

// CA lives for ten years, and is replaced without waves.
func CA(name string, mods ...func(*v1alpha1.ClusterCA)) *v1alpha1.ClusterCA {
	ca := &v1alpha1.ClusterCA{ObjectMeta: metav1.ObjectMeta{Name: name}}
	ca.Spec.Validity.Duration = 87600 * time.Hour
	ca.Spec.Rotation.MaxUnavailable = new(intstr.FromString("100%"))
	ca.Spec.Delivery = accepted
	return with(ca, mods)
}

// ImportedFrom lets a CA be imported from a Secret, which holds the certificate of a SHA-256.
func ImportedFrom(secret, sha256 string) func(*v1alpha1.ClusterCA) {
	return ImportedBelow(secret, sha256, "")
}

// ImportedBelow lets a CA be imported from a Secret, which holds the certificate of a SHA-256 and above it the root of another one.
func ImportedBelow(secret, sha256, root string) func(*v1alpha1.ClusterCA) {
	return func(c *v1alpha1.ClusterCA) {
		c.Spec.Source = &v1alpha1.CASource{Import: &v1alpha1.ImportSource{
			SecretRef: v1alpha1.SecretReference{Name: secret}, CertificateSHA256: sha256, RootSHA256: root,
		}}
	}
}

// AccountKey signs service account tokens by ECDSA, so that nobody waits for it. Its earlier keys stay trusted for a day.
func AccountKey(name string, mods ...func(*v1alpha1.ServiceAccountKey)) *v1alpha1.ServiceAccountKey {
	k := &v1alpha1.ServiceAccountKey{ObjectMeta: metav1.ObjectMeta{Name: name}}
	k.Spec.PrivateKey = v1alpha1.PrivateKeySpec{Algorithm: v1alpha1.ECDSA, Size: 256}
	k.Spec.RetainOldKeyFor.Duration = 24 * time.Hour
	return with(k, mods)
}

// Server is an API server of the CA k8s.
func Server(name string, mods ...func(*v1alpha1.APIServerCertificate)) *v1alpha1.APIServerCertificate {
	return with(&v1alpha1.APIServerCertificate{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.APIServerCertificateSpec{
			CARef: v1alpha1.CAReference{Name: "k8s"}, HostName: "k8s-master",
			DNSNames: []string{"centos-master"}, IPAddresses: []string{"10.1.10.238"}, Endpoint: "https://k8s-master:6443",
			Delivery: accepted,
		},
	}, mods)
}

// Kubelet is a credential, with a kubeconfig, of the kubelet of the host k8s-node1.
func Kubelet(name string, mods ...func(*v1alpha1.NodeCredential)) *v1alpha1.NodeCredential {
	return with(&v1alpha1.NodeCredential{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.NodeCredentialSpec{
			CARef: v1alpha1.CAReference{Name: "k8s"}, APIServerRef: &v1alpha1.APIServerReference{Name: "k8s-master"},
			HostName: "k8s-node1", Role: "Kubelet", Kubeconfig: &v1alpha1.KubeconfigSpec{}, Delivery: accepted,
		},
	}, mods)
}

// Lease is one in which an agent acknowledges.
func Lease(namespace, name string, seconds int32) *coordinationv1.Lease {
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: coordinationv1.LeaseSpec{LeaseDurationSeconds: &seconds},
	}
}

var accepted = v1alpha1.DeliverySpec{AcceptAssumed: v1alpha1.AcceptAssumedAlways}

// Soon is delivery that takes a second, so that a CA is replaced in real time.
func Soon(mode v1alpha1.DeliveryMode) v1alpha1.DeliverySpec {
	return v1alpha1.DeliverySpec{Mode: mode, AcceptAssumed: v1alpha1.AcceptAssumedAlways, PropagationDelay: metav1.Duration{Duration: time.Second}}
}

// with lets each of the functions change an object.
func with[T any](o *T, mods []func(*T)) *T {
	for _, mod := range mods {
		mod(o)
	}
	return o
}

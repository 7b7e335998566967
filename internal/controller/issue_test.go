package controller_test

import (
	"bytes"
	"crypto/x509"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
)

// standard applies a CA, an API server and a kubelet, and waits until all are Ready.
func standard(t *testing.T) *env {
	t.Helper()
	w := newEnv(t)
	w.create(newCA("k8s"), newServer("k8s-master"), newKubelet("node1"))
	w.ready("k8s", &v1alpha1.ClusterCA{})
	w.ready("k8s-master", &v1alpha1.APIServerCertificate{})
	w.ready("node1", &v1alpha1.NodeCredential{})
	return w
}

func TestClusterCA(t *testing.T) {
	t.Parallel()
	w := standard(t)
	var ca v1alpha1.ClusterCA
	w.ready("k8s", &ca)
	var trust corev1.ConfigMap
	w.get("k8s-trust", &trust)
	if len(trust.OwnerReferences) > 0 {
		t.Error("with deletionPolicy Retain nothing may be garbage-collected with the ClusterCA")
	}
	root := w.root("k8s")
	if got := trust.Data["ca.crt"]; got != string(pki.EncodeCertificates(root)) {
		t.Errorf("the bundle is not the CA's certificate:\n%s", got)
	}
	if got := root.Subject.CommonName; got != "k8s" || !root.IsCA {
		t.Errorf("CN=%s, CA=%v", got, root.IsCA)
	}
	if trust := ca.Status.Trust; ca.Status.Certificate.SHA256Fingerprint != pki.FingerprintOf(root) || trust.BundleRevision != 1 ||
		trust.BundleSHA256 != pki.BundleDigest([]*x509.Certificate{root}) {
		t.Errorf("status is %+v", ca.Status)
	}
}

func TestAPIServerCertificate(t *testing.T) {
	t.Parallel()
	w := standard(t)
	s := w.secret("k8s-master-tls")
	if s.Type != corev1.SecretTypeTLS {
		t.Errorf("type is %s", s.Type)
	}
	cert := w.pair("k8s-master-tls").Cert
	wantNames := []string{
		"centos-master", "k8s-master", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
		"kubernetes.default.svc.cluster.local", "localhost",
	}
	if diff := cmp.Diff(wantNames, cert.DNSNames); diff != "" {
		t.Errorf("DNS SANs (-want +got):\n%s", diff)
	}
	var ips []string
	for _, ip := range cert.IPAddresses {
		ips = append(ips, ip.String())
	}
	if diff := cmp.Diff([]string{"10.1.10.238", "10.96.0.1", "127.0.0.1", "::1"}, ips); diff != "" {
		t.Errorf("IP SANs (-want +got):\n%s", diff)
	}
	var trust corev1.ConfigMap
	w.get("k8s-trust", &trust)
	for _, key := range []string{"ca.crt", "client-ca.crt"} {
		if string(s.Data[key]) != trust.Data["ca.crt"] {
			t.Errorf("%s is not the CA's bundle", key)
		}
	}
}

func TestNodeCredential(t *testing.T) {
	t.Parallel()
	w := standard(t)
	leaf, kube := w.secret("node1-tls"), w.secret("node1-kubeconfig")
	cert := w.pair("node1-tls").Cert
	if got := pki.SubjectOf(cert).String(); got != "CN=system:node:k8s-node1, O=system:nodes" {
		t.Errorf("subject is %s", got)
	}
	for _, key := range []string{"ca.crt", "tls.crt", "tls.key"} {
		if !bytes.Equal(leaf.Data[key], kube.Data[key]) {
			t.Errorf("%s of the two Secrets differs", key)
		}
	}
	for _, key := range []string{"value"} {
		config, err := clientcmd.Load(kube.Data[key])
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		user := config.AuthInfos["system:node:k8s-node1"]
		cluster := config.Clusters["k8s-cluster"]
		if config.CurrentContext != "default-system" || cluster.Server != "https://k8s-master:6443" ||
			!bytes.Equal(cluster.CertificateAuthorityData, leaf.Data["ca.crt"]) ||
			!bytes.Equal(user.ClientCertificateData, leaf.Data["tls.crt"]) || !bytes.Equal(user.ClientKeyData, leaf.Data["tls.key"]) {
			t.Errorf("%s is\n%s", key, kube.Data[key])
		}
	}
	files, err := clientcmd.Load(kube.Data["kubeconfig.files"])
	if err != nil {
		t.Fatal(err)
	}
	user := files.AuthInfos["system:node:k8s-node1"]
	if user.ClientCertificate != "/etc/kubernetes/pki/kubelet-client.crt" || user.ClientKey != "/etc/kubernetes/pki/kubelet-client.key" ||
		files.Clusters["k8s-cluster"].CertificateAuthority != "/etc/kubernetes/pki/ca.crt" || len(user.ClientKeyData) > 0 {
		t.Errorf("kubeconfig.files is\n%s", kube.Data["kubeconfig.files"])
	}
}

package e2e_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/hostfiles"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/test/given"
	"clusterpki.io/operator/test/testenv"
)

// TestSignerBelowAnIntermediate gives the copy of an intermediate CA's key to a real kube-controller-manager, and the bundle that the
// operator published to a real kube-apiserver and to a TLS client. What is signed so carries no chain (kubernetes#67436), and is
// accepted nevertheless. Whoever knows the root alone refuses it.
func TestSignerBelowAnIntermediate(t *testing.T) {
	intermediate(t)
	first := masterFiles(t, hostfiles.ClientCA)
	published := secretOf(t, "behind-nodes-tls").Data
	runSigner(t, secretOf(t, "nodes-signer").Data)
	cert, key := signed(t, certificatesv1.KubeAPIServerClientKubeletSignerName, pki.ClientAuth, pki.SANs{})
	replaceMasterFile(t, hostfiles.ClientCA, append(bytes.Clone(first[hostfiles.ClientCA]), published["client-ca.crt"]...))
	if err := testenv.Wait(t.Context(), func() error { return isNode(t, cert, key) }); err != nil {
		t.Error(err)
	}
	replaceMasterFile(t, hostfiles.ClientCA, first[hostfiles.ClientCA])
	if err := testenv.Wait(t.Context(), func() error {
		if isNode(t, cert, key) == nil {
			return errors.New("a root alone is enough: this test shows nothing")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	names, err := pki.NewSANs([]string{signedNode}, nil)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = signed(t, certificatesv1.KubeletServingSignerName, pki.ServerAuth, names)
	if err := accepts(t, published["ca.crt"], cert, key); err != nil {
		t.Error(err)
	}
	if err := accepts(t, first[hostfiles.ClientCA], cert, key); err == nil {
		t.Error("a root alone is enough for a client of the kubelet: this test shows nothing")
	}
}

// intermediate makes a CA below the samples' one, with a copy of its key, and an API server's certificate below that.
func intermediate(t *testing.T) {
	t.Helper()
	ca := given.CA("nodes", func(c *v1alpha1.ClusterCA) {
		c.Namespace = namespace
		c.Spec.Source = &v1alpha1.CASource{Parent: &v1alpha1.ParentSource{CARef: v1alpha1.CAReference{Name: "k8s"}}}
		c.Spec.SecretName = "nodes-signer"
	})
	server := given.Server("behind-nodes", func(c *v1alpha1.APIServerCertificate) {
		c.Namespace, c.Spec.CARef.Name, c.Spec.RequestHeaderCARef = namespace, "nodes", nil
	})
	for _, o := range []client.Object{ca, server} {
		if err := shared.management.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := shared.management.Delete(context.Background(), o); err != nil {
				t.Error(err)
			}
		})
	}
	if err := testenv.Wait(t.Context(), func() error {
		var s corev1.Secret
		if err := shared.management.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "behind-nodes-tls"}, &s); err != nil {
			return err
		}
		if n := bytes.Count(s.Data["client-ca.crt"], []byte("-----BEGIN")); n != 2 {
			return fmt.Errorf("client-ca.crt holds %d certificates, not the root and the CA below it", n)
		}
		if len(secretOf(t, "nodes-signer").Data[corev1.TLSPrivateKeyKey]) == 0 {
			return errors.New("the copy is empty")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

const signedNode = "node8"

// runSigner has kube-controller-manager sign with a CA's copy, from files as clusterpki export writes them.
func runSigner(t *testing.T, pair map[string][]byte) {
	t.Helper()
	dir := t.TempDir()
	var files []string
	for _, name := range []string{corev1.TLSCertKey, corev1.TLSPrivateKeyKey} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, pair[name], 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	shared.plane.RunSigner(t, files[0], files[1])
}

// signed is a node's certificate, as a kubelet asks for it and a person approves it.
func signed(t *testing.T, signer string, usage pki.Usage, names pki.SANs) (cert, key []byte) {
	t.Helper()
	spec := pki.CertificateSpec{
		Subject: pki.Subject{CommonName: "system:node:" + signedNode, Organizations: []string{"system:nodes"}}, Usages: []pki.Usage{usage}, SANs: names,
		Key: pki.KeySpec{Algorithm: pki.ECDSA, Size: 256}, Validity: time.Hour,
	}
	private, err := pki.GenerateKey(spec.Key)
	if err != nil {
		t.Fatal(err)
	}
	if key, err = private.Reveal(); err != nil {
		t.Fatal(err)
	}
	text, err := pki.NewCSR(spec, private)
	if err != nil {
		t.Fatal(err)
	}
	asked := certificatesv1.UsageClientAuth
	if usage == pki.ServerAuth {
		asked = certificatesv1.UsageServerAuth
	}
	csr := &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "node-"},
		Spec:       certificatesv1.CertificateSigningRequestSpec{Request: text, SignerName: signer, Usages: []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, asked}},
	}
	if err := shared.management.Create(t.Context(), csr); err != nil {
		t.Fatal(err)
	}
	csr.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "ByAPerson"}}
	if err := shared.management.SubResource("approval").Update(t.Context(), csr); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, "kube-controller-manager signs", func() error {
		if err := shared.management.Get(t.Context(), client.ObjectKeyFromObject(csr), csr); err != nil {
			return err
		}
		if n := bytes.Count(csr.Status.Certificate, []byte("-----BEGIN")); n != 1 {
			return fmt.Errorf("there are %d certificates, and the conditions %+v", n, csr.Status.Conditions)
		}
		return nil
	})
	return csr.Status.Certificate, key
}

// accepts says whether a TLS client that trusts a bundle accepts the node, which presents its certificate and no chain.
func accepts(t *testing.T, bundle, cert, key []byte) error {
	t.Helper()
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		t.Fatal("the bundle is empty")
	}
	node, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	go func() {
		if conn, err := node.Accept(); err == nil {
			_ = conn.(*tls.Conn).HandshakeContext(t.Context())
			_ = conn.Close()
		}
	}()
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: signedNode}}
	conn, err := dialer.DialContext(t.Context(), "tcp", node.Addr().String())
	if err == nil {
		_ = conn.Close()
	}
	return err
}

// isNode asks the API server who the holder of a certificate is.
func isNode(t *testing.T, cert, key []byte) error {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(shared.hosts["k8s-master"].Directory, "super-admin.conf"))
	if err != nil {
		t.Fatal(err)
	}
	config.CertFile, config.KeyFile, config.CertData, config.KeyData = "", "", cert, key
	c, err := testenv.Client(config)
	if err != nil {
		return err
	}
	var r authenticationv1.SelfSubjectReview
	if err := c.Create(t.Context(), &r); err != nil {
		return err
	}
	if got := r.Status.UserInfo.Username; got != "system:node:"+signedNode {
		return fmt.Errorf("it is %q", got)
	}
	return nil
}

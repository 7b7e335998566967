package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/hostfiles"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/test/given"
	"clusterpki.io/operator/test/testenv"
)

// TestSignerBelowAnIntermediate signs with the copy of an intermediate CA's key, as kube-controller-manager does, and gives the
// bundle that the operator published to a real kube-apiserver. What is signed so carries no chain (kubernetes#67436), and is
// accepted nevertheless. An API server that knows the root alone refuses it.
func TestSignerBelowAnIntermediate(t *testing.T) {
	intermediate(t)
	first := masterFiles(t, hostfiles.ClientCA)
	signer := secretOf(t, "nodes-signer").Data
	bundle := secretOf(t, "behind-nodes-tls").Data["client-ca.crt"]
	cert, key := signedBy(t, signer)
	replaceMasterFile(t, hostfiles.ClientCA, append(bytes.Clone(first[hostfiles.ClientCA]), bundle...))
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

// signedBy is a node's certificate as kube-controller-manager makes it of the pair that it is given: without a chain.
func signedBy(t *testing.T, signer map[string][]byte) (cert, key []byte) {
	t.Helper()
	ca, err := pki.ParseCACertificate(signer[corev1.TLSCertKey])
	if err != nil {
		t.Fatal(err)
	}
	if ca.Key, err = pki.ParsePrivateKey(signer[corev1.TLSPrivateKeyKey]); err != nil {
		t.Fatal(err)
	}
	leaf, err := pki.Issue(time.Now(), pki.CertificateSpec{
		Subject: pki.Subject{CommonName: "system:node:node8", Organizations: []string{"system:nodes"}}, Usages: []pki.Usage{pki.ClientAuth},
		Key: pki.KeySpec{Algorithm: pki.ECDSA, Size: 256}, Validity: time.Hour,
	}, ca)
	if err != nil {
		t.Fatal(err)
	}
	key, err = leaf.Key.Reveal()
	if err != nil {
		t.Fatal(err)
	}
	return pki.EncodeCertificates(leaf.Cert), key
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
	if got := r.Status.UserInfo.Username; got != "system:node:node8" {
		return fmt.Errorf("it is %q", got)
	}
	return nil
}

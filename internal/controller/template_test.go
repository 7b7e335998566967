package controller_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
)

// TestSecretTemplate: what a policy of the namespace or another tool wants on each Secret is there from its creation on, and again when it is made anew.
func TestSecretTemplate(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	template := func(team string) *v1alpha1.SecretTemplate {
		return &v1alpha1.SecretTemplate{
			Labels:      map[string]v1alpha1.TemplateText{"team": v1alpha1.TemplateText(team)},
			Annotations: map[string]v1alpha1.TemplateText{"example.org/note": "kept"},
		}
	}
	var bare atomic.Int32 // Secrets that were created without the label
	spy := func(r *http.Request) int {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/"+w.ns+"/secrets") {
			body, err := r.GetBody()
			if err != nil {
				return http.StatusTeapot
			}
			if text, err := io.ReadAll(body); err != nil || !bytes.Contains(text, []byte("team")) {
				bare.Add(1)
			}
		}
		return 0
	}
	w.fault.Store(&spy)
	w.create(
		newCA("k8s", func(c *v1alpha1.ClusterCA) { c.Spec.SecretName, c.Spec.SecretTemplate = "k8s-ca", template("a") }),
		newServer("k8s-master", func(c *v1alpha1.APIServerCertificate) { c.Spec.SecretTemplate = template("a") }),
		newAccountKey("sa", func(k *v1alpha1.ServiceAccountKey) { k.Spec.SecretTemplate = template("a") }),
		newKubelet("node1", func(c *v1alpha1.NodeCredential) { c.Spec.SecretTemplate = template("a") }),
	)
	secrets := []string{"k8s-ca", "k8s-master-tls", "sa", "node1-tls", "node1-kubeconfig"}
	bear := func(team string, names ...string) {
		for _, name := range names {
			w.eventually(name+" bears the label", func() error {
				var s corev1.Secret
				if err := w.api.Get(t.Context(), client.ObjectKey{Namespace: w.ns, Name: name}, &s); err != nil {
					return err
				}
				if _, there := s.Labels["team"]; s.Labels["team"] != team || there != (team != "") || (s.Annotations["example.org/note"] == "kept") != (team != "") {
					return fmt.Errorf("it has %v and %v", s.Labels, s.Annotations)
				}
				return nil
			})
		}
	}
	bear("a", secrets...)
	w.settled()
	before := w.pair("node1-tls").Cert
	edit(w, "node1", &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) { c.Spec.SecretTemplate = template("b") })
	bear("b", "node1-tls", "node1-kubeconfig")
	if !w.pair("node1-tls").Cert.Equal(before) {
		t.Error("the certificate was re-issued")
	}
	w.delete(w.secret("node1-kubeconfig"))
	bear("b", "node1-kubeconfig")
	edit(w, "node1-tls", &corev1.Secret{}, func(s *corev1.Secret) { delete(s.Labels, "team") })
	bear("b", "node1-tls")
	edit(w, "node1", &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) { c.Spec.SecretTemplate = nil })
	bear("", "node1-tls", "node1-kubeconfig")
	edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.SecretTemplate = nil })
	bear("", "k8s-ca")
	if n := bare.Load(); n != 0 {
		t.Errorf("%d Secrets were created without the label", n)
	}
}

// TestEndpoint: kubeconfigs name the path below which the API lies, and the name by which the server is verified; nothing is re-issued for that.
func TestEndpoint(t *testing.T) {
	t.Parallel()
	w := standard(t)
	before := w.pair("node1-tls").Cert
	edit(w, "k8s-master", &v1alpha1.APIServerCertificate{}, func(s *v1alpha1.APIServerCertificate) {
		s.Spec.Endpoint, s.Spec.TLSServerName = "https://203.0.113.7:6443/clusters/root:org", "kubernetes.default"
	})
	for _, key := range []string{"value", "kubeconfig.files"} {
		w.eventually(key+" follows", func() error {
			config, err := clientcmd.Load(w.secret("node1-kubeconfig").Data[key])
			if err != nil {
				return err
			}
			if c := config.Clusters["k8s-cluster"]; c.Server != "https://203.0.113.7:6443/clusters/root:org" || c.TLSServerName != "kubernetes.default" {
				return fmt.Errorf("it leads to %q by %q", c.Server, c.TLSServerName)
			}
			return nil
		})
	}
	if !w.pair("node1-tls").Cert.Equal(before) {
		t.Error("the certificate was re-issued")
	}
	w.goesOn("k8s-master", &v1alpha1.APIServerCertificate{})
}

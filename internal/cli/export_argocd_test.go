package cli

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// TestExportArgoCD prints a credential as a cluster for Argo CD's namespace, and writes nothing.
func TestExportArgoCD(t *testing.T) {
	t.Parallel()
	w, admin := issued(t)
	out, err := w.as(admin, "export", "--format", "argocd-cluster", "node1-kubelet", "--argocd-namespace", "gitops", "--cluster-name", "production")
	if err != nil {
		t.Fatal(err, out)
	}
	var s corev1.Secret
	if err := yaml.UnmarshalStrict([]byte(out), &s); err != nil {
		t.Fatal(err)
	}
	var config struct {
		TLS struct{ CAData, CertData, KeyData []byte } `json:"tlsClientConfig"`
	}
	if err := json.Unmarshal(s.Data["config"], &config); err != nil {
		t.Fatal(err)
	}
	var tls corev1.Secret
	w.read("node1-kubelet-tls", &tls)
	if s.Namespace != "gitops" || string(s.Data["name"]) != "production" || string(s.Data["server"]) != "https://k8s-master:6443" ||
		s.Labels["argocd.argoproj.io/secret-type"] != "cluster" || !bytes.Equal(config.TLS.KeyData, tls.Data["tls.key"]) ||
		!bytes.Equal(config.TLS.CertData, tls.Data["tls.crt"]) || !bytes.Equal(config.TLS.CAData, tls.Data["ca.crt"]) {
		t.Errorf("%s/%s %v: %s at %s", s.Namespace, s.Name, s.Labels, s.Data["name"], s.Data["server"])
	}
	for want, args := range map[string][]string{
		"takes the name of one NodeCredential": {"--format", "argocd-cluster"},
		"neither --host nor --out":             {"--format", "argocd-cluster", "node1-kubelet", "--host", "k8s-node1"},
		`not "argocd"`:                         {"--format", "argocd", "node1-kubelet"},
		"--out must be set":                    {"--host", "k8s-node1"},
		"--host must be set":                   {"--out", filepath.Join(t.TempDir(), "out")},
		`read NodeCredential "other"`:          {"--format", "argocd-cluster", "other"},
	} {
		if out, err := w.as(admin, append([]string{"export"}, args...)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v %s", args, err, out)
		}
	}
}

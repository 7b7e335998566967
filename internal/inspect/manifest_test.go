package inspect

import (
	"bytes"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"clusterpki.io/operator/internal/status"
)

// TestFilesThatAreNoKeys says of a file what it is instead, and that it was not looked at.
func TestFilesThatAreNoKeys(t *testing.T) {
	secret := "apiVersion: v1\nkind: Secret\nmetadata:\n  name: k8s-tls\n"
	for name, c := range map[string]struct {
		text, reason, want string
	}{
		"a Secret":            {secret + "data:\n  tls.key: c2VjcmV0\n", "NotRead", "a manifest of Secret/k8s-tls, which is not read: look at it in the cluster, as in inspect secret/k8s-tls"},
		"with PEM in it":      {secret + "stringData:\n  tls.key: |\n    -----BEGIN PRIVATE KEY-----\n    c2VjcmV0\n    -----END PRIVATE KEY-----\n", "NotRead", "a manifest of Secret/k8s-tls"},
		"in JSON":             {`{"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "k8s-tls"}}`, "NotRead", "a manifest of Secret/k8s-tls"},
		"a backup":            {"---\n" + secret + "---\napiVersion: clusterpki.io/v1alpha1\nkind: ClusterCA\nmetadata: {name: k8s}\n", "NotRead", "manifests, of Secret/k8s-tls and 1 more"},
		"of another kind":     {"apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n", "NotRead", "a manifest of KubeletConfiguration, which is not read"},
		"a broken Config":     {"apiVersion: v1\nkind: Config\nclusters: [\n", "Damaged", "it looks like a kubeconfig, and cannot be read as one"},
		"what a Config names": {"apiVersion: v1\nkind: Config\nclusters:\n- name: k8s\n  cluster: {server: https://k8s, certificate-authority: gone.crt}\nusers: []\n", "FileUnreadable", "gone.crt"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			seen, err := GatherFiles([]string{path}, nil)
			if err != nil {
				t.Fatal(err)
			}
			r := Build(now, seen)
			text := r.Text(status.Style{})
			if len(r.Problems) != 1 || r.Problems[0].Reason != c.reason || !strings.Contains(r.Problems[0].Message, c.want) || strings.Contains(text, "c2VjcmV0") {
				t.Errorf("%+v\n%s", r.Problems, text)
			}
		})
	}
}

// TestCountsWhatItCannotRead shows what it can read of a text, and has an error for what it cannot, or what other programs pass over.
func TestCountsWhatItCannotRead(t *testing.T) {
	ca, _, other := pairs(t)
	one, two := ca.CertPEM(), other.CertPEM()
	chain := append(bytes.Clone(one), two...)
	for name, tc := range map[string]struct {
		text  []byte
		shown int
		want  string
	}{
		"as it is":          {chain, 2, ""},
		"a byte order mark": {append([]byte("\xef\xbb\xbf"), chain...), 2, "not every program finds all 2 PEM blocks"},
		"a mark on one":     {append([]byte("\xef\xbb\xbf"), one...), 1, "not every program finds the PEM block:"},
		"no newline":        {append(bytes.TrimSpace(one), two...), 2, "not every program finds all 2 PEM blocks"},
		"cut":               {append(bytes.Clone(one), two[:99]...), 1, "1 of 2 PEM blocks cannot be read: block 2 (CERTIFICATE, line "},
		"malformed":         {append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), two...), 1, "1 of 2 PEM blocks cannot be read: block 1 (line 1) is a malformed certificate"},
	} {
		m := read("ca.crt", tc.text)
		if len(m.Certificates) != tc.shown || !strings.HasPrefix(m.Damage, tc.want) || tc.want == "" && m.Damage != "" {
			t.Errorf("%s: %d certificates, %q", name, len(m.Certificates), m.Damage)
		}
		match([]material{m})
		report := Build(now, Inputs{sources: []source{{name: filesName, items: []material{m}}}})
		if (report.Errors() > 0) != (tc.want != "") {
			t.Errorf("%s: %d errors", name, report.Errors())
		}
	}
}

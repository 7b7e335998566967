package desired_test

import (
	"strings"
	"testing"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/desired"
)

// TestOutputEndpoint: another program is led to its own URL, if the API server has a certificate for that, else to that of all.
func TestOutputEndpoint(t *testing.T) {
	s := &v1alpha1.APIServerCertificate{}
	s.Name = "k8s-master"
	s.Spec.HostName, s.Spec.ClusterDomain, s.Spec.Endpoint, s.Spec.TLSServerName = "k8s-master", "cluster.local", "https://10.1.10.238:6443", "k8s-master"
	s.Spec.DNSNames = []string{"api.example.org"}
	for url, want := range map[string]struct{ url, name, refused string }{
		"":                              {url: "https://10.1.10.238:6443", name: "k8s-master"},
		"https://api.example.org":       {url: "https://api.example.org"},
		"https://www.example.org:6443":  {refused: `no SAN covers "www.example.org"`},
		"https://jane@api.example.org/": {refused: "names a user"},
	} {
		got, err := desired.OutputEndpoint(s, url)
		if want.refused != "" {
			if err == nil || !strings.Contains(err.Error(), want.refused) {
				t.Errorf("%q: %v", url, err)
			}
			continue
		}
		if err != nil || got.URL != want.url || got.TLSServerName != want.name {
			t.Errorf("%q: %+v, %v", url, got, err)
		}
	}
}

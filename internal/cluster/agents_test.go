package cluster_test

import (
	"testing"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/cluster"
)

// TestOlderVersion compares releases as numbers.
func TestOlderVersion(t *testing.T) {
	for _, c := range []struct{ a, b, want string }{
		{"v0.9.0", "v0.10.0", "v0.9.0"}, {"v1.2.3", "v1.2.3-rc.1", "v1.2.3-rc.1"}, {"v1.0.0", "", "v1.0.0"}, {"", "", ""},
		{"v1.0.0", "devel", "devel"}, {"3f2a", "v1.0.0", "3f2a"},
	} {
		if got := cluster.OlderVersion(c.a, c.b); got != c.want {
			t.Errorf("of %q and %q it is %q", c.a, c.b, got)
		}
		if got := cluster.OlderVersion(c.b, c.a); got != c.want {
			t.Errorf("of %q and %q it is %q", c.b, c.a, got)
		}
	}
}

// TestAgentVersion is told by what an agent delivers.
func TestAgentVersion(t *testing.T) {
	n, s := &v1alpha1.NodeCredential{}, &v1alpha1.APIServerCertificate{}
	n.Status.AgentVersion, s.Status.AgentVersion = "v1.0.0", "v1.1.0"
	for _, c := range []struct {
		of   v1alpha1.Object
		want string
	}{{n, "v1.0.0"}, {s, "v1.1.0"}, {&v1alpha1.ClusterCA{}, ""}} {
		if got := cluster.AgentVersion(c.of); got != c.want {
			t.Errorf("%s: it is %q", c.of.Kind(), got)
		}
	}
}

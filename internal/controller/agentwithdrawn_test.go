package controller_test

import (
	"net/http"
	"strings"
	"testing"

	"clusterpki.io/operator/api/v1alpha1"
)

// TestAgentAccessIsWithdrawn: what an agent may not read any more it does not read, though a quota or a policy refuses the Role of what is left.
func TestAgentAccessIsWithdrawn(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	proxy := newKubelet("proxy1", byAgent, func(c *v1alpha1.NodeCredential) { c.Spec.Role = "KubeProxy" })
	w.create(newCA("k8s"), newServer("k8s-master"), newKubelet("node1", byAgent), proxy)
	w.ready("node1", &v1alpha1.NodeCredential{})
	w.ready("proxy1", &v1alpha1.NodeCredential{})
	w.gets("k8s-node1", "node1-tls", "proxy1-tls")
	refuse := func(r *http.Request) int {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/namespaces/"+w.ns+"/roles") {
			return http.StatusForbidden
		}
		return 0
	}
	w.fault.Store(&refuse)
	w.delete(proxy)
	w.gets("k8s-node1", "!proxy1-tls", "!node1-tls")
	w.fault.Store(nil)
	w.restartAt(w.clock.Now())
	w.gets("k8s-node1", "node1-tls", "!proxy1-tls")
}

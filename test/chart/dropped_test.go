package chart_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/test/testenv"
)

// base is a ClusterPKI whose hosts would go at once if nothing held them.
const base = `apiVersion: clusterpki.io/v1alpha1
kind: ClusterPKI
metadata: {name: k8s, namespace: %s}
spec:
  endpoint: https://k8s-master:6443
  serviceCIDRs: [10.96.0.0/12]
  certificates: {delivery: {mode: Mounted}}
  controlPlane: {kubelet: false, hosts: [{name: k8s-master}]}
  removal: {delay: 0s}
  nodes:
    roles: [Kubelet]
    hosts: %s
`

const (
	fiveHosts = "[{name: node1}, {name: node2}, {name: node3}, {name: node4}, {name: node5}]"
	oneHost   = "[{name: node1}]"
)

// TestHostsAreDropped: tools that know no lists by name drop all hosts but one, and nothing is removed or issued anew. So do a prune and an uninstall.
func TestHostsAreDropped(t *testing.T) {
	c := newCluster(t)
	c.restrictedNamespace(system)
	c.install(system, chartDir(), nil)
	c.established()
	_, stop := c.run("")
	defer stop()
	for name, tool := range map[string]struct{ make, drop, gone func(ns, dir string) }{
		"patch": {
			make: func(ns, dir string) {
				c.kubectl("apply", "-f", c.write(dir, "cluster.yaml", fmt.Sprintf(base, ns, fiveHosts)))
			},
			drop: func(ns, _ string) {
				c.kubectl("patch", "clusterpki", "k8s", "-n", ns, "--type=merge", "-p", `{"spec":{"nodes":{"hosts":[{"name":"node1"}]}}}`)
			},
			gone: func(ns, _ string) { c.kubectl("delete", "clusterpki", "k8s", "-n", ns) },
		},
		"kustomize": {
			make: func(ns, dir string) {
				c.write(dir, "base/cluster.yaml", fmt.Sprintf(base, ns, fiveHosts))
				c.write(dir, "base/kustomization.yaml", "resources: [cluster.yaml]\n")
				c.kubectl("apply", "-k", filepath.Join(dir, "base"))
			},
			drop: func(ns, dir string) {
				c.write(dir, "overlay/kustomization.yaml", fmt.Sprintf("resources: [../base]\npatches:\n- patch: |\n"+
					"    apiVersion: clusterpki.io/v1alpha1\n    kind: ClusterPKI\n    metadata: {name: k8s, namespace: %s}\n    spec: {nodes: {hosts: %s}}\n", ns, oneHost))
				c.kubectl("apply", "-k", filepath.Join(dir, "overlay"))
			},
			gone: func(ns, dir string) { // pruned, as what is no longer there
				c.kubectl("apply", "-n", ns, "-f", c.write(dir, "other.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other, labels: {of: prune}}\n"))
				c.kubectl("label", "clusterpki", "k8s", "-n", ns, "of=prune")
				c.kubectl("apply", "-n", ns, "-f", filepath.Join(dir, "other.yaml"), "--prune", "-l", "of=prune", "--prune-allowlist=clusterpki.io/v1alpha1/ClusterPKI")
			},
		},
		"helm": {
			make: func(ns, dir string) {
				c.write(dir, "Chart.yaml", "apiVersion: v2\nname: mine\nversion: 1.0.0\n")
				c.write(dir, "templates/cluster.yaml", fmt.Sprintf(base, ns, "{{ toYaml .Values.hosts | nindent 4 }}"))
				c.install(ns, dir, values{"hosts": hosts(5)})
			},
			drop: func(ns, dir string) { c.upgrade(ns, dir, values{"hosts": hosts(1)}) },
			gone: func(ns, _ string) { c.uninstall(ns) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			c.t = t
			ns, dir := "drop-"+name, t.TempDir()
			c.namespace(ns)
			tool.make(ns, dir)
			c.ready(ns)
			made := c.holdsChildren(ns)
			tool.drop(ns, dir)
			testenv.Eventually(t, "the hosts wait to be confirmed", func() error {
				var pki v1alpha1.ClusterPKI
				if err := c.api.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "k8s"}, &pki); err != nil {
					return err
				}
				if n := len(pki.Spec.Nodes.Hosts); n != 1 || !meta.IsStatusConditionTrue(pki.Status.Conditions, v1alpha1.RemovalPendingCondition) {
					return fmt.Errorf("%d hosts are listed: %+v", n, pki.Status)
				}
				return nil
			})
			c.ready(ns)
			c.same(made, c.holdsChildren(ns))
			tool.gone(ns, dir)
			tool.make(ns, dir) // by whatever tool: what it had made is its own again
			c.ready(ns)
			c.same(made, c.holdsChildren(ns))
		})
	}
}

// holdsChildren is what stands of a ClusterPKI, but for itself.
func (c *cluster) holdsChildren(namespace string) map[string]any {
	c.t.Helper()
	out := c.holds(namespace)
	delete(out, "ClusterPKI k8s")
	return out
}

// hosts are values for nodes.
func hosts(n int) []any {
	var out []any
	for i := range n {
		out = append(out, map[string]any{"name": fmt.Sprintf("node%d", i+1)})
	}
	return out
}

// write writes a file below a directory, and returns its name.
func (c *cluster) write(dir, name, text string) string {
	c.t.Helper()
	file := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return file
}

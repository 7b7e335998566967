package cluster_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/cluster"
	"clusterpki.io/operator/internal/defaults"
	"clusterpki.io/operator/internal/stall"
)

// hostNames are such that names could be taken for each other: a host is called like the end of another one's objects.
var hostNames = []string{
	"a", "a-kubelet", "a-etcd", "kubelet", "a-etcd-server", "kubelet-serving", "apiserver", "a.b", "a-b", "b", "etcd", "host", "a-host", "proxy", "a-kube", "x1", "x2",
}

// anyCluster is a ClusterPKI that admission would let in, with some hosts left over.
func anyCluster(t *rapid.T) (c *v1alpha1.ClusterPKI, spare []string) {
	c = &v1alpha1.ClusterPKI{}
	c.Name, c.Namespace = rapid.SampledFrom([]string{"k8s", "a", "a-b", strings.Repeat("x", 39)}).Draw(t, "name"), "prod"
	c.Spec.Endpoint = rapid.SampledFrom([]string{"https://lb.example:6443", "https://172.16.0.1", "https://x9:6443"}).Draw(t, "endpoint")
	c.Spec.ServiceCIDRs = []string{"10.96.0.0/12"}
	names := rapid.Permutation(hostNames).Draw(t, "hosts")
	take := func(most int, label string) []string {
		n := rapid.IntRange(0, most).Draw(t, label)
		out := names[:n]
		names = names[n:]
		return out
	}
	for _, name := range append([]string{"x9"}, take(3, "control plane")...) {
		c.Spec.ControlPlane.Hosts = append(c.Spec.ControlPlane.Hosts, v1alpha1.ControlPlaneHost{Name: name, Addresses: addressesOf(name)})
	}
	c.Spec.ControlPlane.Kubelet = new(rapid.Bool().Draw(t, "kubelet"))
	c.Spec.ControlPlane.LocalEndpoint = new(rapid.Bool().Draw(t, "local"))
	if c.Spec.ControlPlane.Etcd.Mode = rapid.SampledFrom([]v1alpha1.EtcdMode{"Stacked", "External", "None"}).Draw(t, "etcd"); c.Spec.ControlPlane.Etcd.Mode == "External" {
		for _, name := range append([]string{"etcd1"}, take(2, "members")...) {
			c.Spec.ControlPlane.Etcd.Hosts = append(c.Spec.ControlPlane.Etcd.Hosts, v1alpha1.EtcdHost{Name: name, Addresses: addressesOf(name)})
		}
	}
	roles := rapid.Permutation([]v1alpha1.NodeRole{"Kubelet", "KubeletServing", "KubeProxy", "Host"})
	for _, name := range take(6, "nodes") {
		h := v1alpha1.NodeHost{Name: name, Addresses: addressesOf(name)}
		h.Roles = roles.Draw(t, "roles")[:rapid.IntRange(0, 4).Draw(t, "how many")]
		c.Spec.Nodes.Hosts = append(c.Spec.Nodes.Hosts, h)
	}
	formats := []v1alpha1.OutputFormat{"CAPI", "Flux", "ArgoCDCluster", "Kamaji"}
	for _, format := range rapid.Permutation(formats).Draw(t, "formats")[:rapid.IntRange(0, 4).Draw(t, "outputs")] {
		o := v1alpha1.ClusterOutput{Format: format}
		if format == "Kamaji" { // it and Cluster API both call a CA's Secret '<cluster>-ca'
			o.ClusterName = "tenant"
		}
		c.Spec.Outputs = append(c.Spec.Outputs, o)
	}
	if err := defaults.Apply(c); err != nil {
		t.Fatal(err)
	}
	return c, names
}

// addressesOf are those of a host, other ones for each.
func addressesOf(name string) []string {
	i := slices.Index(append(slices.Clone(hostNames), "x9", "etcd1"), name) + 1
	return []string{fmt.Sprintf("10.1.0.%d", i), fmt.Sprintf("fd00::%x", i)}
}

func mustExpand(t *rapid.T, c *v1alpha1.ClusterPKI) cluster.Children {
	children, err := cluster.Expand(c, cluster.Names{})
	if err != nil {
		t.Fatal(err)
	}
	return children
}

// TestNamesNeverCollide: no two children have a name between them, nor do their Secrets, whatever hosts are called; and names fit.
func TestNamesNeverCollide(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, _ := anyCluster(t)
		children, secrets := map[string]bool{}, map[string]bool{}
		for _, child := range mustExpand(t, c) {
			name, limit := child.Object.GetName(), 200
			if child.Host == "" {
				limit = 54 // of a CA, whose common name it is
			}
			if children[name] || len(name) > limit || !strings.HasPrefix(name, c.Name+"-") {
				t.Fatalf("the name %q", name)
			}
			children[name] = true
			for _, secret := range child.Object.SecretNames() {
				if secrets[secret] {
					t.Fatalf("two have the Secret %q", secret)
				}
				secrets[secret] = true
			}
		}
	})
}

// TestOrderOfLists: what is made does not depend on the order in which hosts, names and roles are listed.
func TestOrderOfLists(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, _ := anyCluster(t)
		c.Spec.ControlPlane.CertSANs = []string{"z.example", "a.example", "172.16.0.9", "*.apps.example"}
		want := mustExpand(t, c)
		p := &c.Spec.ControlPlane
		p.Hosts = rapid.Permutation(p.Hosts).Draw(t, "control plane, in another order")
		p.Etcd.Hosts = rapid.Permutation(p.Etcd.Hosts).Draw(t, "members, in another order")
		p.CertSANs = rapid.Permutation(p.CertSANs).Draw(t, "names, in another order")
		c.Spec.Nodes.Hosts = rapid.Permutation(c.Spec.Nodes.Hosts).Draw(t, "nodes, in another order")
		c.Spec.Outputs = rapid.Permutation(c.Spec.Outputs).Draw(t, "outputs, in another order")
		c.Spec.Nodes.Roles = rapid.Permutation(c.Spec.Nodes.Roles).Draw(t, "roles, in another order")
		if diff := cmp.Diff(want, mustExpand(t, c)); diff != "" {
			t.Fatal(diff)
		}
	})
}

// TestOneHostMore: a node that is added or removed changes no other child. A control plane host changes beside that only which hosts' kubelets may
// serve with the names of an API server, and, where its name comes first, which API server nodes name, and whose credentials outputs hold.
func TestOneHostMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, spare := anyCluster(t)
		before := mustExpand(t, c)
		name, node := spare[0], rapid.Bool().Draw(t, "node")
		if node {
			c.Spec.Nodes.Hosts = append(c.Spec.Nodes.Hosts, v1alpha1.NodeHost{Name: name, Addresses: addressesOf(name)})
		} else {
			c.Spec.ControlPlane.Hosts = append(c.Spec.ControlPlane.Hosts, v1alpha1.ControlPlaneHost{Name: name, Addresses: addressesOf(name)})
		}
		after := mustExpand(t, c)
		if len(after) == len(before) {
			t.Fatal("the host gets nothing")
		}
		for _, was := range before {
			is, found := after.Find(was.Key())
			if !found {
				t.Fatalf("%s is not asked for any more", was.Key())
			}
			if !node {
				forget(was.Object)
				forget(is.Object)
			}
			if diff := cmp.Diff(was, is); diff != "" {
				t.Fatalf("%s: %s", was.Key(), diff)
			}
		}
	})
}

func forget(o v1alpha1.Object) {
	switch o := o.(type) {
	case *v1alpha1.ClusterCA:
		if o.Spec.Policy != nil {
			o.Spec.Policy.SharedHosts = nil
		}
	case *v1alpha1.NodeCredential:
		o.Spec.APIServerRef, o.Spec.Outputs = nil, nil
	}
}

// TestExpandLeavesTheSpec: no child shares memory with the spec.
func TestExpandLeavesTheSpec(t *testing.T) {
	c := sample(t, "ha")
	c.Spec.CertificateAuthorities.Cluster.Policy = &v1alpha1.CAPolicy{SharedHosts: []string{"other"}}
	c.Spec.SecretTemplate = &v1alpha1.SecretTemplate{Labels: map[string]v1alpha1.TemplateText{"a": "b"}}
	was := c.DeepCopy()
	for _, child := range expand(t, c) {
		switch o := child.Object.(type) {
		case *v1alpha1.ClusterCA:
			if o.Spec.Policy != nil && len(o.Spec.Policy.SharedHosts) > 0 {
				o.Spec.Policy.SharedHosts[0] = "changed"
			}
		case *v1alpha1.APIServerCertificate:
			o.Spec.ServiceCIDRs[0], o.Spec.SecretTemplate.Labels["a"] = "changed", "changed"
		}
	}
	if diff := cmp.Diff(was, c); diff != "" {
		t.Error(diff)
	}
}

// TestExpandRefuses says what to change, before anything is made.
func TestExpandRefuses(t *testing.T) {
	node := func(name string, addresses ...string) func(*v1alpha1.ClusterPKI) {
		return func(c *v1alpha1.ClusterPKI) {
			c.Spec.Nodes.Hosts[1] = v1alpha1.NodeHost{Name: name, Addresses: addresses}
		}
	}
	for want, edit := range map[string]func(*v1alpha1.ClusterPKI){
		"spec.controlPlane.hosts: must name a host":                                                                                 func(c *v1alpha1.ClusterPKI) { c.Spec.ControlPlane.Hosts = nil },
		"spec.controlPlane.etcd.hosts: must name a host":                                                                            func(c *v1alpha1.ClusterPKI) { c.Spec.ControlPlane.Etcd.Mode = "External" },
		`spec.nodes.hosts: host "master1" is in spec.controlPlane.hosts too: remove it`:                                             node("master1", "10.1.11.2"),
		`spec.nodes.hosts: host "nodex" has the address 10.1.10.11, which is that of host "master1" of spec.controlPlane.hosts too`: node("nodex", "::ffff:10.1.10.11"),
		`spec.nodes.hosts: the address 10.97.0.1 of host "nodex" lies within spec.serviceCIDRs`:                                     node("nodex", "10.97.0.1"),
		`spec.nodes.hosts: the address 10.97.0.1 of host "10.97.0.1" lies within`:                                                   node("10.97.0.1"),
		`spec.nodes.hosts: host "nodex": addresses: "x" is not an IP address`:                                                       node("nodex", "x"),
		`spec.nodes.hosts: "k8s.prod.example" of host "k8s.prod.example" is a name of the API servers too`:                          node("k8s.prod.example"),
		`spec.nodes.hosts: "nodex.apps.example" of host "nodex.apps.example" is a name of the API servers too`: func(c *v1alpha1.ClusterPKI) {
			c.Spec.ControlPlane.CertSANs = []string{"*.apps.example"}
			node("nodex.apps.example")(c)
		},
		`spec.nodes.hosts: "kubernetes" is a name of the API server`:          node("kubernetes"),
		`spec.nodes.hosts: "kubernetes-admin" is, or looks like, "kubernetes`: node("kubernetes-admin"),
		`spec.nodes.hosts: host "node1" is in spec.controlPlane.etcd.hosts too`: func(c *v1alpha1.ClusterPKI) {
			c.Spec.ControlPlane.Etcd = v1alpha1.EtcdSpec{Mode: "External", Hosts: []v1alpha1.EtcdHost{{Name: "node1"}}}
		},
		`spec.endpoint: "k8s.prod.example" is not an https URL`:               func(c *v1alpha1.ClusterPKI) { c.Spec.Endpoint = "k8s.prod.example" },
		`spec.serviceCIDRs: "10.96.0.0" is not a network`:                     func(c *v1alpha1.ClusterPKI) { c.Spec.ServiceCIDRs[0] = "10.96.0.0" },
		`the API server of host "master1": "10.96.0.0/30" holds fewer than 8`: func(c *v1alpha1.ClusterPKI) { c.Spec.ServiceCIDRs[0] = "10.96.0.0/30" },
		`spec.controlPlane.certSANs: "front-proxy-client" is, or looks`: func(c *v1alpha1.ClusterPKI) {
			c.Spec.ControlPlane.CertSANs = []string{"front-proxy-client"}
		},
	} {
		c := sample(t, "ha")
		edit(c)
		children, err := cluster.Expand(c, cluster.Names{})
		if st, ok := stall.Of(err); !ok || st.Reason != v1alpha1.ReasonInvalidSpec || !strings.HasPrefix(st.Message, want) || children != nil {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// TestLocalEndpoint: a control plane host whose own API server is not the endpoint has the URL of that.
func TestLocalEndpoint(t *testing.T) {
	for name, tc := range map[string]struct {
		edit func(*v1alpha1.ClusterPKI)
		want map[string]string
	}{
		"behind a load balancer": {
			func(*v1alpha1.ClusterPKI) {},
			map[string]string{"master1": "https://10.1.10.11:6443", "master2": "https://10.1.10.12:6443", "master3": "https://10.1.10.13:6443"},
		},
		"not asked for": {func(c *v1alpha1.ClusterPKI) { c.Spec.ControlPlane.LocalEndpoint = new(false) }, nil},
		"the endpoint is one of them, by its address": {
			func(c *v1alpha1.ClusterPKI) { c.Spec.Endpoint = "https://10.1.10.12:6443" },
			map[string]string{"master1": "https://10.1.10.11:6443", "master3": "https://10.1.10.13:6443"},
		},
		"the endpoint is one of them, at another port": {
			func(c *v1alpha1.ClusterPKI) {
				c.Spec.Endpoint, c.Spec.ControlPlane.Hosts = "https://master1", c.Spec.ControlPlane.Hosts[:1]
				c.Spec.ControlPlane.Hosts[0].Addresses = nil
			},
			map[string]string{"master1": "https://master1:6443"},
		},
		"IPv6": {
			func(c *v1alpha1.ClusterPKI) {
				c.Spec.ControlPlane.Hosts, c.Spec.ControlPlane.Port = c.Spec.ControlPlane.Hosts[:1], 443
				c.Spec.ControlPlane.Hosts[0].Addresses = []string{"fd00::7", "10.1.10.11"}
			},
			map[string]string{"master1": "https://[fd00::7]:443"},
		},
	} {
		c := sample(t, "ha")
		tc.edit(c)
		got := map[string]string{}
		for _, child := range expand(t, c) {
			if s, ok := child.Object.(*v1alpha1.APIServerCertificate); ok && s.Spec.LocalEndpoint != "" {
				got[child.Host] = s.Spec.LocalEndpoint
			}
		}
		if !maps.Equal(got, tc.want) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

package pki_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"clusterpki.io/operator/internal/pki"
)

// The identities that Kubernetes 1.37 and kubeadm rely on, written down once more: what the table of roles
// says must be what the API server's authorizers and etcd expect, to the letter.
func TestRoles(t *testing.T) {
	client, server := "client", "server"
	want := [][5]string{ // role, CN on host k8s-node1, O, usages, whether it serves
		{"Kubelet", "system:node:k8s-node1", "system:nodes", client, ""},
		{"KubeProxy", "system:kube-proxy", "", client, ""},
		{"ControllerManager", "system:kube-controller-manager", "", client, ""},
		{"Scheduler", "system:kube-scheduler", "", client, ""},
		{"Admin", "kubernetes-admin", "kubeadm:cluster-admins", client, ""},
		{"SuperAdmin", "kubernetes-super-admin", "system:masters", client, ""},
		{"APIServerKubeletClient", "kube-apiserver-kubelet-client", "", client, ""},
		{"FrontProxyClient", "front-proxy-client", "", client, ""},
		{"EtcdServer", "k8s-node1", "", client + "+" + server, "host and loopback"},
		{"EtcdPeer", "k8s-node1", "", client + "+" + server, "host and loopback"},
		{"EtcdClient", "kube-apiserver-etcd-client", "", client, ""},
		{"EtcdHealthcheckClient", "kube-etcd-healthcheck-client", "", client, ""},
		{"KubeletServing", "system:node:k8s-node1", "system:nodes", server, "host"},
		{"Host", "k8s-node1", "", client, ""},
	}
	names := map[pki.Usage]string{pki.ClientAuth: client, pki.ServerAuth: server}
	var got [][5]string
	for _, r := range pki.Roles() {
		var usages []string
		for _, u := range r.Usages {
			usages = append(usages, names[u])
		}
		serves := map[[2]bool]string{{true, true}: "host and loopback", {true, false}: "host", {false, true}: "loopback"}
		got = append(got, [5]string{
			r.Name, r.CommonNameFor("k8s-node1"), strings.Join(r.Organizations, ","), strings.Join(usages, "+"),
			serves[[2]bool{r.HostSAN, r.LoopbackSANs}],
		})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the table of roles (-want +got):\n%s", diff)
	}
}

func TestRolesOfAHostFollowItsName(t *testing.T) {
	for _, r := range pki.Roles() {
		a, b := r.CommonNameFor("k8s-node1"), r.CommonNameFor("k8s-node2")
		if (a != b) != r.PerHost {
			t.Errorf("%s: %q on one host and %q on another", r.Name, a, b)
		}
		if looked, ok := pki.LookupRole(r.Name); !ok || looked.Name != r.Name {
			t.Errorf("LookupRole(%q) = %v", r.Name, looked)
		}
		if (r.Warning != "") != (r.Name == "Host") {
			t.Errorf("%s warns of %q; only Host bypasses NodeRestriction", r.Name, r.Warning)
		}
	}
	for _, name := range []string{"", "kubelet", "Custom", "Node"} {
		if r, ok := pki.LookupRole(name); ok {
			t.Errorf("LookupRole(%q) = %v", name, r)
		}
	}
	host, _ := pki.LookupRole("Host")
	for _, word := range []string{"NodeRestriction", "RBAC", "Kubelet", "KubeProxy"} {
		if !strings.Contains(host.Warning, word) {
			t.Errorf("the warning of Host does not mention %s", word)
		}
	}
}

func TestRolesCannotBeChanged(t *testing.T) {
	pki.Roles()[0].CommonName = "changed"
	if r, ok := pki.LookupRole("Kubelet"); !ok || r.CommonName != "system:node:" {
		t.Error("a caller changed the table of roles")
	}
}

func TestCustomRole(t *testing.T) {
	usages := []pki.Usage{pki.ClientAuth}
	r, err := pki.CustomRole("backup", []string{"operators"}, usages)
	if err != nil || r.CommonNameFor("any-host") != "backup" || !cmp.Equal(r.Usages, usages) ||
		!cmp.Equal(r.Organizations, []string{"operators"}) {
		t.Errorf("CustomRole: %+v, %v", r, err)
	}
	for _, reserved := range []string{"system:masters", "system:node:n1", "system:", "system:anything"} {
		if _, err := pki.CustomRole(reserved, nil, usages); err == nil || !strings.Contains(err.Error(), reserved) {
			t.Errorf("common name %q: %v", reserved, err)
		}
		if _, err := pki.CustomRole("backup", []string{"operators", reserved}, usages); err == nil || !strings.Contains(err.Error(), reserved) {
			t.Errorf("group %q: %v", reserved, err)
		}
	}
}

package consumers

import (
	"slices"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/hostfiles"
)

// threeMasters are hosts with etcd, an API server and what runs beside it, and a node.
func threeMasters() Inputs {
	in := Inputs{Leases: map[LeaseKey]Reported{}, Now: keysAt}
	credential := func(host string, role v1alpha1.Role, ca, server string) {
		c := v1alpha1.NodeCredential{ObjectMeta: metav1.ObjectMeta{Name: host + "-" + string(role), UID: types.UID(host + string(role))}}
		c.Spec.HostName, c.Spec.Role, c.Spec.CARef.Name, c.Spec.Delivery.Mode = host, role, ca, v1alpha1.DeliveryAgent
		if server != "" {
			c.Spec.Kubeconfig, c.Spec.APIServerRef = &v1alpha1.KubeconfigSpec{}, &v1alpha1.APIServerReference{Name: server}
		}
		in.Credentials = append(in.Credentials, c)
	}
	for _, host := range []string{"c", "a", "b"} {
		s := v1alpha1.APIServerCertificate{ObjectMeta: metav1.ObjectMeta{Name: host, UID: types.UID(host)}}
		s.Spec.HostName, s.Spec.CARef.Name, s.Spec.Delivery.Mode = host, "k8s", v1alpha1.DeliveryAgent
		in.Servers = append(in.Servers, s)
		credential(host, "EtcdServer", "etcd", "")
		credential(host, "EtcdClient", "etcd", "")
		credential(host, "FrontProxyClient", "proxy", "")
		credential(host, "ControllerManager", "k8s", host)
	}
	credential("node", "Kubelet", "k8s", "a")
	return in
}

// report lets the agent of a host say of all objects there that it has installed a bundle.
func (in *Inputs) report(host, digest string, change func(*ack.Report)) {
	says := func(o v1alpha1.Object, lease string, uses []Use) {
		r := ack.Report{Host: host, Time: in.Now, Installed: &ack.State{Contents: map[string]string{}}}
		for _, u := range uses {
			r.Installed.Contents[ack.ContentKey(u.Secret, u.Key)] = digest
		}
		if change != nil {
			change(&r)
		}
		l := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(in.Now.Add(-24 * time.Hour))}}
		in.Leases[LeaseKey{o.GetUID(), lease}] = Reported{l, r, ack.Signed}
	}
	for i := range in.Servers {
		if c := &in.Servers[i]; c.Spec.HostName == host {
			says(c, c.LeaseName(), UsesOfServer(c))
		}
	}
	for i := range in.Credentials {
		if c := &in.Credentials[i]; c.Spec.HostName == host {
			says(c, c.LeaseName(), UsesOfCredential(c, Specs{Servers: in.Servers}.ServedBy()))
		}
	}
}

// TestAwaiting: hosts get a bundle for which something is restarted one after the other, each once the one before has restarted for it.
func TestAwaiting(t *testing.T) {
	in := threeMasters()
	check := func(when, ca string, want ...string) {
		t.Helper()
		if got := in.Awaiting(ca, "new"); !slices.Equal(got, want) {
			t.Errorf("%s: of %s, %q wait instead of %q", when, ca, got, want)
		}
	}
	check("nobody says anything", "etcd", "b", "c")
	check("nobody says anything", "k8s", "b", "c")
	check("nothing is restarted for it", "proxy")
	in.report("a", "old", nil)
	check("the first has the old one", "etcd", "b", "c")
	for what, change := range map[string]func(*ack.Report){
		"it is restarting":     func(r *ack.Report) { r.Restarting = true },
		"it has a problem":     func(r *ack.Report) { r.Problem = "etcd does not start" },
		"it has said no more":  func(r *ack.Report) { r.Time = in.Now.Add(-time.Hour) },
		"another host says so": func(r *ack.Report) { r.Host = "b" },
	} {
		in.report("a", "new", change)
		check(what, "etcd", "b", "c")
		check(what, "k8s", "b", "c")
	}
	in.report("a", "new", nil)
	check("the first has restarted", "etcd", "c")
	in.report("a", "new", func(r *ack.Report) { r.Problem, r.Verified = "no access to tokens", r.Installed })
	check("it has a problem with something else", "etcd", "c")
	in.report("c", "new", nil)
	check("the last has it already", "etcd", "c")
	in.report("b", "new", nil)
	check("all have it", "etcd")
	in.report("b", "new", func(r *ack.Report) { r.Time = in.Now.Add(-time.Hour) })
	check("one went away", "k8s", "c")
}

// TestRestartHosts: only agents restart something, and only what reads the bundle when it starts, by the table of components.
func TestRestartHosts(t *testing.T) {
	in := threeMasters()
	hosts := func(ca string) []string {
		return Specs{Servers: in.Servers, Credentials: in.Credentials}.RestartHosts(ca)
	}
	if got := hosts("etcd"); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("of etcd's CA: %q", got)
	}
	if got := hosts("proxy"); len(got) > 0 {
		t.Errorf("of the front proxy's CA: %q", got)
	}
	for i := range in.Credentials {
		if c := &in.Credentials[i]; c.Spec.HostName == "a" {
			c.Spec.Delivery.Mode = v1alpha1.DeliveryMounted
		}
		if c := &in.Credentials[i]; c.Spec.HostName == "b" && c.Spec.Role == "ControllerManager" {
			c.Spec.Role = "Admin"
		}
	}
	if got := hosts("etcd"); !slices.Equal(got, []string{"b", "c"}) {
		t.Errorf("without the agent of a, of etcd's CA: %q", got)
	}
	if got := hosts("k8s"); !slices.Equal(got, []string{"c"}) {
		t.Errorf("without a controller manager on b, of the API servers' CA: %q", got)
	}
	for _, c := range hostfiles.Components() {
		for _, file := range c.Once {
			known := map[string][]string{hostfiles.EtcdCA: {"etcd", "kube-apiserver"}, hostfiles.CA: {"kube-controller-manager"}}[file]
			if (file == hostfiles.EtcdCA || file == hostfiles.CA) != slices.Contains(known, c.Name) {
				t.Errorf("%s reads %s once, and no host awaits its turn for that", c.Name, file)
			}
		}
	}
	for _, ca := range []string{hostfiles.ClientCA, hostfiles.FrontProxyCA, hostfiles.KubeletCA} {
		for _, c := range hostfiles.Components() {
			if slices.Contains(c.Once, ca) {
				t.Errorf("%s reads %s once, and no host awaits its turn for that", c.Name, ca)
			}
		}
	}
}

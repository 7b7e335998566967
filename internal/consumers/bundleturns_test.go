package consumers

import (
	"crypto/x509"
	"slices"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/hostfiles"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

// threeMasters are hosts with etcd, an API server and what runs beside it, and a node.
func threeMasters() Inputs {
	in := Inputs{Leases: map[LeaseKey]Reported{}, Authorities: Authorities{}, Now: keysAt}
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
	for _, ca := range []string{"etcd", "k8s"} { // below one root, which is being rotated
		in.CAs = append(in.CAs, v1alpha1.ClusterCA{ObjectMeta: metav1.ObjectMeta{Name: ca}, Spec: v1alpha1.ClusterCASpec{
			Source: &v1alpha1.CASource{Parent: &v1alpha1.ParentSource{CARef: v1alpha1.CAReference{Name: "root"}}},
		}})
		in.Authorities[ca] = Authority{Ledger: plan.Ledger{Last: 1, Generations: []plan.Generation{
			{Number: 1, State: plan.Active, Parent: plan.Parent{Name: "root", Generation: 1}},
		}}}
	}
	in.Authorities["root"] = Authority{
		Ledger: plan.Ledger{Last: 2, Generations: []plan.Generation{{Number: 1, State: plan.Active}, {Number: 2, State: plan.Trusted}}},
		CAs:    map[int32]pki.CA{1: {Cert: &x509.Certificate{Raw: []byte("one")}}, 2: {Cert: &x509.Certificate{Raw: []byte("two")}}},
	}
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

// TestTurnsAreDone: a host is done once its agent says, signed, that it has installed the present bundle, and restarts nothing any more.
func TestTurnsAreDone(t *testing.T) {
	in := threeMasters()
	done := func(when, ca string, want ...string) {
		t.Helper()
		var got []string
		for _, turn := range in.Turns(ca) {
			if turn.Done {
				got = append(got, turn.Host)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: of %s, %q are done instead of %q", when, ca, got, want)
		}
	}
	digest := in.Authorities.published("root")
	if turns := in.Turns("root"); len(turns) != 3 || turns[0].Host != "a" || turns[2].Host != "c" {
		t.Errorf("the turns are %v", turns)
	}
	if turns := in.Turns("proxy"); len(turns) > 0 {
		t.Errorf("nothing is restarted for it, and the turns are %v", turns)
	}
	done("nobody says anything", "root")
	in.report("a", "old", nil)
	done("the first has the old one", "root")
	for what, change := range map[string]func(*ack.Report){
		"it is restarting":     func(r *ack.Report) { r.Restarting = true },
		"it has a problem":     func(r *ack.Report) { r.Problem = "etcd does not start" },
		"it has said no more":  func(r *ack.Report) { r.Time = in.Now.Add(-time.Hour) },
		"another host says so": func(r *ack.Report) { r.Host = "b" },
	} {
		in.report("a", digest, change)
		done(what, "root")
	}
	in.report("a", digest, nil)
	done("the first has restarted", "root", "a")
	in.report("a", digest, func(r *ack.Report) { r.Problem, r.Verified = "no access to tokens", r.Installed })
	done("it has a problem with something else", "root", "a")
	in.report("c", digest, nil)
	done("the last has it already", "root", "a", "c")
	if turns := in.Turns("etcd"); len(turns) > 0 {
		t.Errorf("the bundle of a CA is the same, and the turns are %v", turns)
	}
}

// TestRestartHosts: only agents restart something, and only what reads the bundle when it starts, by the table of components.
func TestRestartHosts(t *testing.T) {
	in := threeMasters()
	hosts := func(ca string) []string { return Specs{in.CAs, in.Servers, in.Credentials}.RestartHosts(ca) }
	if got := hosts("root"); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("of the root of both CAs: %q", got)
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

package controller_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/pki/plan"
)

// members are three hosts with etcd, of which an agent restarts each.
var members = []string{"member1", "member2", "member3"}

func newMembers(t *testing.T, mods ...func(*v1alpha1.ClusterCA)) *env {
	t.Helper()
	w := newEnv(t)
	w.create(newCA("root"), newCA("k8s", mods...))
	for _, host := range members {
		for _, role := range []v1alpha1.Role{"EtcdServer", "EtcdPeer"} {
			w.create(newKubelet(memberOf(host, role), byAgent, func(c *v1alpha1.NodeCredential) {
				c.Spec.HostName, c.Spec.Role, c.Spec.APIServerRef, c.Spec.Kubeconfig = host, role, nil, nil
			}))
		}
	}
	for _, host := range members {
		w.ready(memberOf(host, "EtcdServer"), &v1alpha1.NodeCredential{})
		w.ready(memberOf(host, "EtcdPeer"), &v1alpha1.NodeCredential{})
		w.restarts(host, true)
	}
	return w
}

func memberOf(host string, role v1alpha1.Role) string {
	return host + map[v1alpha1.Role]string{"EtcdServer": "-server", "EtcdPeer": "-peer"}[role]
}

// restarts lets the agent of a host report that it has installed what is there, and restarted for it or not.
func (w *env) restarts(host string, done bool) {
	w.t.Helper()
	for _, role := range []v1alpha1.Role{"EtcdServer", "EtcdPeer"} {
		lease := memberOf(host, role) + "-tls"
		r := ack.Report{Installed: w.contents(lease), Restarting: !done}
		if done {
			r.Verified = r.Installed
		}
		w.reports(lease, 0, r)
	}
}

// bundlesAre says how many CAs each host trusts, by what its Secrets hold, once the operator has nothing left to do.
func (w *env) bundlesAre(when string, want ...int) {
	w.t.Helper()
	w.later(0)
	for i, host := range members {
		for _, role := range []v1alpha1.Role{"EtcdServer", "EtcdPeer"} {
			name := memberOf(host, role) + "-tls"
			if got := len(w.bundle(name, "ca.crt")); got != want[i] {
				w.t.Errorf("%s: %d CAs are in the bundle of %s instead of %d", when, got, name, want[i])
			}
		}
	}
}

// TestRestartsTakeTurns: what etcd restarts for reaches one host after the other, each once the one before has restarted. A host that is silent holds up those
// behind it, which are issued to meanwhile all the same.
func TestRestartsTakeTurns(t *testing.T) {
	t.Parallel()
	w := newMembers(t)
	w.validity("k8s", 50000)
	w.phase("k8s", "DistributingTrust")
	w.bundlesAre("at the beginning", 2, 1, 1)
	w.waitsFor(plan.DistributingTrust, "NodeCredential/member1-peer: NotInUse", "NodeCredential/member1-server: NotInUse",
		"NodeCredential/member2-peer: AwaitingTurn", "NodeCredential/member2-server: AwaitingTurn",
		"NodeCredential/member3-peer: AwaitingTurn", "NodeCredential/member3-server: AwaitingTurn")
	w.restarts("member1", false)
	w.bundlesAre("while the first restarts", 2, 1, 1)

	before := w.pair("member3-server-tls").Cert
	edit(w, "member3-server", &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) { c.Spec.DNSNames = []string{"etcd.prod.example"} })
	w.eventually("who awaits its turn is issued to", func() error {
		d, err := w.signed("member3-server-tls")
		if err != nil {
			return err
		}
		leaf := w.pair("member3-server-tls").Cert
		if leaf.Equal(before) || !slices.Contains(leaf.DNSNames, "etcd.prod.example") || d.Contents[consumers.BundleKey] == "" {
			return fmt.Errorf("the certificate is for %q", leaf.DNSNames)
		}
		return nil
	})
	for _, host := range members[1:] { // by somebody who may edit Secrets
		w.delete(w.secret(memberOf(host, "EtcdServer") + "-tls"))
		edit(w, memberOf(host, "EtcdPeer")+"-tls", &corev1.Secret{}, func(s *corev1.Secret) { s.Data["ca.crt"] = s.Data["tls.crt"] })
	}
	w.bundlesAre("the Secrets of those that wait were deleted or edited", 2, 1, 1)
	w.restarts("member1", true)
	w.bundlesAre("once the first has restarted", 2, 2, 1)
	w.clock.SetTime(w.clock.Now().Add(16 * time.Minute))
	w.restarts("member2", true)
	w.bundlesAre("the second has, and the first is silent", 2, 2, 1)
	w.restarts("member1", true)
	w.bundlesAre("the first is back", 2, 2, 2)
	w.restarts("member3", true)
	w.phase("k8s", "Reissuing")
}

// TestTurnsOfAParent: what a CA above publishes reaches one host after the other too, and so does its withdrawal.
func TestTurnsOfAParent(t *testing.T) {
	t.Parallel()
	w := newMembers(t, func(c *v1alpha1.ClusterCA) {
		c.Spec.Source = &v1alpha1.CASource{Parent: &v1alpha1.ParentSource{CARef: v1alpha1.CAReference{Name: "root"}}}
	})
	w.validity("root", 60000)
	w.phase("root", "DistributingTrust")
	for n, want := range [][]int{{2, 1, 1}, {2, 2, 1}, {2, 2, 2}} {
		w.bundlesAre("in turn "+members[n], want...)
		w.restarts(members[n], true)
	}
	w.phase("root", "Reissuing")
	w.later(0)
	for _, host := range members { // the CA below has another key, and its certificates are in use
		w.restarts(host, true)
	}
	w.phase("root", "WithdrawingTrust")
	w.bundlesAre("when it is withdrawn", 1, 2, 2)
}

// TestEmergencyTakesNoTurns: what is distrusted at once is so on all hosts.
func TestEmergencyTakesNoTurns(t *testing.T) {
	t.Parallel()
	w := newMembers(t)
	edit(w, "k8s", &v1alpha1.ClusterCA{}, func(ca *v1alpha1.ClusterCA) {
		ca.Spec.Rotation.Trigger, ca.Spec.Rotation.EmergencyTrigger = "now", "now"
	})
	w.phase("k8s", "WithdrawingTrust")
	w.settled()
	active := w.bundle("member1-server-tls", "ca.crt")
	for _, host := range members {
		for _, role := range []v1alpha1.Role{"EtcdServer", "EtcdPeer"} {
			if got := w.bundle(memberOf(host, role)+"-tls", "ca.crt"); len(got) != 1 || !got[0].Equal(active[0]) {
				t.Errorf("%s trusts %d CAs", memberOf(host, role), len(got))
			}
		}
	}
}

// TestControllerManagersTakeTurns: the bundle of the API servers' CA, which kube-controller-manager reads when it starts, reaches one master after the other.
func TestControllerManagersTakeTurns(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.create(newCA("k8s"))
	for _, host := range threeMasters {
		w.create(newServer(host, func(c *v1alpha1.APIServerCertificate) {
			c.Spec.HostName, c.Spec.Delivery.Mode, c.Spec.Endpoint = host, v1alpha1.DeliveryAgent, "https://"+host+":6443"
		}), newKubelet(host+"-manager", byAgent, func(c *v1alpha1.NodeCredential) {
			c.Spec.HostName, c.Spec.Role, c.Spec.APIServerRef.Name = host, "ControllerManager", host
		}))
	}
	report := func(host string) {
		for _, lease := range []string{host + "-tls", host + "-manager-tls"} {
			s := w.contents(lease)
			w.reports(lease, 0, ack.Report{Installed: s, Verified: s})
		}
	}
	for _, host := range threeMasters {
		w.ready(host, &v1alpha1.APIServerCertificate{})
		w.ready(host+"-manager", &v1alpha1.NodeCredential{})
		report(host)
	}
	w.validity("k8s", 50000)
	w.phase("k8s", "DistributingTrust")
	for n := range threeMasters {
		w.later(0)
		for i, host := range threeMasters {
			want := 1
			if i <= n {
				want = 2
			}
			for _, at := range [][2]string{{host + "-tls", "ca.crt"}, {host + "-manager-tls", "ca.crt"}, {host + "-manager-tls", "apiserver-ca.crt"}} {
				if got := len(w.bundle(at[0], at[1])); got != want {
					t.Errorf("in the turn of %s, %d CAs are in %s of %s instead of %d", threeMasters[n], got, at[1], at[0], want)
				}
			}
			if got := len(w.bundle(host+"-tls", "client-ca.crt")); got != want { // a host takes the latest bundle of a CA for all its files
				t.Errorf("in the turn of %s, %d CAs are in client-ca.crt of %s instead of %d", threeMasters[n], got, host, want)
			}
		}
		report(threeMasters[n])
	}
	w.phase("k8s", "Reissuing")
}

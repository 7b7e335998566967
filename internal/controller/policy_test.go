package controller_test

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
)

// denied waits until an object is Stalled because of a policy, and says so in all these words.
func (w *env) denied(name string, o v1alpha1.Object, words ...string) {
	w.t.Helper()
	got := w.condition(name, o, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonPolicyDenied).Message
	for _, word := range words {
		if !strings.Contains(got, word) {
			w.t.Errorf("%s: the message %q lacks %q", name, got, word)
		}
	}
}

// goesOn waits until an object is Ready and not Stalled.
func (w *env) goesOn(name string, o v1alpha1.Object) {
	w.t.Helper()
	w.eventually(name+" goes on", func() error {
		w.get(name, o)
		for _, c := range *o.StatusConditions() {
			if c.Type == v1alpha1.StalledCondition || c.Type == v1alpha1.ReadyCondition && c.Status != metav1.ConditionTrue {
				return errors.New(c.Message)
			}
		}
		if *o.ObservedGeneration() != o.GetGeneration() {
			return errors.New("it is not observed")
		}
		return nil
	})
}

// allow sets the policy of a CA.
func (w *env) allow(ca string, p *v1alpha1.CAPolicy) {
	w.t.Helper()
	edit(w, ca, &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.Policy = p })
}

// TestTightenedPolicy: what is no longer allowed stays usable until its end, is not renewed, and holds up a rotation by name.
func TestTightenedPolicy(t *testing.T) {
	t.Parallel()
	w := standard(t)
	before := w.secret("node1-tls").Data["tls.crt"]
	end := w.pair("node1-tls").Cert.NotAfter.UTC().Format(time.RFC3339)
	w.allow("k8s", &v1alpha1.CAPolicy{Roles: []v1alpha1.PolicyRole{"APIServer"}})
	w.denied("node1", &v1alpha1.NodeCredential{}, `"Kubelet"`, "spec.policy.roles", "[APIServer]", "not renewed, and ends at "+end)
	w.ready("node1", &v1alpha1.NodeCredential{})
	w.goesOn("k8s-master", &v1alpha1.APIServerCertificate{})

	var c v1alpha1.NodeCredential
	w.get("node1", &c)
	w.restartAt(c.Status.Certificate.RenewalTime.Add(time.Hour))
	w.settled()
	if !bytes.Equal(w.secret("node1-tls").Data["tls.crt"], before) {
		t.Fatal("it was renewed")
	}
	w.ready("node1", &v1alpha1.NodeCredential{})

	edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.Rotation.Trigger = "next" })
	for range 2 {
		w.settled()
		w.delivered()
		w.restartAt(w.clock.Now())
	}
	w.eventually("the rotation waits for it by name", func() error {
		for _, p := range w.phase("k8s", v1alpha1.PhaseReissuing).Status.Rotation.Pending {
			if p.Name == "node1" && p.Reason == v1alpha1.ReasonPolicyDenied && strings.Contains(p.Edit, "spec.policy of its ClusterCA") {
				return nil
			}
		}
		return fmt.Errorf("it waits for %+v", w.clusterCA("k8s").Status.Rotation.Pending)
	})
	if got := w.bundle("k8s-master-tls", "client-ca.crt"); len(got) != 2 {
		t.Errorf("the API server trusts %d CAs", len(got))
	}
	w.allow("k8s", nil)
	w.eventually("it is re-issued", func() error {
		if bytes.Equal(w.secret("node1-tls").Data["tls.crt"], before) {
			return errors.New("it is the same")
		}
		return nil
	})
	w.goesOn("node1", &v1alpha1.NodeCredential{})
}

// TestCustomGroups: without a policy role 'Custom' may name no group.
func TestCustomGroups(t *testing.T) {
	t.Parallel()
	w := standard(t)
	w.create(newKubelet("jane", func(c *v1alpha1.NodeCredential) {
		c.Spec.Role = v1alpha1.RoleCustom
		c.Spec.Custom = &v1alpha1.CustomIdentity{CommonName: "jane", Organizations: []string{"ops:viewers"}, Usages: []v1alpha1.KeyUsage{v1alpha1.ClientAuth}}
	}))
	w.denied("jane", &v1alpha1.NodeCredential{}, `"ops:viewers"`, "spec.policy.customGroups there is empty")
	if !w.missing("jane-tls", &corev1.Secret{}) {
		t.Error("a certificate was issued")
	}
	w.allow("k8s", &v1alpha1.CAPolicy{CustomGroups: []string{"ops:viewers"}})
	w.goesOn("jane", &v1alpha1.NodeCredential{})
	if got := w.pair("jane-tls").Cert.Subject.Organization; len(got) != 1 || got[0] != "ops:viewers" {
		t.Errorf("the groups are %q", got)
	}
}

// TestPolicyOfParent goes for the subordinate CA itself, and for what is issued below it.
func TestPolicyOfParent(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.create(newCA("root", func(c *v1alpha1.ClusterCA) {
		c.Spec.Policy = &v1alpha1.CAPolicy{Roles: []v1alpha1.PolicyRole{"APIServer"}}
	}))
	w.ready("root", &v1alpha1.ClusterCA{})
	w.create(subordinate("k8s", "root"))
	w.denied("k8s", &v1alpha1.ClusterCA{}, "spec.source.parent", `"CA"`, `ClusterCA "root"`)
	w.allow("root", &v1alpha1.CAPolicy{Roles: []v1alpha1.PolicyRole{"APIServer", "CA"}})
	w.goesOn("k8s", &v1alpha1.ClusterCA{})
	w.create(newServer("k8s-master"), newKubelet("node1"))
	w.goesOn("k8s-master", &v1alpha1.APIServerCertificate{})
	w.denied("node1", &v1alpha1.NodeCredential{}, `"Kubelet"`, `ClusterCA "root"`)
	w.allow("root", &v1alpha1.CAPolicy{Roles: []v1alpha1.PolicyRole{"APIServer", "CA", "Kubelet"}})
	w.goesOn("node1", &v1alpha1.NodeCredential{})
}

// TestPolicyBelowByCertificates: what the certificates of a CA lead to counts, whatever its spec says by now. Its parent's policy holds until the
// switch, and after it where the new CA is cross-signed; it may forbid that.
func TestPolicyBelowByCertificates(t *testing.T) {
	t.Parallel()
	for name, crossSigned := range map[string]bool{"allowed": true, "forbidden": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newEnv(t)
			roles := []v1alpha1.PolicyRole{"APIServer", "CA"}
			w.create(newCA("root", func(c *v1alpha1.ClusterCA) { c.Spec.Policy = &v1alpha1.CAPolicy{Roles: roles} }))
			w.ready("root", &v1alpha1.ClusterCA{})
			root := []*x509.Certificate{w.root("root")}
			w.create(subordinate("k8s", "root"))
			w.ready("k8s", &v1alpha1.ClusterCA{})
			w.create(newServer("k8s-master"))
			w.goesOn("k8s-master", &v1alpha1.APIServerCertificate{})
			if !crossSigned {
				roles = roles[:1]
				w.allow("root", &v1alpha1.CAPolicy{Roles: roles})
			}
			edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) {
				c.Spec.Source, c.Spec.Rotation.CrossSigning = nil, v1alpha1.CrossSigningOldSignsNew
			})
			w.phase("k8s", v1alpha1.PhaseDistributingTrust)
			w.create(newKubelet("node1"))
			w.denied("node1", &v1alpha1.NodeCredential{}, `"Kubelet"`, `ClusterCA "root"`)
			var waiting v1alpha1.NodeCredential
			w.get("node1", &waiting)
			w.delete(&waiting) // the rotation waits for it
			w.delivered()
			w.phase("k8s", v1alpha1.PhaseReissuing)
			w.create(newKubelet("node1"))
			if crossSigned {
				w.denied("node1", &v1alpha1.NodeCredential{}, `"Kubelet"`, `ClusterCA "root"`)
				w.allow("root", &v1alpha1.CAPolicy{Roles: append(roles, "Kubelet")})
			}
			w.goesOn("node1", &v1alpha1.NodeCredential{})
			if below := w.pair("node1-tls").Verify(w.clock.Now(), root) == nil; below != crossSigned {
				t.Errorf("below root: %v", below)
			}
		})
	}
}

// TestPolicyOfAMissingParent: nobody knows what it would allow. What is there stays in use, and what is new waits until the parent is there again.
func TestPolicyOfAMissingParent(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.create(newCA("root"))
	w.ready("root", &v1alpha1.ClusterCA{})
	w.create(subordinate("k8s", "root"))
	w.ready("k8s", &v1alpha1.ClusterCA{})
	w.create(newServer("k8s-master"))
	w.goesOn("k8s-master", &v1alpha1.APIServerCertificate{})
	before := w.secret("k8s-master-tls").Data["tls.crt"]
	w.delete(w.clusterCA("root"))
	w.denied("k8s-master", &v1alpha1.APIServerCertificate{}, `ClusterCA "root" does not exist any more`, "not renewed, and ends at ")
	w.ready("k8s-master", &v1alpha1.APIServerCertificate{})
	w.create(newKubelet("node1"))
	w.denied("node1", &v1alpha1.NodeCredential{}, `ClusterCA "root" does not exist any more`)
	if !w.missing("node1-tls", &corev1.Secret{}) {
		t.Error("a certificate was issued")
	}
	if !bytes.Equal(w.secret("k8s-master-tls").Data["tls.crt"], before) {
		t.Error("what was there is another one")
	}
	w.create(newCA("root"))
	w.goesOn("node1", &v1alpha1.NodeCredential{})
	w.goesOn("k8s-master", &v1alpha1.APIServerCertificate{})
}

// TestNamesOfServers: no certificate but its own would do for an API server, and no host becomes a user by its name.
func TestNamesOfServers(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	serving := func(name, role string) *v1alpha1.NodeCredential {
		return newKubelet(name, func(c *v1alpha1.NodeCredential) {
			c.Spec.Role, c.Spec.Kubeconfig, c.Spec.APIServerRef = v1alpha1.Role(role), nil, nil
		})
	}
	w.create(newCA("k8s"), newCA("etcd"))
	w.ready("k8s", &v1alpha1.ClusterCA{})
	w.ready("etcd", &v1alpha1.ClusterCA{})
	shared, vip, etcd, own := serving("shared", "KubeletServing"), serving("vip", "KubeletServing"), serving("etcd", "EtcdServer"), serving("own", "EtcdServer")
	shared.Spec.HostName, shared.Spec.IPAddresses = "k8s-master", []string{"10.1.10.238"}
	vip.Spec.DNSNames = []string{"centos-master"}
	etcd.Spec.HostName, own.Spec.HostName, own.Spec.CARef.Name = "jane", "k8s-master", "etcd"
	all := []*v1alpha1.NodeCredential{shared, vip, etcd, own}
	for _, c := range all {
		w.create(c)
		w.goesOn(c.Name, &v1alpha1.NodeCredential{}) // there is no API server yet
	}
	w.create(newServer("k8s-master"))
	w.denied("shared", &v1alpha1.NodeCredential{}, `"k8s-master"`, "spec.policy.sharedHosts")
	end := w.pair("vip-tls").Cert.NotAfter.UTC().Format(time.RFC3339)
	w.denied("vip", &v1alpha1.NodeCredential{}, "spec.dnsNames", `know by "centos-master"`, "not renewed, and ends at "+end)
	w.denied("etcd", &v1alpha1.NodeCredential{}, "user of that name", "spec.policy.roles")
	w.goesOn("own", &v1alpha1.NodeCredential{})
	w.allow("k8s", &v1alpha1.CAPolicy{SharedHosts: []string{"k8s-master"}})
	w.goesOn("shared", &v1alpha1.NodeCredential{})
	w.denied("vip", &v1alpha1.NodeCredential{})
	w.allow("k8s", &v1alpha1.CAPolicy{Roles: []v1alpha1.PolicyRole{"EtcdServer", "APIServer"}})
	w.goesOn("etcd", &v1alpha1.NodeCredential{})
	edit(w, "k8s-master", &v1alpha1.APIServerCertificate{}, func(s *v1alpha1.APIServerCertificate) { s.Spec.DNSNames = nil })
	w.allow("k8s", nil)
	w.goesOn("vip", &v1alpha1.NodeCredential{})
}

// TestNamesOfServersBelowOneRoot: what was issued below one root before an API server has its certificate below the same root is found too.
func TestNamesOfServersBelowOneRoot(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	below := func(name string) *v1alpha1.ClusterCA {
		return newCA(name, func(c *v1alpha1.ClusterCA) {
			c.Spec.Source = &v1alpha1.CASource{Parent: &v1alpha1.ParentSource{CARef: v1alpha1.CAReference{Name: "root"}}}
		})
	}
	w.create(newCA("root"), below("nodes"), newKubelet("vip", func(c *v1alpha1.NodeCredential) {
		c.Spec.CARef.Name, c.Spec.Role, c.Spec.DNSNames = "nodes", "KubeletServing", []string{"centos-master"}
		c.Spec.Kubeconfig, c.Spec.APIServerRef = nil, nil
	}))
	w.goesOn("vip", &v1alpha1.NodeCredential{})
	w.create(newServer("k8s-master", func(c *v1alpha1.APIServerCertificate) { c.Spec.CARef.Name = "servers" }))
	w.settled()
	w.create(below("servers"))
	w.ready("k8s-master", &v1alpha1.APIServerCertificate{})
	w.denied("vip", &v1alpha1.NodeCredential{}, `know by "centos-master"`)
}

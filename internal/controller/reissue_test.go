package controller_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
)

// TestSpecChangeReissues changes one field at a time: a new key and certificate follow at once.
func TestSpecChangeReissues(t *testing.T) {
	t.Parallel()
	w := standard(t)
	for _, c := range []struct {
		name   string
		change func(*v1alpha1.NodeCredential)
		check  func(pki.Leaf) bool
	}{
		{"validity", func(c *v1alpha1.NodeCredential) { c.Spec.Validity = hours(48) }, func(p pki.Leaf) bool {
			return p.Cert.NotAfter.Sub(p.Cert.NotBefore) == 48*time.Hour+pki.ClockSkew
		}},
		{"host", func(c *v1alpha1.NodeCredential) { c.Spec.HostName = "k8s-node9" }, func(p pki.Leaf) bool {
			return p.Cert.Subject.CommonName == "system:node:k8s-node9"
		}},
		{"key", func(c *v1alpha1.NodeCredential) {
			c.Spec.PrivateKey = v1alpha1.PrivateKeySpec{Algorithm: v1alpha1.RSA, Size: 2048}
		}, func(p pki.Leaf) bool { return pki.SpecOf(p.Cert.PublicKey).String() == "RSA-2048" }},
		{"role", func(c *v1alpha1.NodeCredential) { c.Spec.Role = "Scheduler" }, func(p pki.Leaf) bool {
			return p.Cert.Subject.CommonName == "system:kube-scheduler"
		}},
	} {
		before := w.secret("node1-tls").Data["tls.key"]
		edit(w, "node1", &v1alpha1.NodeCredential{}, c.change)
		w.eventually(c.name+": re-issued", func() error {
			if !c.check(w.pair("node1-tls")) {
				return errors.New("it is the old certificate")
			}
			return differs(w.secret("node1-kubeconfig").Data["tls.crt"], w.secret("node1-tls").Data["tls.crt"])
		})
		if bytes.Equal(w.secret("node1-tls").Data["tls.key"], before) {
			t.Errorf("%s: the key was used again", c.name)
		}
	}
	var c v1alpha1.NodeCredential
	w.ready("node1", &c)
	w.eventually("the status follows", func() error {
		w.get("node1", &c)
		if c.Status.Revision != 5 || c.Status.Certificate.SerialNumber != pki.SerialOf(w.pair("node1-tls").Cert) {
			return errors.New("it is behind")
		}
		return nil
	})
}

// TestOrderOfSANsDoesNotMatter reorders lists: nothing may be issued. Adding one to them issues.
func TestOrderOfSANsDoesNotMatter(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.create(newCA("k8s"), newServer("k8s-master", func(c *v1alpha1.APIServerCertificate) {
		c.Spec.DNSNames = []string{"b.example.com", "a.example.com"}
		c.Spec.IPAddresses = []string{"10.1.10.238", "fd00::1"}
	}))
	var c v1alpha1.APIServerCertificate
	w.ready("k8s-master", &c)
	before := w.secret("k8s-master-tls")
	edit(w, "k8s-master", &c, func(c *v1alpha1.APIServerCertificate) {
		c.Spec.DNSNames = []string{"a.example.com", "b.example.com"}
		c.Spec.IPAddresses = []string{"fd00:0::1", "10.1.10.238"}
	})
	w.ready("k8s-master", &c) // on the new generation
	if got := w.secret("k8s-master-tls"); got.ResourceVersion != before.ResourceVersion {
		t.Error("the Secret was written for a mere change of order")
	}
	edit(w, "k8s-master", &c, func(c *v1alpha1.APIServerCertificate) { c.Spec.DNSNames = append(c.Spec.DNSNames, "c.example.com") })
	w.eventually("re-issued", func() error { return w.pair("k8s-master-tls").Cert.VerifyHostname("c.example.com") })
	edit(w, "k8s-master", &c, func(c *v1alpha1.APIServerCertificate) { c.Spec.DNSNames = nil })
	w.eventually("re-issued without them", func() error {
		if w.pair("k8s-master-tls").Cert.VerifyHostname("a.example.com") == nil {
			return errors.New("the SAN is still there")
		}
		return nil
	})
}

// TestEndpointChangeKeepsTheKey re-renders the kubeconfig and touches nothing else.
func TestEndpointChangeKeepsTheKey(t *testing.T) {
	t.Parallel()
	w := standard(t)
	leaf, server := w.secret("node1-tls"), w.secret("k8s-master-tls")
	edit(w, "k8s-master", &v1alpha1.APIServerCertificate{}, func(c *v1alpha1.APIServerCertificate) {
		c.Spec.Endpoint = "https://centos-master:8443"
	})
	w.eventually("the kubeconfig follows", func() error {
		config, err := clientcmd.Load(w.secret("node1-kubeconfig").Data["value"])
		if err != nil || config.Clusters["k8s-cluster"].Server != "https://centos-master:8443" {
			return errors.New("it is the old endpoint")
		}
		return nil
	})
	if w.secret("node1-tls").ResourceVersion != leaf.ResourceVersion || w.secret("k8s-master-tls").ResourceVersion != server.ResourceVersion {
		t.Error("a certificate's Secret was written")
	}
}

// TestRenewal moves the clock to one second before the renewal time, and then to it.
func TestRenewal(t *testing.T) {
	t.Parallel()
	w := standard(t)
	var c v1alpha1.NodeCredential
	w.ready("node1", &c)
	first := w.secret("node1-tls")
	at := c.Status.Certificate.RenewalTime.Time
	w.restartAt(at.Add(-time.Second))
	w.settled()
	if w.secret("node1-tls").ResourceVersion != first.ResourceVersion {
		t.Fatal("renewed too early")
	}
	w.restartAt(at)
	w.eventually("renewed", func() error {
		if bytes.Equal(w.secret("node1-tls").Data["tls.crt"], first.Data["tls.crt"]) {
			return errors.New("it is the old one")
		}
		return nil
	})
	if bytes.Equal(w.secret("node1-tls").Data["tls.key"], first.Data["tls.key"]) {
		t.Error("the key was used again")
	}
	w.ready("node1", &c)
}

// TestExpiryShows moves the clock past everything while the CA's key is gone: Ready must say so.
func TestExpiryShows(t *testing.T) {
	t.Parallel()
	w := standard(t)
	w.stop()
	w.loseKey("k8s", 1)
	w.clock.SetTime(w.pair("node1-tls").Cert.NotAfter)
	w.start()
	w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonCAKeyMissing)
}

// TestLeafIsCappedByItsCA asks for a leaf that would outlive its CA.
func TestLeafIsCappedByItsCA(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.create(newCA("k8s", func(c *v1alpha1.ClusterCA) { c.Spec.Validity = hours(24) }), newServer("k8s-master"),
		newKubelet("node1", func(c *v1alpha1.NodeCredential) { c.Spec.Delivery.Mode = v1alpha1.DeliveryManual })) // nobody answers
	var c v1alpha1.NodeCredential
	w.condition("node1", &c, v1alpha1.ValidityCappedCondition, metav1.ConditionTrue, v1alpha1.ReasonCAExpiresFirst)
	w.ready("node1", &c)
	ca := w.root("k8s")
	if got := w.pair("node1-tls").Cert.NotAfter; !got.Equal(ca.NotAfter) {
		t.Errorf("it ends at %s, its CA at %s", got, ca.NotAfter)
	}
	if !c.Status.Certificate.RenewalTime.IsZero() {
		t.Error("a renewal is announced that could gain nothing")
	}
	before := w.secret("node1-tls")
	w.restartAt(ca.NotAfter.Add(-11 * time.Minute)) // long past two thirds of its life
	w.settled()
	if got := w.secret("node1-tls"); !bytes.Equal(got.Data["tls.crt"], before.Data["tls.crt"]) {
		t.Error("it was issued again although that gains nothing")
	}
	w.condition("k8s", &v1alpha1.ClusterCA{}, v1alpha1.RotatingCondition, metav1.ConditionTrue, "DistributingTrust")
	w.restartAt(ca.NotAfter.Add(-time.Minute))
	w.condition("node1", &c, v1alpha1.IssuerReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonIssuerExpiring)
	w.condition("node1", &c, v1alpha1.ReadyCondition, metav1.ConditionTrue, "")
}

// TestRestartWritesNothing restarts the operator: no object may change in any way, specs least of all.
func TestRestartWritesNothing(t *testing.T) {
	t.Parallel()
	w := standard(t)
	w.settled()
	before, wrote := w.versions(), w.writes.String()
	w.restartAt(w.clock.Now())
	w.settled()
	if more := strings.TrimPrefix(w.writes.String(), wrote); more != "" { // one that changes nothing leaves the version as it is
		t.Errorf("it wrote:\n%s", more)
	}
	for name, version := range w.versions() {
		if before[name] != version {
			t.Errorf("%s changed from %s to %s", name, before[name], version)
		}
	}
	for _, o := range []client.Object{&v1alpha1.ClusterCA{}, &v1alpha1.APIServerCertificate{}, &v1alpha1.NodeCredential{}} {
		w.get(map[string]string{"*v1alpha1.ClusterCA": "k8s", "*v1alpha1.APIServerCertificate": "k8s-master", "*v1alpha1.NodeCredential": "node1"}[typeName(o)], o)
		if o.GetGeneration() != 1 {
			t.Errorf("the spec of %T was edited", o)
		}
	}
}

package controller_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
)

func TestMissingIssuerHeals(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.create(newKubelet("node1"))
	c := w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.IssuerReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonIssuerNotFound)
	if !strings.Contains(c.Message, `ClusterCA "k8s" does not exist`) {
		t.Errorf("the message is %q", c.Message)
	}
	w.create(newCA("k8s"))
	c = w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.IssuerReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonIssuerNotFound)
	w.eventually("the certificate does not wait for the API server", func() error {
		if w.missing("node1-tls", &corev1.Secret{}) {
			return errors.New(c.Message)
		}
		return nil
	})
	w.create(newServer("k8s-master"))
	w.ready("node1", &v1alpha1.NodeCredential{})
}

// TestForeignSecret puts Secrets that are nobody's in the way: they must stay as they are.
func TestForeignSecret(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	foreign := func(name string) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string][]byte{"mine": []byte("precious")}}
	}
	w.create(foreign("node1-tls"), foreign("node2-kubeconfig"), foreign("k8s-master-tls"))
	w.create(newCA("k8s"), newServer("k8s-master"), newKubelet("node1"), newKubelet("node2"))
	w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonSecretConflict)
	w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict)
	w.condition("node2", &v1alpha1.NodeCredential{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonSecretConflict)
	w.condition("k8s-master", &v1alpha1.APIServerCertificate{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonSecretConflict)
	for _, name := range []string{"node1-tls", "node2-kubeconfig", "k8s-master-tls"} {
		if s := w.secret(name); string(s.Data["mine"]) != "precious" || len(s.Data) != 1 || len(s.Labels)+len(s.OwnerReferences) > 0 {
			t.Errorf("Secret %s was touched: %v", name, s)
		}
	}
	edit(w, "node1", &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) { c.Spec.SecretName = "another" })
	w.ready("node1", &v1alpha1.NodeCredential{})
}

// TestTwoNameOneSecret lets objects name each other's Secrets: each stays with the one that it was made for, however old the
// other is, for as long as that one exists and names it.
func TestTwoNameOneSecret(t *testing.T) {
	t.Parallel()
	w := standard(t) // node1 is the oldest
	w.create(newKubelet("node2", func(c *v1alpha1.NodeCredential) { c.Spec.HostName = "k8s-node2" }))
	w.ready("node2", &v1alpha1.NodeCredential{})
	w.settled()
	before := map[string]string{}
	taken := []string{"node2-tls", "node2-kubeconfig", "k8s-master-tls"}
	for _, name := range taken {
		before[name] = w.secret(name).ResourceVersion
	}
	for name, text := range map[string]string{
		"node2-tls": `NodeCredential "node2"`, "node2-kubeconfig": `NodeCredential "node2"`, "k8s-master-tls": `APIServerCertificate "k8s-master"`,
	} {
		edit(w, "node1", &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) { c.Spec.SecretName = name })
		got := w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonSecretConflict)
		if want := fmt.Sprintf("Secret %q was made for %s, which names it and keeps it", name, text); !strings.Contains(got.Message, want) {
			t.Errorf("the message is %q", got.Message)
		}
	}
	edit(w, "node1", &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) { c.Spec.SecretName = "" })
	w.ready("node1", &v1alpha1.NodeCredential{})
	edit(w, "k8s-master", &v1alpha1.APIServerCertificate{}, func(c *v1alpha1.APIServerCertificate) { c.Spec.SecretName = "node2-tls" })
	w.condition("k8s-master", &v1alpha1.APIServerCertificate{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonSecretConflict)
	w.settled()
	for _, name := range taken {
		if got := w.secret(name).ResourceVersion; got != before[name] {
			t.Errorf("Secret %s was written", name)
		}
	}

	edit(w, "node2", &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) { c.Spec.SecretName = "another" })
	w.ready("node2", &v1alpha1.NodeCredential{})
	w.restartAt(w.clock.Now())
	w.eventually("the Secret is free, and taken", func() error {
		if cn := w.pair("node2-tls").Cert.Subject.CommonName; cn != "k8s-master" {
			return errors.New("it is that of " + cn)
		}
		return nil
	})
	w.ready("k8s-master", &v1alpha1.APIServerCertificate{})
}

// TestStalledSpecKeepsTheCertificate asks for what cannot be issued: the last good certificate stays,
// and stays Ready.
func TestStalledSpecKeepsTheCertificate(t *testing.T) {
	t.Parallel()
	w := standard(t)
	w.create(newCA("front-proxy"), newCA("node"))
	w.ready("front-proxy", &v1alpha1.ClusterCA{})
	w.ready("node", &v1alpha1.ClusterCA{})
	before := w.secret("node1-tls")

	t.Run("the subject is the CA's", func(t *testing.T) {
		edit(w, "node1", &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) {
			c.Spec.Role = v1alpha1.RoleCustom
			c.Spec.Custom = &v1alpha1.CustomIdentity{CommonName: "k8s", Usages: []v1alpha1.KeyUsage{v1alpha1.ClientAuth}}
		})
		w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonSubjectEqualsIssuer)
		w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.ReadyCondition, metav1.ConditionTrue, "")
		if !bytes.Equal(w.secret("node1-tls").Data["tls.crt"], before.Data["tls.crt"]) {
			t.Error("the certificate was replaced")
		}
	})
	edit(w, "node1", &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) { c.Spec.Role, c.Spec.Custom = "Kubelet", nil })
	w.eventually("it heals", func() error {
		var c v1alpha1.NodeCredential
		w.get("node1", &c)
		if len(c.Status.Conditions) != 2 { // Ready and IssuerReady
			return errors.New("it is stalled")
		}
		return nil
	})

	t.Run("the API server does not know the client's CA", func(*testing.T) {
		edit(w, "node1", &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) { c.Spec.CARef.Name = "front-proxy" })
		w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonClientCANotTrusted)
	})
}

// TestServerNamedLikeItsCA is the seed's CA, whose common name is the API server's host.
func TestServerNamedLikeItsCA(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.create(newCA("k8s", func(c *v1alpha1.ClusterCA) { c.Spec.Subject.CommonName = "k8s-master" }), newServer("k8s-master"))
	c := w.condition("k8s-master", &v1alpha1.APIServerCertificate{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonSubjectEqualsIssuer)
	if !strings.Contains(c.Message, "give the CA or this certificate another common name") {
		t.Errorf("the message is %q", c.Message)
	}
}

// TestChangingTheCARefReissues moves a credential to another CA that the API server trusts.
func TestChangingTheCARefReissues(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.create(newCA("k8s"), newCA("clients"), newServer("k8s-master", func(c *v1alpha1.APIServerCertificate) {
		c.Spec.ClientCARefs = []v1alpha1.CAReference{{Name: "k8s"}, {Name: "clients"}}
	}), newKubelet("node1"))
	w.ready("node1", &v1alpha1.NodeCredential{})
	w.ready("clients", &v1alpha1.ClusterCA{})
	edit(w, "node1", &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) { c.Spec.CARef.Name = "clients" })
	w.eventually("it is signed by the other CA", func() error {
		if !pki.SignedBy(w.pair("node1-tls").Cert, w.root("clients")) {
			return errors.New("it is signed by the old CA")
		}
		return nil
	})
	w.ready("node1", &v1alpha1.NodeCredential{})
	leaf, kube, server := w.secret("node1-tls"), w.secret("node1-kubeconfig"), w.secret("k8s-master-tls")
	if bytes.Equal(leaf.Data["ca.crt"], kube.Data["ca.crt"]) || !bytes.Equal(kube.Data["ca.crt"], server.Data["ca.crt"]) {
		t.Error("the kubeconfig must verify the server with the server's CA, the leaf with its own")
	}
	roots, err := pki.ParseCertificates(server.Data["client-ca.crt"])
	if err != nil || len(roots) != 2 {
		t.Errorf("client-ca.crt holds %d CAs: %v", len(roots), err)
	}
}

// TestHostRoleWarns issues the seed's own identity, and says what it costs.
func TestHostRoleWarns(t *testing.T) {
	t.Parallel()
	w := standard(t)
	w.create(newKubelet("host", func(c *v1alpha1.NodeCredential) { c.Spec.Role = v1alpha1.RoleHost }))
	w.ready("host", &v1alpha1.NodeCredential{})
	c := w.condition("host", &v1alpha1.NodeCredential{}, v1alpha1.IdentityWarningCondition, metav1.ConditionTrue, v1alpha1.ReasonHostIdentity)
	if !strings.Contains(c.Message, "NodeRestriction") {
		t.Errorf("the message is %q", c.Message)
	}
	if got := pki.SubjectOf(w.pair("host-tls").Cert).String(); got != "CN=k8s-node1" {
		t.Errorf("the subject is %s", got)
	}
}

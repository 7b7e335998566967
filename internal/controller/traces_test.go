package controller_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

// status writes a status as an operator did that is gone.
func (w *env) status(o client.Object, status string) {
	w.t.Helper()
	if err := w.api.Status().Patch(w.t.Context(), o, client.RawPatch("application/merge-patch+json", []byte(`{"status":`+status+`}`))); err != nil {
		w.t.Fatal(err)
	}
}

// certificate is the status of an object for which a certificate was issued.
var certificate = `{"certificate":{"serialNumber":"01","secretName":"x","sha256Fingerprint":"` + strings.Repeat("0", 64) + `","issuerGeneration":1,` +
	`"notBefore":"2026-01-01T00:00:00Z","notAfter":"2027-01-01T00:00:00Z"}}`

// traces leave, of a CA that was, one trace each.
func (w *env) traces() map[string]func(*v1alpha1.ClusterCA) {
	return map[string]func(*v1alpha1.ClusterCA){
		"generations": func(c *v1alpha1.ClusterCA) {
			w.create(c)
			w.status(c, `{"generations":[{"number":1,"state":"Active","sha256Fingerprint":"`+strings.Repeat("0", 64)+`"}]}`)
		},
		"status": func(c *v1alpha1.ClusterCA) {
			w.create(c)
			w.status(c, certificate)
		},
		"velero": func(c *v1alpha1.ClusterCA) {
			c.Labels = map[string]string{v1alpha1.VeleroRestoreLabel: "b1"}
			w.create(c)
		},
		"restored": func(c *v1alpha1.ClusterCA) {
			c.Annotations = map[string]string{v1alpha1.RestoredAnnotation: "b1"}
			w.create(c)
		},
		"bundle": func(c *v1alpha1.ClusterCA) {
			w.create(c, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "bundle-trust"}})
		},
		"server": func(c *v1alpha1.ClusterCA) {
			s := newServer("k8s-master", func(s *v1alpha1.APIServerCertificate) { s.Spec.CARef.Name = "server" })
			w.create(c, s)
			w.status(s, certificate)
		},
		"credential": func(c *v1alpha1.ClusterCA) {
			n := newKubelet("node1", func(n *v1alpha1.NodeCredential) { n.Spec.CARef.Name = "credential" })
			w.create(c, n)
			w.status(n, certificate)
		},
		"trusted": func(c *v1alpha1.ClusterCA) { // by another CA's API server, or in a kubeconfig
			s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
				Name: "other-tls", Labels: map[string]string{v1alpha1.ManagedLabel: v1alpha1.ManagedValue},
				Annotations: map[string]string{v1alpha1.ClaimAnnotation: `lost {"uid":"u","issuer":"other","trust":{"client-ca.crt":{"other":3,"trusted":1}}}`},
			}}
			w.create(c, s)
		},
		"parent": func(c *v1alpha1.ClusterCA) { w.create(c) }, // see below
		"elsewhere": func(c *v1alpha1.ClusterCA) {
			w.create(c)
			w.status(c, `{"authority":{"namespaceUID":"6ae5b0a4-0000-4000-8000-000000000000"}}`)
		},
	}
}

// TestAuthorityMissing has, of a CA without a Secret in the authority namespace, one trace each: no other CA is made.
func TestAuthorityMissing(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.stop()
	traces := w.traces()
	for name, leave := range traces {
		leave(newCA(name))
	}
	w.keepBelow("child", "parent")
	w.start()
	says := map[string]string{
		"generations": "its status names a certificate", "status": "its status names a certificate", "velero": "a backup tool restored",
		"restored": "a backup tool restored", "bundle": `ConfigMap "bundle-trust" is there`, "server": `APIServerCertificate "k8s-master" has a certificate`,
		"credential": `NodeCredential "node1" has a certificate`, "elsewhere": "another installation of the operator",
		"trusted": `Secret "other-tls" was made from it`, "parent": `it has signed the CA "child"`,
	}
	for name := range traces {
		c := w.condition(name, &v1alpha1.ClusterCA{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonAuthorityMissing)
		if !strings.Contains(c.Message, says[name]) {
			t.Errorf("%s: the message is %q", name, c.Message)
		}
	}
	// One that waits, or names only our own installation, is none.
	w.create(newKubelet("node9", func(n *v1alpha1.NodeCredential) { n.Spec.CARef.Name = "fresh" }))
	fresh := newCA("fresh")
	w.stop()
	w.create(fresh)
	w.status(fresh, `{"authority":{"namespaceUID":"`+w.authorityUID()+`"}}`)
	w.start()
	w.ready("fresh", &v1alpha1.ClusterCA{})
	records, damaged, err := w.store().List(t.Context())
	if err != nil || len(records) != 2 || len(damaged) > 0 {
		t.Errorf("there are %d CAs: %v %v", len(records), damaged, err)
	}
}

// keepBelow keeps a CA that another one has signed.
func (w *env) keepBelow(name, parent string) {
	w.t.Helper()
	pair, err := pki.SelfSign(w.clock.Now(), pki.CertificateSpec{
		Subject: pki.Subject{CommonName: name}, Validity: time.Hour, Key: pki.KeySpec{Algorithm: pki.ECDSA, Size: 256},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	g := plan.Generation{Number: 1, SHA256: pki.FingerprintOf(pair.Cert), NotAfter: pair.Cert.NotAfter, Parent: plan.Parent{Name: parent, Generation: 1}}
	r := &authority.Record{
		Identity: authority.Identity{Namespace: w.ns, Name: name, NamespaceUID: "n", UID: "u", HomeUID: types.UID(w.authorityUID())},
		Ledger:   plan.Bootstrap(w.clock.Now(), plan.Ledger{}, g), CAs: map[int32]pki.CA{1: pair},
	}
	if _, err := w.store().Create(w.t.Context(), r); err != nil {
		w.t.Fatal(err)
	}
}

func (w *env) authorityUID() string {
	w.t.Helper()
	var ns corev1.Namespace
	if err := w.api.Get(w.t.Context(), client.ObjectKey{Name: w.authority}, &ns); err != nil {
		w.t.Fatal(err)
	}
	return string(ns.UID)
}

// TestTwoInstallations lets two operators with an authority namespace of their own serve one namespace: one of them makes the
// CA, and the other one none, not even once the first is gone.
func TestTwoInstallations(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.stop()
	w.start()
	other := newEnv(t)
	other.stop()
	other.ns = w.ns
	other.start()
	w.create(newCA("k8s"))
	has := func(o *env) bool {
		r, err := o.store().Live(t.Context(), w.ns, "k8s")
		return err == nil && r != nil
	}
	w.eventually("one of the two makes it", func() error {
		if !has(w) && !has(other) {
			return errors.New("neither did")
		}
		return nil
	})
	time.Sleep(2 * time.Second)
	winner, loser := w, other
	if has(other) {
		winner, loser = other, w
	}
	if has(loser) {
		t.Fatal("each made one")
	}
	winner.stop()
	edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.DeletionPolicy = v1alpha1.DeletionDelete }) // it answers edits
	c := w.condition("k8s", &v1alpha1.ClusterCA{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonAuthorityMissing)
	t.Log(c.Message)
	time.Sleep(time.Second)
	if has(loser) {
		t.Error("the other one made another CA")
	}
	loser.stop()
	winner.start()
	w.ready("k8s", &v1alpha1.ClusterCA{})
}

// TestAuthorityRetained has the CA of another namespace of this name: it is given to nobody, and none is made in its place.
func TestAuthorityRetained(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.create(newCA("k8s"))
	w.ready("k8s", &v1alpha1.ClusterCA{})
	w.settled()
	w.stop()
	w.delete(w.clusterCA("k8s"))
	w.rebound("k8s", func(r *authority.Record) { r.NamespaceUID = "another" })
	before := w.authoritySecret("k8s")
	w.create(newCA("k8s"), newKubelet("node1"))
	w.start()
	c := w.condition("k8s", &v1alpha1.ClusterCA{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonAuthorityRetained)
	if !strings.Contains(c.Message, "clusterpki authority release "+w.ns+"/k8s") {
		t.Errorf("the message is %q", c.Message)
	}
	w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.IssuerReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonIssuerNotReady)
	w.settled()
	if now := w.authoritySecret("k8s"); now.ResourceVersion != before.ResourceVersion {
		t.Error("its Secret was written")
	}
	if !w.missing("node1-tls", &corev1.Secret{}) {
		t.Error("it signed")
	}
}

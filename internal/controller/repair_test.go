package controller_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

// TestRepair damages what was made, each time in one way, and waits until it is whole again.
func TestRepair(t *testing.T) {
	w := standard(t)
	w.create(newKubelet("node2", func(c *v1alpha1.NodeCredential) { c.Spec.HostName = "k8s-node2" }))
	w.ready("node2", &v1alpha1.NodeCredential{})
	for _, c := range []struct {
		name    string
		secret  string
		damage  func(s *corev1.Secret)
		sameKey bool // the repair must not cost a new key
	}{
		{"the key is another one's", "node1-tls", func(s *corev1.Secret) { s.Data["tls.key"] = w.secret("node2-tls").Data["tls.key"] }, false},
		{"the pair is another credential's", "node1-tls", func(s *corev1.Secret) {
			other := w.secret("node2-tls")
			s.Data["tls.crt"], s.Data["tls.key"] = other.Data["tls.crt"], other.Data["tls.key"]
		}, false},
		{"the certificate is no PEM", "k8s-master-tls", func(s *corev1.Secret) { s.Data["tls.crt"] = []byte("?") }, false},
		{"the trust bundle is empty", "node1-tls", func(s *corev1.Secret) { s.Data["ca.crt"] = nil }, true},
		{"the client bundle is gone", "k8s-master-tls", func(s *corev1.Secret) { delete(s.Data, "client-ca.crt") }, true},
		{"the kubeconfig points elsewhere", "node1-kubeconfig", func(s *corev1.Secret) {
			s.Data["value"] = bytes.ReplaceAll(s.Data["value"], []byte("k8s-master"), []byte("evil"))
		}, true},
		{"the label is stripped", "node1-tls", func(s *corev1.Secret) { s.Labels = nil }, true},
		{"the label of the kubeconfig is stripped", "node1-kubeconfig", func(s *corev1.Secret) { s.Labels = nil }, true},
		{"the owner reference is stripped", "node1-tls", func(s *corev1.Secret) { s.OwnerReferences = nil }, true},
	} {
		t.Run(c.name, func(*testing.T) {
			before := w.secret(c.secret)
			edit(w, c.secret, &corev1.Secret{}, c.damage)
			w.eventually("repaired", func() error { return whole(before, w.secret(c.secret), c.sameKey) })
		})
	}
}

// whole compares a repaired Secret with what it was.
func whole(before, now *corev1.Secret, sameKey bool) error {
	if len(now.Labels) == 0 || len(now.OwnerReferences) != 1 {
		return errors.New("its marks are missing")
	}
	if now.Type == corev1.SecretTypeTLS {
		if _, err := pki.ParseKeyPair(now.Data["tls.crt"], now.Data["tls.key"]); err != nil {
			return err
		}
		if pair, err := pki.ParseKeyPair(before.Data["tls.crt"], before.Data["tls.key"]); err == nil {
			other, _ := pki.ParseCertificates(now.Data["tls.crt"])
			if !pki.SubjectOf(pair.Cert).Equal(pki.SubjectOf(other[0])) {
				return errors.New("it is another credential")
			}
		}
	}
	for key, value := range before.Data {
		if !sameKey && (key == "tls.crt" || key == "tls.key") {
			continue
		}
		if err := differs(now.Data[key], value); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

func TestDeletedSecretsComeBack(t *testing.T) {
	w := standard(t)
	leaf, kube := w.pair("node1-tls"), w.secret("node1-kubeconfig")

	w.delete(kube)
	w.eventually("the kubeconfig is rendered again", func() error {
		if w.missing("node1-kubeconfig", &corev1.Secret{}) {
			return errors.New("it is gone")
		}
		return differs(w.secret("node1-kubeconfig").Data["value"], kube.Data["value"])
	})

	w.delete(w.secret("node1-tls"))
	w.eventually("another certificate is issued", func() error {
		if w.missing("node1-tls", &corev1.Secret{}) {
			return errors.New("it is gone")
		}
		if w.pair("node1-tls").Cert.Equal(leaf.Cert) {
			return errors.New("it is the deleted one")
		}
		return differs(w.secret("node1-kubeconfig").Data["tls.crt"], w.secret("node1-tls").Data["tls.crt"])
	})
}

func TestTrustIsRepaired(t *testing.T) {
	w := standard(t)
	var trust corev1.ConfigMap
	w.get("k8s-trust", &trust)
	bundle, ledger := trust.Data["ca.crt"], trust.Data["ledger"]
	same := func() error {
		var now corev1.ConfigMap
		if w.missing("k8s-trust", &now) {
			return errors.New("it is gone")
		}
		w.get("k8s-trust", &now)
		if now.Data["ca.crt"] != bundle || sameGenerations(now.Data["ledger"], ledger) != nil || len(now.Labels) == 0 {
			return fmt.Errorf("it is %v %v", now.Labels, now.Data)
		}
		return nil
	}
	edit(w, "k8s-trust", &corev1.ConfigMap{}, func(c *corev1.ConfigMap) { c.Data["ca.crt"] = "" })
	w.eventually("the bundle is rendered again", same)

	edit(w, "k8s-trust", &corev1.ConfigMap{}, func(c *corev1.ConfigMap) { c.Labels = nil })
	w.eventually("the label is restored", same)

	w.delete(&trust)
	w.eventually("the ledger is rebuilt from the generation Secret", same)
	w.ready("node1", &v1alpha1.NodeCredential{})

	edit(w, "k8s-trust", &corev1.ConfigMap{}, func(c *corev1.ConfigMap) { c.Data["ledger"] = "{" })
	w.condition("k8s", &v1alpha1.ClusterCA{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonLedgerUnreadable)
}

// sameGenerations compares two ledgers but for their revisions: one that was rebuilt goes on counting.
func sameGenerations(a, b string) error {
	one, err := plan.ParseLedger(a)
	if err != nil {
		return err
	}
	other, err := plan.ParseLedger(b)
	if err != nil {
		return err
	}
	if !slices.Equal(one.Generations, other.Generations) || one.Revision < other.Revision {
		return fmt.Errorf("%+v is not %+v", one, other)
	}
	return nil
}

// TestCAKeyMissing deletes the CA's key: nothing may be signed, changed or made in its place.
func TestCAKeyMissing(t *testing.T) {
	w := standard(t)
	var trust corev1.ConfigMap
	w.get("k8s-trust", &trust)
	generation := w.generation("k8s")
	leaf := w.secret("node1-tls")

	w.delete(generation)
	w.condition("k8s", &v1alpha1.ClusterCA{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonCAKeyMissing)
	w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.IssuerReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonCAKeyMissing)
	w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.ReadyCondition, metav1.ConditionTrue, "")

	// Another certificate is asked for: it has to wait, and the present one stays.
	edit(w, "node1", &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) { c.Spec.Validity = hours(100) })
	w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.ReconcilingCondition, metav1.ConditionTrue, v1alpha1.ReasonCAKeyMissing)
	w.restartAt(w.clock.Now())
	w.condition("k8s", &v1alpha1.ClusterCA{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonCAKeyMissing)
	if !bytes.Equal(w.secret("node1-tls").Data["tls.crt"], leaf.Data["tls.crt"]) {
		t.Error("the certificate changed while the CA's key was missing")
	}
	var now corev1.ConfigMap
	w.get("k8s-trust", &now)
	if now.Data["ca.crt"] != trust.Data["ca.crt"] || now.Data["ledger"] != trust.Data["ledger"] {
		t.Error("the trust bundle changed while the CA's key was missing")
	}
	if !w.missing(generation.Name, &corev1.Secret{}) {
		t.Error("another CA was made in place of the missing one")
	}

	generation.ResourceVersion, generation.UID = "", ""
	w.create(generation)
	w.ready("k8s", &v1alpha1.ClusterCA{})
	w.eventually("the waiting certificate is issued", func() error {
		if bytes.Equal(w.secret("node1-tls").Data["tls.crt"], leaf.Data["tls.crt"]) {
			return errors.New("it is the old one")
		}
		return nil
	})
}

// TestCAKeyAndTrustMissing deletes all that is left of a CA that was there once.
func TestCAKeyAndTrustMissing(t *testing.T) {
	w := standard(t)
	w.stop()
	generation := w.generation("k8s")
	w.delete(generation)
	w.delete(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "k8s-trust"}})
	w.start()
	w.condition("k8s", &v1alpha1.ClusterCA{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonCAKeyMissing)
	if !w.missing("k8s-trust", &corev1.ConfigMap{}) || !w.missing(generation.Name, &corev1.Secret{}) {
		t.Error("another CA was made in place of the missing one")
	}
	w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.ReadyCondition, metav1.ConditionTrue, "")
}

// TestDeletionPolicy deletes a ClusterCA and creates it again.
func TestDeletionPolicy(t *testing.T) {
	w := standard(t)
	var ca v1alpha1.ClusterCA
	w.get("k8s", &ca)
	was := ca.Status.Certificate.SHA256Fingerprint
	w.delete(&ca)
	w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.IssuerReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonIssuerNotFound)
	w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.ReadyCondition, metav1.ConditionTrue, "")
	leaf := w.secret("node1-tls")

	w.create(newCA("k8s"))
	w.ready("k8s", &ca)
	if ca.Status.Certificate.SHA256Fingerprint != was {
		t.Error("a ClusterCA that was created again did not take up the retained CA")
	}
	w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.IssuerReadyCondition, metav1.ConditionTrue, "")
	if !bytes.Equal(w.secret("node1-tls").Data["tls.crt"], leaf.Data["tls.crt"]) {
		t.Error("the leaf was re-issued")
	}

	edit(w, "k8s", &ca, func(c *v1alpha1.ClusterCA) { c.Spec.DeletionPolicy = v1alpha1.DeletionDelete })
	w.eventually("key and bundle belong to the ClusterCA", func() error {
		var trust corev1.ConfigMap
		w.get("k8s-trust", &trust)
		if n := len(trust.OwnerReferences) + len(w.generation("k8s").OwnerReferences); n != 2 {
			return fmt.Errorf("there are %d owner references", n)
		}
		return nil
	})
}

// TestUnlabelledGenerationIsFound strips the label of the CA's key and deletes everything else: the key must
// be found all the same, and no other made.
func TestUnlabelledGenerationIsFound(t *testing.T) {
	w := standard(t)
	var ca v1alpha1.ClusterCA
	w.get("k8s", &ca)
	w.stop()
	edit(w, w.generation("k8s").Name, &corev1.Secret{}, func(s *corev1.Secret) { s.Labels = nil })
	w.delete(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "k8s-trust"}})
	w.delete(&ca)
	w.start()
	w.create(newCA("k8s", func(c *v1alpha1.ClusterCA) { c.Spec.Validity = hours(1000) }))
	var again v1alpha1.ClusterCA
	w.ready("k8s", &again)
	if again.Status.Certificate.SHA256Fingerprint != ca.Status.Certificate.SHA256Fingerprint {
		t.Error("another CA was made")
	}
}

// TestTamperedStatusIsRepaired writes nonsense into a status.
func TestTamperedStatusIsRepaired(t *testing.T) {
	w := standard(t)
	var c v1alpha1.NodeCredential
	w.get("node1", &c)
	c.Status.Conditions[0].Status = metav1.ConditionFalse
	c.Status.Certificate.SerialNumber = "00"
	if err := w.api.Status().Update(t.Context(), &c); err != nil {
		t.Fatal(err)
	}
	w.eventually("it is put right", func() error {
		w.get("node1", &c)
		if c.Status.Certificate.SerialNumber != pki.SerialOf(w.pair("node1-tls").Cert) {
			return errors.New("it is still wrong")
		}
		return nil
	})
	w.ready("node1", &c)
}

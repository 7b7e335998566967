package controller_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/test/testenv"
)

// TestRepair damages what was made, each time in one way, and waits until it is whole again.
func TestRepair(t *testing.T) {
	t.Parallel()
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
		{"the owner's name is changed", "node1-tls", func(s *corev1.Secret) { s.Annotations[v1alpha1.OwnerAnnotation] = "NodeCredential/node2" }, true},
	} {
		t.Run(c.name, func(*testing.T) {
			before := w.secret(c.secret)
			if !c.sameKey {
				w.forgets()
			}
			edit(w, c.secret, &corev1.Secret{}, c.damage)
			w.eventually("repaired", func() error { return whole(before, w.secret(c.secret), c.sameKey) })
		})
	}
}

// TestLabelsOfOthers lets another tool write the label that says who manages an object: the operator does not contend for
// it, and goes on managing the object.
func TestLabelsOfOthers(t *testing.T) {
	t.Parallel()
	w := standard(t)
	edit(w, "node1-tls", &corev1.Secret{}, func(s *corev1.Secret) { s.Labels[v1alpha1.ManagedByLabel] = "policy" })
	before := w.secret("node1-tls")
	edit(w, "node1-tls", &corev1.Secret{}, func(s *corev1.Secret) { s.Data["ca.crt"] = nil })
	w.eventually("repaired", func() error { return whole(before, w.secret("node1-tls"), true) })
	if got := w.secret("node1-tls").Labels[v1alpha1.ManagedByLabel]; got != "policy" {
		t.Errorf("the label is %q", got)
	}
}

// TestForeignKeyInKubeconfig puts another key into a kubeconfig, and beside it: the two fit each other, and nothing else.
func TestForeignKeyInKubeconfig(t *testing.T) {
	t.Parallel()
	w := standard(t)
	w.settled()
	before, other := w.secret("node1-kubeconfig"), w.secret("k8s-master-tls").Data["tls.key"]
	edit(w, "node1-kubeconfig", &corev1.Secret{}, func(s *corev1.Secret) {
		text := func(key []byte) []byte { return []byte(base64.StdEncoding.EncodeToString(key)) }
		s.Data["value"] = bytes.ReplaceAll(s.Data["value"], text(s.Data["tls.key"]), text(other))
		s.Data["tls.key"] = other
	})
	w.eventually("repaired", func() error {
		now := w.secret("node1-kubeconfig")
		if !bytes.Equal(now.Data["value"], before.Data["value"]) || !bytes.Equal(now.Data["tls.key"], before.Data["tls.key"]) {
			return errors.New("it holds the other key")
		}
		return nil
	})
}

// TestLabelStripped lets a policy take the operator's label off all Secrets of one namespace. The objects there say so.
func TestLabelStripped(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	policy := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy", "metadata": map[string]any{"name": w.ns},
		"spec": map[string]any{
			"reinvocationPolicy": "Never", "failurePolicy": "Fail",
			"matchConstraints": map[string]any{
				"namespaceSelector": map[string]any{"matchLabels": map[string]any{"kubernetes.io/metadata.name": w.ns}},
				"resourceRules": []any{map[string]any{
					"apiGroups": []any{""}, "apiVersions": []any{"v1"}, "resources": []any{"secrets"}, "operations": []any{"CREATE", "UPDATE"},
				}},
			},
			"matchConditions": []any{map[string]any{"name": "labelled", "expression": "has(object.metadata.labels) && '" + v1alpha1.ManagedLabel + "' in object.metadata.labels"}},
			"mutations": []any{map[string]any{"patchType": "JSONPatch", "jsonPatch": map[string]any{
				"expression": `[JSONPatch{op: "remove", path: "/metadata/labels/` + strings.ReplaceAll(v1alpha1.ManagedLabel, "/", "~1") + `"}]`,
			}}},
		},
	}}
	binding := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding", "metadata": map[string]any{"name": w.ns},
		"spec": map[string]any{"policyName": w.ns},
	}}
	for _, o := range []*unstructured.Unstructured{policy, binding} {
		if err := w.api.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = w.api.Delete(context.Background(), o) })
	}
	w.eventually("the policy is in force", func() error {
		probe := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{GenerateName: "probe-", Namespace: w.ns, Labels: map[string]string{v1alpha1.ManagedLabel: "x"}}}
		if err := w.api.Create(t.Context(), probe); err != nil {
			return err
		}
		if len(probe.Labels) > 0 {
			return errors.New("it is not")
		}
		return nil
	})
	w.create(newCA("k8s"), newServer("k8s-master"), newKubelet("node1"))
	w.eventually("the credential says so", func() error {
		var c v1alpha1.NodeCredential
		w.get("node1", &c)
		if s := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.StalledCondition); s == nil || s.Reason != v1alpha1.ReasonLabelStripped {
			return fmt.Errorf("its conditions are %v", c.Status.Conditions)
		}
		return nil
	})
}

// whole compares a repaired Secret with what it was.
func whole(before, now *corev1.Secret, sameKey bool) error {
	if len(now.Labels) == 0 || len(now.OwnerReferences) != 1 || now.Annotations[v1alpha1.OwnerAnnotation] != before.Annotations[v1alpha1.OwnerAnnotation] {
		return errors.New("its marks are missing")
	}
	if now.Type == corev1.SecretTypeTLS {
		if _, err := pki.ParseLeaf(now.Data["tls.crt"], now.Data["tls.key"]); err != nil {
			return err
		}
		if pair, err := pki.ParseLeaf(before.Data["tls.crt"], before.Data["tls.key"]); err == nil {
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
	t.Parallel()
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
	t.Parallel()
	w := standard(t)
	var trust corev1.ConfigMap
	w.get("k8s-trust", &trust)
	bundle := trust.Data["ca.crt"]
	same := func() error {
		var now corev1.ConfigMap
		if w.missing("k8s-trust", &now) {
			return errors.New("it is gone")
		}
		w.get("k8s-trust", &now)
		if now.Data["ca.crt"] != bundle || len(now.Labels) == 0 {
			return fmt.Errorf("it is %v %v", now.Labels, now.Data)
		}
		return nil
	}
	edit(w, "k8s-trust", &corev1.ConfigMap{}, func(c *corev1.ConfigMap) { c.Data["ca.crt"] = "" })
	w.eventually("the bundle is rendered again", same)

	edit(w, "k8s-trust", &corev1.ConfigMap{}, func(c *corev1.ConfigMap) { c.Labels = nil })
	w.eventually("the label is restored", same)

	w.delete(&trust)
	w.eventually("it is published again", same)
	w.ready("node1", &v1alpha1.NodeCredential{})
}

// TestForgedClaim changes or removes the seal of what was made, or copies that of something else: it is then left alone, and
// the object says so.
func TestForgedClaim(t *testing.T) {
	t.Parallel()
	forge := map[string]func(w *env, s *corev1.Secret){
		"removed": func(_ *env, s *corev1.Secret) { delete(s.Annotations, v1alpha1.ClaimAnnotation) },
		"changed": func(_ *env, s *corev1.Secret) {
			s.Annotations[v1alpha1.ClaimAnnotation] = strings.Replace(s.Annotations[v1alpha1.ClaimAnnotation], `"changed":"20`, `"changed":"19`, 1)
		},
		"copied": func(w *env, s *corev1.Secret) {
			s.Annotations[v1alpha1.ClaimAnnotation] = w.secret("k8s-master-tls").Annotations[v1alpha1.ClaimAnnotation]
		},
	}
	for name, change := range forge {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := standard(t)
			edit(w, "node1-tls", &corev1.Secret{}, func(s *corev1.Secret) { change(w, s) })
			c := w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonSecretConflict)
			if !strings.Contains(c.Message, `Secret "node1-tls" exists, and the operator did not make it`) {
				t.Errorf("the message is %q", c.Message)
			}
			w.settled()
			before := w.secret("node1-tls")
			edit(w, "node1-tls", before, func(s *corev1.Secret) { s.Data["ca.crt"] = []byte("of somebody") })
			w.settled()
			if now := w.secret("node1-tls"); now.ResourceVersion != before.ResourceVersion {
				t.Error("it was written")
			}
			w.delete(before)
			w.eventually("it is made again", func() error {
				if w.missing("node1-tls", &corev1.Secret{}) {
					return errors.New("it is gone")
				}
				return nil
			})
			w.ready("node1", &v1alpha1.NodeCredential{})
		})
	}
}

// TestLedgerUnreadable damages what decides: nothing is made in its place.
func TestLedgerUnreadable(t *testing.T) {
	t.Parallel()
	w := standard(t)
	before := w.serials()
	s := w.authoritySecret("k8s")
	kept := s.Data["ledger.json"]
	testenv.Edit(t, w.api, s, func(s *corev1.Secret) { s.Data["ledger.json"] = []byte("{") })
	w.restartAt(w.clock.Now())
	w.condition("k8s", &v1alpha1.ClusterCA{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonLedgerUnreadable)
	edit(w, "node1", &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) { c.Spec.Validity = hours(100) })
	w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.IssuerReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonIssuerNotReady)
	w.settled()
	if after := w.serials(); !maps.Equal(after, before) {
		t.Errorf("certificates were issued: %v instead of %v", after, before)
	}
	testenv.Edit(t, w.api, s, func(s *corev1.Secret) { s.Data["ledger.json"] = kept })
	w.ready("k8s", &v1alpha1.ClusterCA{})
	w.ready("node1", &v1alpha1.NodeCredential{})
}

// TestCAKeyMissing takes the CA's key away: nothing may be signed, changed or made in its place.
func TestCAKeyMissing(t *testing.T) {
	t.Parallel()
	w := standard(t)
	var trust corev1.ConfigMap
	w.get("k8s-trust", &trust)
	ledger, leaf := w.ledger("k8s"), w.secret("node1-tls")

	restore := w.loseKey("k8s", 1)
	w.condition("k8s", &v1alpha1.ClusterCA{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonCAKeyMissing)
	w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.ReadyCondition, metav1.ConditionTrue, "")

	// Another certificate is asked for: it has to wait, and the present one stays.
	edit(w, "node1", &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) { c.Spec.Validity = hours(100) })
	w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.IssuerReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonCAKeyMissing)
	w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.ReconcilingCondition, metav1.ConditionTrue, v1alpha1.ReasonCAKeyMissing)
	w.restartAt(w.clock.Now())
	w.condition("k8s", &v1alpha1.ClusterCA{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonCAKeyMissing)
	if !bytes.Equal(w.secret("node1-tls").Data["tls.crt"], leaf.Data["tls.crt"]) {
		t.Error("the certificate changed while the CA's key was missing")
	}
	var now corev1.ConfigMap
	w.get("k8s-trust", &now)
	if now.Data["ca.crt"] != trust.Data["ca.crt"] || w.ledger("k8s").Revision != ledger.Revision {
		t.Error("bundle or ledger changed while the CA's key was missing")
	}

	restore()
	w.ready("k8s", &v1alpha1.ClusterCA{})
	w.eventually("what waited is issued", func() error {
		if bytes.Equal(w.secret("node1-tls").Data["tls.crt"], leaf.Data["tls.crt"]) {
			return errors.New("it is the old certificate")
		}
		return nil
	})
}

// TestAbsenceIsNotDeletion deletes a ClusterCA and creates it again.
func TestAbsenceIsNotDeletion(t *testing.T) {
	t.Parallel()
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
	w.eventually("the bundle belongs to the ClusterCA", func() error {
		var trust corev1.ConfigMap
		w.get("k8s-trust", &trust)
		if len(trust.OwnerReferences) != 1 {
			return fmt.Errorf("the owner references are %v", trust.OwnerReferences)
		}
		return nil
	})
}

// TestTamperedStatusIsRepaired writes nonsense into a status.
func TestTamperedStatusIsRepaired(t *testing.T) {
	t.Parallel()
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

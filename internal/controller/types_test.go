package controller_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
)

// retyped puts a Secret with the same marks and contents, and another type, in the place of one of the operator's.
func (w *env) retyped(name string, to corev1.SecretType) {
	w.t.Helper()
	s := w.secret(name)
	heal := w.failing(http.MethodPost, "/secrets", http.StatusInternalServerError)
	defer heal()
	if err := w.api.Delete(w.t.Context(), s); err != nil {
		w.t.Fatal(err)
	}
	s = s.DeepCopy()
	s.ResourceVersion, s.UID, s.Type = "", "", to
	if err := w.api.Create(w.t.Context(), s); err != nil {
		w.t.Fatal(err)
	}
}

// TestSecretsOfAnotherType: each kind refuses each of its Secrets with the same reason, and makes it again once it is deleted.
func TestSecretsOfAnotherType(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		kind v1alpha1.Object
		of   string
		to   corev1.SecretType
	}{
		"node1-tls":        {&v1alpha1.NodeCredential{}, "node1", corev1.SecretTypeOpaque},
		"node1-kubeconfig": {&v1alpha1.NodeCredential{}, "node1", "cluster.x-k8s.io/secret"},
		"k8s-master-tls":   {&v1alpha1.APIServerCertificate{}, "k8s-master", corev1.SecretTypeOpaque},
		"k8s-pair":         {&v1alpha1.ClusterCA{}, "k8s", corev1.SecretTypeOpaque},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := standard(t)
			edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.SecretName = "k8s-pair" })
			w.eventually("the copy is there", func() error {
				if w.missing("k8s-pair", &corev1.Secret{}) {
					return fmt.Errorf("it is not")
				}
				return nil
			})
			w.settled()
			w.retyped(name, tc.to)
			w.restartAt(w.clock.Now())
			c := w.condition(tc.of, tc.kind, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonSecretTypeDiffers)
			for _, text := range []string{fmt.Sprintf("Secret %q is of type %s", name, tc.to), "delete the Secret"} {
				if !strings.Contains(c.Message, text) {
					t.Errorf("the message is %q", c.Message)
				}
			}
			if err := w.api.Delete(t.Context(), w.secret(name)); err != nil {
				t.Fatal(err)
			}
			w.eventually("it is made again", func() error {
				if w.missing(name, &corev1.Secret{}) || w.secret(name).Type == tc.to {
					return fmt.Errorf("it is not")
				}
				return nil
			})
			w.ready(tc.of, tc.kind)
		})
	}
}

// TestParentCircles: the message names the whole circle, of each CA in it and of one above it, and one edit ends it.
func TestParentCircles(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	below := func(name, parent string) *v1alpha1.ClusterCA {
		return newCA(name, func(c *v1alpha1.ClusterCA) {
			c.Spec.Source = &v1alpha1.CASource{Parent: &v1alpha1.ParentSource{CARef: v1alpha1.CAReference{Name: parent}}}
		})
	}
	w.create(below("a", "b"), below("b", "c"), below("c", "a"), below("leads", "a"))
	for name, circle := range map[string]string{
		"a": "a → b → c → a", "b": "b → c → a → b", "c": "c → a → b → c", "leads": "a → b → c → a",
	} {
		c := w.condition(name, &v1alpha1.ClusterCA{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonParentNotReady)
		w.eventually(name+" names the circle", func() error {
			c = w.condition(name, &v1alpha1.ClusterCA{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonParentNotReady)
			if !strings.Contains(c.Message, ": "+circle+". Change spec.source.parent.caRef") {
				return fmt.Errorf("the message is %q", c.Message)
			}
			return nil
		})
	}
	edit(w, "c", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.Source = nil })
	for _, name := range []string{"a", "b", "c", "leads"} {
		w.ready(name, &v1alpha1.ClusterCA{})
	}

	// A CA that signs already: nobody signs anew.
	before := w.ledger("c").Revision
	edit(w, "c", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) {
		c.Spec.Source = &v1alpha1.CASource{Parent: &v1alpha1.ParentSource{CARef: v1alpha1.CAReference{Name: "a"}}}
	})
	c := w.condition("c", &v1alpha1.ClusterCA{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonParentNotReady)
	if !strings.Contains(c.Message, "c → a → b → c") {
		t.Errorf("the message is %q", c.Message)
	}
	w.settled()
	if now := w.ledger("c").Revision; now != before {
		t.Errorf("the ledger went from revision %d to %d", before, now)
	}
	w.condition("c", &v1alpha1.ClusterCA{}, v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonIssued)
}

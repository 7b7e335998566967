package controller_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/records"
)

// TestRepairedInSpiteOfAnnotations has somebody fill up the metadata of products, and then change them: they are repaired.
func TestRepairedInSpiteOfAnnotations(t *testing.T) {
	t.Parallel()
	w := standard(t)
	w.settled()
	for name, o := range map[string]client.Object{"node1-tls": &corev1.Secret{}, "k8s-master-tls": &corev1.Secret{}, "k8s-trust": &corev1.ConfigMap{}} {
		edit(w, name, o, func(o client.Object) {
			a := o.GetAnnotations()
			a["clusterpki.io/a"], a["x"] = strings.Repeat("x", 32<<10-40), strings.Repeat("y", 40<<10)
			o.SetAnnotations(a)
		})
	}
	w.quiet()
	edit(w, "node1-tls", &corev1.Secret{}, func(s *corev1.Secret) { s.Data["ca.crt"] = []byte("mine") })
	edit(w, "k8s-master-tls", &corev1.Secret{}, func(s *corev1.Secret) { s.Data["client-ca.crt"] = []byte("mine") })
	edit(w, "k8s-trust", &corev1.ConfigMap{}, func(s *corev1.ConfigMap) { s.Data["ca.crt"] = "mine" })
	w.eventually("all are repaired", func() error {
		var trust corev1.ConfigMap
		w.get("k8s-trust", &trust)
		if trust.Data["ca.crt"] == "mine" || string(w.secret("node1-tls").Data["ca.crt"]) == "mine" || string(w.secret("k8s-master-tls").Data["client-ca.crt"]) == "mine" {
			return errors.New("they are not")
		}
		return nil
	})
}

// TestImmutableProducts has somebody change products and make them immutable: the objects say what to do, and go on to say the truth.
func TestImmutableProducts(t *testing.T) {
	t.Parallel()
	w := standard(t)
	w.settled()
	edit(w, "node1-tls", &corev1.Secret{}, func(s *corev1.Secret) { s.Data["ca.crt"], s.Immutable = []byte("mine"), new(true) })
	edit(w, "k8s-trust", &corev1.ConfigMap{}, func(s *corev1.ConfigMap) { s.Data["ca.crt"], s.Immutable = "mine", new(true) })
	for name, o := range map[string]client.Object{"node1": &v1alpha1.NodeCredential{}, "k8s": &v1alpha1.ClusterCA{}} {
		c := w.condition(name, o, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonSecretConflict)
		if !strings.Contains(c.Message, "delete it, and it is made again") {
			t.Errorf("%s says %q", name, c.Message)
		}
	}
	w.delete(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "k8s-trust"}})
	w.delete(w.secret("node1-tls"))
	w.settled()
	w.ready("k8s", &v1alpha1.ClusterCA{})
	w.ready("node1", &v1alpha1.NodeCredential{})
}

// TestImmutableSpendsNothing: a pair is broken and its Secret made immutable. As long as that is there, no visit makes another pair, which could not be
// stored.
func TestImmutableSpendsNothing(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.issuedToAgent()
	before := w.allRecorded()
	edit(w, "node1-tls", &corev1.Secret{}, func(s *corev1.Secret) { s.Data["tls.key"], s.Immutable = []byte("x"), new(true) })
	for n := range 5 {
		c := w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonSecretConflict)
		if !strings.Contains(c.Message, "delete it, and it is made again") {
			t.Errorf("it says %q", c.Message)
		}
		edit(w, "node1-tls", &corev1.Secret{}, func(s *corev1.Secret) { s.Annotations["touch"] = fmt.Sprint(n) })
		w.settled()
	}
	if got := w.allRecorded(); got != before {
		t.Errorf("%d certificates were recorded instead of %d", got, before)
	}
	w.delete(w.secret("node1-tls"))
	w.settled()
	w.ready("node1", &v1alpha1.NodeCredential{})
	if got := w.allRecorded(); got != before+1 {
		t.Errorf("then %d certificates were recorded instead of %d", got, before+1)
	}
}

// allRecorded is how many certificates are recorded in the namespace.
func (w *env) allRecorded() int {
	w.t.Helper()
	var s corev1.Secret
	if err := w.api.Get(w.t.Context(), client.ObjectKey{Namespace: w.authority, Name: records.SecretName(w.ns, 0)}, &s); err != nil {
		w.t.Fatal(err)
	}
	_, issues, err := records.Decode(&s)
	if err != nil {
		w.t.Fatal(err)
	}
	return len(issues)
}

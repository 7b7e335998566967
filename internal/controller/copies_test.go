package controller_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
)

// TestCopyOfTheKey follows the copy of the active key that spec.secretName asks for: it is made where nobody else has a
// Secret, repaired, and emptied once another name is asked for.
func TestCopyOfTheKey(t *testing.T) {
	t.Parallel()
	w := standard(t)
	name := func(n string) {
		t.Helper()
		edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.SecretName = n })
	}
	full := func(secret string) {
		t.Helper()
		w.eventually(secret+" holds the key", func() error {
			var s corev1.Secret
			if w.missing(secret, &s) {
				return errors.New("it is not there")
			}
			s = *w.secret(secret)
			pair, err := pki.ParseLeaf(s.Data["tls.crt"], s.Data["tls.key"])
			if err != nil || !pair.Cert.Equal(w.root("k8s")) {
				return errors.New("it holds another one, or none")
			}
			return nil
		})
	}
	name("copy")
	full("copy")
	edit(w, "copy", &corev1.Secret{}, func(s *corev1.Secret) { s.Data["tls.key"] = w.secret("node1-tls").Data["tls.key"] })
	full("copy")
	w.ready("k8s", &v1alpha1.ClusterCA{})

	w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "mine"}, Data: map[string][]byte{"mine": []byte("precious")}})
	for _, taken := range []string{"mine", "node1-tls"} {
		before := w.secret(taken)
		name(taken)
		w.condition("k8s", &v1alpha1.ClusterCA{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonSecretConflict)
		w.settled()
		if now := w.secret(taken); now.ResourceVersion != before.ResourceVersion {
			t.Errorf("Secret %s was written", taken)
		}
	}
	w.eventually("the old copy is emptied", func() error {
		if s := w.secret("copy"); len(s.Data["tls.key"])+len(s.Data["tls.crt"]) > 0 {
			return errors.New("it holds a key")
		}
		return nil
	})

	name("copy2")
	full("copy2")
	name("")
	w.eventually("the last copy is emptied", func() error {
		if s := w.secret("copy2"); len(s.Data["tls.key"])+len(s.Data["tls.crt"]) > 0 {
			return errors.New("it holds a key")
		}
		return nil
	})
	w.ready("k8s", &v1alpha1.ClusterCA{})
	w.settled()
	if got := w.record("k8s").Copies; len(got) > 0 {
		t.Errorf("the copies %v are recorded", got)
	}
}

// withCopy is a standard environment whose CA has a copy of its key in Secret "copy".
func withCopy(t *testing.T) *env {
	t.Helper()
	w := standard(t)
	edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.SecretName = "copy" })
	w.eventually("it is made", func() error {
		if w.missing("copy", &corev1.Secret{}) || len(w.secret("copy").Data["tls.key"]) == 0 {
			return errors.New("it is not there")
		}
		return nil
	})
	w.settled()
	return w
}

// TestCopyIsNotHandedOn makes, in place of the copy, a Secret of the same name: it does not get the key, with or without the
// marks of the one that was there.
func TestCopyIsNotHandedOn(t *testing.T) {
	t.Parallel()
	w := withCopy(t)
	was := w.secret("copy")
	w.stop()
	w.delete(was)
	planted := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "copy", Labels: was.Labels, Annotations: was.Annotations},
		Type:       corev1.SecretTypeTLS, Data: w.secret("node1-tls").Data,
	}
	w.create(planted)
	w.start()
	w.condition("k8s", &v1alpha1.ClusterCA{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonSecretConflict)
	w.settled()
	if now := w.secret("copy"); bytes.Equal(now.Data["tls.key"], was.Data["tls.key"]) {
		t.Error("it got the key")
	}
}

// TestCopyOfOneThatIsGone deletes a ClusterCA that had a copy, without the copy, and creates it again without asking for one: the key does
// not stay there.
func TestCopyOfOneThatIsGone(t *testing.T) {
	t.Parallel()
	w := withCopy(t)
	w.delete(w.clusterCA("k8s"))
	w.settled()
	w.create(newCA("k8s"))
	w.ready("k8s", &v1alpha1.ClusterCA{})
	w.eventually("it is emptied", func() error {
		if len(w.secret("copy").Data["tls.key"]) > 0 {
			return errors.New("it holds the key")
		}
		return nil
	})
}

// TestCopyThatCannotBeEmptied stays recorded, and is told, until it can be; it holds up no other one.
func TestCopyThatCannotBeEmptied(t *testing.T) {
	t.Parallel()
	w := withCopy(t)
	edit(w, "copy", &corev1.Secret{}, func(s *corev1.Secret) { s.Immutable = new(true) })
	edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.SecretName = "copy2" })
	c := w.condition("k8s", &v1alpha1.ClusterCA{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonSecretConflict)
	if !strings.Contains(c.Message, `Secret "copy" holds a copy of the CA's key`) {
		t.Errorf("it says %q", c.Message)
	}
	w.eventually("the other one is made", func() error {
		if w.missing("copy2", &corev1.Secret{}) || len(w.secret("copy2").Data["tls.key"]) == 0 {
			return errors.New("it is not there")
		}
		return nil
	})
	if got := w.record("k8s").Copies; len(got) != 2 {
		t.Errorf("the copies %v are recorded", got)
	}
	w.delete(w.secret("copy"))
	edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.SecretName = "copy2" })
	w.restartAt(w.clock.Now())
	w.ready("k8s", &v1alpha1.ClusterCA{})
}

// TestCopyIsNotTakenOver: an object that names the Secret of a copy, when the CA names it no more, does not leave the CA's key there.
func TestCopyIsNotTakenOver(t *testing.T) {
	t.Parallel()
	w := withCopy(t)
	edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) {
		c.Spec.Outputs, c.Spec.SecretName = []v1alpha1.CAOutput{{Format: "Kamaji", ClusterName: "tenant"}}, ""
	})
	name := v1alpha1.CAOutput{Format: "Kamaji", ClusterName: "tenant"}.SecretName()
	w.eventually("Kamaji's is made", func() error {
		if w.missing(name, &corev1.Secret{}) || len(w.secret(name).Data["ca.key"]) == 0 {
			return errors.New("it is not there")
		}
		return nil
	})
	w.create(newKubelet("thief", func(c *v1alpha1.NodeCredential) { c.Spec.SecretName = name }))
	w.condition("thief", &v1alpha1.NodeCredential{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonSecretConflict)
	w.delete(w.clusterCA("k8s"))
	edit(w, "thief", &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) { c.Spec.Validity = hours(777) })
	w.settled()
	if claim := w.secret(name).Annotations[v1alpha1.ClaimAnnotation]; !strings.Contains(claim, `"caKey":true`) {
		t.Errorf("its claim is %s", claim)
	}
	w.create(newCA("k8s"))
	w.eventually("it is emptied", func() error {
		if len(w.secret(name).Data["ca.key"]) > 0 {
			return errors.New("it holds the key")
		}
		return nil
	})
}

// TestCopyGoesWithTheKey: a copy that nobody deletes with its CA, such as Kamaji's, is emptied before the key is destroyed.
func TestCopyGoesWithTheKey(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	output := v1alpha1.CAOutput{Format: "Kamaji", ClusterName: "tenant"}
	w.create(newCA("k8s", forDeletion, func(c *v1alpha1.ClusterCA) { c.Spec.Outputs = []v1alpha1.CAOutput{output} }))
	w.ready("k8s", &v1alpha1.ClusterCA{})
	w.settled()
	if len(w.secret(output.SecretName()).Data["ca.key"]) == 0 {
		t.Fatal("it holds no key")
	}
	w.delete(w.clusterCA("k8s"))
	w.marked("k8s", true)
	w.restartAt(w.record("k8s").Deleted.Add(week))
	w.eventually("the keys are destroyed", func() error {
		if !w.record("k8s").Tombstone() {
			return errors.New("they are there")
		}
		return nil
	})
	if s := w.secret(output.SecretName()); len(s.Data["ca.key"])+len(s.Data["tls.key"]) > 0 {
		t.Error("a copy of it holds the key still")
	}
}

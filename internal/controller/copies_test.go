package controller_test

import (
	"bytes"
	"errors"
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

package controller_test

import (
	"bytes"
	"errors"
	"slices"
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

// TestServiceAccountKeysStay damages and deletes around the service account keys: they are never rewritten, and survive the
// object that they were made for.
func TestServiceAccountKeysStay(t *testing.T) {
	t.Parallel()
	w := standard(t)
	withKeys := func(c *v1alpha1.APIServerCertificate) {
		c.Spec.ServiceAccountKeys = &v1alpha1.ServiceAccountKeysSpec{SecretName: "k8s-sa"}
	}
	edit(w, "k8s-master", &v1alpha1.APIServerCertificate{}, withKeys)
	w.eventually("they are made", func() error {
		if w.missing("k8s-sa", &corev1.Secret{}) {
			return errors.New("they are not there")
		}
		return nil
	})
	w.ready("k8s-master", &v1alpha1.APIServerCertificate{})
	made := w.secret("k8s-sa")
	if len(made.OwnerReferences) > 0 {
		t.Error("they bear an owner reference")
	}
	edit(w, "k8s-sa", &corev1.Secret{}, func(s *corev1.Secret) { s.Labels = nil })
	edited := w.secret("k8s-sa")
	w.delete(&v1alpha1.APIServerCertificate{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "k8s-master"}})
	w.settled()
	w.create(newServer("k8s-master", withKeys))
	w.ready("k8s-master", &v1alpha1.APIServerCertificate{})
	w.restartAt(w.clock.Now())
	w.settled()
	if now := w.secret("k8s-sa"); now.ResourceVersion != edited.ResourceVersion {
		t.Error("they were written")
	}

	edit(w, "k8s-sa", &corev1.Secret{}, func(s *corev1.Secret) { s.Data["sa.key"] = []byte("damage") })
	damaged := w.secret("k8s-sa")
	w.restartAt(w.clock.Now())
	w.condition("k8s-master", &v1alpha1.APIServerCertificate{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonServiceAccountKeyInvalid)
	if now := w.secret("k8s-sa"); now.ResourceVersion != damaged.ResourceVersion {
		t.Error("they were written")
	}
}

// TestServiceAccountKeysOfOthers uses a Secret that is there already as it is, if it holds a pair.
func TestServiceAccountKeysOfOthers(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	key, err := pki.GenerateKey(pki.KeySpec{Algorithm: pki.RSA, Size: 2048})
	if err != nil {
		t.Fatal(err)
	}
	private, err := key.Reveal()
	if err != nil {
		t.Fatal(err)
	}
	public, err := key.PublicPEM()
	if err != nil {
		t.Fatal(err)
	}
	w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "k8s-sa"}, Data: map[string][]byte{"sa.key": private, "sa.pub": public}})
	before := w.secret("k8s-sa")
	w.create(newCA("k8s"), newServer("k8s-master", func(c *v1alpha1.APIServerCertificate) {
		c.Spec.ServiceAccountKeys = &v1alpha1.ServiceAccountKeysSpec{SecretName: "k8s-sa"}
	}))
	var c v1alpha1.APIServerCertificate
	conflict := w.condition("k8s-master", &c, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonSecretConflict)
	if !strings.Contains(conflict.Message, "source to 'Existing'") { // somebody could have planted it
		t.Errorf("the message is %q", conflict.Message)
	}
	w.condition("k8s-master", &c, v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonSecretConflict) // it has none of them
	edit(w, "k8s-master", &c, func(c *v1alpha1.APIServerCertificate) {
		c.Spec.ServiceAccountKeys.Source = v1alpha1.ServiceAccountKeysExisting
		c.Spec.ServiceAccountKeys.SecretName = "not-there"
	})
	ready := w.condition("k8s-master", &c, v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonServiceAccountKeyInvalid)
	if !strings.Contains(ready.Message, `Secret "not-there", which is to hold the service account keys that exist, is not there`) {
		t.Errorf("the message is %q", ready.Message)
	}
	edit(w, "k8s-master", &c, func(c *v1alpha1.APIServerCertificate) { c.Spec.ServiceAccountKeys.SecretName = "k8s-sa" })
	w.condition("k8s-master", &c, v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	w.settled()
	w.get("k8s-master", &c)
	if now := w.secret("k8s-sa"); now.ResourceVersion != before.ResourceVersion {
		t.Error("they were written")
	}
	if slices.ContainsFunc(c.Status.Conditions, func(c metav1.Condition) bool { return c.Type == v1alpha1.StalledCondition }) {
		t.Errorf("the conditions are %v", c.Status.Conditions)
	}
}

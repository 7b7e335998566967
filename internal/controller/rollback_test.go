package controller_test

import (
	"bytes"
	"errors"
	"maps"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/delivery"
)

// TestEarlierPairIsNotSigned: a key is out, so the Secret was deleted. Who has the earlier pair, and may write the Secret, puts it back: it is replaced by
// another one, and at no time signed for the agent of the host, also by an operator that starts anew.
func TestEarlierPairIsNotSigned(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.create(newCA("k8s"), newServer("k8s-master"), newKubelet("node1", byAgent))
	w.ready("k8s-master", &v1alpha1.APIServerCertificate{})
	w.ready("node1", &v1alpha1.NodeCredential{})
	w.settled()
	out := w.secret("node1-tls")
	w.delete(w.secret("node1-tls"))
	another := func(than ...*corev1.Secret) *corev1.Secret {
		t.Helper()
		var now *corev1.Secret
		w.eventually("another pair is there, and is signed", func() error {
			if w.missing("node1-tls", &corev1.Secret{}) {
				return errors.New("there is none")
			}
			now = w.secret("node1-tls")
			for _, s := range than {
				if bytes.Equal(now.Data["tls.crt"], s.Data["tls.crt"]) {
					return errors.New("it is an earlier one")
				}
			}
			d, err := w.signed("node1-tls")
			if err == nil && !d.Holds("tls.crt", now.Data["tls.crt"]) {
				err = errors.New("it is not signed")
			}
			return err
		})
		w.settled()
		return w.secret("node1-tls")
	}
	next := another(out)
	putBack := func(s *corev1.Secret) {
		s.Data["tls.crt"], s.Data["tls.key"] = out.Data["tls.crt"], out.Data["tls.key"]
	}
	edit(w, "node1-tls", &corev1.Secret{}, putBack)
	third := another(out, next)
	w.stop()
	edit(w, "node1-tls", &corev1.Secret{}, putBack)
	w.restartAt(w.clock.Now())
	last := another(out, next, third)
	w.restartAt(w.clock.Now())
	w.settled()
	if now := w.secret("node1-tls"); now.ResourceVersion != last.ResourceVersion {
		t.Error("what stands is issued again and again")
	}
}

// TestReplacedKeyStaysSilent: a key is out, its pair was replaced, and the host has acknowledged the new one. Who has the earlier key says nothing more for
// that host, also to an operator that starts anew.
func TestReplacedKeyStaysSilent(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.create(newCA("k8s"), newServer("k8s-master"), newKubelet("node1", byAgent))
	w.ready("k8s-master", &v1alpha1.APIServerCertificate{})
	w.ready("node1", &v1alpha1.NodeCredential{})
	w.settled()
	out := w.pair("node1-tls")
	w.delete(w.secret("node1-tls"))
	w.eventually("there is another pair", func() error {
		if w.missing("node1-tls", &corev1.Secret{}) || w.pair("node1-tls").Cert.Equal(out.Cert) {
			return errors.New("there is none")
		}
		return nil
	})
	w.settled()
	all := w.contents("node1-tls", "node1-kubeconfig")
	w.reports("node1-tls", 0, ack.Report{Verified: all})
	w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.TrustAcknowledgedCondition, metav1.ConditionTrue, v1alpha1.ReasonInUse)
	w.settled()
	for _, when := range []string{"", "after a restart", "after another one"} {
		if when != "" {
			w.stop()
		}
		w.signs("node1-tls", 0, ack.Report{Verified: all}, out)
		if when != "" {
			w.restartAt(w.clock.Now())
		}
		t.Log(when)
		w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.TrustAcknowledgedCondition, metav1.ConditionFalse, v1alpha1.ReasonAcknowledgmentInvalid)
		w.settled()
		w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.TrustAcknowledgedCondition, metav1.ConditionFalse, v1alpha1.ReasonAcknowledgmentInvalid)
	}
	w.reports("node1-tls", 0, ack.Report{Verified: all})
	w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.TrustAcknowledgedCondition, metav1.ConditionTrue, v1alpha1.ReasonInUse)
}

// TestEarlierServiceAccountKeysAreNotSigned: they were out, so their Secret was deleted. Who has the earlier Secret, claim and all, puts it back. It is
// signed for no agent, also by an operator that starts anew, until the spec says that its keys are right.
func TestEarlierServiceAccountKeysAreNotSigned(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	withKeys := func(c *v1alpha1.APIServerCertificate) {
		c.Spec.Delivery.Mode = v1alpha1.DeliveryAgent
		c.Spec.ServiceAccountKeys = &v1alpha1.ServiceAccountKeysSpec{SecretName: "k8s-sa"}
	}
	w.create(newCA("k8s"), newServer("k8s-master", withKeys))
	w.ready("k8s-master", &v1alpha1.APIServerCertificate{})
	w.settled()
	signed := func(pair *corev1.Secret) error {
		d, err := w.signed("k8s-master-tls")
		if err == nil && d.ServiceAccounts != delivery.DigestOf(pair.Data["sa.pub"]) {
			err = errors.New("others are signed")
		}
		return err
	}
	out := w.secret("k8s-sa")
	w.delete(w.secret("k8s-sa"))
	w.eventually("other keys are made, and signed", func() error {
		if w.missing("k8s-sa", &corev1.Secret{}) || bytes.Equal(w.secret("k8s-sa").Data["sa.pub"], out.Data["sa.pub"]) {
			return errors.New("there are none")
		}
		return signed(w.secret("k8s-sa"))
	})
	next := w.secret("k8s-sa")
	put := func(back *corev1.Secret) {
		edit(w, "k8s-sa", &corev1.Secret{}, func(s *corev1.Secret) {
			s.Data = back.Data
			maps.Copy(s.Annotations, back.Annotations)
		})
		w.restartAt(w.clock.Now())
	}
	put(out)
	w.condition("k8s-master", &v1alpha1.APIServerCertificate{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonServiceAccountKeyInvalid)
	if err := signed(next); err != nil {
		t.Errorf("earlier keys were put back: %v", err)
	}
	put(next)
	w.ready("k8s-master", &v1alpha1.APIServerCertificate{})
	w.delete(&v1alpha1.APIServerCertificate{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "k8s-master"}})
	w.settled()
	w.create(newServer("k8s-master", withKeys)) // another object, to which the same applies
	w.eventually("they are signed for it", func() error { return signed(next) })
	put(out)
	w.condition("k8s-master", &v1alpha1.APIServerCertificate{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonServiceAccountKeyInvalid)
	edit(w, "k8s-master", &v1alpha1.APIServerCertificate{}, func(c *v1alpha1.APIServerCertificate) {
		c.Spec.ServiceAccountKeys.Source = v1alpha1.ServiceAccountKeysExisting
	})
	w.eventually("those that the spec says are right are signed", func() error { return signed(out) })
}

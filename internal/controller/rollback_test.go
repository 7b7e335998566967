package controller_test

import (
	"bytes"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
)

// issuedToAgent makes node1, for whose agent a certificate is issued.
func (w *env) issuedToAgent() {
	w.t.Helper()
	w.create(newCA("k8s"), newServer("k8s-master"), newKubelet("node1", byAgent))
	w.ready("k8s-master", &v1alpha1.APIServerCertificate{})
	w.ready("node1", &v1alpha1.NodeCredential{})
	w.settled()
}

// TestEarlierPairIsNotSigned: a key is out, so the Secret was deleted. Who has the earlier pair, and may write the Secret, puts it back: it is replaced by
// another one, and at no time signed for the agent of the host, also by an operator that starts anew.
func TestEarlierPairIsNotSigned(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.issuedToAgent()
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
	w.forgets()
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
	w.issuedToAgent()
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

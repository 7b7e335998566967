package controller_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
)

// TestRenewalTrigger: a new text re-issues the certificate at once, by the same CA and with a new key. The same text again, none, and a restart
// re-issue nothing.
func TestRenewalTrigger(t *testing.T) {
	t.Parallel()
	w := standard(t)
	renew := func(trigger string) {
		edit(w, "node1", &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) { c.Spec.Renewal.Trigger = trigger })
	}
	for _, trigger := range []string{"a", "b"} {
		w.forgets() // or the second would come some seconds later
		was, key := w.pair("node1-tls"), w.secret("node1-tls").Data["tls.key"]
		renew(trigger)
		w.eventually(trigger+": re-issued", func() error {
			if w.pair("node1-tls").Cert.Equal(was.Cert) {
				return errors.New("it is the old certificate")
			}
			return nil
		})
		if bytes.Equal(w.secret("node1-tls").Data["tls.key"], key) {
			t.Error("the key was used again")
		}
		if now := w.pair("node1-tls").Cert; !bytes.Equal(now.AuthorityKeyId, was.Cert.AuthorityKeyId) || pki.SerialOf(now) == pki.SerialOf(was.Cert) {
			t.Errorf("another CA has signed it, or it is the same: %v", now.Issuer)
		}
	}
	w.settled()
	last := w.pair("node1-tls").Cert
	for name, change := range map[string]func(){
		"removed": func() { renew("") }, "the last one again": func() { renew("b") }, "the one before, as a tool reverts it": func() { renew("a") },
		"a restart": func() { w.restartAt(w.clock.Now().Add(time.Minute)) },
	} {
		change()
		w.settled()
		if !w.pair("node1-tls").Cert.Equal(last) {
			t.Errorf("%s: another one was issued", name)
			last = w.pair("node1-tls").Cert
		}
	}
}

// TestRenewalTriggerOfAServer does the same for an API server; others are not touched.
func TestRenewalTriggerOfAServer(t *testing.T) {
	t.Parallel()
	w := standard(t)
	was, other := w.pair("k8s-master-tls"), w.pair("node1-tls")
	edit(w, "k8s-master", &v1alpha1.APIServerCertificate{}, func(c *v1alpha1.APIServerCertificate) { c.Spec.Renewal.Trigger = "a" })
	w.eventually("re-issued", func() error {
		if w.pair("k8s-master-tls").Cert.Equal(was.Cert) {
			return errors.New("it is the old certificate")
		}
		return nil
	})
	w.settled()
	if !w.pair("node1-tls").Cert.Equal(other.Cert) {
		t.Error("another object's was re-issued")
	}
}

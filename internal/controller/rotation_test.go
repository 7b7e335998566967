package controller_test

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
)

// delivered lets the operator write what it has to, and moves the clock past the propagation delay and the longest write:
// what is in the Secrets is then in use everywhere.
func (w *env) delivered() {
	w.t.Helper()
	w.settled()
	w.clock.SetTime(w.clock.Now().Add(13 * time.Minute))
}

// phase waits until a rotation is in a phase; "" is none.
func (w *env) phase(ca string, want v1alpha1.Phase) *v1alpha1.ClusterCA {
	w.t.Helper()
	var c v1alpha1.ClusterCA
	w.eventually("phase "+string(want), func() error {
		w.get(ca, &c)
		if c.Status.Rotation.Phase != want || c.Status.ObservedGeneration != c.Generation {
			return fmt.Errorf("the phase is %q: %+v", c.Status.Rotation.Phase, c.Status)
		}
		return nil
	})
	return &c
}

// pendingOf are those whom a replacement waits for.
func pendingOf(ca *v1alpha1.ClusterCA) []string {
	var out []string
	for _, p := range ca.Status.Rotation.Pending {
		out = append(out, p.Kind+"/"+p.Name)
	}
	return out
}

// bundle is the trust bundle that a Secret or the trust ConfigMap holds.
func (w *env) bundle(secret, key string) []*x509.Certificate {
	w.t.Helper()
	certs, err := pki.ParseCertificates(w.secret(secret).Data[key])
	if err != nil {
		w.t.Fatal(err)
	}
	return certs
}

// published waits until every Secret holds so many CAs.
func (w *env) published(credential string, n int) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("%d CAs are published", n), func() error {
		for _, b := range [][]*x509.Certificate{
			w.bundle("k8s-master-tls", "ca.crt"), w.bundle("k8s-master-tls", "client-ca.crt"),
			w.bundle(credential+"-tls", "ca.crt"), w.bundle(credential+"-kubeconfig", "ca.crt"),
		} {
			if len(b) != n {
				return fmt.Errorf("there are %d", len(b))
			}
		}
		return nil
	})
}

// verified checks that every party accepts the certificate of every other, as their Secrets stand.
func (w *env) verified(credentials ...string) error {
	now := w.clock.Now()
	server := w.pair("k8s-master-tls")
	for _, c := range credentials {
		if err := server.Verify(now, w.bundle(c+"-kubeconfig", "ca.crt")); err != nil {
			return fmt.Errorf("%s does not accept the server: %w", c, err)
		}
		if err := w.pair(c+"-tls").Verify(now, w.bundle("k8s-master-tls", "client-ca.crt")); err != nil {
			return fmt.Errorf("the server does not accept %s: %w", c, err)
		}
	}
	return nil
}

// TestRotation replaces the CA by editing one field, and looks at the Secrets in every phase.
func TestRotation(t *testing.T) {
	t.Parallel()
	w := standard(t)
	old := w.root("k8s")
	signedBy := func(secret string, ca *x509.Certificate) error {
		if !pki.SignedBy(w.pair(secret).Cert, ca) {
			return errors.New(secret + " is signed by the other CA")
		}
		return nil
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.Validity = hours(50000) })

	w.eventually("both consumers are waited for", func() error {
		if p := pendingOf(w.phase("k8s", "DistributingTrust")); len(p) != 2 {
			return fmt.Errorf("pending are %v", p)
		}
		return nil
	})
	ca := w.phase("k8s", "DistributingTrust")
	next := w.record("k8s").CAs[ca.Status.Generations[1].Number].Cert
	if next.Subject.CommonName != "k8s g2" {
		t.Errorf("CN=%s", next.Subject.CommonName)
	}
	w.published("node1", 2)
	w.create(newKubelet("node2", func(c *v1alpha1.NodeCredential) { c.Spec.HostName = "k8s-node2" }))
	w.ready("node2", &v1alpha1.NodeCredential{})
	for _, s := range []string{"node1-tls", "node2-tls", "k8s-master-tls"} {
		must(signedBy(s, old))
	}
	must(w.verified("node1", "node2"))

	w.delivered()
	w.phase("k8s", "Reissuing")
	w.eventually("all are issued again", func() error {
		return errors.Join(signedBy("node1-tls", next), signedBy("node2-tls", next), signedBy("k8s-master-tls", next))
	})
	must(w.verified("node1", "node2"))

	w.delivered()
	w.phase("k8s", "WithdrawingTrust")
	w.published("node1", 1)
	w.published("node2", 1)
	w.delivered()
	ca = w.phase("k8s", "")
	if len(ca.Status.Generations) != 1 || ca.Status.Certificate.SHA256Fingerprint != pki.FingerprintOf(next) {
		t.Errorf("status is %+v", ca.Status)
	}
	if got := w.root("k8s"); !got.Equal(next) {
		t.Error("the old key is still there, or the new one is not")
	}
	must(w.verified("node1", "node2"))
	w.ready("k8s", &v1alpha1.ClusterCA{})
}

// TestRevertAborts takes the edit back before the new CA signs.
func TestRevertAborts(t *testing.T) {
	t.Parallel()
	w := standard(t)
	old := w.root("k8s")
	leaf := w.secret("node1-tls").Data["tls.crt"]
	edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.Validity = hours(50000) })
	w.phase("k8s", "DistributingTrust")
	edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.Validity = hours(87600) })
	w.phase("k8s", "WithdrawingTrust")
	w.published("node1", 1)
	w.delivered()
	ca := w.phase("k8s", "")
	if len(ca.Status.Generations) != 1 || !w.root("k8s").Equal(old) {
		t.Errorf("the generations are %+v", ca.Status.Generations)
	}
	if err := differs(w.secret("node1-tls").Data["tls.crt"], leaf); err != nil {
		t.Error("a leaf was issued again")
	}
}

// TestManualDelivery waits for what a person states, however long, says whom it waits for, and that it is blocked.
func TestManualDelivery(t *testing.T) {
	t.Parallel()
	w := standard(t)
	edit(w, "node1", &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) { c.Spec.Delivery.Mode = v1alpha1.DeliveryManual })
	edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.Rotation.Trigger = "2026-11" })
	w.phase("k8s", "DistributingTrust")
	w.published("node1", 2)
	w.clock.SetTime(w.clock.Now().Add(73 * time.Hour))
	w.condition("k8s", &v1alpha1.ClusterCA{}, v1alpha1.RotationBlockedCondition, metav1.ConditionTrue, "DistributingTrust")
	var ca *v1alpha1.ClusterCA
	w.eventually("the credential is waited for", func() error {
		ca = w.phase("k8s", "DistributingTrust")
		if got := pendingOf(ca); len(got) != 1 || got[0] != "NodeCredential/node1" {
			return fmt.Errorf("pending are %v", got)
		}
		return nil
	})
	edit(w, "node1", &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) {
		c.Spec.Delivery.Acknowledged = &v1alpha1.AcknowledgedDelivery{
			Trust: []v1alpha1.AcknowledgedTrust{{Name: "k8s", BundleSHA256: ca.Status.Trust.BundleSHA256}},
		}
	})
	w.phase("k8s", "Reissuing")
}

// TestManualServer waits for the certificate of an API server that a person states to be in use.
func TestManualServer(t *testing.T) {
	t.Parallel()
	w := standard(t)
	edit(w, "k8s-master", &v1alpha1.APIServerCertificate{}, func(c *v1alpha1.APIServerCertificate) { c.Spec.Delivery.Mode = v1alpha1.DeliveryManual })
	edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.Rotation.Trigger = "2026-11" })
	state := func(a v1alpha1.AcknowledgedDelivery) {
		var ca v1alpha1.ClusterCA
		w.get("k8s", &ca)
		a.Trust = []v1alpha1.AcknowledgedTrust{{Name: "k8s", BundleSHA256: ca.Status.Trust.BundleSHA256}}
		edit(w, "k8s-master", &v1alpha1.APIServerCertificate{}, func(c *v1alpha1.APIServerCertificate) { c.Spec.Delivery.Acknowledged = &a })
	}
	w.phase("k8s", "DistributingTrust")
	w.published("node1", 2)
	w.delivered()
	state(v1alpha1.AcknowledgedDelivery{})
	w.phase("k8s", "Reissuing")
	w.delivered()
	w.delivered()
	w.eventually("the API server is waited for", func() error {
		if p := pendingOf(w.phase("k8s", "Reissuing")); len(p) != 1 || p[0] != "APIServerCertificate/k8s-master" {
			return fmt.Errorf("pending are %v", p)
		}
		return nil
	})
	state(v1alpha1.AcknowledgedDelivery{SerialNumber: pki.SerialOf(w.pair("k8s-master-tls").Cert)})
	w.phase("k8s", "WithdrawingTrust")
}

// TestLaggingKubeconfigIsWaitedFor keeps one kubeconfig from being rendered while everything else goes on: the old
// CA must not be withdrawn as long as that kubeconfig holds a certificate of it.
func TestLaggingKubeconfigIsWaitedFor(t *testing.T) {
	t.Parallel()
	w := standard(t)
	edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.Validity = hours(50000) })
	w.phase("k8s", "DistributingTrust")
	w.published("node1", 2)
	heal := w.failing(http.MethodPatch, "/secrets/node1-kubeconfig", http.StatusInternalServerError)
	w.delivered()
	w.phase("k8s", "Reissuing")
	old := w.secret("node1-kubeconfig").Data["tls.crt"]
	w.eventually("the certificate is issued again", func() error {
		if string(w.secret("node1-tls").Data["tls.crt"]) == string(old) {
			return errors.New("it is the old one")
		}
		return nil
	})
	w.delivered()
	w.delivered()
	w.eventually("the kubeconfig is waited for", func() error {
		if p := pendingOf(w.phase("k8s", "Reissuing")); len(p) != 1 || p[0] != "NodeCredential/node1" {
			return fmt.Errorf("pending are %v", p)
		}
		return nil
	})
	heal()
	w.eventually("the kubeconfig follows", func() error {
		return differs(w.secret("node1-kubeconfig").Data["tls.crt"], w.secret("node1-tls").Data["tls.crt"])
	})
	w.delivered()
	w.phase("k8s", "WithdrawingTrust")
}

// TestClientBundleThatLagsIsNotAcknowledged lets an API server trust the clients of a second CA that is not there:
// its client bundle is not rendered, so the new CA must not count as trusted by it.
func TestClientBundleThatLagsIsNotAcknowledged(t *testing.T) {
	t.Parallel()
	w := standard(t)
	edit(w, "k8s-master", &v1alpha1.APIServerCertificate{}, func(c *v1alpha1.APIServerCertificate) {
		c.Spec.ClientCARefs = []v1alpha1.CAReference{{Name: "k8s"}, {Name: "missing"}}
	})
	w.condition("k8s-master", &v1alpha1.APIServerCertificate{}, v1alpha1.IssuerReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonIssuerNotFound)
	edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.Validity = hours(50000) })
	w.phase("k8s", "DistributingTrust")
	w.delivered()
	w.delivered()
	w.eventually("the API server is waited for", func() error {
		if p := pendingOf(w.phase("k8s", "DistributingTrust")); len(p) != 1 || p[0] != "APIServerCertificate/k8s-master" {
			return fmt.Errorf("pending are %v", p)
		}
		return nil
	})
}

// TestEmergency distrusts the old CA at once.
func TestEmergency(t *testing.T) {
	t.Parallel()
	w := standard(t)
	old := w.root("k8s")
	edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) {
		c.Spec.Rotation.Trigger, c.Spec.Rotation.EmergencyTrigger = "leaked", "leaked"
	})
	w.phase("k8s", "WithdrawingTrust")
	w.eventually("nothing of the old CA is left", func() error {
		var trust corev1.ConfigMap
		w.get("k8s-trust", &trust)
		certs, err := pki.ParseCertificates([]byte(trust.Data["ca.crt"]))
		if err != nil || len(certs) != 1 || certs[0].Equal(old) {
			return errors.New("it is still published")
		}
		if pki.SignedBy(w.pair("node1-tls").Cert, old) || pki.SignedBy(w.pair("k8s-master-tls").Cert, old) {
			return errors.New("a leaf of it is still there")
		}
		return w.verified("node1")
	})
	c := w.condition("k8s", &v1alpha1.ClusterCA{}, v1alpha1.RedeliveryRequiredCondition, metav1.ConditionTrue, v1alpha1.ReasonEmergency)
	for _, text := range []string{c.Message, w.event("Supersede").Note} {
		if !strings.Contains(text, "APIServerCertificate/k8s-master") || !strings.Contains(text, "NodeCredential/node1") {
			t.Errorf("it does not say what stops working: %q", text)
		}
	}
	if kind := w.event("Supersede").Type; kind != corev1.EventTypeWarning {
		t.Errorf("the event is of type %s", kind)
	}
	w.delivered()
	ca := w.phase("k8s", "")
	if len(ca.Status.Generations) != 1 || len(ca.Status.Conditions) != 1 {
		t.Errorf("the status is %+v", ca.Status)
	}
}

// event waits for an event of a reason.
func (w *env) event(reason string) eventsv1.Event {
	w.t.Helper()
	var found eventsv1.Event
	w.eventually("event "+reason, func() error {
		var list eventsv1.EventList
		if err := w.api.List(w.t.Context(), &list, client.InNamespace(w.ns)); err != nil {
			return err
		}
		for _, e := range list.Items {
			if e.Reason == reason {
				found = e
				return nil
			}
		}
		return errors.New("there is none")
	})
	return found
}

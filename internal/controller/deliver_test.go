package controller_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"maps"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/delivery"
)

// signed is what the operator says in a Secret to the agent of a host.
func (w *env) signed(secret string) (delivery.Document, error) {
	w.t.Helper()
	public, err := authority.PublishedDelivery(w.t.Context(), w.api, w.authority, w.ns)
	if err != nil {
		return delivery.Document{}, err
	}
	key, err := delivery.ParsePublic([]byte(public[0]))
	if err != nil {
		return delivery.Document{}, err
	}
	d, _, err := delivery.Open([]ed25519.PublicKey{key}, w.secret(secret).Data[consumers.DeliveryKey])
	return d, err
}

// TestWhatAgentsInstallIsSigned, and what others put there is repaired and never signed; a manager that starts anew signs nothing again.
func TestWhatAgentsInstallIsSigned(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.create(newCA("k8s"), newCA("clients"), newServer("k8s-master", func(c *v1alpha1.APIServerCertificate) {
		c.Spec.Delivery.Mode = v1alpha1.DeliveryAgent
		c.Spec.ClientCARefs = []v1alpha1.CAReference{{Name: "clients"}}
		c.Spec.ServiceAccountKeyRef = &v1alpha1.KeyReference{Name: "k8s-sa"}
	}), newAccountKey("k8s-sa"), newKubelet("node1", byAgent, func(c *v1alpha1.NodeCredential) { c.Spec.CARef.Name = "clients" }))
	w.ready("k8s-master", &v1alpha1.APIServerCertificate{})
	w.ready("node1", &v1alpha1.NodeCredential{})
	w.settled()
	for secret, want := range map[string][]string{
		"k8s-master-tls": {"ca.crt", "client-ca.crt", "tls.crt"}, "node1-tls": {"apiserver-ca.crt", "ca.crt", "tls.crt"},
	} {
		d, err := w.signed(secret)
		if got := slices.Sorted(maps.Keys(d.Contents)); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: it is about %q, %v", secret, got, err)
		}
		for key, value := range w.secret(secret).Data {
			if _, about := d.Contents[key]; about && !d.Holds(key, value) {
				t.Errorf("%s: %s is not what is signed", secret, key)
			}
		}
	}
	node := w.secret("node1-tls")
	if !bytes.Equal(node.Data["apiserver-ca.crt"], w.secret("k8s-master-tls").Data["ca.crt"]) || bytes.Equal(node.Data["apiserver-ca.crt"], node.Data["ca.crt"]) {
		t.Error("the bundle that verifies the API server is another one")
	}
	d, err := w.signed("k8s-master-tls")
	keys := delivery.ServiceAccounts{SHA256: delivery.DigestOf(w.secret("k8s-sa").Data["sa.pub"])}
	if err != nil || d.ServiceAccounts == nil || *d.ServiceAccounts != keys || d.Kind != v1alpha1.KindAPIServerCertificate {
		t.Errorf("it says %+v, %v", d, err)
	}
	w.repairsUnsigned(node)
}

// repairsUnsigned edits a bundle, which is repaired; nothing is signed for that, nor by a manager that starts anew.
func (w *env) repairsUnsigned(was *corev1.Secret) {
	w.t.Helper()
	edit(w, was.Name, &corev1.Secret{}, func(s *corev1.Secret) { s.Data["ca.crt"] = s.Data["apiserver-ca.crt"] })
	w.eventually("it is repaired", func() error {
		if !bytes.Equal(w.secret(was.Name).Data["ca.crt"], was.Data["ca.crt"]) {
			return errors.New("it is not")
		}
		return nil
	})
	w.restartAt(w.clock.Now())
	w.settled()
	if !bytes.Equal(w.secret(was.Name).Data[consumers.DeliveryKey], was.Data[consumers.DeliveryKey]) {
		w.t.Error("something else was signed")
	}
}

package restore_test

import (
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/test/given"
	"clusterpki.io/operator/test/testenv"
)

// newCA and the others are delivered fast, so that a rotation goes on in real time.
var (
	newCA         = given.CA
	newAccountKey = given.AccountKey
)

func newServer(name string) *v1alpha1.APIServerCertificate {
	return given.Server(name, func(c *v1alpha1.APIServerCertificate) {
		c.Spec.ServiceAccountKeyRef = &v1alpha1.KeyReference{Name: "k8s-sa"}
		c.Spec.Delivery = given.Soon(v1alpha1.DeliveryMounted)
	})
}

func newKubelet(name string, mode v1alpha1.DeliveryMode, mods ...func(*v1alpha1.NodeCredential)) *v1alpha1.NodeCredential {
	return given.Kubelet(name, append([]func(*v1alpha1.NodeCredential){func(c *v1alpha1.NodeCredential) {
		c.Spec.HostName, c.Spec.Delivery = name, given.Soon(mode)
	}}, mods...)...)
}

// issueEverything applies the samples, and what they don't show: an imported CA, an intermediate one, one that publishes
// its pair and goes with its object, every way of delivery, and a key that never leaves its host.
func (w *fixture) issueEverything() {
	w.t.Helper()
	w.kubectl("apply", "-k", "config/samples")
	legacy, err := pki.SelfSign(time.Now(), pki.CertificateSpec{
		Subject: pki.Subject{CommonName: "legacy"}, Key: pki.KeySpec{Algorithm: pki.ECDSA, Size: 256}, Validity: 50000 * time.Hour,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	key, err := legacy.Key.Reveal()
	if err != nil {
		w.t.Fatal(err)
	}
	w.create(
		&corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: "legacy-ca"}, Type: corev1.SecretTypeTLS,
			Data: map[string][]byte{"tls.crt": legacy.CertPEM(), "tls.key": key},
		},
		newCA("legacy", given.ImportedFrom("legacy-ca", pki.FingerprintOf(legacy.Cert))),
		newCA("below", func(ca *v1alpha1.ClusterCA) {
			ca.Spec.Source = &v1alpha1.CASource{Parent: &v1alpha1.ParentSource{CARef: v1alpha1.CAReference{Name: "k8s"}}}
		}),
		newCA("signer", func(ca *v1alpha1.ClusterCA) {
			ca.Spec.SecretName, ca.Spec.DeletionPolicy = "signer-pair", v1alpha1.DeletionDelete
		}),
		newKubelet("agent", v1alpha1.DeliveryAgent),
		newKubelet("manual", v1alpha1.DeliveryManual),
		newKubelet("own-key", v1alpha1.DeliveryAgent, func(c *v1alpha1.NodeCredential) { c.Spec.KeySource = v1alpha1.KeySourceHost }),
		newKubelet("below-client", v1alpha1.DeliveryMounted, func(c *v1alpha1.NodeCredential) {
			c.Spec.CARef.Name, c.Spec.APIServerRef, c.Spec.Kubeconfig = "below", nil, nil
			c.Spec.Role, c.Spec.Custom = "Custom", &v1alpha1.CustomIdentity{CommonName: "below-client", Usages: []v1alpha1.KeyUsage{v1alpha1.ClientAuth}}
		}),
	)
	w.ask("own-key")
	w.ready()
	w.report("agent", "agent", time.Now())
	w.nextDelivery()
	w.settled()
}

// ask lets the host of a credential ask for a certificate for a key of its own.
func (w *fixture) ask(credential string) {
	w.t.Helper()
	key, err := pki.GenerateKey(pki.KeySpec{Algorithm: pki.ECDSA, Size: 256})
	if err != nil {
		w.t.Fatal(err)
	}
	request, err := pki.NewCSR(pki.CertificateSpec{
		Subject:  pki.Subject{CommonName: "system:node:" + credential, Organizations: []string{"system:nodes"}},
		Validity: time.Hour, Usages: []pki.Usage{pki.ClientAuth}, Key: pki.KeySpec{Algorithm: pki.ECDSA, Size: 256},
	}, key)
	if err != nil {
		w.t.Fatal(err)
	}
	name := credential + "-tls"
	testenv.Eventually(w.t, "there is a Lease", func() error {
		return w.api.Get(w.t.Context(), client.ObjectKey{Namespace: w.ns, Name: name}, &coordinationv1.Lease{})
	})
	edit(w, name, &coordinationv1.Lease{}, func(l *coordinationv1.Lease) {
		metav1.SetMetaDataAnnotation(&l.ObjectMeta, v1alpha1.CSRAnnotation, string(request))
		l.Spec.HolderIdentity, l.Spec.RenewTime = &credential, &metav1.MicroTime{Time: time.Now()}
	})
	edit(w, credential, &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) { c.Spec.HostKeySHA256 = pki.PublicKeyDigest(key.Public()) })
}

// saved is what was issued there once for all tests, as several tools back it up.
var saved struct {
	sync.Mutex
	velero, backup dump
	archive        []byte
	contents       map[string]string
}

// issued issues everything in namespace prod, once, and backs it up. What it returns is a fixture after a loss, on one of two control
// planes: there are its namespaces, and they are empty. Until it ends, the test has that namespace prod to itself.
func issued(t *testing.T) *fixture {
	t.Helper()
	c := <-prods
	t.Cleanup(func() { prods <- c })
	w := newFixtureOn(t, c, "prod", "prod-authority")
	w.saveEverything()
	w.lose()
	return w
}

// saveEverything does so unless another test has.
func (w *fixture) saveEverything() {
	w.t.Helper()
	saved.Lock()
	defer saved.Unlock()
	if saved.contents != nil {
		return
	}
	stop := w.operate(nil)
	w.issueEverything()
	stop()
	saved.velero, saved.contents = w.velero(), w.contents()
	saved.archive = w.backup()
	saved.backup = parse(w.t, saved.archive)
}

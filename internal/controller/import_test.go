package controller_test

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

// foreign is a CA that somebody else made.
func (w *world) foreign(name string) pki.KeyPair {
	w.t.Helper()
	pair, err := pki.SelfSign(w.clock.Now(), pki.Request{
		Subject: pki.Subject{CommonName: name}, Key: pki.KeySpec{Algorithm: pki.ECDSA, Size: 256}, Validity: 50000 * time.Hour,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return pair
}

// again signs a root's certificate once more with its own key.
func (w *world) again(root pki.KeyPair, mods ...func(*x509.Certificate)) pki.KeyPair {
	w.t.Helper()
	if len(mods) > 0 {
		root.Cert = w.signedBy(nil, root, mods...)
	}
	return root
}

// below is a CA of the name and key of another one, signed by a third.
func (w *world) below(root, ca pki.KeyPair) pki.KeyPair {
	w.t.Helper()
	ca.Cert, ca.Root = w.signedBy(&root, ca), root.Cert
	return ca
}

// signedBy is a certificate of a CA's name and key, by another one or, if that is nil, by itself.
func (w *world) signedBy(by *pki.KeyPair, ca pki.KeyPair, mods ...func(*x509.Certificate)) *x509.Certificate {
	w.t.Helper()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(w.clock.Now().UnixNano()), Subject: ca.Cert.Subject, NotBefore: ca.Cert.NotBefore, NotAfter: ca.Cert.NotAfter.Add(-time.Hour),
		KeyUsage: ca.Cert.KeyUsage, IsCA: true, BasicConstraintsValid: true, SubjectKeyId: ca.Cert.SubjectKeyId,
	}
	for _, m := range mods {
		m(tmpl)
	}
	parent, signer := tmpl, ca.Key.Signer()
	if by != nil {
		parent, signer = by.Cert, by.Key.Signer()
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, ca.Key.Public(), signer)
	if err != nil {
		w.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		w.t.Fatal(err)
	}
	return cert
}

// put writes a CA into the Secret from which it is imported.
func (w *world) put(pair pki.KeyPair) {
	w.t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(pair.Key.Signer())
	if err != nil {
		w.t.Fatal(err)
	}
	data := map[string][]byte{"tls.crt": pair.CertPEM(), "tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})}
	if pair.Root != nil {
		data["tls.crt"] = append(data["tls.crt"], pki.EncodeCertificates(pair.Root)...)
	}
	if w.missing("corporate", &corev1.Secret{}) {
		s := &corev1.Secret{Data: data}
		s.Name = "corporate"
		w.create(s)
		return
	}
	edit(w, "corporate", &corev1.Secret{}, func(s *corev1.Secret) { s.Data = data })
}

// importing is a world whose CA is imported.
func importing(t *testing.T, pair pki.KeyPair, w *world) *world {
	t.Helper()
	w.put(pair)
	w.create(newCA("k8s", func(c *v1alpha1.ClusterCA) {
		c.Spec.Source = &v1alpha1.CASource{Import: &v1alpha1.ImportSource{SecretRef: v1alpha1.SecretReference{Name: "corporate"}}}
	}), newServer("k8s-master"), newKubelet("node1"))
	w.ready("k8s-master", &v1alpha1.APIServerCertificate{})
	w.ready("node1", &v1alpha1.NodeCredential{})
	w.settled()
	w.observe()
	return w
}

// TestImportReplaced puts another CA into the Secret of an imported one: with a key of its own, with the same key and
// nothing but other dates, and with the same key under another name, which is another CA to every verifier.
func TestImportReplaced(t *testing.T) {
	for _, c := range []struct {
		name   string
		next   func(*world, pki.KeyPair) pki.KeyPair
		phases []plan.Phase
	}{
		{"another key", func(w *world, _ pki.KeyPair) pki.KeyPair { return w.foreign("corporate 2") }, phases},
		{"the same key with other dates", func(w *world, was pki.KeyPair) pki.KeyPair {
			return w.again(was, func(*x509.Certificate) {})
		}, phases[2:]},
		{"the same key under another name", func(w *world, was pki.KeyPair) pki.KeyPair {
			return w.again(was, func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: "corporate 2"} })
		}, phases},
		{"the same key with another identifier", func(w *world, was pki.KeyPair) pki.KeyPair {
			return w.again(was, func(c *x509.Certificate) { c.SubjectKeyId = []byte("another identifier") })
		}, phases},
		{"the same key under another root", func(w *world, was pki.KeyPair) pki.KeyPair {
			return w.below(w.foreign("root 2"), was)
		}, phases},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			was := w.foreign("corporate")
			if strings.Contains(c.name, "another root") {
				was = w.below(w.foreign("root"), was)
			}
			importing(t, was, w)
			w.put(c.next(w, was))
			w.restartAt(w.clock.Now())
			if got := w.walk("k8s", nil); !slices.Equal(got, c.phases) {
				t.Errorf("the phases were %v", got)
			}
			w.whole("k8s")
		})
	}
}

// TestImportRefused puts something unusable into the Secret of an imported CA, and takes the Secret away: the object
// says what to change, and what was in use signs on.
func TestImportRefused(t *testing.T) {
	w := newWorld(t)
	importing(t, w.foreign("corporate"), w)
	before := w.ledger("k8s")
	for text, spoil := range map[string]func(*corev1.Secret){
		"no PEM certificate found":                    func(s *corev1.Secret) { s.Data["tls.crt"] = []byte("nothing") },
		"is not the certificate of a CA":              func(s *corev1.Secret) { s.Data = w.secret("node1-tls").Data },
		"the private key does not match":              func(s *corev1.Secret) { s.Data["tls.key"] = w.secret("node1-tls").Data["tls.key"] },
		"create it with the keys tls.crt and tls.key": nil,
	} {
		was := w.secret("corporate")
		if spoil == nil {
			w.delete(was)
		} else {
			edit(w, "corporate", &corev1.Secret{}, spoil)
		}
		w.restartAt(w.clock.Now())
		w.eventually(text, func() error {
			c := w.condition("k8s", &v1alpha1.ClusterCA{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonImportInvalid)
			if !strings.Contains(c.Message, text) {
				return errors.New(c.Message)
			}
			return nil
		})
		w.ready("k8s", &v1alpha1.ClusterCA{})
		if now := w.ledger("k8s"); now.Revision != before.Revision {
			t.Errorf("%s: the ledger is %+v", text, now)
		}
		if spoil == nil {
			was.ResourceVersion, was.UID = "", ""
			w.create(was)
		} else {
			edit(w, "corporate", &corev1.Secret{}, func(s *corev1.Secret) { s.Data = was.Data })
		}
	}
	w.create(newKubelet("node9"))
	w.ready("node9", &v1alpha1.NodeCredential{})
}

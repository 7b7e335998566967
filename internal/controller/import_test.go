package controller_test

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
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
	"clusterpki.io/operator/test/given"
)

// foreign is a CA that somebody else made.
func (w *env) foreign(name string) pki.CA {
	w.t.Helper()
	pair, err := pki.SelfSign(w.clock.Now(), pki.CertificateSpec{
		Subject: pki.Subject{CommonName: name}, Key: pki.KeySpec{Algorithm: pki.ECDSA, Size: 256}, Validity: 50000 * time.Hour,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return pair
}

// again signs a root's certificate once more with its own key.
func (w *env) again(root pki.CA, mods ...func(*x509.Certificate)) pki.CA {
	w.t.Helper()
	if len(mods) > 0 {
		root.Cert = w.signedBy(nil, root, mods...)
	}
	return root
}

// below is a CA of the name and key of another one, signed by a third.
func (w *env) below(root, ca pki.CA, mods ...func(*x509.Certificate)) pki.CA {
	w.t.Helper()
	ca.Cert, ca.Root = w.signedBy(&root, ca, mods...), root.Cert
	return ca
}

// signedBy is a certificate of a CA's name and key, by another one or, if that is nil, by itself.
func (w *env) signedBy(by *pki.CA, ca pki.CA, mods ...func(*x509.Certificate)) *x509.Certificate {
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

// replanted is a CA below a root, with another root above that: the certificate in the middle has the name and the public key of the
// former, and is signed by the latter, which takes no key but the latter's.
func (w *env) replanted(evil, root, ca pki.CA) pki.CA {
	ca.Chain, ca.Root = []*x509.Certificate{w.signedBy(&evil, root)}, evil.Cert
	return ca
}

// put writes a CA into the Secret from which it is imported.
func (w *env) put(pair pki.CA) {
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

// importing is an env whose CA is imported.
func importing(t *testing.T, pair pki.CA, w *env) *env {
	t.Helper()
	w.put(pair)
	w.create(newCA("k8s", given.ImportedFrom("corporate", ""), naming(pair)), newServer("k8s-master"), newKubelet("node1"))
	w.ready("k8s-master", &v1alpha1.APIServerCertificate{})
	w.ready("node1", &v1alpha1.NodeCredential{})
	w.settled()
	w.observe()
	return w
}

// naming lets a spec name both ends of a chain.
func naming(pair pki.CA) func(*v1alpha1.ClusterCA) {
	return func(c *v1alpha1.ClusterCA) {
		source := c.Spec.Source.Import
		source.CertificateSHA256, source.RootSHA256 = pki.FingerprintOf(pair.Cert), ""
		if pair.Root != nil {
			source.RootSHA256 = pki.FingerprintOf(pair.Root)
		}
	}
}

// names lets the spec name a chain that stands in the import Secret.
func (w *env) names(pair pki.CA, mods ...func(*v1alpha1.ClusterCA)) {
	w.t.Helper()
	edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) {
		naming(pair)(c)
		for _, m := range mods {
			m(c)
		}
	})
}

func later(c *x509.Certificate) { c.NotAfter = c.NotAfter.Add(48 * time.Hour) }

// TestImportProlonged puts the same CA with later dates into the Secret of an imported one: it is taken by itself, and nobody
// is cut off.
func TestImportProlonged(t *testing.T) {
	t.Parallel()
	for name, below := range map[string]bool{"a root": false, "below a root": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newEnv(t)
			root, was := w.foreign("root"), w.foreign("corporate")
			again := func(mods ...func(*x509.Certificate)) pki.CA {
				if below {
					return w.below(root, was, mods...)
				}
				return w.again(was, mods...)
			}
			importing(t, again(), w)
			w.put(again(later))
			w.restartAt(w.clock.Now())
			if got := w.walk("k8s", nil); !below && !slices.Equal(got, phases[2:]) { // below a root that stays, phases take no time
				t.Errorf("the phases were %v", got)
			}
			w.whole("k8s")
			if n := w.ledger("k8s").Generations[0].Number; n != 2 {
				t.Errorf("generation %d is active", n)
			}
		})
	}
}

// TestImportRenewedAbove renews a CA above an imported one, whose own certificate stays: in place, with later dates, it is taken by
// itself, and what is published and carried is the renewed one. The end that is shown is the chain's first.
func TestImportRenewedAbove(t *testing.T) {
	t.Parallel()
	for name, renewed := range map[string]func(w *env, was chain) chain{
		"the root":   func(w *env, was chain) chain { was.root.Cert = w.signedBy(nil, was.root, later); return was },
		"the middle": func(w *env, was chain) chain { was.middle.Cert = w.signedBy(&was.root, was.middle, later); return was },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newEnv(t)
			was := w.chain()
			importing(t, was.pair(), w)
			var ca v1alpha1.ClusterCA
			w.ready("k8s", &ca)
			if end := ca.Status.Certificate.NotAfter.Time; !end.Equal(was.pair().End()) {
				t.Errorf("the end that is shown is %s, and the chain's is %s", end, was.pair().End())
			}
			next := renewed(w, was)
			w.put(next.pair())
			w.restartAt(w.clock.Now())
			w.walk("k8s", nil)
			w.whole("k8s")
			w.ready("k8s", &v1alpha1.ClusterCA{})
			if got := w.bundle("node1-tls", "ca.crt"); len(got) != 1 || !got[0].Equal(next.root.Cert) {
				t.Errorf("the bundle has %d certificates, the first until %s", len(got), got[0].NotAfter)
			}
			if leaf := w.pair("node1-tls"); len(leaf.Chain) != 2 || !leaf.Chain[1].Equal(next.middle.Cert) {
				t.Errorf("the leaf carries %d certificates, and not the middle CA's of now", len(leaf.Chain))
			}
		})
	}
}

// chain is a CA with two above it. The root ends first.
type chain struct{ root, middle, ca pki.CA }

func (w *env) chain() chain {
	c := chain{root: w.foreign("root"), middle: w.foreign("middle"), ca: w.foreign("corporate")}
	ends := func(d time.Duration) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.NotAfter = w.clock.Now().Add(d) }
	}
	c.root.Cert = w.signedBy(nil, c.root, ends(40000*time.Hour))
	c.middle.Cert = w.signedBy(&c.root, c.middle, ends(41000*time.Hour))
	c.ca.Cert = w.signedBy(&c.middle, c.ca, ends(42000*time.Hour))
	return c
}

func (c chain) pair() pki.CA {
	pair := c.ca
	pair.Chain, pair.Root = []*x509.Certificate{c.middle.Cert}, c.root.Cert
	return pair
}

// TestImportReplaced puts another CA into the Secret of an imported one: with a key of its own, with the same key and earlier
// dates, under another name, which is another CA to every verifier, or under another root. Nothing follows until the spec
// names it.
func TestImportReplaced(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		next   func(w *env, root, was pki.CA) pki.CA
		phases []plan.Phase
	}{
		{"another key", func(w *env, _, _ pki.CA) pki.CA { return w.foreign("corporate 2") }, phases},
		{"the same key with earlier dates", func(w *env, _, was pki.CA) pki.CA {
			return w.again(was, func(*x509.Certificate) {})
		}, phases[2:]},
		{"the same key, constrained", func(w *env, _, was pki.CA) pki.CA {
			return w.again(was, later, func(c *x509.Certificate) { c.MaxPathLenZero = true })
		}, phases[2:]},
		{"the same key under another name", func(w *env, _, was pki.CA) pki.CA {
			return w.again(was, later, func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: "corporate 2"} })
		}, phases},
		{"the same key with another identifier", func(w *env, _, was pki.CA) pki.CA {
			return w.again(was, later, func(c *x509.Certificate) { c.SubjectKeyId = []byte("another identifier") })
		}, phases},
		{"below a root: the same key below another one", func(w *env, _, was pki.CA) pki.CA {
			return w.below(w.foreign("root 2"), was, later)
		}, phases},
		{"below a root: another one above that", func(w *env, root, was pki.CA) pki.CA {
			return w.replanted(w.foreign("evil"), root, was)
		}, phases},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newEnv(t)
			root, was := w.foreign("root"), w.foreign("corporate")
			if strings.HasPrefix(c.name, "below a root") {
				was = w.below(root, was)
			}
			importing(t, was, w)
			before, next := w.ledger("k8s"), c.next(w, root, was)
			w.put(next)
			w.later(13 * time.Minute)
			w.rotationWaitsFor(v1alpha1.ReasonImportChanged, "certificateSHA256 "+pki.FingerprintOf(next.Cert))
			if now := w.ledger("k8s"); now.Revision != before.Revision {
				t.Errorf("the ledger is %+v", now)
			}
			w.names(next)
			if got := w.walk("k8s", nil); !slices.Equal(got, c.phases) {
				t.Errorf("the phases were %v", got)
			}
			w.whole("k8s")
			w.ready("k8s", &v1alpha1.ClusterCA{})
		})
	}
}

// rotationWaitsFor says that a rotation of the imported CA waits for an edit by a person.
func (w *env) rotationWaitsFor(reason, text string) {
	w.t.Helper()
	w.eventually("a rotation waits", func() error {
		c := w.condition("k8s", &v1alpha1.ClusterCA{}, v1alpha1.RotationPendingCondition, metav1.ConditionTrue, reason)
		if !strings.Contains(c.Message, text) {
			return fmt.Errorf("the message is %q", c.Message)
		}
		return nil
	})
}

// TestImportTriggered changes the trigger alone: an imported CA is not rotated by that, and the message names the edit.
func TestImportTriggered(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	was := w.foreign("corporate")
	importing(t, was, w)
	before := w.ledger("k8s")
	trigger := func(c *v1alpha1.ClusterCA) {
		c.Spec.Rotation.Trigger, c.Spec.Rotation.EmergencyTrigger = "leaked", "leaked"
	}
	edit(w, "k8s", &v1alpha1.ClusterCA{}, trigger)
	w.rotationWaitsFor(v1alpha1.ReasonImportUnchanged, "spec.source.import.certificateSHA256")
	next := w.foreign("corporate 2")
	w.put(next)
	w.later(13 * time.Minute)
	w.rotationWaitsFor(v1alpha1.ReasonImportChanged, "certificateSHA256 "+pki.FingerprintOf(next.Cert))
	if now := w.ledger("k8s"); now.Revision != before.Revision {
		t.Errorf("the ledger is %+v", now)
	}
	same := w.again(was, func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: "corporate 2"} })
	w.put(same)
	w.names(same)
	c := w.condition("k8s", &v1alpha1.ClusterCA{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonImportInvalid)
	if !strings.Contains(c.Message, "still holds that key") {
		t.Errorf("the message is %q", c.Message)
	}
	w.hosts.Store(nil) // it cuts everybody off
	w.put(next)
	w.names(next)
	if got := w.walk("k8s", nil); !slices.Equal(got, phases[2:]) {
		t.Errorf("the phases were %v", got)
	}
	w.whole("k8s")
}

// TestImportedIsCrossSigned rotates an imported CA: those that know only that one accept what the new one signs, unless the
// spec says otherwise.
func TestImportedIsCrossSigned(t *testing.T) {
	t.Parallel()
	for _, signing := range []v1alpha1.CrossSigning{"", v1alpha1.CrossSigningDisabled} {
		t.Run(string(signing), func(t *testing.T) {
			t.Parallel()
			w := newEnv(t)
			importing(t, w.foreign("corporate"), w)
			asleep := w.bundle("node1-tls", "ca.crt")
			next := w.foreign("corporate 2")
			w.put(next)
			w.names(next, func(c *v1alpha1.ClusterCA) { c.Spec.Rotation.CrossSigning = signing })
			w.walk("k8s", nil)
			err := w.pair("k8s-master-tls").Verify(w.clock.Now(), asleep)
			if (err == nil) != (signing == "") {
				t.Errorf("it accepts the server: %v", err)
			}
		})
	}
}

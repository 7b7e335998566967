package controller_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/test/given"
)

// TestImportNamed does not begin with another CA than the spec names.
func TestImportNamed(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	pair := w.foreign("corporate")
	w.put(pair)
	w.create(importedCA("k8s", "corporate", strings.Repeat("0", 64)))
	c := w.condition("k8s", &v1alpha1.ClusterCA{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonImportInvalid)
	if !strings.Contains(c.Message, pki.FingerprintOf(pair.Cert)) {
		t.Errorf("the message is %q", c.Message)
	}
	w.names(pair)
	w.ready("k8s", &v1alpha1.ClusterCA{})
}

// TestImportNamesTheRoot has whoever writes the Secret leave key and certificate of a CA, and put a root of his own above the name and
// public key of its root: no host is told to trust his. The message has both ends of what is there.
func TestImportNamesTheRoot(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	root, evil := w.foreign("corporate-root"), w.foreign("evil")
	genuine := w.below(root, w.foreign("k8s-ca"))
	w.put(w.replanted(evil, root, genuine))
	w.create(newCA("k8s", given.ImportedFrom("corporate", ""), naming(genuine)), newServer("k8s-master"))
	c := w.condition("k8s", &v1alpha1.ClusterCA{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonImportInvalid)
	if !strings.Contains(c.Message, pki.FingerprintOf(genuine.Cert)) || !strings.Contains(c.Message, pki.FingerprintOf(evil.Cert)) {
		t.Errorf("the message is %q", c.Message)
	}
	w.put(genuine)
	w.restartAt(w.clock.Now())
	w.ready("k8s-master", &v1alpha1.APIServerCertificate{})
	if got := w.bundle("k8s-master-tls", "client-ca.crt"); len(got) != 1 || !got[0].Equal(root.Cert) {
		t.Errorf("client-ca.crt has %d certificates, the first of %s", len(got), got[0].Subject)
	}
}

// TestImportAsKubeadmNamesIt imports from a Secret whose keys are called as kubeadm calls its files, and says of other names what they
// should be. Both were written by an editor that begins with a byte order mark.
func TestImportAsKubeadmNamesIt(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	pair := w.foreign("corporate")
	w.put(pair)
	data := w.secret("corporate").Data
	marked := func(text []byte) []byte { return append([]byte("\xef\xbb\xbf"), text...) }
	named := func(name, crt, key string) *corev1.Secret {
		return &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string][]byte{crt: marked(data["tls.crt"]), key: marked(data["tls.key"])},
		}
	}
	w.create(named("kubeadm", "ca.crt", "ca.key"), named("others", "cert.pem", "key.pem"))
	w.create(importedCA("others", "others", strings.Repeat("0", 64)))
	c := w.condition("others", &v1alpha1.ClusterCA{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonImportInvalid)
	if !strings.Contains(c.Message, "needs the keys tls.crt and tls.key, or ca.crt and ca.key, and has [cert.pem, key.pem]") {
		t.Errorf("the message is %q", c.Message)
	}
	w.create(importedCA("k8s", "kubeadm", pki.FingerprintOf(pair.Cert)))
	w.ready("k8s", &v1alpha1.ClusterCA{})
}

// TestKeyInUse imports a key that another CA has, of the same namespace and of another one, which is not named.
func TestKeyInUse(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	pair := w.foreign("corporate")
	w.put(pair)
	w.create(importedCA("k8s", "corporate", pki.FingerprintOf(pair.Cert)))
	w.ready("k8s", &v1alpha1.ClusterCA{})
	w.create(importedCA("second", "corporate", pki.FingerprintOf(pair.Cert)))
	refused := func(w *env) string {
		t.Helper()
		message := w.condition("second", &v1alpha1.ClusterCA{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonKeyInUse).Message
		if r, err := w.store().Live(t.Context(), w.ns, "second"); r != nil || err != nil {
			t.Errorf("it was made: %v, %v", r, err)
		}
		return message
	}
	if got := refused(w); !strings.Contains(got, `ClusterCA "k8s"`) {
		t.Errorf("the message is %q", got)
	}
	other := newEnvOf(t, w.authority)
	other.put(pair)
	other.create(importedCA("second", "corporate", pki.FingerprintOf(pair.Cert)))
	if got := refused(other); strings.Contains(got, "k8s") || strings.Contains(got, w.ns) {
		t.Errorf("the message is %q", got)
	}
}

// importedCA is a ClusterCA that is imported from a Secret, which holds the certificate of a SHA-256.
func importedCA(name, secret, sha256 string) *v1alpha1.ClusterCA {
	return newCA(name, given.ImportedFrom(secret, sha256))
}

// TestImportOfOurs imports what the operator made itself, and what is too large to be read.
func TestImportOfOurs(t *testing.T) {
	t.Parallel()
	w := standard(t)
	edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.SecretName = "copy" })
	w.eventually("the copy is made", func() error {
		if w.missing("copy", &corev1.Secret{}) || len(w.secret("copy").Data["tls.key"]) == 0 {
			return errors.New("it is not there")
		}
		return nil
	})
	large := func(name string, crt, key int) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string][]byte{"tls.crt": make([]byte, crt), "tls.key": make([]byte, key)}}
	}
	w.create(large("long-chain", 64<<10+1, 100), large("long-key", 100, 8<<10+1))
	for secret, text := range map[string]string{
		"copy": "was made by the operator", "long-chain": "a tls.crt of more than 64 KiB", "long-key": "a tls.key of more than 8 KiB",
	} {
		w.create(importedCA("of-"+secret, secret, strings.Repeat("0", 64)))
		c := w.condition("of-"+secret, &v1alpha1.ClusterCA{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonImportInvalid)
		if !strings.Contains(c.Message, text) {
			t.Errorf("%s: the message is %q", secret, c.Message)
		}
	}
}

// TestImportRefused puts something unusable into the Secret of an imported CA, and takes the Secret away: the object
// says what to change, and what was in use signs on.
func TestImportRefused(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
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

// TestKeyImportedTwiceAtOnce has two ClusterCAs import one key at the same time: each looks before the other one has stored it.
func TestKeyImportedTwiceAtOnce(t *testing.T) {
	w := newEnv(t)
	pair := w.foreign("corporate")
	w.put(pair)
	var asked atomic.Int32
	meet := func(r *http.Request) int {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, w.authority+"/secrets") {
			asked.Add(1)
			for deadline := time.Now().Add(2 * time.Second); asked.Load() < 2 && time.Now().Before(deadline); {
				time.Sleep(10 * time.Millisecond)
			}
		}
		return 0
	}
	w.fault.Store(&meet)
	w.create(importedCA("first", "corporate", pki.FingerprintOf(pair.Cert)), importedCA("second", "corporate", pki.FingerprintOf(pair.Cert)))
	w.eventually("one has the key, and the other one says so", func() error {
		ready, refused := 0, 0
		for _, name := range []string{"first", "second"} {
			conds := conditionsOf(w.clusterCA(name))
			if meta.IsStatusConditionTrue(conds, v1alpha1.ReadyCondition) {
				ready++
			}
			if c := meta.FindStatusCondition(conds, v1alpha1.StalledCondition); c != nil && c.Reason == v1alpha1.ReasonKeyInUse {
				refused++
			}
		}
		if ready != 1 || refused != 1 {
			return fmt.Errorf("%d are ready, and %d refused", ready, refused)
		}
		return nil
	})
}

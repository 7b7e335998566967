package controller_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/pki"
)

// approve writes down that a host may have a certificate for a key.
func (w *env) approve(key pki.PrivateKey) {
	w.t.Helper()
	edit(w, "node1", &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) { c.Spec.HostKeySHA256 = pki.PublicKeyDigest(key.Public()) })
}

// notSigned waits until node1 says that nobody has signed for the key that is asked for, beside the one that it has, and quotes nothing of the request.
func (w *env) notSigned() {
	w.t.Helper()
	w.eventually("what nobody has signed is not quoted", func() error {
		r := w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.ReconcilingCondition, metav1.ConditionTrue, v1alpha1.ReasonHostKeyNotApproved)
		if want := "the request in Lease \"node1-tls\" is not signed by the key of the certificate that host \"k8s-node1\" has"; !strings.HasPrefix(r.Message, want) {
			return fmt.Errorf("the message is %q", r.Message)
		}
		return nil
	})
	w.ready("node1", &v1alpha1.NodeCredential{})
}

// notApproved waits until node1 says that somebody has to approve a key, with the edit to make.
func (w *env) notApproved(key pki.PrivateKey, ready metav1.ConditionStatus) {
	w.t.Helper()
	w.eventually("the key waits for an approval", func() error {
		r := w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.ReconcilingCondition, metav1.ConditionTrue, v1alpha1.ReasonHostKeyNotApproved)
		var c v1alpha1.NodeCredential
		w.get("node1", &c)
		want := "set spec.hostKeySHA256 to '" + pki.PublicKeyDigest(key.Public()) + "'"
		if c.Spec.HostKeySHA256 == pki.PublicKeyDigest(key.Public()) {
			want = "set spec.request to that request"
		}
		if !strings.Contains(r.Message, want) {
			return fmt.Errorf("the message is %q", r.Message)
		}
		return nil
	})
	w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.ReadyCondition, ready,
		map[bool]string{true: v1alpha1.ReasonIssued, false: v1alpha1.ReasonHostKeyNotApproved}[ready == metav1.ConditionTrue])
}

// TestHostKeyIsProved: whoever can write the Lease can ask there. He has no certificate for a key of his own, nor for one that has been replaced,
// and the host's own goes on.
func TestHostKeyIsProved(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	first, csr := w.hostKey()
	w.create(newCA("k8s"), newServer("k8s-master"), newKubelet("node1", onHost("")))
	w.submit("node1", csr)
	w.approve(first)
	pair := w.isFor(first)

	stranger, strange := w.hostKey()
	for _, c := range []struct {
		what   string
		say    func()
		signed bool
	}{
		{"nothing", func() {}, false},
		{"the signature of his own key", func() { w.signsFor(strange, pki.Leaf{Cert: pair.Cert, Key: stranger}, 0) }, false},
		{"what the host has signed", func() { w.signsFor(csr, pki.Leaf{Cert: pair.Cert, Key: first}, 0) }, false},
		{"what the host signed for him, long ago", func() { w.signsFor(strange, pki.Leaf{Cert: pair.Cert, Key: first}, -16*time.Minute) }, true},
	} {
		t.Log(c.what)
		c.say()
		w.submit("node1", strange)
		if c.signed {
			w.notApproved(stranger, metav1.ConditionTrue)
		} else {
			w.notSigned()
		}
		w.settled()
		if !w.isFor(first).Cert.Equal(pair.Cert) {
			t.Fatal("something else was issued")
		}
	}
	w.submit("node1", "no request at all")
	w.notSigned()
	w.signsFor("no request at all", pki.Leaf{Cert: pair.Cert, Key: first}, 0)
	w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.ReconcilingCondition, metav1.ConditionTrue, v1alpha1.ReasonRequestRefused)
	edit(w, "node1", &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) { c.Spec.Validity = hours(48) })
	w.eventually("it is issued for the key that is proved", func() error {
		if pair = w.isFor(first); pair.Cert.NotAfter.Sub(pair.Cert.NotBefore) != 48*time.Hour+pki.ClockSkew {
			return errors.New("it is the old one")
		}
		return nil
	})

	second, next := w.hostKey() // as the host itself asks
	w.signsFor(next, pki.Leaf{Cert: pair.Cert, Key: first}, 0)
	w.submit("node1", next)
	pair = w.isFor(second)
	w.submit("node1", csr) // the approval of the first key is over
	w.notSigned()
	w.isFor(second)
	third, csr3 := w.hostKey()
	edit(w, "node1", &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) { c.Spec.Request = csr3 })
	w.isFor(third)
	edit(w, "node1", &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) { c.Spec.Request = "" })
	w.submit("node1", next)
	w.notApproved(second, metav1.ConditionTrue)
	w.isFor(third)
	w.approve(second)
	w.isFor(second)
	w.holdsNoKey()
}

// TestFloodOfRequests lets somebody ask all the time, by the Lease of a host that has a key, for keys of his own and for nonsense: that changes the status
// once.
func TestFloodOfRequests(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	key, csr := w.hostKey()
	w.create(newCA("k8s"), newServer("k8s-master"), newKubelet("node1", onHost("")))
	w.submit("node1", csr)
	w.approve(key)
	w.isFor(key)
	w.settled()
	statuses := w.mgr.Requests.Statuses()
	for n := range 6 {
		_, strange := w.hostKey()
		for _, request := range []string{strange, fmt.Sprint("no request ", n)} {
			w.submit("node1", request)
			w.notSigned()
			w.settled()
		}
	}
	if statuses = w.mgr.Requests.Statuses() - statuses; statuses != 1 {
		t.Errorf("the status was written %d times", statuses)
	}
}

// TestApprovalIsOverForTheNext: a credential is pruned, and made again from the same manifest, whose approval is of a key that another one has taken the
// place of.
func TestApprovalIsOverForTheNext(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	first, csr := w.hostKey()
	manifest := func(c *v1alpha1.NodeCredential) {
		onHost("")(c)
		c.Spec.HostKeySHA256 = pki.PublicKeyDigest(first.Public())
	}
	prune := func() {
		w.delete(&v1alpha1.NodeCredential{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "node1"}})
		for _, o := range []client.Object{w.secret("node1-tls"), w.secret("node1-kubeconfig"), w.lease("node1-tls")} { // the garbage collector does
			w.delete(o)
		}
		w.settled()
	}
	w.create(newCA("k8s"), newServer("k8s-master"), newKubelet("node1", manifest))
	w.submit("node1", csr)
	w.isFor(first)
	prune()
	w.create(newKubelet("node1", manifest)) // its key is still the one that was approved
	w.submit("node1", csr)
	pair := w.isFor(first)
	second, next := w.hostKey()
	w.signsFor(next, pki.Leaf{Cert: pair.Cert, Key: first}, 0)
	w.submit("node1", next)
	w.isFor(second)
	prune()
	w.create(newKubelet("node1", manifest))
	w.submit("node1", csr)
	w.notApproved(first, metav1.ConditionFalse)
	w.settled()
	if !w.missing("node1-tls", &corev1.Secret{}) {
		t.Error("a certificate was issued for a key that another one has taken the place of")
	}
	w.approve(second)
	w.submit("node1", next)
	w.isFor(second)
}

// signsFor lets a host sign that it asks for a certificate by a request.
func (w *env) signsFor(request string, by pki.Leaf, off time.Duration) {
	w.t.Helper()
	sum := sha256.Sum256([]byte(request))
	w.signs("node1-tls", off, ack.Report{RequestSHA256: hex.EncodeToString(sum[:])}, by)
}

package controller_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/pki"
)

// serial is that of the certificate in a Secret, "" where none can be used.
func (w *env) serial(secret string) string {
	w.t.Helper()
	if w.missing(secret, &corev1.Secret{}) {
		return ""
	}
	s := w.secret(secret)
	pair, err := pki.ParseLeaf(s.Data["tls.crt"], s.Data["tls.key"])
	if err != nil {
		return ""
	}
	return pki.SerialOf(pair.Cert)
}

// reissued waits until another certificate stands in a Secret.
func (w *env) reissued(secret string, than ...string) string {
	w.t.Helper()
	var now string
	w.eventually("another certificate stands in "+secret, func() error {
		if now = w.serial(secret); now == "" {
			return errors.New("there is none")
		}
		if slices.Contains(than, now) {
			return errors.New("it is that of before")
		}
		return nil
	})
	return now
}

// TestRepairsArePaced has somebody who may write Secrets do so again and again: the first repair is prompt, what he goes on to write has nothing issued
// until the time that the status names, and the owner of the spec has what he edits issued at once.
func TestRepairsArePaced(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]v1alpha1.Object{
		"k8s-master": newServer("k8s-master"), "node1": newKubelet("node1", byAgent),
		"node2": newKubelet("node2", func(c *v1alpha1.NodeCredential) { c.Spec.HostName = "k8s-node2" }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newEnv(t)
			w.create(newCA("k8s"))
			if name != "k8s-master" {
				w.create(newServer("k8s-master"))
			}
			w.create(o)
			w.ready(name, o)
			w.settled()
			secret := name + "-tls"
			first := w.serial(secret)
			w.delete(w.secret(secret))
			second := w.reissued(secret, first)
			w.settled()
			for n := range 20 {
				switch {
				case w.missing(secret, &corev1.Secret{}):
					w.touch(name, o, n)
				case n%2 == 0:
					edit(w, secret, &corev1.Secret{}, func(s *corev1.Secret) { s.Data["tls.key"] = []byte("x") })
				default:
					w.delete(w.secret(secret))
				}
				w.settled()
				if got := w.serial(secret); got != "" {
					t.Fatalf("%d: %s was issued", n, got)
				}
			}
			for _, kind := range []string{v1alpha1.ReconcilingCondition, v1alpha1.ReadyCondition} {
				c := meta.FindStatusCondition(conditionsOf(w.now(name, o)), kind)
				if due := w.clock.Now().UTC().Add(10 * time.Second).Format(time.RFC3339); c == nil || c.Reason != v1alpha1.ReasonRepairDelayed || !strings.Contains(c.Message, due) {
					t.Errorf("%s is %+v, and it is due at %s", kind, c, due)
				}
			}
			w.clock.SetTime(w.clock.Now().Add(10 * time.Second)) // the visit comes by itself
			third := w.reissued(secret, first, second)
			w.ready(name, o)
			w.settled()
			w.delete(w.secret(secret))
			w.condition(name, o, v1alpha1.ReconcilingCondition, metav1.ConditionTrue, v1alpha1.ReasonRepairDelayed)
			w.longer(name, o)
			w.reissued(secret, first, second, third)
			w.ready(name, o)
		})
	}
}

// forgets lets so much time pass that no repair is put off because of those of before.
func (w *env) forgets() { w.clock.SetTime(w.clock.Now().Add(time.Hour)) }

// now is an object as it is.
func (w *env) now(name string, o client.Object) client.Object {
	w.t.Helper()
	w.get(name, o)
	return o
}

// touch brings a visit to an object, of which nothing is edited that matters.
func (w *env) touch(name string, o client.Object, n int) {
	w.t.Helper()
	edit(w, name, o, func(o client.Object) { o.SetAnnotations(map[string]string{"touched": fmt.Sprint(n)}) })
}

// longer asks for another validity.
func (w *env) longer(name string, o v1alpha1.Object) {
	w.t.Helper()
	switch o := o.(type) {
	case *v1alpha1.APIServerCertificate:
		edit(w, name, o, func(c *v1alpha1.APIServerCertificate) { c.Spec.Validity = hours(4000) })
	case *v1alpha1.NodeCredential:
		edit(w, name, o, func(c *v1alpha1.NodeCredential) { c.Spec.Validity = hours(4000) })
	}
}

// TestRefusedCostsOneRecord: an object whose Secret the API server refuses is visited again and again. What is stored when it is refused no longer is what was
// signed and recorded at first.
func TestRefusedCostsOneRecord(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.issuedToAgent()
	before, first := w.allRecorded(), w.serial("node1-tls")
	heal := w.policy(metav1.StatusReasonInvalid)
	c := &v1alpha1.NodeCredential{}
	w.longer("node1", c)
	for n := range 5 {
		w.condition("node1", c, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonWriteRefused)
		w.touch("node1", c, n)
		w.settled()
	}
	if got := w.allRecorded(); got != before+1 {
		t.Errorf("%d certificates were recorded instead of %d", got, before+1)
	}
	heal()
	w.eventually("it is stored", func() error {
		w.touch("node1", c, time.Now().Nanosecond())
		w.settled()
		if w.serial("node1-tls") == first {
			return errors.New("it is not")
		}
		return nil
	})
	if got := w.allRecorded(); got != before+1 {
		t.Errorf("then %d certificates were recorded instead of %d", got, before+1)
	}
}

// TestReplayedDelivery has somebody put back claim and envelope of an earlier time, of the same statement: the host has taken a later one and says so,
// and what it takes is signed.
func TestReplayedDelivery(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.issuedToAgent()
	earlier := w.secret("node1-tls")
	first, err := w.signed("node1-tls")
	if err != nil {
		t.Fatal(err)
	}
	w.clock.SetTime(w.clock.Now().Add(time.Minute))
	edit(w, "node1-tls", &corev1.Secret{}, func(s *corev1.Secret) { delete(s.Data, consumers.DeliveryKey) })
	later := w.signedAfter(first.Time)
	all := w.contents("node1-tls", "node1-kubeconfig")
	putBack := func() {
		edit(w, "node1-tls", &corev1.Secret{}, func(s *corev1.Secret) { s.Data, s.Annotations = earlier.Data, earlier.Annotations })
	}
	putBack()
	w.settled()
	if d, err := w.signed("node1-tls"); err != nil || !d.Time.Equal(first.Time) {
		t.Fatalf("nobody has said anything, and it is signed as of %v, %v", d.Time, err)
	}
	w.reports("node1-tls", 0, ack.Report{Installed: all, DeliveryTime: later, Problem: v1alpha1.ReasonDeliveryOutdated})
	anew := w.signedAfter(later)
	w.reports("node1-tls", 0, ack.Report{Installed: all, Verified: all, DeliveryTime: anew})
	w.settled()
	before := w.secret("node1-tls").ResourceVersion
	w.restartAt(w.clock.Now())
	w.settled()
	if w.secret("node1-tls").ResourceVersion != before {
		t.Error("what the host has taken is signed again")
	}
	putBack()
	w.signedAfter(anew)
}

// signedAfter waits until what stands in node1's Secret is signed as of a later time.
func (w *env) signedAfter(last time.Time) (at time.Time) {
	w.t.Helper()
	w.eventually("it is signed anew", func() error {
		d, err := w.signed("node1-tls")
		if err == nil && !d.Time.After(last) {
			err = fmt.Errorf("it is signed as of %v", d.Time)
		}
		at = d.Time
		return err
	})
	return at
}

// TestBundlesWhileARepairWaits: whoever damages the pair again and again does not get a bundle of his choice to stay, whom the API server would believe.
func TestBundlesWhileARepairWaits(t *testing.T) {
	t.Parallel()
	w := standard(t)
	good, first := w.secret("k8s-master-tls").Data["client-ca.crt"], w.serial("k8s-master-tls")
	edit(w, "k8s-master-tls", &corev1.Secret{}, func(s *corev1.Secret) { s.Data["tls.crt"] = []byte("x") })
	w.reissued("k8s-master-tls", first)
	w.settled()
	for _, damaged := range []string{"tls.crt", "tls.key"} {
		edit(w, "k8s-master-tls", &corev1.Secret{}, func(s *corev1.Secret) { s.Data[damaged], s.Data["client-ca.crt"] = []byte("x"), []byte("mine") })
		w.settled()
		if now := w.secret("k8s-master-tls").Data; !bytes.Equal(now["client-ca.crt"], good) || string(now[damaged]) != "x" {
			t.Errorf("%s damaged: client-ca.crt is %q", damaged, now["client-ca.crt"])
		}
		w.clock.SetTime(w.clock.Now().Add(5 * time.Minute))
		w.reissued("k8s-master-tls", first)
		w.settled()
	}
}

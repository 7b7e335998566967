package controller_test

import (
	"crypto/x509"
	"net/http"
	"strings"
	"testing"
	"time"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki/plan"
)

// TestCrashAtEveryWrite lets the operator die at each of its writes of a whole rotation, one run of the operator
// for each: it is cut off from the API server right after the write, and another one is started. After every
// write each party must accept the certificate of every other: as the Secrets stand, and as hosts may have them.
func TestCrashAtEveryWrite(t *testing.T) {
	t.Parallel()
	w := standard(t)
	w.create(newKubelet("node2", func(c *v1alpha1.NodeCredential) { c.Spec.HostName = "k8s-node2" }))
	w.ready("node2", &v1alpha1.NodeCredential{})
	old := w.root("k8s")
	w.settled()
	h := w.observe()
	w.validity("k8s", 50000)
	deaths := 0
	for idle := 0; idle < 3; {
		w.stop()
		w.dieAtNextWrite()
		w.start()
		if w.idle() {
			if idle++; w.ledger("k8s").Phase() != plan.Completed {
				idle = 0
			}
			w.stop()
			w.clock.SetTime(w.clock.Now().Add(13 * time.Minute))
			continue
		}
		if idle, deaths = 0, deaths+1; deaths == 200 {
			t.Fatal("the rotation does not end")
		}
		if err := w.verified("node1", "node2"); err != nil {
			t.Fatalf("after death %d: %v", deaths, err)
		}
	}
	w.fault.Store(nil)
	t.Logf("the operator died %d times; %d pairs of a certificate and a bundle met", deaths, len(h.pairs))
	if deaths < 20 || len(h.pairs) < 12 {
		t.Errorf("the operator died only %d times, and %d pairs met", deaths, len(h.pairs))
	}
	if w.pair("node1-tls").Verify(w.clock.Now(), []*x509.Certificate{old}) == nil {
		t.Error("a leaf of the old CA is left")
	}
	w.whole("k8s")
}

// dieAtNextWrite lets the operator's next write of an object of this test pass, and everything after it fail.
func (w *env) dieAtNextWrite() {
	w.dead.Store(false)
	dead := &w.dead
	f := func(r *http.Request) int {
		if dead.Load() {
			return http.StatusServiceUnavailable
		}
		if r.Method != http.MethodGet && !strings.Contains(r.URL.Path, "/events") {
			dead.CompareAndSwap(false, true)
		}
		return 0
	}
	w.fault.Store(&f)
}

// idle waits until the operator has died, or has nothing left to do.
func (w *env) idle() bool {
	w.t.Helper()
	idle := w.rest()
	w.soon(20*time.Millisecond, "the operator dies or is idle", func() error {
		if w.dead.Load() && w.mgr.Requests.Open() == 0 { // and the answer to its last write was seen
			return nil
		}
		return idle()
	})
	return !w.dead.Load()
}

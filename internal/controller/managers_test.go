package controller_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testingclock "k8s.io/utils/clock/testing"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki/plan"
)

// another starts a second operator for the same namespace, without any election, whose clock is ahead by so much.
func (w *world) another(ahead time.Duration) *world {
	w.t.Helper()
	o := &world{
		t: w.t, ns: w.ns, api: w.api, clock: testingclock.NewFakePassiveClock(w.clock.Now().Add(ahead)), stop: func() {}, ahead: ahead,
	}
	o.hosts.Store(w.hosts.Load())
	w.others = append(w.others, o)
	o.start()
	return o
}

// ice keeps events of some resources from an operator's caches.
type ice struct {
	resources []string
	melted    chan struct{}
}

// freeze keeps all events of some resources from the operator's caches until thaw is called. It goes on with
// everything else.
func (w *world) freeze(resources ...string) (thaw func()) {
	i := &ice{resources, make(chan struct{})}
	w.ice.Store(i)
	return func() {
		w.ice.Store(nil)
		close(i.melted)
	}
}

// watched is the stream of a watch.
type watched struct {
	io.ReadCloser
	r *http.Request
	w *world
}

func (s watched) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if i := s.w.ice.Load(); i != nil && slices.ContainsFunc(i.resources, func(r string) bool { return strings.HasSuffix(s.r.URL.Path, "/"+r) }) {
		select {
		case <-i.melted:
		case <-s.r.Context().Done():
		}
	}
	return n, err
}

// TestTwoManagers lets two operators work on one namespace at once, through a whole replacement and with new
// objects in every phase.
func TestTwoManagers(t *testing.T) {
	w := standard(t)
	w.settled()
	h := w.observe()
	w.another(0)
	w.validity("k8s", 50000)
	w.replaced("k8s", func(p plan.Phase) { w.newcomer(p) })
	if n := w.ledger("k8s").Generations[0].Number; n != 2 {
		t.Errorf("generation %d signs", n)
	}
	t.Logf("%d writes", h.writes)
}

// newcomer creates a credential that is named after a phase.
func (w *world) newcomer(p plan.Phase) string {
	w.t.Helper()
	name := strings.ToLower(string(p))
	w.create(newKubelet(name, func(c *v1alpha1.NodeCredential) { c.Spec.HostName = name }))
	w.ready(name, &v1alpha1.NodeCredential{})
	return name
}

// TestTwoManagersWithDifferentClocks has clocks that are four minutes apart. Acknowledgment by the passing of time holds
// as long as propagationDelay is longer than what hosts take by more than that.
func TestTwoManagersWithDifferentClocks(t *testing.T) {
	w := standard(t)
	slow := v1alpha1.DeliverySpec{PropagationDelay: metav1.Duration{Duration: 15 * time.Minute}}
	edit(w, "k8s-master", &v1alpha1.APIServerCertificate{}, func(c *v1alpha1.APIServerCertificate) { c.Spec.Delivery = slow })
	edit(w, "node1", &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) { c.Spec.Delivery = slow })
	w.settled()
	w.observe()
	w.another(-4 * time.Minute)
	w.validity("k8s", 50000)
	w.replaced("k8s", nil)
}

// TestStaleManager keeps what happens from one operator's caches while another one replaces the CA, and lets the first
// one act on its old view alone when new objects appear.
func TestStaleManager(t *testing.T) {
	for _, frozen := range [][]string{
		{"configmaps"}, {"secrets"}, {"clustercas", "apiservercertificates", "nodecredentials"},
		{"configmaps", "secrets", "clustercas", "apiservercertificates", "nodecredentials"},
	} {
		t.Run(strings.Join(frozen, " "), func(t *testing.T) {
			w := standard(t)
			w.settled()
			w.observe()
			stale := w.another(0)
			w.others, w.lone = nil, true // it is not restarted with the first one, because that would show it everything
			t.Cleanup(stale.stop)
			w.settled()
			thaw := stale.freeze(frozen...)
			w.validity("k8s", 50000)
			w.replaced("k8s", func(p plan.Phase) {
				w.stop()
				stale.clock.SetTime(w.clock.Now())
				name := strings.ToLower(string(p))
				w.create(newKubelet(name, func(c *v1alpha1.NodeCredential) { c.Spec.HostName = name }),
					newServer(name+"-master"),
					newKubelet(name+"-2", func(c *v1alpha1.NodeCredential) { c.Spec.HostName, c.Spec.APIServerRef.Name = name, name+"-master" }))
				time.Sleep(1500 * time.Millisecond) // it may do what it likes
				w.start()
				w.ready(name, &v1alpha1.NodeCredential{})
				w.ready(name+"-2", &v1alpha1.NodeCredential{})
			})
			thaw()
			w.newcomer("thawed")
			w.lone = false
			w.settled()
			w.whole("k8s")
		})
	}
}

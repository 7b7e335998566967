package controller_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/pki/plan"
)

// another starts a second operator for the same namespace, without any election, whose clock is ahead by so much.
func (w *world) another(ahead time.Duration) *world {
	w.t.Helper()
	o := &world{t: w.t, ns: w.ns, authority: w.authority, installed: w.installed, api: w.api, clock: w.clock, stop: func() {}, ahead: ahead}
	if ahead != 0 {
		o.clock = testingclock.NewFakePassiveClock(w.clock.Now().Add(ahead))
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
	t.Parallel()
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
	t.Parallel()
	w := standard(t)
	w.patient("15m")
	w.settled()
	w.observe()
	w.another(-4 * time.Minute)
	w.validity("k8s", 50000)
	w.replaced("k8s", nil)
}

// TestStaleManager keeps what happens from one operator's caches while another one replaces the CA, and lets the first
// one act on its old view alone when new objects appear.
func TestStaleManager(t *testing.T) {
	t.Parallel()
	for _, frozen := range [][]string{
		{"configmaps"}, {"secrets"}, {"clustercas", "apiservercertificates", "nodecredentials"},
		{"configmaps", "secrets", "clustercas", "apiservercertificates", "nodecredentials"},
	} {
		t.Run(strings.Join(frozen, " "), func(t *testing.T) {
			t.Parallel()
			w := standard(t)
			edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.SecretName = "k8s-pair" })
			w.settled()
			w.observe()
			stale := w.another(0)
			w.settled()
			w.others = nil // it is not restarted with the first one, because that would show it everything
			t.Cleanup(stale.stop)
			thaw := stale.freeze(frozen...)
			// Its own writes would keep it waiting until it sees them.
			heal := stale.failing("", "/secrets/"+authority.SecretName(w.ns, "k8s"), http.StatusConflict)
			w.validity("k8s", 50000)
			w.replaced("k8s", func(p plan.Phase) {
				w.stop()
				name := strings.ToLower(string(p))
				w.create(newKubelet(name, func(c *v1alpha1.NodeCredential) { c.Spec.HostName = name }),
					newServer(name+"-master"),
					newKubelet(name+"-2", func(c *v1alpha1.NodeCredential) { c.Spec.HostName, c.Spec.APIServerRef.Name = name, name+"-master" }))
				time.Sleep(1500 * time.Millisecond) // it may do what it likes
				w.start()
				w.ready(name, &v1alpha1.NodeCredential{})
				w.ready(name+"-2", &v1alpha1.NodeCredential{})
			})
			heal()
			thaw()
			w.newcomer("thawed")
			w.beside = []*world{stale}
			w.settled()
			w.whole("k8s")
		})
	}
}

// TestOvertaken holds back what one operator reads of the CA until another one has replaced it: what it then makes of
// that must not take the place of what the other one wrote.
func TestOvertaken(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		read int32 // which one of the ledger is held back
		late client.Object
	}{
		{"before the client bundle", 1, newServer("late")},
		{"before the server's certificate", 2, newServer("late")},
		{"before the credential's certificate", 1, newKubelet("late")},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := standard(t)
			w.settled()
			w.observe()
			slow := w.another(0)
			w.validity("k8s", 50000)
			w.settled()
			w.phase("k8s", v1alpha1.PhaseDistributingTrust)
			w.others = nil
			t.Cleanup(slow.stop)
			w.stop()
			holds, release := slow.holdBack(http.MethodGet, "/secrets/"+authority.SecretName(w.ns, "k8s"), c.read)
			w.create(c.late)
			<-holds
			w.start()
			w.walk("k8s", func(p plan.Phase) {
				if p == plan.WithdrawingTrust { // the old key is there still
					close(release)
					w.beside = []*world{slow}
				}
			})
			w.whole("k8s")
		})
	}
}

// TestOvertakenCopy holds one operator between its look at the ledger and that at the copy of the key, until another one has
// replaced the CA: the copy stays the newer one.
func TestOvertakenCopy(t *testing.T) {
	t.Parallel()
	w := standard(t)
	edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.SecretName = "k8s-pair" })
	w.settled()
	w.observe()
	slow := w.another(0)
	w.settled()
	w.others = nil // it is not restarted with the first one
	t.Cleanup(slow.stop)
	holds, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	hold := func(r *http.Request) int {
		if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, "/secrets/k8s-pair") {
			return 0
		}
		once.Do(func() { close(holds) })
		select {
		case <-release:
		case <-r.Context().Done():
		}
		return 0
	}
	slow.fault.Store(&hold)
	w.validity("k8s", 50000)
	<-holds
	w.replaced("k8s", func(p plan.Phase) {
		if p == plan.Reissuing { // the copy is the new key's
			close(release)
			w.beside = []*world{slow}
		}
	})
}

// holdBack keeps the operator's next answers to a request of a method, whose path ends in a suffix, from it, from the
// nth on, until release is closed. holds is closed once there is one.
func (w *world) holdBack(method, suffix string, nth int32) (holds <-chan struct{}, release chan<- struct{}) {
	reached, released := make(chan struct{}), make(chan struct{})
	var n atomic.Int32
	f := func(r *http.Request) {
		if r.Method != method || !strings.HasSuffix(r.URL.Path, suffix) {
			return
		}
		if i := n.Add(1); i == nth {
			close(reached)
		} else if i < nth {
			return
		}
		select {
		case <-released:
		case <-r.Context().Done():
		}
	}
	w.late.Store(&f)
	return reached, released
}

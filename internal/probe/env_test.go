package probe

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/utils/clock"
)

var key = Key{Namespace: "prod", Name: "k8s-master"}

// env is what is to be seen at each address, with a record of the attempts at it. Its tests run in bubbles,
// where time passes only while everybody waits for it.
type env struct {
	mu       sync.Mutex
	show     map[string]attempt       // by address
	takes    map[string]time.Duration // how long an attempt takes
	attempts map[string][]time.Duration
	began    time.Time

	inProgress, atMost int
	notified           []Key
	probe              *Prober
	stop               context.CancelFunc
	stopped            chan struct{} // closed when Start has returned
}

// run starts a Prober in a bubble and ends it with the test, which fails if it leaves a goroutine behind.
func run(t *testing.T, parallel int, test func(w *env)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &env{
			show: map[string]attempt{}, takes: map[string]time.Duration{}, attempts: map[string][]time.Duration{},
			began: time.Now(), stopped: make(chan struct{}),
		}
		w.probe = New(Options{Clock: clock.RealClock{}, Parallel: parallel, Notify: w.notify})
		w.probe.dial = w.dial
		ctx, cancel := context.WithCancel(t.Context())
		w.stop = cancel
		go func() {
			defer close(w.stopped)
			if err := w.probe.Start(ctx); err != nil {
				t.Error(err)
			}
		}()
		test(w)
		cancel()
		<-w.stopped
	})
}

func (w *env) dial(ctx context.Context, address, _ string) (Handshake, error) {
	w.mu.Lock()
	l, takes := w.show[address], w.takes[address]
	w.attempts[address] = append(w.attempts[address], time.Since(w.began))
	w.inProgress++
	w.atMost = max(w.atMost, w.inProgress)
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.inProgress--
	}()
	select {
	case <-ctx.Done():
		return Handshake{}, ctx.Err()
	case <-time.After(takes):
		return l.Handshake, l.err
	}
}

func (w *env) notify(_ context.Context, k Key) {
	w.probe.Observation(k) // which must not deadlock
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notified = append(w.notified, k)
}

// reveals sets what is to be seen from now on.
func (w *env) reveals(l attempt, addresses ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range addresses {
		w.show[a] = l
	}
}

// slow sets how long attempts take from now on.
func (w *env) slow(takes time.Duration, addresses ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range addresses {
		w.takes[a] = takes
	}
}

// count is how many attempts at an address there have been, and how many are in progress at all.
func (w *env) count(address string) (made, inProgress int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.attempts[address]), w.inProgress
}

// after lets time pass, and everything happen that is due then.
func (w *env) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// expect compares what is seen of the target and how often there were notifications since the last time.
func (w *env) expect(t *testing.T, when string, settled bool, leaf string, problems []string, notified int) {
	t.Helper()
	got := w.probe.Observation(key)
	if got.Settled != settled || got.LeafSHA256 != leaf || !slices.Equal(got.Problems, problems) {
		t.Errorf("%s: it sees %+v", when, got)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.notified) != notified {
		t.Errorf("%s: %d notifications, not %d", when, len(w.notified), notified)
	}
	w.notified = nil
}

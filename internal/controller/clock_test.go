package controller_test

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/apitime"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/pki/plan"
)

// wrong is the clock of a machine that is off by so much.
type wrong time.Duration

func (w wrong) Now() time.Time                  { return time.Now().Add(time.Duration(w)) }
func (w wrong) Since(t time.Time) time.Duration { return w.Now().Sub(t) }

// stopwatch measures, by its own clock, how long each phase of a rotation went on after the last Secret was written in it.
type stopwatch struct {
	mu      sync.Mutex
	phase   plan.Phase
	written time.Time // when the last write of a Secret began
	took    map[plan.Phase]time.Duration
}

// over says whether a phase has ended.
func (s *stopwatch) over(phase plan.Phase) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, over := s.took[phase]
	return over
}

// measure lets the API server take its time for each Secret, whoever asks, and starts a stopwatch.
func (w *env) measure(ca string) *stopwatch {
	w.t.Helper()
	s := &stopwatch{took: map[plan.Phase]time.Duration{}}
	secret := authority.SecretName(w.ns, ca)
	slow := func(r *http.Request) int {
		if strings.Contains(r.URL.Path, "/secrets") && r.URL.Query().Get("watch") == "" {
			time.Sleep(300 * time.Millisecond)
		}
		if r.Method != http.MethodGet && strings.Contains(r.URL.Path, w.ns+"/secrets") {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.written = time.Now()
		}
		return 0
	}
	after := func(r *http.Request) {
		if r.Method != http.MethodPut || !strings.HasSuffix(r.URL.Path, "/secrets/"+secret) {
			return
		}
		at := time.Now()
		record, err := w.store().Live(w.t.Context(), w.ns, ca)
		if err != nil {
			w.t.Error(err)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if phase := record.Ledger.Phase(); phase != s.phase {
			s.took[s.phase], s.phase = at.Sub(s.written), phase
		}
	}
	w.fault.Store(&slow)
	w.late.Store(&after)
	return s
}

// TestNoDelayIsShort rotates a CA whose consumers are mounted, at a slow API server. In each phase an operator whose machine is
// hours behind sees that all have arrived, and one whose machine is hours ahead goes on: no phase ends before
// propagationDelay has passed since the last Secret was written.
func TestNoDelayIsShort(t *testing.T) {
	const delay = 3 * time.Second
	w := newEnv(t)
	w.stop()
	behind, ahead := wrong(-6*time.Hour), wrong(6*time.Hour)
	w.operatorClock = apitime.New(behind)
	w.start()
	w.create(newCA("k8s"), newServer("k8s-master"), newKubelet("node1"))
	w.ready("node1", &v1alpha1.NodeCredential{})
	w.patient(delay.String())
	w.ready("k8s-master", &v1alpha1.APIServerCertificate{})
	watch := w.measure("k8s")
	w.validity("k8s", 50000)
	for _, phase := range phases {
		w.eventually("all have arrived in "+string(phase), func() error {
			if l := w.ledger("k8s"); !watch.over(phase) && (l.Phase() != phase || l.Arrival.IsZero()) {
				return errors.New("it is in " + string(l.Phase()))
			}
			return nil
		})
		w.stop()
		w.operatorClock = apitime.New(ahead)
		w.start()
		w.eventually(string(phase)+" ends", func() error {
			if !watch.over(phase) {
				return errors.New("it goes on")
			}
			return nil
		})
		w.stop()
		w.operatorClock = apitime.New(behind)
		w.start()
	}
	for _, phase := range phases {
		if took := watch.took[phase]; took < delay {
			t.Errorf("%s ended %v after the last Secret was written, and propagationDelay is %v", phase, took, delay)
		}
	}
}

package load

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/utils/clock"

	"clusterpki.io/operator/internal/pki"
)

// TestCounts: whatever can go wrong is counted, for what it is, and in both kinds.
func TestCounts(t *testing.T) {
	other := newCA("other")
	for name, tc := range map[string]struct {
		harm     func(*testing.T, *server)
		refused  bool
		held     bool           // the held client notices only
		patience func(*Options) // nil: as ever
	}{
		"the client's CA is no longer trusted": {func(_ *testing.T, s *server) { s.trustClientsOf(other) }, true, false, nil},
		"not allowed":                          {mode("forbidden"), true, false, nil},
		"a server error":                       {mode("error"), false, false, nil},
		"cut off by the server":                {mode("cut"), false, false, nil},
		"no answer":                            {mode("silent"), false, false, func(o *Options) { o.Timeout = 5 * time.Second }},
		"an empty answer":                      {mode("empty"), false, false, nil},
		"half an answer":                       {mode("half"), false, false, nil},
		"a watch cut off by the server":        {mode("watch cut"), false, true, nil},
		"a silent watch":                       {mode("watch silent"), false, true, func(o *Options) { o.Silence = 5 * time.Second }},
		"a watch that brings an error":         {mode("watch error"), false, true, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			l := s.start(t, func(o *Options) {
				if tc.patience != nil {
					tc.patience(o)
				}
			})
			tc.harm(t, s)
			count := func(r Row) int {
				if tc.refused {
					return r.Refused
				}
				return r.Failed
			}
			eventually(t, l, "a failure is counted", func(fresh, held Row) bool {
				return count(held) > 0 && (count(fresh) > 0 || tc.held)
			})
			l.Stop()
			total := l.Total()
			if count(total) != total.Failures() || total.CutOff > 0 || tc.held && l.Rows()[0].Failures() > 0 {
				t.Errorf("something else is counted too: %+v%s", l.Rows(), few(l))
			}
		})
	}
}

func mode(m string) func(*testing.T, *server) {
	return func(_ *testing.T, s *server) { s.mode.Store(m) }
}

// TestServersCA: a server whose certificate is of a CA that clients do not trust is noticed by fresh connections at
// once. Those that are held know nothing of it, as ever, until they have to connect again.
func TestServersCA(t *testing.T) {
	s := newServer(t)
	l := s.start(t)
	s.serve(newCA("other"))
	eventually(t, l, "fresh connections are refused", func(fresh, held Row) bool { return fresh.Refused > 0 && held.Requests > 100 })
	if held := l.Rows()[1]; held.Failures() > 0 {
		t.Errorf("a connection that is held fails:%s", few(l))
	}
}

// TestReload: when client-go reloads its certificate it cuts off its own requests and watches. They are counted apart,
// and asked again with success.
func TestReload(t *testing.T) {
	s := newServer(t)
	first := s.deliver(t, s.ca, s.ca)
	l := s.start(t)
	s.hold.Store(pki.SerialOf(first.Cert))
	eventually(t, l, "a request waits for its answer", func(_, _ Row) bool { return s.held.Load() })
	leaf := s.deliver(t, s.ca, s.ca)
	eventually(t, l, "the request and the watch are cut off by the reload", func(_, held Row) bool { return held.CutOff >= 2 })
	before := l.Rows()[1].Requests
	eventually(t, l, "the client goes on", func(_, held Row) bool { return held.Requests > before+20 })
	if n := l.Total().Failures(); n > 0 {
		t.Errorf("%d requests failed:%s", n, few(l))
	}
	if s.shown(leaf) < 20 {
		t.Error("the new certificate isn't shown")
	}
}

// TestReloadOfWhatIsRefused: the request that is made again may fail, and is counted then.
func TestReloadOfWhatIsRefused(t *testing.T) {
	s := newServer(t)
	l := s.start(t)
	s.deliver(t, newCA("other"), s.ca)
	eventually(t, l, "the new certificate is refused", func(fresh, held Row) bool { return held.CutOff > 0 && held.Refused > 0 && fresh.Refused > 0 })
}

// TestWatchEndsInOrder: the server may end a watch, as it does every hour or so; it is opened again.
func TestWatchEndsInOrder(t *testing.T) {
	s := newServer(t)
	l := s.start(t)
	s.mode.Store("watch ends")
	before := l.Rows()[1].Requests
	eventually(t, l, "the client goes on", func(_, held Row) bool { return held.Requests > before+20 })
	if total := l.Total(); total.Failures() > 0 || total.CutOff > 0 {
		t.Errorf("%+v%s", total, few(l))
	}
}

// TestClosedWithoutReload: a connection that is closed on this side, while the certificate is the same, is a failure.
func TestClosedWithoutReload(t *testing.T) {
	file := filepath.Join(t.TempDir(), "crt")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	h := &held{row: (&book{clock: clock.RealClock{}, log: os.Stderr}).row("u", Held), reload: must(newReload(file, clock.RealClock{}))}
	closed := &net.OpError{Op: "read", Err: net.ErrClosed}
	h.reload.closed()
	if h.cutOff(t.Context(), closed) {
		t.Error("it counts as client-go's doing although the certificate is the same")
	}
	h.count(t.Context(), time.Now(), closed)
	if got := h.row.counts; got.Failed != 1 || got.CutOff != 0 {
		t.Errorf("counted as %+v", got)
	}
	write("two")
	h.reload.closed()
	if !h.cutOff(t.Context(), closed) || h.cutOff(t.Context(), errors.New("something else")) {
		t.Error("what a reload cuts off counts as a failure, or everything after it as its doing")
	}
}

// TestTornPair: a certificate and a key that do not match are read once more, and then are a failure.
func TestTornPair(t *testing.T) {
	s := newServer(t)
	l := s.start(t)
	first := must(os.ReadFile(filepath.Join(s.dir, "pki/u.crt")))
	s.deliver(t, s.ca, s.ca)
	if err := os.WriteFile(filepath.Join(s.dir, "pki/u.crt"), first, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, l, "the pair is read again", func(fresh, _ Row) bool { return fresh.Refused > 0 && fresh.Reread >= fresh.Refused })
}

func TestStart(t *testing.T) {
	if _, err := Start(t.Context(), []Identity{{Name: "nobody", Kubeconfig: "/nowhere"}}, Options{Clock: clock.RealClock{}}); err == nil {
		t.Error("it starts without a kubeconfig")
	}
}

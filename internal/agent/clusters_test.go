package agent

import (
	"context"
	"strings"
	"testing"
	"time"

	"k8s.io/utils/clock"
)

// from is which management cluster the Secrets in the store are of.
func (w *renewing) from(i int) {
	w.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		s := w.store.facts().secrets["kubelet-tls"]
		if s != nil && s.Annotations["from"] == w.planes[i].URL {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("the store does not hold what management cluster %d has: %v", i, s)
		}
		time.Sleep(time.Millisecond)
	}
}

// TestClustersInOrder: the first one is used while it answers; then the next, with a token of its own; and the first again when it is back.
func TestClustersInOrder(t *testing.T) {
	w := newRenewing(t, 2)
	w.turn(0)
	w.wants("at first", 0, w.token(0, 0))
	w.report(t.Context(), w.s)
	w.from(0)
	if w.planes[1].reads > 0 {
		t.Error("the second one is asked for Secrets while the first answers")
	}
	w.planes[0].set(func(m *management) { m.away = true })
	w.turn(time.Second)
	w.turn(time.Second)
	w.wants("the first is away", 1, w.token(1, 0))
	w.from(1)
	w.turn(lastAttempt + time.Second)
	w.wants("it stays away", 1, w.token(1, 0))
	w.planes[0].set(func(m *management) { m.away = false })
	w.turn(lastAttempt + time.Second)
	w.wants("it is back", 0, w.token(0, 0))
	w.from(0)
	if n := len(w.planes[0].made()) + len(w.planes[1].made()); n != 2 {
		t.Errorf("%d tokens were made", n)
	}
}

// TestTokensOfAllClusters: a cluster that is not in use has a token that lives, however long that lasts.
func TestTokensOfAllClusters(t *testing.T) {
	w := newRenewing(t, 2)
	w.turn(0)
	w.wants("at first", 0, w.token(0, 0))
	for range 6 {
		w.turn(12 * 24 * time.Hour)
		w.wants("later", 0, w.token(0, len(w.planes[0].made())-1))
	}
	if n := len(w.planes[1].made()); n != 7 {
		t.Errorf("the cluster that is not in use has made %d tokens", n)
	}
	w.planes[0].set(func(m *management) { m.away = true })
	w.turn(time.Second)
	w.turn(time.Second)
	w.wants("after 72 days", 1, w.token(1, 6))
	if w.planes[1].reads == 0 || w.planes[1].wasShown("") {
		t.Error("it is not in use")
	}
}

// TestClusterRefuses: one that does not accept the host's token is passed over, though it answers.
func TestClusterRefuses(t *testing.T) {
	w := newRenewing(t, 2)
	w.planes[0].refuses[w.firsts[0]] = true
	w.turn(0)
	w.wants("the first refuses", 1, w.token(1, 0))
	if !strings.Contains(w.logs.String(), "does not accept this host's identity any more (401)") {
		t.Errorf("the log is\n%s", w.logs)
	}
}

// TestStagedCluster holds nothing for the host yet: it is used once it does, and meanwhile only if no other answers.
func TestStagedCluster(t *testing.T) {
	w := newRenewing(t, 2)
	w.planes[0].set(func(m *management) { m.empty = true })
	w.turn(0)
	w.wants("the first is staged", 1, w.token(1, 0))
	w.from(1)
	w.planes[1].set(func(m *management) { m.away = true })
	w.turn(time.Second)
	w.turn(lastAttempt)
	if w.s == nil || w.s.cluster.Name != "m0" || !w.s.empty {
		t.Fatal("no other one answers, and the first is not used")
	}
	w.planes[1].set(func(m *management) { m.away = false })
	w.turn(lastAttempt + time.Second)
	w.from(1)
	w.planes[0].set(func(m *management) { m.empty = false })
	w.turn(lastAttempt + time.Second)
	w.from(0)
}

// token is one that a management cluster has made.
func (w *renewing) token(i, n int) string {
	w.t.Helper()
	if made := w.planes[i].made(); n < len(made) {
		return made[n]
	}
	w.t.Fatalf("management cluster %d has made no token %d:\n%s", i, n, w.logs)
	return ""
}

// TestRunGoesToAnotherCluster and back, in the loop that an agent runs: with the real clock, without a turn of the test's.
func TestRunGoesToAnotherCluster(t *testing.T) {
	t.Parallel()
	w := newRenewing(t, 2)
	a, err := New(w.cfg, Options{Clock: clock.RealClock{}, Log: w.logger()})
	if err != nil {
		t.Fatal(err)
	}
	a.silence = 0
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); a.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	shows := func(i int) {
		t.Helper()
		deadline := time.Now().Add(time.Minute)
		for made := ""; made == "" || w.planes[i].last() != made; time.Sleep(10 * time.Millisecond) {
			if all := w.planes[i].made(); len(all) > 0 {
				made = all[0]
			}
			if time.Now().After(deadline) {
				t.Fatalf("management cluster %d is not used with the token that it has made", i)
			}
		}
	}
	shows(0)
	w.planes[0].set(func(m *management) { m.away = true })
	shows(1)
	w.planes[1].set(func(m *management) { m.away = true })
	w.planes[0].set(func(m *management) { m.away, m.shown = false, []string{""} })
	shows(0)
}

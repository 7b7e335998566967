package probe

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

var _ = Key(types.NamespacedName{}) // as callers will

// TestSettlesAndNotifies follows one target through its life.
func TestSettlesAndNotifies(t *testing.T) {
	run(t, 0, func(w *env) {
		good, next := at(0, "leaf", "a"), at(0, "next", "a", "b")
		w.reveals(good, one, two)
		w.probe.Set(key, Target{Addresses: []string{two, one}})
		w.expect(t, "before any attempt", false, "", []string{one + ": not seen twice in a row yet", two + ": not seen twice in a row yet"}, 0)
		w.after(time.Second)
		w.expect(t, "after one attempt", false, "", []string{one + ": not seen twice in a row yet", two + ": not seen twice in a row yet"}, 0)
		w.after(28 * time.Second)
		w.expect(t, "a second before the second", false, "", []string{one + ": not seen twice in a row yet", two + ": not seen twice in a row yet"}, 0)
		w.after(time.Second)
		w.expect(t, "after the second attempt at both", true, "leaf", nil, len([]string{"one still lacks its second attempt", "settled"}))
		if got := w.probe.Observation(key).At; !got.Equal(w.began) {
			t.Errorf("it rests on attempts since %v, not %v", got, w.began)
		}
		w.after(10 * time.Minute)
		w.expect(t, "while nothing changes", true, "leaf", nil, 0)
		if got, want := w.probe.Observation(key).At, w.began.Add(10*time.Minute); !got.Equal(want) {
			t.Errorf("it rests on attempts since %v, not %v", got, want)
		}
		w.reveals(next, one)
		w.after(30 * time.Second)
		w.expect(t, "one address has just changed", false, "", []string{one + ": its certificate has just changed"}, 1)
		w.after(30 * time.Second)
		w.expect(t, "the other lags", false, "", []string{two + ": serves another certificate than " + one}, 1)
		w.after(10 * time.Minute)
		w.expect(t, "and lags on", false, "", []string{two + ": serves another certificate than " + one}, 0)
		w.reveals(next, two)
		w.after(30 * time.Second)
		w.expect(t, "it has caught up just now", false, "", []string{two + ": its certificate has just changed"}, 1)
		w.after(30 * time.Second)
		w.expect(t, "it has caught up", true, "next", nil, 1)
		w.reveals(refused(0), one)
		w.after(30 * time.Second)
		w.expect(t, "one address is down", false, "", []string{one + ": connection refused"}, 1)
		w.reveals(next, one)
		w.after(30 * time.Second)
		w.expect(t, "it is back", false, "", []string{one + ": not seen twice in a row yet"}, 1)
		w.after(30 * time.Second)
		w.expect(t, "it is back for good", true, "next", nil, 1)
	})
}

// TestInterval is fixed, from beginning to beginning, however long attempts take and whatever they see.
func TestInterval(t *testing.T) {
	seconds := func(s ...int) []time.Duration {
		var out []time.Duration
		for _, n := range s {
			out = append(out, time.Duration(n)*time.Second)
		}
		return out
	}
	run(t, 0, func(w *env) {
		w.reveals(at(0, "leaf", "a"), "good", "slow", "slower")
		w.reveals(refused(0), "down")
		w.slow(time.Second, "down")
		w.slow(3*time.Second, "slow")
		w.slow(14*time.Second, "slower")
		w.probe.Set(key, Target{Addresses: []string{"good", "slow", "slower", "down"}, Interval: 10 * time.Second})
		w.after(49 * time.Second)
		w.mu.Lock()
		defer w.mu.Unlock()
		want := map[string][]time.Duration{
			"good": seconds(0, 10, 20, 30, 40), "slow": seconds(0, 10, 20, 30, 40), "down": seconds(0, 10, 20, 30, 40),
			"slower": seconds(0, 14, 28, 42), // an attempt is never begun before the one before it has ended
		}
		if !reflect.DeepEqual(w.attempts, want) {
			t.Errorf("it probed at %v\nnot at %v", w.attempts, want)
		}
	})
}

// TestSetOfTheSame restarts and forgets nothing. Any change does.
func TestSetOfTheSame(t *testing.T) {
	run(t, 0, func(w *env) {
		w.reveals(at(0, "leaf", "a"), one, two, "10.0.0.3:6443")
		original := Target{Addresses: []string{one, two}, ServerName: "k8s-master", Interval: time.Minute}
		w.probe.Set(key, original)
		w.after(90 * time.Second)
		w.expect(t, "at first", true, "leaf", nil, 2)
		for name, same := range map[string]Target{
			"equal":         {Addresses: []string{one, two}, ServerName: "k8s-master", Interval: time.Minute},
			"another order": {Addresses: []string{two, one}, ServerName: "k8s-master", Interval: time.Minute},
			"one twice":     {Addresses: []string{one, two, one}, ServerName: "k8s-master", Interval: time.Minute},
		} {
			w.probe.Set(key, same)
			w.after(time.Millisecond)
			w.expect(t, name, true, "leaf", nil, 0)
		}
		if made, _ := w.count(one); made != 2 {
			t.Errorf("there were %d attempts in the first 90 s, not 2", made)
		}
		for name, other := range map[string]Target{
			"an address more": {Addresses: []string{one, two, "10.0.0.3:6443"}, ServerName: "k8s-master", Interval: time.Minute},
			"an address less": {Addresses: []string{one}, ServerName: "k8s-master", Interval: time.Minute},
			"another name":    {Addresses: []string{one, two}, ServerName: "k8s", Interval: time.Minute},
			"other times":     {Addresses: []string{one, two}, ServerName: "k8s-master", Interval: time.Hour},
		} {
			w.probe.Set(key, original)
			w.after(2 * time.Minute)
			w.probe.Set(key, other)
			if got := w.probe.Observation(key); got.Settled || len(got.Problems) != len(other.Addresses) {
				t.Errorf("%s: it remembers %+v", name, got)
			}
			w.after(2 * other.Interval)
			if !w.probe.Observation(key).Settled {
				t.Errorf("%s: it does not settle again", name)
			}
		}
	})
}

// TestDefaultInterval takes part in the comparison of targets.
func TestDefaultInterval(t *testing.T) {
	run(t, 0, func(w *env) {
		w.reveals(at(0, "leaf", "a"), one)
		w.probe.Set(key, Target{Addresses: []string{one}})
		w.after(DefaultInterval)
		w.probe.Set(key, Target{Addresses: []string{one}, Interval: DefaultInterval})
		w.expect(t, "after two attempts", true, "leaf", nil, 1)
	})
}

// TestLateAttempt does not count for a target that has changed since it began: the address may be another
// machine's by now.
func TestLateAttempt(t *testing.T) {
	run(t, 0, func(w *env) {
		w.probe.dial = func(_ context.Context, _, serverName string) (Handshake, error) {
			if serverName == "" {
				time.Sleep(3 * time.Second) // and it does not hear that it is to end
				return at(0, "old", "a").Handshake, nil
			}
			return at(0, "new", "a").Handshake, nil
		}
		w.probe.Set(key, Target{Addresses: []string{one}, Interval: time.Second})
		w.after(time.Second)
		w.probe.Set(key, Target{Addresses: []string{one}, ServerName: "k8s-master", Interval: 2 * time.Second})
		w.after(time.Second)
		w.expect(t, "one attempt", false, "", []string{one + ": not seen twice in a row yet"}, 0)
		w.after(time.Second) // now the old attempt ends, and the second one of the new target is made
		w.expect(t, "two attempts", true, "new", nil, 1)
	})
}

// TestRemove ends the attempts, one in progress too, and what was seen.
func TestRemove(t *testing.T) {
	run(t, 0, func(w *env) {
		other := Key{Namespace: "prod", Name: "other"}
		w.reveals(at(0, "leaf", "a"), one, two)
		w.probe.Set(key, Target{Addresses: []string{one}})
		w.probe.Set(other, Target{Addresses: []string{two}})
		w.after(40 * time.Second)
		w.slow(time.Hour, one)
		w.after(40 * time.Second)
		if _, inProgress := w.count(one); inProgress != 1 {
			t.Fatalf("%d attempts are in progress", inProgress)
		}
		w.probe.Remove(key)
		w.probe.Remove(Key{Name: "nobody's"})
		w.expect(t, "at once", false, "", []string{"there is no address to probe"}, 2)
		w.after(time.Hour)
		if made, inProgress := w.count(one); made != 3 || inProgress != 0 {
			t.Errorf("%d attempts were made, %d are in progress", made, inProgress)
		}
		w.expect(t, "later", false, "", []string{"there is no address to probe"}, 0)
		if made, _ := w.count(two); !w.probe.Observation(other).Settled || made < 100 {
			t.Error("the other target has been disturbed")
		}
	})
}

// TestParallel bounds the attempts in progress over all targets, and still makes every attempt in its turn.
func TestParallel(t *testing.T) {
	const targets, parallel = 20, 3
	run(t, parallel, func(w *env) {
		var addresses []string
		for i := range targets {
			address := fmt.Sprintf("10.0.0.%d:6443", i)
			addresses = append(addresses, address, "other "+address)
			w.reveals(at(0, "leaf", "a"), address, "other "+address)
			w.slow(Timeout, address, "other "+address)
			w.probe.Set(Key{Name: address}, Target{Addresses: []string{address, "other " + address}, Interval: time.Second})
		}
		w.after(5 * time.Minute)
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.atMost != parallel {
			t.Errorf("%d attempts were in progress at a time, not %d", w.atMost, parallel)
		}
		total, perRound := 0, 2*targets
		for _, a := range addresses {
			total += len(w.attempts[a])
			if got, want := len(w.attempts[a]), int(5*time.Minute/Timeout)*parallel/perRound; got < want-1 || got > want+1 {
				t.Errorf("%s was probed %d times, not %d", a, got, want)
			}
		}
		if got, want := total, int(5*time.Minute/Timeout)*parallel; got < want-parallel {
			t.Errorf("%d attempts were made where there was room for %d", got, want)
		}
	})
}

// TestBlockedNotification holds up one address and nobody else.
func TestBlockedNotification(t *testing.T) {
	run(t, 1, func(w *env) {
		w.probe.notify = func(ctx context.Context, k Key) {
			if k == key {
				<-ctx.Done()
			}
		}
		other := Key{Namespace: "prod", Name: "other"}
		w.reveals(at(0, "leaf", "a"), one, two)
		w.probe.Set(key, Target{Addresses: []string{one}})
		w.after(time.Minute)
		w.probe.Set(other, Target{Addresses: []string{two}})
		w.after(time.Minute)
		if !w.probe.Observation(other).Settled {
			t.Errorf("it sees %+v", w.probe.Observation(other))
		}
	})
}

// TestStop ends attempts in progress and attempts that wait for their turn, and none of them is taken for a failure.
func TestStop(t *testing.T) {
	run(t, 1, func(w *env) {
		w.reveals(at(0, "leaf", "a"), one, two)
		w.probe.Set(key, Target{Addresses: []string{one, two}})
		w.after(31 * time.Second)
		w.expect(t, "before", true, "leaf", nil, 2)
		w.slow(time.Hour, one, two)
		w.after(time.Minute)
		w.stop()
		<-w.stopped
		w.expect(t, "after the end", true, "leaf", nil, 0)
		if _, inProgress := w.count(one); inProgress != 0 {
			t.Errorf("%d attempts are in progress", inProgress)
		}
	})
}

// TestSetBeforeStart is how a controller may begin before the Prober does.
func TestSetBeforeStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Options{})
		p.dial = func(context.Context, string, string) (Handshake, error) { return at(0, "leaf", "a").Handshake, nil }
		p.Set(key, Target{Addresses: []string{one}})
		p.Set(Key{Name: "removed"}, Target{Addresses: []string{two}})
		p.Remove(Key{Name: "removed"})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := p.Start(ctx); err != nil {
			t.Error(err)
		}
		if got := p.Observation(key); !got.Settled {
			t.Errorf("it sees %+v", got)
		}
	})
}

// TestAllAtOnce lets the race detector watch everything being called at once, and then everything settle.
func TestAllAtOnce(t *testing.T) {
	var mu sync.Mutex
	notified := map[Key]int{}
	p := New(Options{Parallel: 4, Notify: func(_ context.Context, k Key) {
		mu.Lock()
		defer mu.Unlock()
		notified[k]++
	}})
	p.dial = func(_ context.Context, address, _ string) (Handshake, error) {
		if address == "down" {
			return Handshake{}, errors.New("connection refused")
		}
		return at(0, "leaf", "a").Handshake, nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan error)
	go func() { stopped <- p.Start(ctx) }()
	var callers sync.WaitGroup
	final := Target{Addresses: []string{one, two}, Interval: time.Millisecond}
	want := map[Key]bool{}
	for i := range 8 {
		k := Key{Name: fmt.Sprint(i % 4)}
		want[k] = true
		callers.Go(func() {
			for n := range 200 {
				p.Set(k, Target{Addresses: []string{one, "down"}[:1+n%2], Interval: time.Millisecond})
				p.Observation(k)
				p.Remove(k)
			}
			p.Set(k, final)
		})
	}
	callers.Wait()
	for len(want) > 0 {
		maps.DeleteFunc(want, func(k Key, _ bool) bool { return p.Observation(k).Settled })
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	for i := range 4 {
		k := Key{Name: fmt.Sprint(i)}
		if notified[k] == 0 {
			t.Errorf("nobody was notified of %v", k)
		}
		if at := p.Observation(k).At; at != at.Round(0) {
			t.Errorf("%v is not by the wall clock alone, as times in objects are", at)
		}
	}
}

package authority

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"clusterpki.io/operator/internal/pki/plan"
)

// slowly reads for a second and tells which read it was.
func slowly(reads *atomic.Int64) func(context.Context) (*Record, error) {
	return func(context.Context) (*Record, error) {
		n := reads.Add(1)
		time.Sleep(time.Second)
		return &Record{Version: string(rune('a' - 1 + n))}, nil
	}
}

// TestNobodyIsServedByAnEarlierRead, and all who wait meanwhile share the next one.
func TestNobodyIsServedByAnEarlierRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s sharedReads[Record]
		var reads atomic.Int64
		var wg sync.WaitGroup
		ask := func(want string, after time.Duration) {
			wg.Go(func() {
				time.Sleep(after)
				if r, err := s.do(t.Context(), "k", slowly(&reads)); err != nil || r.Version != want {
					t.Errorf("who asked after %v is served by read %q, want %q, %v", after, r.Version, want, err)
				}
			})
		}
		ask("a", 0)
		for i := range 100 {
			ask("b", time.Duration(i+1)*5*time.Millisecond)
		}
		ask("c", 1500*time.Millisecond)
		ask("d", 5*time.Second)
		wg.Wait()
		if n := reads.Load(); n != 4 {
			t.Errorf("103 askers took %d reads", n)
		}
		synctest.Wait() // the one who read takes his line away after he has answered
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.lines) != 0 {
			t.Errorf("%d lines are left", len(s.lines))
		}
	})
}

// TestWhoGivesUp is not waited for, and takes the read from nobody else.
func TestWhoGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s sharedReads[Record]
		var reads atomic.Int64
		var wg sync.WaitGroup
		for _, patience := range []time.Duration{100 * time.Millisecond, time.Hour} {
			for range 2 { // the first reads, the second waits for the next read
				impatient, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				wg.Go(func() {
					began := time.Now()
					_, err := s.do(impatient, "k", slowly(&reads))
					if gaveUp := errors.Is(err, context.DeadlineExceeded); gaveUp != (patience < time.Second) || gaveUp && time.Since(began) > patience {
						t.Errorf("with a patience of %v: %v after %v", patience, err, time.Since(began))
					}
				})
				synctest.Wait()
			}
		}
		wg.Wait()
	})
}

// TestKeysAreReadApart: one CA that hangs holds up no other, and no longer than the longest read.
func TestKeysAreReadApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s sharedReads[Record]
		began := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := s.do(t.Context(), "hangs", func(ctx context.Context) (*Record, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			})
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != readTimeout {
				t.Errorf("%v after %v", err, time.Since(began))
			}
		})
		synctest.Wait()
		if _, err := s.do(t.Context(), "other", func(context.Context) (*Record, error) { return nil, nil }); err != nil || time.Since(began) != 0 { //nolint:nilnil // absence is an answer
			t.Errorf("%v after %v", err, time.Since(began))
		}
		wg.Wait()
	})
}

// TestManyReadsAtOnce is for the race detector.
func TestManyReadsAtOnce(t *testing.T) {
	var s sharedReads[Record]
	var version atomic.Int64
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for range 200 {
				before := version.Add(1)
				r, err := s.do(t.Context(), "k", func(context.Context) (*Record, error) {
					return &Record{Ledger: plan.Ledger{Revision: version.Load()}}, nil
				})
				if err != nil || r.Ledger.Revision < before {
					t.Errorf("who saw %d is served %d, %v", before, r.Ledger.Revision, err)
				}
			}
		})
	}
	wg.Wait()
}

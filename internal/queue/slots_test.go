package queue

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
)

// TestSlots has ten workers and two slots: no more than two are busy at a time, those that wait are not among them, and one whose wait is
// over goes on although the others are idle.
func TestSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slots := NewSlots(2)
		q := New(Config[string]{
			Limiter: workqueue.NewTypedItemExponentialFailureRateLimiter[string](time.Second, time.Hour),
			Clock:   clock.RealClock{}, Place: func(string) Place { return Place{} }, Slots: slots,
		})
		var busy, most, together, waiting, done atomic.Int32
		note := func(highest *atomic.Int32, now int32) {
			for {
				if was := highest.Load(); now <= was || highest.CompareAndSwap(was, now) {
					return
				}
			}
		}
		for range 10 {
			go func() {
				for {
					item, _, shutdown := q.GetWithPriority()
					if shutdown {
						return
					}
					note(&most, busy.Add(1))
					time.Sleep(time.Millisecond)
					busy.Add(-1)
					err := slots.Lend(func() error {
						note(&together, waiting.Add(1))
						time.Sleep(time.Second)
						waiting.Add(-1)
						return nil
					})
					if err != nil {
						t.Error(err)
					}
					note(&most, busy.Add(1))
					time.Sleep(time.Millisecond)
					busy.Add(-1)
					done.Add(1)
					q.Done(item)
				}
			}()
		}
		q.Add("alone")
		time.Sleep(2 * time.Second)
		if done.Load() != 1 {
			t.Error("one that waited does not go on while the others are idle")
		}
		for i := range 100 {
			q.Add(string(rune('a' + i)))
		}
		time.Sleep(time.Minute)
		if got := done.Load(); got != 101 {
			t.Errorf("%d items are done", got)
		}
		if got := most.Load(); got != 2 {
			t.Errorf("%d were busy at a time", got)
		}
		if got := together.Load(); got < 8 {
			t.Errorf("%d waited at a time", got)
		}
		q.ShutDown()
		synctest.Wait()
	})
}

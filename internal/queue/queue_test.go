package queue

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/handler"
)

func newQueue() *Queue[string] {
	return New(Config[string]{
		Limiter: workqueue.NewTypedItemExponentialFailureRateLimiter[string](time.Second, time.Hour),
		Clock:   clock.RealClock{}, // the bubble's
		Place:   func(item string) Place { return Place{Namespace: item[:1]} },
	})
}

func in(c Class) priorityqueue.AddOpts { return priorityqueue.AddOpts{Priority: c.Priority()} }

// waits are the items that are handed out until nothing waits.
func waits(q *Queue[string]) []string {
	out := []string{}
	for q.Len() > 0 {
		item, _, _ := q.GetWithPriority()
		out = append(out, item)
		q.Done(item)
	}
	return out
}

func expect(t *testing.T, q *Queue[string], want ...string) {
	t.Helper()
	if got := waits(q); !slices.Equal(got, want) {
		t.Errorf("handed out were %v, not %v", got, want)
	}
}

// TestClassesOfPriorities knows controller-runtime's own priorities.
func TestClassesOfPriorities(t *testing.T) {
	for priority, want := range map[int]Class{0: Urgent, 7: Urgent, -1: Repair, -50: Repair, -51: Mass, handler.LowPriority: Mass, -1000: Mass} {
		if got := classOf(&priority); got != want {
			t.Errorf("priority %d is class %d, not %d", priority, got, want)
		}
	}
	for c := range classes {
		if got := classOf(c.Priority()); got != c {
			t.Errorf("class %d came back as %d", c, got)
		}
	}
	if classOf(nil) != Urgent {
		t.Error("what has no priority is not urgent")
	}
}

// TestHandledOnce keeps what a work queue promises.
func TestHandledOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		defer q.ShutDown()
		q.AddWithOpts(in(Mass), "a1", "b1", "b2")
		q.Add("b2") // it rises
		if item, priority, _ := q.GetWithPriority(); item != "b2" || priority != *Urgent.Priority() {
			t.Fatalf("%s came first, with %d", item, priority)
		}
		q.AddWithOpts(in(Mass), "b2") // while it is handled
		q.AddWithOpts(in(Repair), "b2")
		expect(t, q, "a1", "b1")
		q.Done("b2")
		item, priority, _ := q.GetWithPriority()
		if item != "b2" || priority != *Repair.Priority() {
			t.Errorf("%s came again, with %d", item, priority)
		}
		q.Done("b2")
		expect(t, q)
	})
}

// TestTimers hands out what is to be handled later when its time has come, and not before.
func TestTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		defer q.ShutDown()
		q.AddAfter("a2", 2*time.Minute)
		q.AddWithOpts(priorityqueue.AddOpts{After: time.Minute, Priority: Mass.Priority()}, "a1")
		q.AddAfter("a1", time.Hour) // the earlier time counts, and the higher class
		q.AddRateLimited("b1")
		q.AddRateLimited("b1")
		synctest.Wait()
		expect(t, q)
		time.Sleep(time.Second)
		synctest.Wait()
		expect(t, q, "b1")
		time.Sleep(59 * time.Second)
		synctest.Wait()
		if item, priority, _ := q.GetWithPriority(); item != "a1" || priority != *Urgent.Priority() {
			t.Errorf("%s came, with %d", item, priority)
		}
		q.Done("a1")
		q.Add("a2") // a visit before: whoever makes it sets the next time
		expect(t, q, "a2")
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		expect(t, q)
	})
}

// TestTimerRaises lets a timer of a higher class raise what waits in a lower one.
func TestTimerRaises(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		defer q.ShutDown()
		q.AddAfter("b1", time.Second)
		q.AddWithOpts(in(Mass), "a1", "b1")
		time.Sleep(time.Second)
		synctest.Wait()
		expect(t, q, "b1", "a1")
	})
}

// TestShutDown hands nothing out any more, whatever waits, and wakes who waits for work.
func TestShutDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		ended := make(chan error)
		go func() {
			if _, _, shutdown := q.GetWithPriority(); !shutdown {
				ended <- errors.New("something was handed out")
			}
			close(ended)
		}()
		synctest.Wait()
		q.ShutDown()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		full := newQueue()
		full.Add("a1")
		full.AddAfter("a2", time.Minute)
		full.ShutDown()
		if item, _, shutdown := full.GetWithPriority(); !shutdown {
			t.Errorf("%s was handed out", item)
		}
		full.Add("a3")
		full.AddAfter("a3", time.Second)
	})
}

// TestShutDownWithDrain waits for what is being handled, and lets what waits be handled too.
func TestShutDownWithDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		q.AddWithOpts(in(Urgent), "a1", "a2")
		item, _, _ := q.GetWithPriority()
		drained := make(chan struct{})
		go func() { q.ShutDownWithDrain(); close(drained) }()
		synctest.Wait()
		q.Add("a3") // too late
		select {
		case <-drained:
			t.Error("it did not wait")
		default:
		}
		q.Done(item)
		<-drained
		expect(t, q, "a2")
		if _, _, shutdown := q.GetWithPriority(); !shutdown {
			t.Error("it goes on")
		}
	})
}

// TestWorkers has many workers and many who add: no item is handled by two at once, and each is handled after it was added last.
func TestWorkers(t *testing.T) {
	q := newQueue()
	items := []string{"a1", "a2", "a3", "b1", "b2", "c1"}
	handling, added, seen := map[string]*atomic.Int32{}, map[string]*atomic.Int64{}, map[string]*atomic.Int64{}
	for _, item := range items {
		handling[item], added[item], seen[item] = &atomic.Int32{}, &atomic.Int64{}, &atomic.Int64{}
	}
	var workers, adders sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for {
				item, _, shutdown := q.GetWithPriority()
				if shutdown {
					return
				}
				if handling[item].Add(1) != 1 {
					t.Errorf("%s is handled by two", item)
				}
				seen[item].Store(added[item].Load())
				handling[item].Add(-1)
				q.Done(item)
			}
		})
	}
	for n := range 8 {
		adders.Go(func() {
			for i := range 2000 {
				item := items[(i+n)%len(items)]
				added[item].Add(1)
				q.AddWithOpts(in(Class((i+n)%int(classes))), item)
			}
		})
	}
	adders.Wait()
	q.ShutDownWithDrain()
	workers.Wait()
	for _, item := range items {
		if seen[item].Load() != added[item].Load() {
			t.Errorf("%s was added %d times, and seen at %d", item, added[item].Load(), seen[item].Load())
		}
	}
}

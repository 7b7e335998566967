package queue

import (
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
)

// Queue is a work queue for a controller. What a work queue promises, client-go's keeps: an item is handled by one worker at
// a time, once however often it was added, and again if it was added meanwhile. It adds the order, and times.
type Queue[T comparable] struct {
	*workqueue.Typed[T]
	items   *items[T]
	slots   *Slots
	limiter workqueue.TypedRateLimiter[T]
	clock   clock.WithTicker
	sooner  chan struct{} // that a timer was set which may be the first
	stop    chan struct{}
	once    sync.Once
	ended   atomic.Bool
}

var _ priorityqueue.PriorityQueue[int] = &Queue[int]{}

// Config is what a queue is made from.
type Config[T comparable] struct {
	Name    string // in metrics
	Limiter workqueue.TypedRateLimiter[T]
	Clock   clock.WithTicker
	Place   func(T) Place // of an item; it may ask a cache
	Slots   *Slots        // of those who take items
}

// New makes a queue, and starts its timers. ShutDown ends them.
func New[T comparable](c Config[T]) *Queue[T] {
	i := &items[T]{place: c.Place, wanted: map[T]Class{}, taken: map[T]Class{}}
	q := &Queue[T]{
		Typed: workqueue.NewTypedWithConfig(workqueue.TypedQueueConfig[T]{Name: c.Name, Clock: c.Clock, Queue: i}),
		items: i, slots: c.Slots, limiter: c.Limiter, clock: c.Clock, sooner: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	go q.runTimers()
	return q
}

// AddWithOpts implements priorityqueue.PriorityQueue.
func (q *Queue[T]) AddWithOpts(o priorityqueue.AddOpts, added ...T) {
	class := classOf(o.Priority)
	for _, item := range added {
		after := o.After
		if o.RateLimited {
			if limit := q.limiter.When(item); after == 0 || limit < after {
				after = limit
			}
		}
		if after > 0 {
			q.later(item, class, after)
		} else {
			q.add(item, class)
		}
	}
}

// add queues an item now. It is told its class before the work queue hears of it, and reads it when it is queued: that is now,
// or, where the item is being handled, at the end of that.
func (q *Queue[T]) add(item T, class Class) {
	if q.ShuttingDown() {
		return
	}
	q.items.want(item, class)
	q.Typed.Add(item)
}

func (q *Queue[T]) later(item T, class Class, after time.Duration) {
	if q.ShuttingDown() {
		return
	}
	q.items.setTimer(item, class, q.clock.Now().Add(after))
	select {
	case q.sooner <- struct{}{}:
	default:
	}
}

// Add implements workqueue.TypedInterface.
func (q *Queue[T]) Add(item T) { q.AddWithOpts(priorityqueue.AddOpts{}, item) }

// AddAfter implements workqueue.TypedDelayingInterface.
func (q *Queue[T]) AddAfter(item T, after time.Duration) {
	q.AddWithOpts(priorityqueue.AddOpts{After: after}, item)
}

// AddRateLimited implements workqueue.TypedRateLimitingInterface.
func (q *Queue[T]) AddRateLimited(item T) {
	q.AddWithOpts(priorityqueue.AddOpts{RateLimited: true}, item)
}

// Forget implements workqueue.TypedRateLimitingInterface.
func (q *Queue[T]) Forget(item T) { q.limiter.Forget(item) }

// NumRequeues implements workqueue.TypedRateLimitingInterface.
func (q *Queue[T]) NumRequeues(item T) int { return q.limiter.NumRequeues(item) }

// Get implements workqueue.TypedInterface.
func (q *Queue[T]) Get() (item T, shutdown bool) {
	item, _, shutdown = q.GetWithPriority()
	return item, shutdown
}

// GetWithPriority implements priorityqueue.PriorityQueue. The priority is the one of the item's class: a requeue that says
// nothing else keeps it. After ShutDown nothing is handed out, whatever waits.
func (q *Queue[T]) GetWithPriority() (item T, priority int, shutdown bool) {
	q.slots.ask()
	item, shutdown = q.Typed.Get()
	q.slots.begin(!shutdown)
	if shutdown {
		return item, 0, true
	}
	class := q.items.take(item)
	if q.ended.Load() {
		q.Done(item)
		return *new(T), 0, true
	}
	return item, *class.Priority(), false
}

// Done implements workqueue.TypedInterface.
func (q *Queue[T]) Done(item T) {
	q.Typed.Done(item)
	q.slots.give()
}

// ShutDown implements workqueue.TypedInterface.
func (q *Queue[T]) ShutDown() {
	q.slots.end()
	q.ended.Store(true)
	q.once.Do(func() { close(q.stop) })
	q.Typed.ShutDown()
}

// ShutDownWithDrain implements workqueue.TypedInterface.
func (q *Queue[T]) ShutDownWithDrain() {
	q.slots.end()
	q.once.Do(func() { close(q.stop) })
	q.Typed.ShutDownWithDrain()
}

// runTimers queues each item when its time has come.
func (q *Queue[T]) runTimers() {
	for {
		due, wait := q.items.due(q.clock.Now())
		for _, t := range due {
			q.add(t.item, t.class)
		}
		if len(due) > 0 {
			continue
		}
		var tick <-chan time.Time // nil: never
		stop := func() bool { return true }
		if wait > 0 {
			timer := q.clock.NewTimer(wait)
			tick, stop = timer.C(), timer.Stop
		}
		select {
		case <-tick:
		case <-q.sooner:
			stop()
		case <-q.stop:
			stop()
			return
		}
	}
}

package queue

import (
	"sync"
	"time"
)

// items are what a work queue holds, in their order: it implements workqueue.Queue, whose methods are called under the lock of
// the work queue. What comes from outside has a lock of its own, below that one.
type items[T comparable] struct {
	place func(T) Place
	order order[T] // under the lock of the work queue

	mu     sync.Mutex
	wanted map[T]Class // of what was added, and is not queued in that class yet
	taken  map[T]Class // of what was handed out a moment ago
	timers timers[T]
}

// want notes the class of an item that is about to be added.
func (i *items[T]) want(item T, class Class) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if was, ok := i.wanted[item]; ok {
		class = min(class, was)
	}
	i.wanted[item] = class
}

// takeClass takes the class that an item was added in. There is none where that has been read already, by a visit that began since:
// then it is urgent, in doubt.
func (i *items[T]) takeClass(item T) (Class, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	class, ok := i.wanted[item]
	delete(i.wanted, item)
	return class, ok
}

// Push implements workqueue.Queue.
func (i *items[T]) Push(item T) {
	class, _ := i.takeClass(item)
	i.order.push(item, class, i.place(item))
}

// Touch implements workqueue.Queue: an item that waits was added again.
func (i *items[T]) Touch(item T) {
	if class, ok := i.takeClass(item); ok {
		i.order.raise(item, class)
	}
}

// Len implements workqueue.Queue.
func (i *items[T]) Len() int { return i.order.len() }

// Pop implements workqueue.Queue. A timer of the item ends: whoever handles it sets the next one.
func (i *items[T]) Pop() T {
	item, class := i.order.pop()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.taken[item] = class
	i.timers.remove(item)
	return item
}

// take is the class that an item was handed out in.
func (i *items[T]) take(item T) Class {
	i.mu.Lock()
	defer i.mu.Unlock()
	class := i.taken[item]
	delete(i.taken, item)
	return class
}

func (i *items[T]) setTimer(item T, class Class, at time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.timers.add(item, class, at)
}

// due takes out the timers whose time has come, and says how long it is to the next one; 0: there is none.
func (i *items[T]) due(now time.Time) (due []*timer[T], wait time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	due = i.timers.due(now)
	if at, ok := i.timers.next(); ok {
		wait = at.Sub(now)
	}
	return due, wait
}

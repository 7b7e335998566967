package queue

import (
	"container/heap"
	"time"
)

// timers are items that are to be handled later. Each has one time: the earliest that it was given, in the highest class.
type timers[T comparable] struct {
	heap timerHeap[T]
	of   map[T]*timer[T]
}

type timer[T comparable] struct {
	item  T
	class Class
	at    time.Time
	index int // in the heap
}

func (t *timers[T]) add(item T, class Class, at time.Time) {
	old := t.of[item]
	if old == nil {
		if t.of == nil {
			t.of = map[T]*timer[T]{}
		}
		n := &timer[T]{item: item, class: class, at: at}
		t.of[item] = n
		heap.Push(&t.heap, n)
		return
	}
	old.class = min(old.class, class)
	if at.Before(old.at) {
		old.at = at
		heap.Fix(&t.heap, old.index)
	}
}

func (t *timers[T]) remove(item T) {
	if old := t.of[item]; old != nil {
		heap.Remove(&t.heap, old.index)
		delete(t.of, item)
	}
}

// due takes out those whose time has come.
func (t *timers[T]) due(now time.Time) []*timer[T] {
	var out []*timer[T]
	for len(t.heap) > 0 && !t.heap[0].at.After(now) {
		first := t.heap[0]
		t.remove(first.item)
		out = append(out, first)
	}
	return out
}

// next is the earliest time; ok is false where there is none.
func (t *timers[T]) next() (at time.Time, ok bool) {
	if len(t.heap) == 0 {
		return time.Time{}, false
	}
	return t.heap[0].at, true
}

// timerHeap implements heap.Interface.
type timerHeap[T comparable] []*timer[T]

func (h timerHeap[T]) Len() int           { return len(h) }
func (h timerHeap[T]) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h timerHeap[T]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements heap.Interface.
func (h *timerHeap[T]) Push(x any) {
	t, _ := x.(*timer[T]) // only add calls it
	t.index = len(*h)
	*h = append(*h, t)
}

// Pop implements heap.Interface.
func (h *timerHeap[T]) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return t
}

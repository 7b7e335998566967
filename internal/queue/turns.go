package queue

import "container/list"

// turns are named things that take turns.
type turns[V any] struct {
	order list.List
	named map[string]*list.Element
}

type turn[V any] struct {
	name string
	of   V
}

// get returns what has a name. Where there is none, it is made and comes last.
func (t *turns[V]) get(name string, create func() V) V {
	e := t.named[name]
	if e == nil {
		if t.named == nil {
			t.named = map[string]*list.Element{}
		}
		e = t.order.PushBack(turn[V]{name, create()})
		t.named[name] = e
	}
	return value[V](e).of
}

// first is the one whose turn it is.
func (t *turns[V]) first() (string, V) {
	v := value[V](t.order.Front())
	return v.name, v.of
}

func (t *turns[V]) toEnd(name string) { t.order.MoveToBack(t.named[name]) }

func (t *turns[V]) remove(name string) {
	t.order.Remove(t.named[name])
	delete(t.named, name)
}

func (t *turns[V]) len() int { return t.order.Len() }

func value[V any](e *list.Element) turn[V] {
	v, _ := e.Value.(turn[V]) // nothing else is put there
	return v
}

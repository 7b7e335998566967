package queue

import "container/list"

// Place is where the work for an item belongs.
type Place struct{ Namespace, CA string }

// share is how many items of higher classes are handed out before one of a lower class is: nobody who goes on editing keeps
// what is lower waiting for ever.
const share = 8

// order is what waits to be handed out: in classes, in these by namespaces and then by CAs that take turns, and at last as it
// came. It knows no time and no goroutines.
type order[T comparable] struct {
	lanes  [classes]turns[*turns[*list.List]] // namespaces, CAs, items
	at     map[T]*waiting[T]
	passed [classes]int // how many were handed out of higher classes since something waits
}

// waiting is where an item waits.
type waiting[T comparable] struct {
	item  T
	class Class
	place Place
	entry *list.Element
}

// push adds an item that does not wait, behind what waits already in its place.
func (o *order[T]) push(item T, class Class, place Place) {
	if o.at == nil {
		o.at = map[T]*waiting[T]{}
	}
	w := &waiting[T]{item: item, class: class, place: place}
	cas := o.lanes[class].get(place.Namespace, func() *turns[*list.List] { return &turns[*list.List]{} })
	w.entry = cas.get(place.CA, list.New).PushBack(w)
	o.at[item] = w
}

// raise moves an item that waits in a lower class to a higher one.
func (o *order[T]) raise(item T, class Class) {
	if w := o.at[item]; w != nil && class < w.class {
		o.remove(w)
		o.push(item, class, w.place)
	}
}

func (o *order[T]) remove(w *waiting[T]) {
	lane := &o.lanes[w.class]
	cas := lane.get(w.place.Namespace, nil)
	items := cas.get(w.place.CA, nil)
	items.Remove(w.entry)
	if items.Len() == 0 {
		cas.remove(w.place.CA)
	}
	if cas.len() == 0 {
		lane.remove(w.place.Namespace)
	}
	delete(o.at, w.item)
}

// pop hands out the next item, of which there must be one: its namespace goes to the end of the turn, and so does its CA.
func (o *order[T]) pop() (T, Class) {
	class := o.next()
	lane := &o.lanes[class]
	namespace, cas := lane.first()
	ca, items := cas.first()
	w, _ := items.Front().Value.(*waiting[T]) // nothing else is put there
	cas.toEnd(ca)
	lane.toEnd(namespace)
	o.remove(w)
	return w.item, class
}

// next is the class whose turn it is: the highest in which something waits, unless a lower one was passed over for too long.
func (o *order[T]) next() Class {
	chosen := classes
	for class := range classes {
		switch {
		case o.lanes[class].len() == 0:
		case chosen == classes:
			chosen = class
		case o.passed[class] >= share:
			chosen = class
			o.passed[class] = 0
			return chosen
		default:
			o.passed[class]++
		}
	}
	o.passed[chosen] = 0
	return chosen
}

func (o *order[T]) len() int { return len(o.at) }

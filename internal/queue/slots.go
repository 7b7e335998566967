package queue

import "sync"

// Slots are how many of a controller's workers are busy at a time. One that only waits, for what others have to wait for too, lends
// its slot: the next item is begun meanwhile. Nil bounds nothing.
type Slots struct {
	mu        sync.Mutex
	changed   sync.Cond
	all       int
	busy      int // workers with an item
	idle      int // workers that wait for an item
	returning int // workers whose own wait is over: they go first
	ended     bool
}

// NewSlots makes n of them.
func NewSlots(n int) *Slots {
	s := &Slots{all: n}
	s.changed.L = &s.mu
	return s
}

// ask waits until an item that comes could be begun.
func (s *Slots) ask() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.ended && (s.busy+s.idle >= s.all || s.returning > 0) {
		s.changed.Wait()
	}
	s.idle++
}

// begin waits for a slot for an item that has come: a worker that returned may have taken it meanwhile. ok is false where none came.
func (s *Slots) begin(ok bool) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle--
	if ok {
		s.occupy()
	}
	s.changed.Broadcast()
}

// occupy is under the lock.
func (s *Slots) occupy() {
	for !s.ended && s.busy >= s.all {
		s.changed.Wait()
	}
	s.busy++
}

func (s *Slots) give() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy--
	s.changed.Broadcast()
}

// Lend gives the slot of whoever calls to another worker while wait runs.
func (s *Slots) Lend(wait func() error) error {
	if s == nil {
		return wait()
	}
	s.give()
	err := wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.returning++
	s.occupy()
	s.returning--
	s.changed.Broadcast()
	return err
}

// end lets everybody through: the queue hands out nothing any more.
func (s *Slots) end() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.changed.Broadcast()
}

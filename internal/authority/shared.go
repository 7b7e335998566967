package authority

import (
	"context"
	"sync"
	"time"
)

// readTimeout bounds a read that several wait for: it does not end with the first one's patience.
const readTimeout = 30 * time.Second

// sharedReads let one read serve everybody who was waiting when it began. Nobody is served by one that had begun before:
// it may be older than what he has seen already.
type sharedReads[T any] struct {
	mu    sync.Mutex
	lines map[string]*line[T]
}

// line is one key's: a read is under way, and next is the one that follows, if anybody waits for it.
type line[T any] struct{ next *sharedRead[T] }

type sharedRead[T any] struct {
	done   chan struct{}
	read   func(context.Context) (*T, error)
	record *T
	err    error
}

func (s *sharedReads[T]) do(ctx context.Context, key string, read func(context.Context) (*T, error)) (*T, error) {
	mine := s.join(ctx, key, read)
	select {
	case <-mine.done:
		return mine.record, mine.err
	case <-ctx.Done():
		return nil, ctx.Err() //nolint:wrapcheck // the caller's own
	}
}

// join queues for the next read of a key, and begins it where none is under way.
func (s *sharedReads[T]) join(ctx context.Context, key string, read func(context.Context) (*T, error)) *sharedRead[T] {
	s.mu.Lock()
	defer s.mu.Unlock()
	mine := &sharedRead[T]{done: make(chan struct{}), read: read}
	l, busy := s.lines[key]
	switch {
	case !busy:
		if s.lines == nil {
			s.lines = map[string]*line[T]{}
		}
		s.lines[key] = &line[T]{}
		go s.run(context.WithoutCancel(ctx), key, mine)
	case l.next != nil:
		mine = l.next
	default:
		l.next = mine
	}
	return mine
}

// run reads for those who have joined, and then for those who joined meanwhile.
func (s *sharedReads[T]) run(ctx context.Context, key string, r *sharedRead[T]) {
	for r != nil {
		limited, cancel := context.WithTimeout(ctx, readTimeout)
		r.record, r.err = r.read(limited)
		cancel()
		close(r.done)
		r = s.following(key)
	}
}

func (s *sharedReads[T]) following(key string) *sharedRead[T] {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.lines[key].next
	if next == nil {
		delete(s.lines, key)
		return nil
	}
	s.lines[key].next = nil
	return next
}

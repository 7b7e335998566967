// Package verified remembers what was found true and stays true for ever, such as that a key signed a certificate.
package verified

import (
	"crypto/sha256"
	"sync"
)

// Digest identifies a fact.
type Digest [sha256.Size]byte

// Half is how many facts each half of a Set holds: both together take a megabyte.
const Half = 8192

// Set remembers facts. It is bounded: the older half goes when the younger one is full. The zero value is empty.
type Set struct {
	mu         sync.Mutex
	young, old map[Digest]struct{}
}

// Holds says whether a fact is remembered; one that is asked for stays longer.
func (s *Set) Holds(d Digest) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, young := s.young[d]
	_, old := s.old[d]
	if old && !young {
		s.put(d)
	}
	return young || old
}

// Add remembers a fact.
func (s *Set) Add(d Digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(d)
}

func (s *Set) put(d Digest) {
	if s.young == nil || len(s.young) >= Half {
		s.old, s.young = s.young, map[Digest]struct{}{}
	}
	s.young[d] = struct{}{}
}

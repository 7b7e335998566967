package verified

import (
	"encoding/binary"
	"testing"
)

func digest(i int) Digest {
	var d Digest
	binary.LittleEndian.PutUint64(d[:], uint64(i))
	return d
}

// TestSet remembers what was added last and what is asked for, and no more than it may.
func TestSet(t *testing.T) {
	var s Set
	if s.Holds(digest(0)) {
		t.Error("an empty one holds something")
	}
	for i := range 5 * Half {
		s.Add(digest(i))
		if !s.Holds(digest(i)) || !s.Holds(digest(0)) {
			t.Fatalf("after %d facts one is forgotten", i)
		}
		if n := len(s.young) + len(s.old); n > 2*Half {
			t.Fatalf("%d facts are remembered", n)
		}
	}
	if s.Holds(digest(1)) {
		t.Error("an old fact that nobody asks for is remembered")
	}
}

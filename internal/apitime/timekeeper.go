package apitime

import (
	"time"

	"k8s.io/utils/clock"
)

// Timekeeper tells the API server's time within bounds: Now is the earliest that it may be, and Latest the latest. What is
// stored is the latest, and what is compared with it the earliest, so that no delay is short.
type Timekeeper interface {
	clock.PassiveClock
	Latest() time.Time
}

// Of is a Timekeeper by a clock. One that tells no bounds is taken to be right.
func Of(c clock.PassiveClock) Timekeeper {
	if t, bounded := c.(Timekeeper); bounded {
		return t
	}
	return exact{c}
}

// exact is a clock that is right.
type exact struct{ clock.PassiveClock }

// Latest implements Timekeeper.
func (e exact) Latest() time.Time { return e.Now() }

// Package apitime tells the time by the API server's clock, as the answers to requests show it. Moments that are stored in
// objects are compared by whichever operator runs: the clocks of their machines may differ, and the API server's is one.
package apitime

import (
	"net/http"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// Clock knows the time of the API server between two bounds. Now is the earliest that it may be, and Latest the latest: a delay
// from a Latest that was stored until a Now is never shorter than it should be.
//
// The Date of an answer is cut to the second, and was written between the request and its answer. Each answer narrows the
// bounds, and from one to the next the local monotonic clock counts: whether the machine's date is right plays no part.
type Clock struct {
	local clock.PassiveClock

	mu     sync.Mutex
	known  bool
	at     time.Time // by the local clock, when the bounds were these
	bounds bounds
}

// bounds are the earliest and the latest that it may be by the API server's clock.
type bounds struct{ earliest, latest time.Time }

// New makes a Clock. Until it has seen an answer, it tells the local time.
func New(local clock.PassiveClock) *Clock { return &Clock{local: local} }

// Now is the earliest that it may be.
func (c *Clock) Now() time.Time { return c.now().earliest }

// Latest is the latest that it may be.
func (c *Clock) Latest() time.Time { return c.now().latest }

// Since is the least that has passed since a moment.
func (c *Clock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// Wrap learns the time from the answers to what goes through a transport: it is for rest.Config.Wrap.
func (c *Clock) Wrap(next http.RoundTripper) http.RoundTripper { return learning{next, c} }

type learning struct {
	next  http.RoundTripper
	clock *Clock
}

// RoundTrip implements http.RoundTripper.
func (l learning) RoundTrip(r *http.Request) (*http.Response, error) {
	sent := l.clock.local.Now()
	resp, err := l.next.RoundTrip(r)
	if err == nil && resp.StatusCode < http.StatusInternalServerError { // others may be of a proxy, whose clock it then is
		if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
			l.clock.learn(date, sent, l.clock.local.Now())
		}
	}
	return resp, err //nolint:wrapcheck // a transport hands through what it gets
}

func (c *Clock) now() bounds {
	c.mu.Lock()
	defer c.mu.Unlock()
	local := c.local.Now()
	if !c.known {
		return bounds{local, local}
	}
	return c.after(local)
}

// drift is how much two clocks may differ in speed: one part in so many.
const drift = 1000

// after is what the bounds have become by a local time.
func (c *Clock) after(local time.Time) bounds {
	passed := local.Sub(c.at)
	doubt := passed.Abs() / drift
	return bounds{c.bounds.earliest.Add(passed - doubt), c.bounds.latest.Add(passed + doubt)}
}

// learn takes the Date of an answer into account.
func (c *Clock) learn(date, sent, received time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := bounds{date, date.Add(time.Second + received.Sub(sent))}
	if c.known {
		known := c.after(received)
		narrowed := bounds{later(known.earliest, next.earliest), earlier(known.latest, next.latest)}
		// If the two do not overlap, the API server's clock was set, or this one stood still: what was known is void.
		if !narrowed.earliest.After(narrowed.latest) {
			next = narrowed
		}
	}
	c.known, c.at, c.bounds = true, received, next
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

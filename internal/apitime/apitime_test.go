package apitime_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	testingclock "k8s.io/utils/clock/testing"

	"clusterpki.io/operator/internal/apitime"
)

// server answers with the Date of a clock that is ahead of the local one, after a way there and before a way back.
type server struct {
	local       *testingclock.FakePassiveClock
	ahead       time.Duration
	there, back time.Duration
	status      int
	err         error
}

func (s *server) pass(d time.Duration) { s.local.SetTime(s.local.Now().Add(d)) }

func (s *server) time() time.Time { return s.local.Now().Add(s.ahead) }

func (s *server) RoundTrip(*http.Request) (*http.Response, error) {
	s.pass(s.there)
	defer s.pass(s.back)
	resp := &http.Response{StatusCode: s.status, Header: http.Header{}}
	resp.Header.Set("Date", s.time().UTC().Format(http.TimeFormat))
	return resp, s.err
}

func newServer(ahead time.Duration) (*server, *apitime.Clock, func()) {
	s := &server{
		local: testingclock.NewFakePassiveClock(time.Date(2026, 11, 1, 12, 0, 0, 137e6, time.UTC)), ahead: ahead,
		there: 20 * time.Millisecond, back: 30 * time.Millisecond, status: http.StatusOK,
	}
	c := apitime.New(s.local)
	transport := c.Wrap(s)
	return s, c, func() {
		if resp, err := transport.RoundTrip(&http.Request{}); err == nil && resp.Body != nil {
			resp.Body.Close()
		}
	}
}

// within says that the API server's time is between the bounds, and these no further apart than so much.
func within(t *testing.T, c *apitime.Clock, s *server, width time.Duration) {
	t.Helper()
	now, latest, server := c.Now(), c.Latest(), s.time()
	if now.After(server) || latest.Before(server) || latest.Sub(now) > width {
		t.Errorf("it is %v, and said to be between %v and %v, which is %v", server, now, latest, latest.Sub(now))
	}
}

// TestBounds has a server whose clock is hours off: the bounds hold from the first answer on, each narrows them, and none
// widens them, however long it took.
func TestBounds(t *testing.T) {
	for _, ahead := range []time.Duration{0, 5 * time.Hour, -5 * time.Hour} {
		s, c, ask := newServer(ahead)
		if !c.Now().Equal(s.local.Now()) || !c.Latest().Equal(s.local.Now()) {
			t.Error("without an answer it is not the local time")
		}
		ask()
		within(t, c, s, time.Second+50*time.Millisecond)
		for range 40 {
			s.pass(370 * time.Millisecond)
			ask()
			within(t, c, s, time.Second+60*time.Millisecond)
		}
		within(t, c, s, 150*time.Millisecond)
		s.there, s.back = 4*time.Second, 7*time.Second
		ask()
		within(t, c, s, 200*time.Millisecond)
		s.pass(time.Minute) // nothing is heard
		within(t, c, s, 400*time.Millisecond)
		if got := c.Since(c.Now().Add(-time.Minute)); got != time.Minute {
			t.Errorf("a minute is %v", got)
		}
	}
}

// TestClockIsSet sets the server's clock, or lets the local one stand still: what was known counts no more.
func TestClockIsSet(t *testing.T) {
	for _, by := range []time.Duration{time.Hour, -time.Hour} {
		s, c, ask := newServer(0)
		ask()
		s.ahead += by
		ask()
		within(t, c, s, time.Second+50*time.Millisecond)
	}
}

// TestNoAnswer learns nothing from what the API server did not say.
func TestNoAnswer(t *testing.T) {
	for name, spoil := range map[string]func(*server){
		"no answer": func(s *server) { s.err = errors.New("refused") },
		"a proxy's": func(s *server) { s.status = http.StatusBadGateway },
	} {
		s, c, ask := newServer(0)
		s.there, s.back = 0, 0
		ask()
		s.ahead = time.Hour
		spoil(s)
		ask()
		if c.Latest().Sub(s.local.Now()) > time.Second {
			t.Errorf("%s is believed", name)
		}
	}
}

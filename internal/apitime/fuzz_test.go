package apitime_test

import (
	"net/http"
	"testing"
	"time"

	testingclock "k8s.io/utils/clock/testing"

	"clusterpki.io/operator/internal/apitime"
)

// dated answers with the Dates that it is told, one after another.
type dated struct{ dates []string }

func (d *dated) RoundTrip(*http.Request) (*http.Response, error) {
	resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Date": {d.dates[0]}}}
	d.dates = d.dates[1:]
	return resp, nil
}

// FuzzDate has a clock learn from whatever an API server may answer as its Date, twice: the earliest that it may be is never after the latest, and what is no
// date teaches nothing.
func FuzzDate(f *testing.F) {
	for _, seed := range []string{
		"", "Sun, 01 Nov 2026 12:00:00 GMT", "Sunday, 01-Nov-26 12:00:00 GMT", "Sun Nov  1 12:00:00 2026", "Mon, 01 Jan 0001 00:00:00 GMT",
		"Fri, 31 Dec 9999 23:59:59 GMT", "2026-11-01T12:00:00Z", "Sun, 01 Nov 2026 12:00:00 +0100",
	} {
		f.Add("Sun, 01 Nov 2026 12:00:00 GMT", seed, int32(0))
		f.Add(seed, "Sun, 01 Nov 2026 12:00:00 GMT", int32(3600))
	}
	f.Fuzz(func(t *testing.T, first, second string, later int32) {
		local := testingclock.NewFakePassiveClock(time.Date(2026, 11, 1, 12, 0, 0, 137e6, time.UTC))
		c := apitime.New(local)
		ask := c.Wrap(&dated{[]string{first, second}})
		for _, date := range []string{first, second} {
			before, latest := c.Now(), c.Latest()
			resp, err := ask.RoundTrip(&http.Request{})
			if err != nil {
				t.Fatal(err)
			}
			if resp.Body != nil {
				resp.Body.Close()
			}
			if _, err := http.ParseTime(date); err != nil && (!c.Now().Equal(before) || !c.Latest().Equal(latest)) {
				t.Errorf("%q is no date, and puts the clock from %v to %v", date, before, c.Now())
			}
			if c.Now().After(c.Latest()) {
				t.Errorf("after %q it is at the earliest %v, and at the latest %v", date, c.Now(), c.Latest())
			}
			local.SetTime(local.Now().Add(time.Duration(later) * time.Second))
			if c.Now().After(c.Latest()) {
				t.Errorf("%d s later it is at the earliest %v, and at the latest %v", later, c.Now(), c.Latest())
			}
		}
	})
}

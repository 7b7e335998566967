package dashboard

import (
	"bufio"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	clocktesting "k8s.io/utils/clock/testing"
)

// script is an Access that gives the answers that a test sends it.
type script chan error

func (s script) Admit(context.Context, string, []string) (Viewer, error) {
	err := <-s
	return Viewer{Name: "somebody", Everything: err == nil}, err
}

// TestUnsure: an open stream outlives a time in which nobody can tell whether its viewer may look, but not a long one, and
// not that the answer is no.
func TestUnsure(t *testing.T) {
	away := errors.New("the API server is away")
	for name, c := range map[string]struct {
		answers []error
		later   time.Duration // after the first two events
		want    string
	}{
		"busy":          {[]error{nil, ErrBusy, ErrBusy, nil, ErrUnknown}, 0, "view alive alive alive end"},
		"away":          {[]error{nil, away, away, nil, ErrForbidden}, 0, "view alive alive alive end"},
		"away for long": {[]error{nil, away, away}, maxUnsure, "view alive end"},
		"unknown":       {[]error{nil, ErrUnknown}, 0, "view end"},
		"forbidden":     {[]error{nil, ErrForbidden}, 0, "view end"},
	} {
		t.Run(name, func(t *testing.T) {
			clock, access := clocktesting.NewFakePassiveClock(time.Now()), make(script)
			s, err := New(nil, Options{Address: "127.0.0.1:0", Access: access, Recheck: time.Millisecond, Clock: clock, Log: logr.Discard()})
			if err != nil {
				t.Fatal(err)
			}
			s.hub.now, s.hub.pages = clock.Now(), map[string][]byte{}
			served := httptest.NewServer(s.Handler())
			defer served.Close()
			go func() { access <- c.answers[0] }()
			answer, err := http.Get(served.URL + "/events")
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			var got []string
			for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
				event, ok := strings.CutPrefix(lines.Text(), "event: ")
				if !ok {
					continue
				}
				if got = append(got, event); len(got) == 2 {
					clock.SetTime(clock.Now().Add(c.later))
				}
				if event != "end" && len(got) < len(c.answers) {
					access <- c.answers[len(got)]
				}
			}
			if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

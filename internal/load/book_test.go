package load

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	testingclock "k8s.io/utils/clock/testing"
)

func TestClassify(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want Outcome
	}{
		"none":                     {nil, Answered},
		"unknown authority":        {fmt.Errorf("ask: %w", &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}), Refused},
		"unverified":               {fmt.Errorf("ask: %w", x509.UnknownAuthorityError{}), Refused},
		"an alert":                 {fmt.Errorf("ask: %w", tls.AlertError(42)), Refused},
		"an alert, as text":        {errors.New("ask: remote error: tls: bad certificate"), Refused},
		"no TLS":                   {fmt.Errorf("ask: %w", tls.RecordHeaderError{Msg: "x"}), Refused},
		"unauthorized":             {&statusError{401, ""}, Refused},
		"forbidden":                {fmt.Errorf("ask: %w", &statusError{403, ""}), Refused},
		"a status that names tls:": {&statusError{500, "tls: x509: "}, Failed},
		"server error":             {&statusError{503, ""}, Failed},
		"closed here":              {fmt.Errorf("ask: %w", &net.OpError{Op: "read", Err: net.ErrClosed}), CutOff},
		"closed here, as text":     {errors.New("http2: read tcp 127.0.0.1:1->127.0.0.1:2: use of closed network connection"), CutOff},
		"closed by the peer":       {fmt.Errorf("ask: %w", io.EOF), Failed},
		"half an answer":           {io.ErrUnexpectedEOF, Failed},
		"reset":                    {errors.New("read: connection reset by peer"), Failed},
		"nobody listens":           {errors.New("dial tcp: connect: connection refused"), Failed},
		"HTTP/2 ping":              {errors.New("http2: client connection lost"), Failed},
		"too late":                 {errors.New("context deadline exceeded"), Failed},
	} {
		if got := classify(tc.err); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

func TestPercentile(t *testing.T) {
	var hundred []time.Duration
	for i := range 100 {
		hundred = append(hundred, time.Duration(i+1))
	}
	for _, tc := range []struct {
		sorted []time.Duration
		p      int
		want   time.Duration
	}{
		{nil, 50, 0},
		{hundred[:1], 1, 1}, {hundred[:1], 99, 1},
		{hundred[:2], 50, 1}, {hundred[:2], 51, 2},
		{hundred, 50, 50}, {hundred, 99, 99}, {hundred, 100, 100}, {hundred, 0, 1},
		{hundred[:10], 99, 10},
	} {
		if got := percentile(tc.sorted, tc.p); got != tc.want {
			t.Errorf("the %d. percentile of %d values is %d, want %d", tc.p, len(tc.sorted), got, tc.want)
		}
	}
}

func TestBook(t *testing.T) {
	start := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	c := testingclock.NewFakePassiveClock(start)
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	var log strings.Builder
	b := &book{clock: c, log: &log}
	r, idle := b.row("u", Held), b.row("u", Fresh)
	answer := func(began, ended int) {
		c.SetTime(at(ended))
		r.answered(at(began))
	}
	answer(0, 1)
	r.failed(at(2), Refused, errors.New("no"))
	r.failed(at(4), Failed, errors.New("no"))
	answer(1, 5) // it began before the failure, and says nothing of what is now
	answer(9, 12)
	r.failed(at(20), Refused, errors.New("no"))
	r.cutOff(errors.New("closed"))
	idle.reread()
	c.SetTime(at(25))

	want := Row{
		Identity: "u", Kind: Held, Requests: 6, Refused: 2, Failed: 1, CutOff: 1,
		P50: 3 * time.Second, P99: 4 * time.Second, Max: 4 * time.Second, First: at(2), Last: at(20), Down: 10 * time.Second,
	}
	rows := b.rows()
	if rows[0] != want {
		t.Errorf("the row is\n%+v, want\n%+v", rows[0], want)
	}
	c.SetTime(at(60))
	if got := b.rows()[0].Down; got != 40*time.Second {
		t.Errorf("it has been down for %v", got)
	}
	if total := b.total(); total != (Row{Requests: 6, Refused: 2, Failed: 1, CutOff: 1, Reread: 1}) {
		t.Errorf("in total: %+v", total)
	}
	if got := strings.Count(log.String(), "\n"); got != 4 {
		t.Errorf("%d lines in the log:\n%s", got, log.String())
	}
}

func TestReasons(t *testing.T) {
	b := &book{clock: testingclock.NewFakePassiveClock(time.Time{}), log: io.Discard}
	r := b.row("u", Fresh)
	asked := func(where string) error {
		return fmt.Errorf("ask: %w", &url.Error{Op: "Get", URL: where, Err: x509.UnknownAuthorityError{}})
	}
	r.failed(time.Unix(1, 0), Failed, errSilent)
	r.failed(time.Unix(2, 0), Refused, asked("https://a"))
	r.failed(time.Unix(3, 0), Refused, asked("https://b"))
	want := []Reason{
		{Fresh, Refused, "x509: certificate signed by unknown authority", 2, time.Unix(2, 0)}, {Fresh, Failed, errSilent.Error(), 1, time.Unix(1, 0)},
	}
	if got := b.reasons(); !slices.Equal(got, want) {
		t.Errorf("the reasons are %+v", got)
	}
	for i := range maxReasons {
		r.failed(time.Unix(4, 0), Failed, fmt.Errorf("reason %d", i))
	}
	if got := b.reasons(); len(got) != maxReasons || b.total().Failures() != maxReasons+3 {
		t.Errorf("%d reasons of %d failures", len(got), b.total().Failures())
	}
}

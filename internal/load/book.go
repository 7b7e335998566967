package load

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// Kind is how an identity asks.
type Kind string

// The kinds.
const (
	Fresh Kind = "fresh" // a new connection for each request
	Held  Kind = "held"  // client-go's pool of connections, and a watch
)

// Row counts what one identity asked in one way.
type Row struct {
	Identity string
	Kind     Kind
	Requests int // without retries; opening a watch is one
	Refused  int // failures of TLS or authentication
	Failed   int // other failures
	CutOff   int // cut off by client-go's own reload; retried, or opened again, with success unless it failed then
	// Reread counts pairs of which the certificate was read before a swap of the files and the key after it; they
	// were read again.
	Reread int
	// P50, P99 and Max are latencies of answered requests, with the connection where it is fresh.
	P50, P99, Max time.Duration
	// First and Last are when the first and the last request that failed began.
	First, Last time.Time
	// Down is the longest time from a request that failed to the next that was answered, or to now.
	Down time.Duration
}

// Failures is how many requests failed.
func (r Row) Failures() int { return r.Refused + r.Failed }

// Reason is why requests of one kind failed.
type Reason struct {
	Kind    Kind
	Outcome Outcome
	Text    string // without the address that was asked
	Count   int
	First   time.Time // when the first one began
}

// maxReasons bounds the reasons that are told apart; the log has every failure.
const maxReasons = 100

// book keeps the counts.
type book struct {
	clock clock.PassiveClock
	mu    sync.Mutex
	log   io.Writer
	all   []*row
	why   []Reason
}

// row is a Row in the making. The book's lock guards it.
type row struct {
	book      *book
	counts    Row
	latencies []time.Duration
	down      time.Time // since when nothing was answered; zero while it is
}

func (b *book) row(identity string, kind Kind) *row {
	r := &row{book: b, counts: Row{Identity: identity, Kind: kind}}
	b.all = append(b.all, r)
	return r
}

// answered counts a request that was.
func (r *row) answered(began time.Time) {
	r.book.mu.Lock()
	defer r.book.mu.Unlock()
	now := r.book.clock.Now()
	r.counts.Requests++
	r.latencies = append(r.latencies, now.Sub(began))
	if !r.down.IsZero() && !began.Before(r.down) {
		r.counts.Down = max(r.counts.Down, now.Sub(r.down))
		r.down = time.Time{}
	}
}

// failed counts a request that was not.
func (r *row) failed(began time.Time, outcome Outcome, err error) {
	r.book.mu.Lock()
	defer r.book.mu.Unlock()
	r.counts.Requests++
	if outcome == Refused {
		r.counts.Refused++
	} else {
		r.counts.Failed++
	}
	if r.counts.First.IsZero() || began.Before(r.counts.First) {
		r.counts.First = began
	}
	if began.After(r.counts.Last) {
		r.counts.Last = began
	}
	if r.down.IsZero() {
		r.down = began
	}
	fmt.Fprintf(r.book.log, "%s %s, %s of %s: %v\n", began.UTC().Format(time.RFC3339Nano), outcome, r.counts.Kind, r.counts.Identity, err)
	r.book.reason(r.counts.Kind, outcome, began, err)
}

// reason counts why a request failed.
func (b *book) reason(kind Kind, outcome Outcome, began time.Time, err error) {
	if asked, ok := errors.AsType[*url.Error](err); ok {
		err = asked.Err
	}
	text := err.Error()
	i := slices.IndexFunc(b.why, func(r Reason) bool { return r.Kind == kind && r.Outcome == outcome && r.Text == text })
	if i < 0 {
		if len(b.why) == maxReasons {
			return
		}
		i = len(b.why)
		b.why = append(b.why, Reason{Kind: kind, Outcome: outcome, Text: text, First: began})
	}
	b.why[i].Count++
}

// cutOff counts a request, or a watch, that client-go cut off.
func (r *row) cutOff(err error) {
	r.book.mu.Lock()
	defer r.book.mu.Unlock()
	r.counts.CutOff++
	fmt.Fprintf(r.book.log, "%s cut off by a reload, %s of %s: %v\n",
		r.book.clock.Now().UTC().Format(time.RFC3339Nano), r.counts.Kind, r.counts.Identity, err)
}

// reread counts a pair that was torn.
func (r *row) reread() {
	r.book.mu.Lock()
	defer r.book.mu.Unlock()
	r.counts.Reread++
}

func (b *book) rows() []Row {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]Row, 0, len(b.all))
	for _, r := range b.all {
		counts := r.counts
		if !r.down.IsZero() {
			counts.Down = max(counts.Down, b.clock.Since(r.down))
		}
		sorted := slices.Sorted(slices.Values(r.latencies))
		counts.P50, counts.P99, counts.Max = percentile(sorted, 50), percentile(sorted, 99), percentile(sorted, 100)
		out = append(out, counts)
	}
	return out
}

func (b *book) total() Row {
	b.mu.Lock()
	defer b.mu.Unlock()
	var t Row
	for _, r := range b.all {
		t.Requests += r.counts.Requests
		t.Refused += r.counts.Refused
		t.Failed += r.counts.Failed
		t.CutOff += r.counts.CutOff
		t.Reread += r.counts.Reread
	}
	return t
}

// reasons are the most frequent first.
func (b *book) reasons() []Reason {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := slices.Clone(b.why)
	slices.SortStableFunc(out, func(a, b Reason) int { return b.Count - a.Count })
	return out
}

// percentile is the nearest-rank percentile of sorted values: the smallest one that p percent of them do not
// exceed. 0 for none.
func percentile(sorted []time.Duration, p int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := (len(sorted)*p + 99) / 100
	return sorted[max(rank, 1)-1]
}

package load

import (
	"fmt"
	"io"
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

// Failure is one request that failed.
type Failure struct {
	At       time.Time // when it began
	Identity string
	Kind     Kind
	Outcome  Outcome
	Err      error
}

func (f Failure) String() string {
	return fmt.Sprintf("%s %s of %s: %v", f.Outcome, f.Kind, f.Identity, f.Err)
}

// maxFailures bounds the failures that are kept; the log has all.
const maxFailures = 1000

// book keeps the counts.
type book struct {
	clock clock.PassiveClock
	mu    sync.Mutex
	log   io.Writer
	all   []*row
	first []Failure
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
	f := Failure{At: began, Identity: r.counts.Identity, Kind: r.counts.Kind, Outcome: outcome, Err: err}
	fmt.Fprintf(r.book.log, "%s %s\n", began.UTC().Format(time.RFC3339Nano), f)
	if len(r.book.first) < maxFailures {
		r.book.first = append(r.book.first, f)
	}
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

func (b *book) failures() []Failure {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.first)
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

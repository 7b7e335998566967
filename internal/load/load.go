// Package load puts an API server under the load of its clients' identities, and counts what fails.
//
// Each identity asks in two ways. Fresh: like a process that has just started, each request reads the
// kubeconfig's files and opens a connection of its own. Held: like one that runs for long, client-go's own
// transport keeps one pool of connections, reloads certificate and CA from their files as it does everywhere,
// asks once a second and holds a watch open.
//
// Nothing is retried but what client-go itself cuts off when it reloads its certificate and, where servers are restarted,
// what a server cuts off that ends, once each. client-go's typed clients would hide more: they repeat every GET whose connection breaks.
package load

import (
	"context"
	"io"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// Identity is one client.
type Identity struct {
	Name       string // for people
	Kubeconfig string // a file that names certificate and key, or the file of a token, and the CA by their paths
	Get        string // what it asks for, such as /api/v1/nodes/node1; it must be allowed to
	Watch      string // what it watches, such as /api/v1/services
}

// Options are the settings of a load.
type Options struct {
	Every     time.Duration // between two fresh requests of one identity. Default: 50ms
	HeldEvery time.Duration // between two requests of a held client. Default: 1s
	// Timeout is how long a request may take, after which it has failed. Default: 30s, which a machine may need that
	// runs the whole cluster and more.
	Timeout time.Duration
	// Silence is how long a watch may bring neither an event nor a bookmark, which the API server sends once a
	// minute. Default: 3m.
	Silence time.Duration
	// ServersRestart: servers are restarted while others serve. What a kept connection loses when its server closes it is asked again once, as client-go's
	// clients and informers do, and counts as cut off.
	ServersRestart bool
	Clock          clock.PassiveClock
	Log            io.Writer // gets each failure, one a line; nil: nothing does
}

func (o *Options) setDefaults() {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&o.Every, 50 * time.Millisecond}, {&o.HeldEvery, time.Second}, {&o.Timeout, 30 * time.Second}, {&o.Silence, 3 * time.Minute},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
}

// Load is a running load.
type Load struct {
	book   *book
	cancel context.CancelFunc
	tasks  sync.WaitGroup
}

// Start begins to ask on behalf of all identities, until Stop or the end of ctx.
func Start(ctx context.Context, identities []Identity, o Options) (*Load, error) {
	o.setDefaults()
	ctx, cancel := context.WithCancel(ctx)
	l := &Load{book: &book{clock: o.Clock, log: o.Log}, cancel: cancel}
	for i, id := range identities {
		f := &fresh{Identity: id, Options: o, row: l.book.row(id.Name, Fresh)}
		h, err := newHeld(id, o, l.book.row(id.Name, Held))
		if err != nil {
			l.Stop()
			return nil, err
		}
		// Spread, so that the identities do not all ask in the same moment.
		delay := o.Every * time.Duration(i) / time.Duration(len(identities))
		l.tasks.Go(func() { f.run(ctx, delay) })
		l.tasks.Go(func() { h.run(ctx) })
		l.tasks.Go(func() { h.watchAlways(ctx) })
	}
	return l, nil
}

// Stop ends the load and waits for what is under way, which counts no more.
func (l *Load) Stop() {
	l.cancel()
	l.tasks.Wait()
}

// Rows are the counts so far: for each identity its fresh requests, then its held client's.
func (l *Load) Rows() []Row { return l.book.rows() }

// Total sums all rows up; it has no latencies.
func (l *Load) Total() Row { return l.book.total() }

// Reasons are why requests failed, the most frequent first.
func (l *Load) Reasons() []Reason { return l.book.reasons() }

package probe

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

const (
	// DefaultInterval is how often an address is probed.
	DefaultInterval = 30 * time.Second
	// DefaultParallel is how many attempts are in progress at most.
	DefaultParallel = 32
)

// Key names a target. A types.NamespacedName converts to it.
type Key struct{ Namespace, Name string }

// Target is what to probe.
type Target struct {
	Addresses  []string      // "host:port" of every replica, in any order; an address of several replicas tells nothing
	ServerName string        // what to send as SNI; "": as Dial does
	Interval   time.Duration // from the beginning of one attempt at an address to that of the next; default: DefaultInterval
}

// Options are the settings of a Prober.
type Options struct {
	Clock clock.Clock // default: the system's
	// Notify is called when attempts have changed what Observation returns, but for At; Set and Remove by themselves do not
	// call it. It may call the Prober, holds up the attempts at one address while it blocks, and must return when ctx ends.
	Notify   func(ctx context.Context, key Key)
	Parallel int            // bounds the attempts in progress, over all targets; default: DefaultParallel
	Allow    []netip.Prefix // addresses to connect to that a Dialer refuses otherwise
	// Attempted is called after each attempt with why no handshake came about, nil where one did. It must not block.
	Attempted func(err error)
}

// Prober probes targets at fixed intervals. What it has observed is in memory alone: after a restart it probes again.
type Prober struct {
	clock     clock.Clock
	notify    func(context.Context, Key)
	attempted func(error)
	dial      func(ctx context.Context, address, serverName string) (Handshake, error)
	slots     chan struct{} // holds one for each attempt in progress
	changed   chan struct{} // holds one while Start has to read targets again

	mu      sync.Mutex
	targets map[Key]*watched
}

// watched is a target from one change of it to the next.
type watched struct {
	Target
	key      Key
	attempts map[string][]attempt // the last two at each address, the newest last
	seen     Observation
}

// New makes a Prober; its Start runs it.
func New(o Options) *Prober {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Notify == nil {
		o.Notify = func(context.Context, Key) {}
	}
	if o.Attempted == nil {
		o.Attempted = func(error) {}
	}
	if o.Parallel <= 0 {
		o.Parallel = DefaultParallel
	}
	return &Prober{
		clock: o.Clock, notify: o.Notify, attempted: o.Attempted, dial: Dialer{o.Allow}.Dial,
		slots: make(chan struct{}, o.Parallel), changed: make(chan struct{}, 1), targets: map[Key]*watched{},
	}
}

// Set begins to probe a target. If it changes one, all that was observed of that is dropped; if it
// changes nothing, nothing happens.
func (p *Prober) Set(key Key, t Target) {
	t.Addresses = slices.Compact(slices.Sorted(slices.Values(t.Addresses)))
	if t.Interval <= 0 {
		t.Interval = DefaultInterval
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if old := p.targets[key]; old != nil && old.same(t) {
		return
	}
	p.targets[key] = &watched{Target: t, key: key, attempts: map[string][]attempt{}, seen: settle(t.Addresses, nil)}
	p.wake()
}

func (t Target) same(o Target) bool {
	return slices.Equal(t.Addresses, o.Addresses) && t.ServerName == o.ServerName && t.Interval == o.Interval
}

// Remove ends the attempts at a target.
func (p *Prober) Remove(key Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.targets, key)
	p.wake()
}

// Observation is what is known of a target; nothing is settled of one that is not set.
func (p *Prober) Observation(key Key) Observation {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w := p.targets[key]; w != nil {
		return w.seen
	}
	return settle(nil, nil)
}

// wake lets Start read the targets again.
func (p *Prober) wake() {
	select {
	case p.changed <- struct{}{}:
	default: // it is going to
	}
}

// Start probes until ctx ends, and returns when no attempt is in progress any more. It is called once.
func (p *Prober) Start(ctx context.Context) error {
	var watches sync.WaitGroup
	defer watches.Wait()
	stops := map[*watched]context.CancelFunc{}
	for {
		targets := p.targetsNow()
		for w, stop := range stops {
			if !targets[w] {
				stop()
				delete(stops, w)
			}
		}
		for w := range targets {
			if stops[w] != nil {
				continue
			}
			within, stop := context.WithCancel(ctx)
			stops[w] = stop
			for _, address := range w.Addresses {
				watches.Go(func() { p.watch(within, w, address) })
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-p.changed:
		}
	}
}

func (p *Prober) targetsNow() map[*watched]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make(map[*watched]bool, len(p.targets))
	for _, w := range p.targets {
		out[w] = true
	}
	return out
}

// watch probes one address until ctx ends.
func (p *Prober) watch(ctx context.Context, w *watched, address string) {
	for {
		select {
		case <-ctx.Done():
			return
		case p.slots <- struct{}{}:
		}
		next := p.clock.NewTimer(w.Interval)
		l := attempt{at: p.clock.Now().Round(0)} // without the monotonic reading
		l.Handshake, l.err = p.dial(ctx, address, w.ServerName)
		<-p.slots
		p.attempted(l.err)
		if ctx.Err() == nil && p.record(w, address, l) {
			p.notify(ctx, w.key)
		}
		select {
		case <-ctx.Done():
			next.Stop()
			return
		case <-next.C():
		}
	}
}

// record takes an attempt into account and says whether that changes what is observed. For a target that has been
// changed since, it changes nothing: that is another watched.
func (p *Prober) record(w *watched, address string, l attempt) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := append(w.attempts[address], l)
	w.attempts[address] = last[max(0, len(last)-2):]
	before := w.seen
	w.seen = settle(w.Addresses, w.attempts)
	return !w.seen.equal(before)
}

// Result is the last attempt at one address.
type Result struct {
	Key
	Address string
	At      time.Time // when it began
	Problem string    // why it says nothing; "" where it showed a certificate and client CAs
	// LeafSHA256 is the fingerprint of the certificate that it showed; "" where there was no handshake.
	LeafSHA256 string
}

// Results are the last attempts at all addresses, in no order. An address that was not probed yet has none.
func (p *Prober) Results() []Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []Result
	for key, w := range p.targets {
		for address, attempts := range w.attempts {
			last := attempts[len(attempts)-1]
			out = append(out, Result{Key: key, Address: address, At: last.at, Problem: last.problem(), LeafSHA256: last.LeafSHA256})
		}
	}
	return out
}

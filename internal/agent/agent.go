package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/utils/clock"

	"clusterpki.io/operator/internal/hostdir"
	"clusterpki.io/operator/internal/pki"
)

// Options are what an agent needs beside its configuration.
type Options struct {
	Clock clock.Clock
	Log   logr.Logger
	// System writes the files; nil: the real one.
	System hostdir.System
}

// Agent keeps the files of one host current. What it must remember lies beside the files; what is in here may be lost.
type Agent struct {
	cfg           Config
	objects       []object
	dir           *hostdir.Dir
	keys          keyStore
	clock         clock.Clock
	log           logr.Logger
	run           runner
	store         *store
	leases        leases
	refusals      map[string]refusal
	dated         map[string]datedProblem // by Lease: problems that may pass by themselves
	checks        attempts                // of what is installed
	settled       bool                    // nothing of a swap is left to be done
	reconnect     bool                    // there is a newer credential for the management cluster
	clusters      []*cluster              // the management clusters, in their order
	silence       time.Duration           // how long one may give no answer, where there is another
	from          *cluster                // whose deliveries the store holds
	credentials   credentialStore
	started       time.Time // when it first looked
	reportDue     bool      // there is something to report at once
	due           time.Time // when everything has reloaded its files by itself; zero: as the record says
	blockedReason string    // why nothing at all can be done now
	unrecoverable string    // why what is installed does not work, where nothing did before
	desired       string    // the digest of the files that are issued
	switchedAt    time.Time // since when no earlier service account key signs; zero: none is trusted
	tokens        tokens
	// unverified says, by Lease, why what is installed was not seen in use.
	unverified map[string]string
	logged     map[string]string // what was logged last, by Lease
}

// New makes an agent. It touches nothing.
func New(c Config, o Options) (*Agent, error) {
	objects, err := c.objects()
	if err != nil {
		return nil, err
	}
	owner, err := c.owner()
	if err != nil {
		return nil, fmt.Errorf("owner: %w", err)
	}
	if o.System == nil {
		o.System = hostdir.Real{}
	}
	return &Agent{
		cfg: c, objects: objects, clock: o.Clock, log: o.Log, run: run,
		dir:         hostdir.New(c.Directory, hostdir.Options{Owner: owner, System: o.System}),
		keys:        keyStore{dir: c.StateDirectory, sys: o.System},
		credentials: credentialStore{dir: c.StateDirectory, sys: o.System}, clusters: clustersOf(c), silence: maxSilentCluster,
		store: newStore(), leases: newLeases(c.Host), refusals: map[string]refusal{}, dated: map[string]datedProblem{},
		logged: map[string]string{}, unverified: map[string]string{},
	}, nil
}

const (
	// firstAttempt and lastAttempt bound how soon the management cluster is tried again.
	firstAttempt = time.Second
	lastAttempt  = time.Minute
	// grace is how long readers may be on their way into the files that were replaced.
	grace = time.Second
)

// Run keeps the files current until the context ends. Nothing that goes wrong ends it.
func (a *Agent) Run(ctx context.Context) {
	a.log.Info("Started", "host", a.cfg.Host, "directory", a.cfg.Directory, "objects", len(a.objects))
	a.logKeys()
	var s *session
	defer func() { s.close() }()
	for ctx.Err() == nil {
		var nextDial time.Time
		if s, nextDial = a.connect(ctx, s); ctx.Err() != nil {
			break
		}
		renewal := a.renew(ctx, s)
		next := sooner(sooner(a.nextStep(ctx, s), nextDial), renewal)
		if a.reconnect {
			s.close()
			s, a.reconnect = nil, false
			continue
		}
		a.await(ctx, s, next)
	}
	a.log.Info("Stopped")
}

// logKeys tells, once, which keys never leave this host: a person compares the digests with what the operator asks him to approve.
func (a *Agent) logKeys() {
	keys, err := a.keys.read(a.objects)
	if err != nil {
		a.fail(err)
		return
	}
	for _, o := range a.objects {
		if !o.externalKey() {
			continue
		}
		key, err := pki.ParsePrivateKey(keys[o.lease])
		if err != nil {
			continue // it is told when the request is made
		}
		a.log.Info("Has a key that never leaves this host", "object", o.name, "hostKeySHA256", pki.PublicKeyDigest(key.Public()))
	}
}

// await waits until something changes and then is quiet for a moment, until a time has come, or the context ends.
func (a *Agent) await(ctx context.Context, s *session, next time.Time) {
	var at <-chan time.Time
	if !next.IsZero() {
		timer := a.clock.NewTimer(max(0, next.Sub(a.clock.Now())))
		defer timer.Stop()
		at = timer.C()
	}
	select {
	case <-ctx.Done():
		return
	case <-at:
		return
	case <-s.done():
		return
	case <-a.store.changed:
	}
	for range 10 { // but not for ever
		quiet := a.clock.NewTimer(a.cfg.Quiet.Duration)
		select {
		case <-ctx.Done():
			quiet.Stop()
			return
		case <-quiet.C():
			return
		case <-a.store.changed:
			quiet.Stop()
		}
	}
}

// sooner is the earlier of two times, of which the zero one does not count.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// attempts counts how often in a row something failed.
type attempts struct {
	count int
	next  time.Time
}

func (t *attempts) failed(now time.Time, first, last time.Duration) {
	t.count++
	t.next = now.Add(backoff(t.count, first, last))
}

// datedProblem is a problem, and since when there is one.
type datedProblem struct {
	text  string
	since time.Time
}

// refusal is what did not work when it was tried before it was installed.
type refusal struct {
	version string // of the Secrets that it came from
	text    string
	attempts
}

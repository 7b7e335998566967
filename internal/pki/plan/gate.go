package plan

import (
	"slices"
	"time"
)

// Settling is how long a gate stays shut that has nobody to ask, or whose ledger was restored or rebuilt: the
// objects of its consumers may not be there yet.
const Settling = 10 * time.Minute

// Peer is one consumer of a CA as the gates see it: what it has acknowledged, never what it was sent.
// What is absent counts as not acknowledged.
type Peer struct {
	Name string
	Seed uint32 // its place in the waves
	// Trusts: it verifies others with the CA's bundle. Trust is the ledger's trust revision that it uses.
	Trusts bool
	Trust  int64
	// HasLeaf: it shows a certificate of the CA. Leaf is the generation that signed the one in use, and
	// Issued the one that signed the latest; 0 is none.
	HasLeaf bool
	Leaf    int32
	Issued  int32
	// Adrift: nothing will ever change it. A gate waits for it until a person has removed it; a wave doesn't.
	Adrift bool
	// Note is, in a word, why it has not acknowledged; "" where that is not known.
	Note string
}

// pending is how a gate names it.
func (p Peer) pending() string {
	if p.Note == "" {
		return p.Name
	}
	return p.Name + " (" + p.Note + ")"
}

// of says whether the peer uses a certificate of a generation, and will go on doing so.
func (p Peer) of(g Generation) bool { return p.Leaf == g.Number && p.Issued == g.Number }

// Seen is what a step is decided from, read when it is decided.
type Seen struct {
	// Stored are the generations whose Secret was read back and holds what the ledger says.
	Stored map[int32]bool
	Peers  []Peer
	// Created is when the object that holds the ledger was created.
	Created time.Time
}

// Gate is what a phase waits for.
type Gate struct {
	Name         Phase
	Acknowledged int
	Required     int
	Pending      []string // names, in order
	// Settling says that it also waits for consumers that may not be there yet.
	Settling bool
}

// Open says whether nothing is pending.
func (g Gate) Open() bool { return g.Acknowledged == g.Required && !g.Settling }

// gates are the questions that must be answered with yes by every consumer before a phase ends.
type gates struct {
	stored, trusted, reissued, withdrawn bool
}

// allGates is what the operator runs with. A test takes single ones away to show that each is needed.
var allGates = gates{true, true, true, true}

// GateOf is the gate of the present phase.
func (l Ledger) GateOf(now time.Time, seen Seen) Gate { return l.gate(now, seen, allGates) }

func (l Ledger) gate(now time.Time, seen Seen, on gates) Gate {
	g := Gate{Name: l.Phase()}
	switch g.Name {
	case Completed:
		return g
	case Preparing:
		if next := l.in(Staged); next != nil {
			g.ask("Secret/"+next.SecretName, seen.has(*next, on))
		}
		return g
	default:
	}
	for _, p := range seen.Peers {
		if asked, ok := l.question(g.Name, p, on); asked {
			g.ask(p.pending(), ok)
		}
	}
	slices.Sort(g.Pending)
	g.Settling = l.settling(now, seen, g)
	return g
}

// settling says whether consumers may yet appear: nobody is there, the ledger was rebuilt, or it is older than the object
// that holds it, and so was brought back together with them.
func (l Ledger) settling(now time.Time, seen Seen, g Gate) bool {
	switch {
	case l.Cause == LedgerRebuilt && now.Before(l.Started.Add(Settling)):
		return true
	case seen.Created.After(l.Since):
		return now.Before(seen.Created.Add(Settling))
	default:
		return g.Required == 0 && now.Before(l.Since.Add(Settling))
	}
}

// question is what a phase asks one consumer, and the answer.
func (l Ledger) question(phase Phase, p Peer, on gates) (asked, ok bool) {
	signing, _ := l.Signing()
	switch phase {
	case DistributingTrust:
		return p.Trusts, p.Trust >= l.TrustRevision || !on.trusted
	case Reissuing:
		return p.HasLeaf, p.of(signing) || !on.reissued
	case WithdrawingTrust:
		ok = !p.Trusts || p.Trust >= l.TrustRevision
		if l.Emergency { // nobody was asked before
			return p.Trusts || p.HasLeaf, ok && (!p.HasLeaf || p.of(signing))
		}
		return p.Trusts, ok || !on.withdrawn
	default:
		return false, true
	}
}

func (g *Gate) ask(name string, ok bool) {
	g.Required++
	if ok {
		g.Acknowledged++
		return
	}
	g.Pending = append(g.Pending, name)
}

// has says whether a generation's key is there.
func (s Seen) has(g Generation, on gates) bool { return s.Stored[g.Number] || !on.stored }

// Everyone is the wave that lets all leaves be issued again.
const Everyone = 1 << 32

// Admits says whether the leaf of this seed may be issued again, where its certificate is of a generation that
// no longer signs and is still trusted.
func (l Ledger) Admits(seed uint32) bool { return l.in(Retiring) == nil || uint64(seed) < l.Wave }

// admit lets as many further leaves be issued again as may be on their way at one time.
func (l Ledger) admit(limit int, seen Seen) (Ledger, Transition) {
	signing, _ := l.Signing()
	flying, waiting := 0, []uint32{}
	for _, p := range seen.Peers {
		switch {
		case !p.HasLeaf || p.Adrift || p.of(signing):
		case l.Admits(p.Seed) || p.Issued == signing.Number:
			flying++
		default:
			waiting = append(waiting, p.Seed)
		}
	}
	free := limit - flying
	if limit <= 0 {
		free = len(waiting)
	}
	wave := l.Wave
	switch slices.Sort(waiting); {
	case free >= len(waiting):
		wave = Everyone
	case free > 0:
		wave = uint64(waiting[free-1]) + 1
	}
	if wave == l.Wave {
		return l, Nothing
	}
	l = l.edited(false)
	l.Wave = wave
	return l, Admit
}

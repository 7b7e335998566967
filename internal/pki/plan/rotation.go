package plan

import (
	"cmp"
	"slices"
	"time"
)

// Want is what a CA's spec asks of its generations.
type Want struct {
	RequestHash string
	Trigger     string // rotation.revision: any change of it asks for a new generation
	Due         bool   // the signing generation has reached its renewal time
	Emergency   bool   // the present key is compromised: no overlap
}

// Peer is one consumer of a CA as the gates see it: what it has acknowledged, never what it was sent.
// What is absent counts as not acknowledged.
type Peer struct {
	Name string
	// Trusts: it verifies others with the CA's bundle. Trust is the ledger's trust revision that it uses.
	Trusts bool
	Trust  int64
	// HasLeaf: it shows a certificate of the CA. Leaf is the generation that signed the one in use, and
	// Issued the one that signed the latest; 0 is none.
	HasLeaf bool
	Leaf    int32
	Issued  int32
}

// Seen is what a step is decided from, read when it is decided.
type Seen struct {
	// Stored are the generations whose Secret was read back and holds what the ledger says.
	Stored map[int32]bool
	Peers  []Peer
}

// Phase names where a rotation stands.
type Phase string

// The phases, in order.
const (
	Completed         Phase = "Completed"
	Preparing         Phase = "Preparing"
	DistributingTrust Phase = "DistributingTrust"
	Reissuing         Phase = "Reissuing"
	WithdrawingTrust  Phase = "WithdrawingTrust"
)

// Phase follows from the states alone.
func (l Ledger) Phase() Phase {
	switch {
	case l.in(Staged) != nil:
		return Preparing
	case l.in(Trusted) != nil:
		return DistributingTrust
	case l.in(Retiring) != nil:
		return Reissuing
	case l.in(Withdrawn) != nil:
		return WithdrawingTrust
	default:
		return Completed
	}
}

// Gate is what a phase waits for.
type Gate struct {
	Name         Phase
	Acknowledged int
	Required     int
	Pending      []string // names, in order
}

// Open says whether nothing is pending.
func (g Gate) Open() bool { return g.Acknowledged == g.Required }

// gates are the questions that must be answered with yes by every consumer before a phase ends.
type gates struct {
	stored, trusted, reissued, withdrawn bool
}

// allGates is what the operator runs with. A test takes single ones away to show that each is needed.
var allGates = gates{true, true, true, true}

// GateOf is the gate of the present phase.
func (l Ledger) GateOf(seen Seen) Gate { return l.gate(seen, allGates) }

func (l Ledger) gate(seen Seen, on gates) Gate {
	g := Gate{Name: l.Phase()}
	if g.Name == Preparing {
		next := l.in(Staged)
		g.ask(next.SecretName, seen.Stored[next.Number] || !on.stored)
		return g
	}
	for _, p := range seen.Peers {
		if asked, ok := l.question(g.Name, p, on); asked {
			g.ask(p.Name, ok)
		}
	}
	slices.Sort(g.Pending)
	return g
}

// question is what a phase asks one consumer, and the answer.
func (l Ledger) question(phase Phase, p Peer, on gates) (asked, ok bool) {
	signing, _ := l.Signing()
	switch phase {
	case DistributingTrust:
		return p.Trusts, p.Trust >= l.TrustRevision || !on.trusted
	case Reissuing:
		return p.HasLeaf, p.Leaf == signing.Number && p.Issued == signing.Number || !on.reissued
	case WithdrawingTrust:
		return p.Trusts, p.Trust >= l.TrustRevision || !on.withdrawn
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

// Transition names a step of the ledger.
type Transition string

// The transitions. Each is one write of the ledger.
const (
	Nothing   Transition = ""
	Stage     Transition = "Stage"     // a new generation is needed: make its key, then enter it as Staged
	Publish   Transition = "Publish"   // into the bundle
	Switch    Transition = "Switch"    // the new one signs
	Withdraw  Transition = "Withdraw"  // the old one leaves the bundle
	Forget    Transition = "Forget"    // the old key is deleted
	Abort     Transition = "Abort"     // the new one is not wanted any more, and nothing was signed with it
	Supersede Transition = "Supersede" // without overlap: the new one signs and is trusted alone
)

// Step returns the ledger after the one transition that is due now, or Nothing. For Stage the caller has
// to make the generation and enter it by Ledger.Add; every other transition is the returned ledger.
func (l Ledger) Step(now time.Time, w Want, seen Seen) (Ledger, Transition) {
	next, t := l.step(w, seen, allGates)
	if t != Nothing && t != Stage {
		next.Since = now.UTC().Truncate(time.Second)
	}
	return next, t
}

func (l Ledger) step(w Want, seen Seen, on gates) (Ledger, Transition) {
	open := l.gate(seen, on).Open()
	if next := cmp.Or(l.in(Staged), l.in(Trusted)); next != nil {
		return l.advance(*next, w, open)
	}
	signing, _ := l.Signing()
	retiring, withdrawn := l.in(Retiring) != nil, l.in(Withdrawn)
	switch {
	case retiring && (open || w.Emergency):
		return l.withdraw(), Withdraw
	case retiring:
		return l, Nothing
	case withdrawn != nil && open:
		return l.drop(withdrawn.Number), Forget
	case withdrawn != nil && !w.Emergency:
		return l, Nothing
	case !signing.answers(w) || w.Due:
		return l, Stage
	default:
		return l, Nothing
	}
}

// advance is the step of a generation that does not sign yet.
func (l Ledger) advance(next Generation, w Want, open bool) (Ledger, Transition) {
	switch {
	case !next.answers(w), next.State == Staged && !open:
		return l.abort(next), Abort // a key that is gone before it was published is no loss: another one is made
	case w.Emergency && (next.State == Trusted || open):
		return l.supersede(next.Number), Supersede
	case next.State == Staged && open:
		return l.publish(next.Number), Publish
	case next.State == Trusted && open:
		return l.switchTo(next.Number), Switch
	default:
		return l, Nothing
	}
}

// answers says whether a generation is what the spec asks for.
func (g Generation) answers(w Want) bool {
	return g.RequestHash == w.RequestHash && g.Trigger == w.Trigger
}

// Names says whether a generation is in the ledger.
func (l Ledger) Names(number int32) bool {
	return slices.ContainsFunc(l.Generations, func(g Generation) bool { return g.Number == number })
}

// Add enters a new generation, whose key is stored already, as Staged.
func (l Ledger) Add(now time.Time, g Generation) Ledger {
	l = l.edited(false)
	g.State = Staged
	l.Generations = append(l.Generations, g)
	l.Last = max(l.Last, g.Number)
	l.Since = now.UTC().Truncate(time.Second)
	return l
}

// NextNumber is the number of the next generation. Numbers are never used again, because the name of a
// generation follows from its number.
func (l Ledger) NextNumber() int32 {
	last := l.Last
	for _, g := range l.Generations {
		last = max(last, g.Number)
	}
	return last + 1
}

// edited is a copy to change, one revision on. With trust, the bundle changes too.
func (l Ledger) edited(trust bool) Ledger {
	l.Generations = slices.Clone(l.Generations)
	l.Revision++
	if trust {
		l.TrustRevision = l.Revision
	}
	return l
}

func (l Ledger) publish(number int32) Ledger {
	l = l.edited(true)
	l.set(number, Trusted)
	return l
}

func (l Ledger) switchTo(number int32) Ledger {
	l = l.edited(false)
	l.set(l.in(Signing).Number, Retiring)
	l.set(number, Signing)
	return l
}

func (l Ledger) withdraw() Ledger {
	l = l.edited(true)
	l.set(l.in(Retiring).Number, Withdrawn)
	return l
}

func (l Ledger) supersede(number int32) Ledger {
	l = l.edited(true)
	l.set(l.in(Signing).Number, Withdrawn)
	l.set(number, Signing)
	return l
}

// abort gives up a generation that never signed. Where it was published, its key outlives its trust, as any.
func (l Ledger) abort(g Generation) Ledger {
	if g.State == Staged {
		return l.drop(g.Number)
	}
	l = l.edited(true)
	l.set(g.Number, Withdrawn)
	return l
}

// drop takes a generation that is not in the bundle out of the ledger.
func (l Ledger) drop(number int32) Ledger {
	i := slices.IndexFunc(l.Generations, func(g Generation) bool { return g.Number == number })
	l = l.edited(false)
	l.Last = max(l.Last, number)
	l.Generations = slices.Delete(l.Generations, i, i+1)
	return l
}

// in returns the generation in a state, the first of several; nil for none.
func (l Ledger) in(s State) *Generation {
	i := slices.IndexFunc(l.Generations, func(g Generation) bool { return g.State == s })
	if i < 0 {
		return nil
	}
	return &l.Generations[i]
}

func (l Ledger) set(number int32, s State) {
	i := slices.IndexFunc(l.Generations, func(g Generation) bool { return g.Number == number })
	l.Generations[i].State = s
}

package plan

import (
	"cmp"
	"slices"
	"time"
)

// Settling is how long a gate stays shut that has nobody to ask, or whose ledger was restored: the objects of its
// consumers may not be there yet.
const Settling = 10 * time.Minute

// Consumer is one consumer of a CA as the gates see it: what it is proved to use, never what it was sent.
// What is absent counts as not proved.
type Consumer struct {
	Kind, Name, Host string
	Seed             uint32 // its place in the waves
	// RelyingParty: it verifies others with the CA's bundle. Trusts: it uses the present one.
	RelyingParty bool
	Trusts       bool
	// HasLeaf: it presents a certificate of the CA. Leaf is the generation that signed the one in use, and
	// Issued the one that signed the latest; 0 is none.
	HasLeaf bool
	Leaf    int32
	Issued  int32
	// Mounted: what its Secrets hold, which is then what Trusts and Leaf say, counts as in use after Delay. Changed is when they
	// last changed or, where one is missing, now.
	Mounted bool
	Delay   time.Duration
	Changed time.Time
	// Proved: what it serves was seen on the wire, so that nothing is assumed of it although it is Mounted.
	Proved bool
	// AcceptsAssumed: a person lets what is assumed of it count for the withdrawal.
	AcceptsAssumed bool
	// Denied: what was seen on the wire is not what its Secrets hold.
	Denied bool
	// Orphaned: nothing will ever change it. A gate waits for it until a person has removed it; a wave does not.
	Orphaned bool
	// Reason is why it has not acknowledged; "" where nothing is missing but what the fields above say. Since is when that began.
	Reason string
	Since  time.Time
}

// of says whether the consumer presents a certificate of a generation, and will go on doing so.
func (c Consumer) of(g Generation) bool { return c.Leaf == g.Number && c.Issued == g.Number }

// Observation is what a step is decided from, read when it is decided.
type Observation struct {
	Consumers []Consumer
	// Turns are those of the hosts on which something restarts for another bundle, in the order of their names.
	Turns []Turn
	// Created is when the object that holds the ledger was created.
	Created time.Time
	// Latest is the latest that it may have been when all this was read: a clock is known within bounds, and decisions are made
	// from the earliest. It is what is stored, so that no delay is short; zero: as the time of the decision.
	Latest time.Time
}

// stored is the moment that is stored of a decision made at now.
func (o Observation) stored(now time.Time) time.Time {
	if o.Latest.After(now) {
		return o.Latest
	}
	return now
}

// Gate is what a phase waits for.
type Gate struct {
	Phase        Phase
	Acknowledged int
	// Assumed is how many have acknowledged nothing, and count by the time that has passed.
	Assumed  int
	Required int
	Pending  []Consumer // in the order of kinds and names
	// Unaccepted are those for whom the withdrawal waits once nothing is pending: what is assumed of them nobody has accepted.
	Unaccepted []Consumer
	// Settling says that it also waits for consumers that may not be there yet.
	Settling bool
}

// Open says whether nothing is pending.
func (g Gate) Open() bool { return len(g.Pending) == 0 && !g.Settling }

// ReasonPropagating is of a consumer whose mounted Secrets hold what they should, for less than its delay.
const ReasonPropagating = "Propagating"

// LongestWrite bounds how long the operator waits for a write: what a Secret is noted to hold since a moment, it has held no
// later than that after it.
const LongestWrite = 2 * time.Minute

// gates are the questions that must be answered with yes by every consumer before a phase ends.
type gates struct {
	trusted, reissued, withdrawn bool
	// assumed: before the withdrawal a person accepts what is only assumed.
	assumed bool
}

// allGates is what the operator runs with. A test takes single ones away to show that each is needed.
var allGates = gates{true, true, true, true}

// GateOf is the gate of the present phase.
func (l Ledger) GateOf(now time.Time, observation Observation) Gate {
	return l.gate(now, observation, allGates)
}

func (l Ledger) gate(now time.Time, observation Observation, on gates) Gate {
	g := Gate{Phase: l.Phase()}
	if g.Phase == Completed {
		return g
	}
	for _, c := range observation.Consumers {
		asked, right := l.question(g.Phase, c)
		if !asked {
			continue
		}
		ok := right && !c.Denied
		if ok && c.Mounted && !l.inUse(now, c) {
			c.Reason, ok = ReasonPropagating, false
		}
		g.ask(c, ok || !on.asks(g.Phase))
	}
	if on.assumed && l.withdraws(now) {
		g.Unaccepted = unaccepted(observation)
	}
	inOrder(g.Pending)
	inOrder(g.Unaccepted)
	g.Settling = l.settling(now, observation, g)
	return g
}

func inOrder(of []Consumer) {
	slices.SortFunc(of, func(a, b Consumer) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name)) })
}

func (g *Gate) ask(c Consumer, ok bool) {
	g.Required++
	switch {
	case !ok:
		g.Pending = append(g.Pending, c)
	case c.assumed():
		g.Assumed++
	default:
		g.Acknowledged++
	}
}

func (on gates) asks(p Phase) bool {
	return p == DistributingTrust && on.trusted || p == Reissuing && on.reissued || p == WithdrawingTrust && on.withdrawn
}

// settling says whether consumers may yet appear: nobody is there, or the ledger is older than the object that holds it,
// and so was restored together with them.
func (l Ledger) settling(now time.Time, observation Observation, g Gate) bool {
	if observation.Created.After(l.Since) {
		return !l.Restored(now, observation).IsZero()
	}
	return g.Required == 0 && now.Before(l.Since.Add(Settling))
}

// Restored is until when consumers may be missing because the ledger was restored just now, with them or before them; zero: it
// was not. It is older than the object that holds it.
func (l Ledger) Restored(now time.Time, observation Observation) time.Time {
	if until := observation.Created.Add(Settling); observation.Created.After(l.Since) && now.Before(until) {
		return until
	}
	return time.Time{}
}

// Asks says whether a phase waits for a consumer. An emergency asks everybody at once: nobody was asked before.
func (p Phase) Asks(c Consumer, emergency bool) bool {
	switch p {
	case DistributingTrust:
		return c.RelyingParty
	case Reissuing:
		return c.HasLeaf
	case WithdrawingTrust:
		return c.RelyingParty || emergency && c.HasLeaf
	default:
		return false
	}
}

// question is what a phase asks one consumer, and whether what is known of it is right.
func (l Ledger) question(phase Phase, c Consumer) (asked, right bool) {
	active, _ := l.Active()
	emergency := l.Rotation != nil && l.Rotation.Emergency
	asked = phase.Asks(c, emergency)
	switch phase {
	case DistributingTrust:
		return asked, c.Trusts
	case Reissuing:
		return asked, c.of(active)
	default:
		right = !c.RelyingParty || c.Trusts
		return asked, right && (!emergency || !c.HasLeaf || c.of(active))
	}
}

// inUse says whether what the mounted Secrets of a consumer hold counts as in use: its delay has passed since they were seen
// to be right. That was when all that are waited for were, or when they last changed, if that was later; and no later than the
// longest write after they changed, whatever others do.
func (l Ledger) inUse(now time.Time, c Consumer) bool {
	if l.Phase() == Reissuing {
		if uint64(c.Seed) < l.Settled && !now.Before(c.Changed.Add(c.Delay)) { // unless it was repaired since
			return true
		}
		if !l.Admits(c.Seed) { // its turn comes, whatever its Secret holds by chance
			return false
		}
	}
	since := c.Changed.Add(LongestWrite)
	if !l.Arrival.IsZero() && l.Arrival.Before(since) {
		since = l.Arrival
	}
	if c.Changed.After(since) {
		since = c.Changed
	}
	return !now.Before(since.Add(c.Delay))
}

// arrive records when the mounted Secrets that the phase, or the wave, waits for are seen to hold what they should, or that
// one of them no longer does: the delay begins anew. One that came, or was made anew, after that moment has a delay of its
// own, and starts no other's anew. Before that, the next host has its turn.
func (l Ledger) arrive(now time.Time, observation Observation) (Ledger, Transition) {
	if next := l.nextTurn(observation.Turns); next != l.Turn {
		l.Revision++
		l.Turn = next
		return l, GiveTurn
	}
	phase, mounted, right := l.Phase(), false, true
	for _, c := range observation.Consumers {
		asked, ok := l.question(phase, c)
		if !asked || !c.Mounted || phase == Reissuing && !l.Admits(c.Seed) {
			continue
		}
		mounted = true
		right = right && (ok || !l.Arrival.IsZero() && c.Changed.After(l.Arrival))
	}
	if !mounted || right == !l.Arrival.IsZero() {
		return l, Nothing
	}
	l.Revision++
	if right {
		l.Arrival = second(observation.stored(now))
	} else {
		l.Arrival, l.Settled = time.Time{}, 0
	}
	return l, Arrive
}

// Everyone is the wave that lets all leaves be re-issued.
const Everyone = 1 << 32

// Admits says whether the leaf of this seed may be re-issued, where its certificate is of a generation that
// is no longer active and is still trusted.
func (l Ledger) Admits(seed uint32) bool { return l.in(Retiring) == nil || uint64(seed) < l.Wave }

// reissue lets as many further leaves be re-issued as may be on their way at one time. The next wave does not begin
// while mounted Secrets of this one are on their way: the delay would begin anew for them.
func (l Ledger) reissue(now time.Time, limit int, observation Observation) (Ledger, Transition) {
	gate := l.gate(now, observation, allGates)
	pending := func(c Consumer) bool {
		return slices.ContainsFunc(gate.Pending, func(p Consumer) bool { return p.Kind == c.Kind && p.Name == c.Name })
	}
	active, _ := l.Active()
	flying, waiting, mounted := 0, []uint32{}, false
	for _, c := range observation.Consumers {
		switch {
		case !c.HasLeaf || c.Orphaned || !pending(c):
		case l.Admits(c.Seed) || c.Issued == active.Number && !c.Mounted:
			flying++
			mounted = mounted || c.Mounted && !c.Denied
		default:
			waiting = append(waiting, c.Seed)
		}
	}
	wave := l.nextWave(limit-flying, limit <= 0, waiting)
	if mounted || wave == l.Wave {
		return l.arrive(now, observation)
	}
	l.Revision++
	l.Settled, l.Wave, l.Arrival = l.Wave, wave, time.Time{}
	return l, Admit
}

// nextWave is the wave that lets so many more leaves be re-issued; without a limit, all.
func (l Ledger) nextWave(free int, unlimited bool, waiting []uint32) uint64 {
	switch slices.Sort(waiting); {
	case unlimited, free >= len(waiting):
		return Everyone
	case free > 0:
		return uint64(waiting[free-1]) + 1
	default:
		return l.Wave
	}
}

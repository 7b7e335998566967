package plan

import (
	"cmp"
	"slices"
	"time"
)

// Cause is why a CA is replaced.
type Cause string

// The causes.
const (
	SpecChanged     Cause = "SpecChanged"     // the spec, or an imported CA, is another
	RevisionChanged Cause = "RevisionChanged" // rotation.revision is another
	CARenewalDue    Cause = "RenewalDue"      // the renewal time has come
	ParentReplaced  Cause = "ParentReplaced"  // the CA above signs with another key
	LedgerRebuilt   Cause = "LedgerRebuilt"   // the ledger was lost in the middle of a replacement, or between two
)

// RotationCauses are all of them.
var RotationCauses = []Cause{SpecChanged, RevisionChanged, CARenewalDue, ParentReplaced, LedgerRebuilt}

// Want is what a CA's spec asks of its generations.
type Want struct {
	RequestHash string
	Trigger     string // rotation.revision: any change of it asks for a new generation
	Due         Cause  // why the signing generation must be replaced although the spec is the same; "": it need not
	Emergency   bool   // the present key is compromised: no overlap
	// MaxUnavailable is how many leaves may be issued again and not acknowledged at one time; 0: any number.
	MaxUnavailable int
	// Spent: the generation that is to sign next has grown so old meanwhile that it would have to be replaced itself.
	Spent bool
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

// Phases are all of them.
var Phases = []Phase{Completed, Preparing, DistributingTrust, Reissuing, WithdrawingTrust}

// Phase follows from the states alone.
func (l Ledger) Phase() Phase {
	switch {
	case l.in(Staged) != nil || l.in(Abandoned) != nil:
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

// Route is the generation that is being replaced, and the one that takes its place; 0 for none.
func (l Ledger) Route() (from, to int32) {
	signing, _ := l.Signing()
	next := cmp.Or(l.in(Staged), l.in(Abandoned), l.in(Trusted))
	was := cmp.Or(l.in(Retiring), l.in(Withdrawn))
	switch {
	case next != nil:
		return signing.Number, next.Number
	case was != nil:
		return was.Number, signing.Number
	default:
		return 0, 0
	}
}

// Transition names a step of the ledger.
type Transition string

// The transitions. Each is one write of the ledger.
const (
	Nothing   Transition = ""
	Stage     Transition = "Stage"     // a new generation is needed: make its key, then enter it as Staged
	Publish   Transition = "Publish"   // into the bundle
	Switch    Transition = "Switch"    // the new one signs
	Admit     Transition = "Admit"     // more leaves may be issued again
	Withdraw  Transition = "Withdraw"  // the old one leaves the bundle
	Forget    Transition = "Forget"    // the old key is deleted
	Abort     Transition = "Abort"     // the new one is not wanted any more, or lost, and nothing was signed with it
	Supersede Transition = "Supersede" // without overlap: the new one signs and is trusted alone
	Renew     Transition = "Renew"     // the same key with new dates: the new one signs and is trusted alone
)

// Step returns the ledger after the one transition that is due now, or Nothing. For Stage the caller has
// to make the generation and enter it by Ledger.Add; every other transition is the returned ledger.
func (l Ledger) Step(now time.Time, w Want, seen Seen) (Ledger, Transition) {
	return l.step(now, w, seen, allGates)
}

func (l Ledger) step(now time.Time, w Want, seen Seen, on gates) (Ledger, Transition) {
	next, t := l.transition(now, w, seen, on)
	switch t {
	case Nothing, Stage, Admit:
	default:
		next.Since = now.UTC().Truncate(time.Second)
	}
	if next.Phase() == Completed {
		next.Cause, next.Started, next.Emergency = "", time.Time{}, false
	}
	return next, t
}

func (l Ledger) transition(now time.Time, w Want, seen Seen, on gates) (Ledger, Transition) {
	if g := l.in(Abandoned); g != nil {
		return l.drop(g.Number), Forget
	}
	open := l.gate(now, seen, on).Open()
	if next := cmp.Or(l.in(Staged), l.in(Trusted)); next != nil {
		return l.advance(*next, w, seen.has(*next, on), open)
	}
	retiring, withdrawn := l.in(Retiring), l.in(Withdrawn)
	switch {
	case retiring != nil && (open || w.Emergency):
		return l.withdraw(!open), Withdraw
	case retiring != nil:
		return l.admit(w.MaxUnavailable, seen)
	case withdrawn != nil && open:
		return l.drop(withdrawn.Number), Forget
	case withdrawn != nil && !w.Emergency:
		return l, Nothing
	case l.CauseOf(w) != "":
		return l, Stage
	default:
		return l, Nothing
	}
}

// advance is the step of a generation that does not sign yet.
func (l Ledger) advance(next Generation, w Want, stored, open bool) (Ledger, Transition) {
	signing, _ := l.Signing()
	switch {
	case !next.answers(w), w.Spent, !stored:
		return l.abort(next), Abort // a key that is gone before it signed is no loss: another one is made
	case next.SameRoot(signing):
		return l.supersede(next.Number, false), Renew
	case w.Emergency:
		return l.supersede(next.Number, true), Supersede
	case next.State == Staged:
		return l.publish(next.Number), Publish
	case open:
		return l.switchTo(next.Number), Switch
	default:
		return l, Nothing
	}
}

// CauseOf is why the signing generation is not what is wanted; "" where it is.
func (l Ledger) CauseOf(w Want) Cause {
	signing, _ := l.Signing()
	switch {
	case signing.RequestHash != w.RequestHash:
		return SpecChanged
	case signing.Trigger != w.Trigger:
		return RevisionChanged
	default:
		return w.Due
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

// NamesSecret says whether a generation of the ledger is kept in a Secret.
func (l Ledger) NamesSecret(name string) bool {
	return slices.ContainsFunc(l.Generations, func(g Generation) bool { return g.SecretName == name })
}

// Add enters a new generation, whose key is stored already, as Staged.
func (l Ledger) Add(now time.Time, g Generation, why Cause) Ledger {
	l = l.edited(false)
	if l.Started.IsZero() {
		l.Cause, l.Started = why, now.UTC().Truncate(time.Second)
	}
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
	l.Wave = 0
	return l
}

// withdraw takes the old generation out of the bundle; early: before everybody has a certificate of the new one.
func (l Ledger) withdraw(early bool) Ledger {
	l = l.edited(true)
	l.Emergency = l.Emergency || early
	l.set(l.in(Retiring).Number, Withdrawn)
	return l
}

func (l Ledger) supersede(number int32, emergency bool) Ledger {
	l = l.edited(true)
	l.Emergency = l.Emergency || emergency
	l.set(l.in(Signing).Number, Withdrawn)
	l.set(number, Signing)
	return l
}

// abort gives up a generation that never signed. Where it was published, its key outlives its trust, as any. In
// either case the state is one that no step leaves: a key is deleted only from there.
func (l Ledger) abort(g Generation) Ledger {
	if g.State == Staged {
		l = l.edited(false)
		l.set(g.Number, Abandoned)
		return l
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

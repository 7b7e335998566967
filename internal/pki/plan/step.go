package plan

import (
	"slices"
	"time"
)

// Transition names a step of the ledger.
type Transition string

// The transitions. Each is one write of the ledger, and of the keys with it.
const (
	Nothing   Transition = ""
	NewKey    Transition = "NewKey"    // another generation is needed: make its key, then Enter it
	Publish   Transition = "Publish"   // the new one is in the bundle
	Switch    Transition = "Switch"    // the new one signs
	Admit     Transition = "Admit"     // more leaves may be re-issued
	Arrive    Transition = "Arrive"    // what mounted Secrets hold is seen to be right, or no longer
	GiveTurn  Transition = "GiveTurn"  // one more host on which something restarts is to have the bundle
	Withdraw  Transition = "Withdraw"  // the old one leaves the bundle
	DeleteKey Transition = "DeleteKey" // and its key the authority
	Rollback  Transition = "Rollback"  // the new one is not wanted any more, and has signed nothing
	Supersede Transition = "Supersede" // without overlap: the new one signs and is trusted alone
	Renew     Transition = "Renew"     // the same key with new dates: the new one signs and is trusted alone
)

// Step returns the ledger after the one transition that is due now, or Nothing. For NewKey the caller has to make the
// generation and to enter it by Enter; every other transition is the returned ledger.
func (l Ledger) Step(now time.Time, w DesiredLedger, observation Observation) (Ledger, Transition) {
	return l.step(now, w, observation, allGates)
}

func (l Ledger) step(now time.Time, w DesiredLedger, observation Observation, on gates) (Ledger, Transition) {
	if len(l.Generations) == 0 {
		return l, Nothing
	}
	if next := l.in(Trusted); next != nil {
		return l.advance(now, *next, w, observation, on)
	}
	gate, at := l.gate(now, observation, on), observation.stored(now)
	open := gate.Open()
	if l.in(Retiring) != nil {
		proved := open && !gate.AwaitsApproval(w)
		if (proved || l.IsEmergency(w)) && !w.Hold {
			return l.withdraw(at, !proved), Withdraw
		}
		return l.reissue(now, w.MaxUnavailable, observation)
	}
	if l.in(Withdrawn) != nil {
		switch {
		case open && !w.Hold:
			return l.deleteKeys(at), DeleteKey
		case !l.begins(w): // another edit, made during an emergency, waits as well
			return l.arrive(now, observation)
		}
	}
	return l.begin(now, w, observation)
}

// begin is the step of a CA whose active key is the only one that is trusted.
func (l Ledger) begin(now time.Time, w DesiredLedger, observation Observation) (Ledger, Transition) {
	switch {
	case l.CauseOf(w) != "" && !w.Hold && (l.begins(w) || l.Restored(now, observation).IsZero()): // its number may be given already
		return l, NewKey
	default:
		return l.arrive(now, observation)
	}
}

// advance is the step of a generation that is not active yet.
func (l Ledger) advance(now time.Time, next Generation, w DesiredLedger, observation Observation, on gates) (Ledger, Transition) {
	unwanted, at := !l.answers(next, w) || w.Outgrown, observation.stored(now)
	switch {
	case unwanted && w.Hold: // it may be what signs already
		return l.arrive(now, observation)
	case unwanted:
		return l.rollback(at, next.Number), Rollback
	case l.IsEmergency(w) && !w.Hold:
		return l.supersede(at, next.Number), Supersede
	case l.gate(now, observation, on).Open():
		return l.switchTo(at, next.Number), Switch
	default:
		return l.arrive(now, observation)
	}
}

// Enter adds a generation whose key was just made and says how: beside the active one, in its place or as the same one
// with other dates. Key and ledger are stored in one write.
func (l Ledger) Enter(now time.Time, g Generation, w DesiredLedger) (Ledger, Transition) {
	active, _ := l.Active()
	cause, emergency := l.CauseOf(w), l.begins(w)
	l = l.ended(now, Superseded)
	l.Rotation = &Rotation{From: active.Number, To: g.Number, Cause: cause, Start: second(now)}
	if cause == TriggerChanged {
		l.Rotation.Trigger = w.Trigger
	}
	g.Trigger = l.news(w.Trigger)
	g.State, l.TakenUp = Trusted, ""
	l = l.edited(now, true)
	if len(l.Generations) >= MaxGenerations { // one emergency after another: any other rotation waits until no key is out of the bundle
		l.Generations = slices.Delete(l.Generations, l.oldestWithdrawn(), l.oldestWithdrawn()+1)
	}
	l.Generations = append(l.Generations, g)
	l.Last = max(l.Last, g.Number)
	switch {
	case g.SameRoot(active):
		l.Rotation.SameKey = true
		return l.replaced(now, g.Number), Renew
	case emergency:
		l.Rotation.Emergency = true
		return l.replaced(now, g.Number), Supersede
	default:
		l.Rotation = l.Rotation.entered(now, DistributingTrust)
		return l, Publish
	}
}

func (l Ledger) oldestWithdrawn() int {
	return slices.IndexFunc(l.Generations, func(g Generation) bool { return g.State == Withdrawn })
}

// edited is a copy to change, one revision on, at the beginning of a phase. With bundle, the bundle changes too.
func (l Ledger) edited(now time.Time, bundle bool) Ledger {
	l.Generations = slices.Clone(l.Generations)
	l.Revision++
	if bundle {
		l.FormerRevision, l.BundleRevision = l.BundleRevision, l.Revision
		l.Turn, l.Undone = "", ""
	}
	l.Since, l.Arrival = second(now), time.Time{}
	return l
}

// ended closes the rotation under way, if there is one. A result that it has already stays.
func (l Ledger) ended(now time.Time, result Result) Ledger {
	if l.Rotation == nil {
		return l
	}
	last := l.Rotation.entered(now, Completed)
	if last.Result == "" {
		last.Result = result
	}
	l.Rotation, l.LastRotation = nil, last
	return l
}

func (l Ledger) enter(now time.Time, p Phase) Ledger {
	if l.Rotation != nil {
		l.Rotation = l.Rotation.entered(now, p)
	}
	return l
}

func (l Ledger) switchTo(now time.Time, number int32) Ledger {
	l = l.edited(now, false).enter(now, Reissuing)
	l.set(l.in(Active).Number, Retiring)
	l.set(number, Active)
	l.Wave, l.Settled = 0, 0
	return l.used(l.Generations[l.index(number)].Trigger)
}

// withdraw takes the old generation out of the bundle; early: before everybody has a certificate of the new one.
func (l Ledger) withdraw(now time.Time, early bool) Ledger {
	l = l.edited(now, true).enter(now, WithdrawingTrust)
	if l.Rotation != nil {
		l.Rotation.Emergency = l.Rotation.Emergency || early
	}
	l.set(l.in(Retiring).Number, Withdrawn)
	return l
}

// supersede lets a generation that is trusted already sign, and be trusted alone.
func (l Ledger) supersede(now time.Time, number int32) Ledger {
	l = l.edited(now, true)
	if l.Rotation != nil {
		r := *l.Rotation
		r.Emergency = true
		l.Rotation = &r
	}
	return l.replaced(now, number)
}

// replaced lets a generation sign, and be trusted alone, in a copy that is being edited.
func (l Ledger) replaced(now time.Time, number int32) Ledger {
	l = l.enter(now, WithdrawingTrust)
	l.set(l.in(Active).Number, Withdrawn)
	l.set(number, Active)
	return l.used(l.Generations[l.index(number)].Trigger)
}

// rollback gives up a generation that never signed. Its key outlives its trust, as any.
func (l Ledger) rollback(now time.Time, number int32) Ledger {
	had := l.Turn
	l = l.edited(now, true).enter(now, WithdrawingTrust)
	l.Undone = had
	if l.Rotation != nil {
		l.Rotation.Result = RolledBack
	}
	l.set(number, Withdrawn)
	return l
}

// deleteKeys takes the generations that are out of the bundle out of the ledger.
func (l Ledger) deleteKeys(now time.Time) Ledger {
	l = l.edited(now, false)
	l.Generations = slices.DeleteFunc(l.Generations, func(g Generation) bool { return g.State == Withdrawn })
	return l.ended(now, Succeeded)
}

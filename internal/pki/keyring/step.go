package keyring

import (
	"slices"
	"time"
)

// Transition names a step of the ledger.
type Transition string

// The transitions. Each is one write of the ledger, and of the keys with it.
const (
	Nothing  Transition = ""
	NewKey   Transition = "NewKey"   // another key is needed: make it, then Enter it
	Publish  Transition = "Publish"  // the new one is in sa.pub
	Switch   Transition = "Switch"   // the new one signs
	Complete Transition = "Complete" // nobody signs by the old one any more: its private half goes
	Withdraw Transition = "Withdraw" // old ones leave sa.pub
	Forget   Transition = "Forget"   // and the ledger, since no API server trusts them
	Rollback Transition = "Rollback" // the new one is not wanted any more, and has signed nothing: its private half goes
)

// Consumer is an API server that names the key.
type Consumer struct {
	Name, Host string
	// HasPublication says that it uses what the ledger publishes now: it was proved, or is assumed.
	HasPublication bool
	// Assumed says that nothing but time tells so, and AcceptsAssumed that a person has accepted that.
	Assumed, AcceptsAssumed bool
}

// Tokens are those that never end, of Secrets that are older than SwitchedAt of the same ledger.
type Tokens struct {
	Left   int  // apart from those whose end is accepted
	Listed bool // somebody has listed them, or the end of all is accepted
}

// Inputs are what a step is decided from.
type Inputs struct {
	Now         time.Time
	Trigger     string        // rotation.trigger: a new text asks for a new key; none and a former one ask for nothing
	RotateEvery time.Duration // how long a key signs; 0: for ever
	Retain      time.Duration // how long a key stays in sa.pub once nobody signs by it
	Consumers   []Consumer
	Tokens      Tokens
}

// gates are what steps wait for. The model test takes them away one by one.
type gates struct{ distributed, switched, settled, retained, tokens, assumed bool }

var allGates = gates{true, true, true, true, true, true}

// Step returns the ledger after the one transition that is due now, or Nothing. For NewKey the caller has to make the key and to enter
// it by Enter; every other transition is the returned ledger.
func (l Ledger) Step(in Inputs) (Ledger, Transition) { return l.step(in, allGates) }

func (l Ledger) step(in Inputs, on gates) (Ledger, Transition) {
	arrived := in.Arrived()
	switch phase := l.Phase(); {
	case len(l.Keys) == 0:
		return l, Nothing
	case l.unwanted(in):
		return l.rollback(in), Rollback
	case phase == DistributingTrust && (arrived || !on.distributed):
		return l.switchSigner(in.Now), Switch
	case phase == SwitchingSigner && (arrived || !on.switched):
		return l.complete(in.Now), Complete
	case phase != "" || !arrived && on.settled:
		return l, Nothing
	default:
		return l.rest(in, on)
	}
}

// rest is the step while no rotation is under way, and what is published has arrived.
func (l Ledger) rest(in Inputs, on gates) (Ledger, Transition) {
	old := l.removable(in, on)
	switch {
	case l.in(Withdrawn) != nil:
		return l.forget(), Forget
	case len(old) > 0:
		return l.withdraw(in.Now, old), Withdraw
	case l.Cause(in.Now, in.Trigger, in.RotateEvery) != "" && len(l.Keys) < MaxKeys:
		return l, NewKey
	default:
		return l, Nothing
	}
}

// Arrived says whether every API server uses what is published. Where none names the key, nobody knows who uses it.
func (in Inputs) Arrived() bool { return len(in.Consumers) > 0 && len(in.Awaited()) == 0 }

// Awaited are the API servers that do not use what is published yet.
func (in Inputs) Awaited() []Consumer {
	return slices.DeleteFunc(slices.Clone(in.Consumers), func(c Consumer) bool { return c.HasPublication })
}

// unwanted says whether the key that is to sign is not wanted any more: its trigger was taken back, or is another one by now.
func (l Ledger) unwanted(in Inputs) bool {
	return l.Phase() == DistributingTrust && l.Rotation.Cause == TriggerChanged && in.Trigger != l.Rotation.Trigger
}

// Full says whether a rotation that is due waits because there are as many keys as there may be.
func (l Ledger) Full(in Inputs) bool {
	return l.Rotation == nil && l.Cause(in.Now, in.Trigger, in.RotateEvery) != "" && len(l.Keys) >= MaxKeys
}

// Enter adds a key that was just made, by the ID of its public half. Key and ledger are stored in one write.
func (l Ledger) Enter(in Inputs, id string) (Ledger, Transition) {
	active, _ := l.Active()
	l = l.published()
	l.Last++
	l.Rotation = &Rotation{From: active.Number, To: l.Last, Cause: l.Cause(in.Now, in.Trigger, in.RotateEvery), StartTime: second(in.Now)}
	if l.Rotation.Cause == TriggerChanged {
		l.Rotation.Trigger, l.Trigger = in.Trigger, in.Trigger
	}
	l.Keys = append(l.Keys, Key{Number: l.Last, ID: id, State: Trusted, Since: second(in.Now), Trigger: l.Rotation.Trigger})
	return l, Publish
}

// edited is a copy to change, one revision on.
func (l Ledger) edited() Ledger {
	l.Revision++
	l.Keys = slices.Clone(l.Keys)
	return l
}

// published is a copy to change, of which the publication will be another.
func (l Ledger) published() Ledger {
	l = l.edited()
	l.Published = time.Time{}
	return l
}

// set moves a key of a copy on.
func (l Ledger) set(now time.Time, number int32, s State) {
	k := &l.Keys[l.index(number)]
	k.State, k.Since = s, second(now)
}

func (l Ledger) switchSigner(now time.Time) Ledger {
	l = l.published()
	l.set(now, l.Rotation.From, Retiring)
	l.set(now, l.Rotation.To, Active)
	return l.used(l.Rotation.Trigger)
}

// complete ends the rotation. Until now some API server may have signed by the old key: its time begins anew.
func (l Ledger) complete(now time.Time) Ledger {
	l = l.edited()
	l.set(now, l.Rotation.From, Retiring)
	l.Rotation = nil
	return l
}

// rollback gives up a key that has signed nothing.
func (l Ledger) rollback(in Inputs) Ledger {
	l = l.published()
	l.set(in.Now, l.Rotation.To, Withdrawn)
	l.Rotation, l.Trigger = nil, ""
	return l
}

func (l Ledger) withdraw(now time.Time, numbers []int32) Ledger {
	l = l.published()
	for _, n := range numbers {
		l.set(now, n, Withdrawn)
	}
	return l
}

// forget takes the keys that have left sa.pub out of the ledger.
func (l Ledger) forget() Ledger {
	l = l.edited()
	l.Keys = slices.DeleteFunc(l.Keys, func(k Key) bool { return k.State == Withdrawn })
	return l
}

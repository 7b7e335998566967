package keyring

import (
	"slices"
	"time"
)

// Hold is why an old key stays in sa.pub.
type Hold string

// The reasons, in the order in which they are looked at.
const (
	NotHeld        Hold = ""
	KeyRetained    Hold = "KeyRetained"    // its time has not come
	TokensUnlisted Hold = "TokensUnlisted" // nobody has listed the tokens that never end
	TokensLeft     Hold = "TokensLeft"     // tokens that never end were made before the switch
	Assumed        Hold = "Assumed"        // some API server is only assumed to sign by another key
)

// RetainUntil is when an old key leaves sa.pub, unless something else holds it.
func (k Key) RetainUntil(retain time.Duration) time.Time { return k.Since.Add(retain) }

// Held says why an old key stays in sa.pub, apart from a rotation that is under way and what has not arrived.
func (k Key) Held(in Inputs) Hold { return k.held(in, allGates) }

func (k Key) held(in Inputs, on gates) Hold {
	switch {
	case on.retained && in.Now.Before(k.RetainUntil(in.Retain)):
		return KeyRetained
	case on.tokens && !in.Tokens.Listed:
		return TokensUnlisted
	case on.tokens && in.Tokens.Left > 0:
		return TokensLeft
	case on.assumed && slices.ContainsFunc(in.Consumers, func(c Consumer) bool { return c.Assumed && !c.AcceptsAssumed }):
		return Assumed
	default:
		return NotHeld
	}
}

// removable are the numbers of the old keys that may leave sa.pub.
func (l Ledger) removable(in Inputs, on gates) []int32 {
	var out []int32
	for _, k := range l.Keys {
		if k.State == Retiring && k.held(in, on) == NotHeld {
			out = append(out, k.Number)
		}
	}
	return out
}

// NextRemoval is the old key whose time comes first; ok is false where there is none.
func (l Ledger) NextRemoval() (first Key, ok bool) {
	for _, k := range l.Keys {
		if k.State == Retiring && (!ok || k.Since.Before(first.Since)) {
			first, ok = k, true
		}
	}
	return first, ok
}

// NextCheck is when a step may be due by time alone; zero: never.
func (l Ledger) NextCheck(in Inputs) time.Time {
	var next time.Time
	for _, t := range append(l.removals(in.Retain), l.Renewal(in.RotateEvery)) {
		if t.After(in.Now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	return next
}

func (l Ledger) removals(retain time.Duration) []time.Time {
	var out []time.Time
	for _, k := range l.Keys {
		if k.State == Retiring {
			out = append(out, k.RetainUntil(retain))
		}
	}
	return out
}

package keyring

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// State is where a key stands in its life. A key only moves forward.
type State string

// The states, in order.
const (
	Trusted  State = "Trusted"  // in sa.pub; signs nothing yet
	Active   State = "Active"   // the first of sa.pub; signs every new token
	Retiring State = "Retiring" // in sa.pub; signs nothing any more once its rotation is complete
	// Withdrawn has left sa.pub; some API server may trust it still.
	Withdrawn State = "Withdrawn"
)

// States are all states, in order.
var States = []State{Trusted, Active, Retiring, Withdrawn}

// The bounds of a ledger.
const (
	MaxKeys    = 8    // how many keys there can be at one time
	maxID      = 64   // of a key's ID, in bytes
	maxTrigger = 1024 // of a text of rotation.trigger, in bytes: 128 characters, with room
	maxUsed    = 1000 // how many former triggers are remembered. The oldest are forgotten.
)

// Key is one key that signs, signed or is to sign service account tokens.
type Key struct {
	Number   int32     `json:"number"`
	ID       string    `json:"id"` // KeyID of its public half
	State    State     `json:"state"`
	Since    time.Time `json:"since"`              // when it got into that state; of a Retiring one, when nobody signed by it any more
	Trigger  string    `json:"trigger,omitempty"`  // rotation.trigger, where a change of it asked for this key
	Imported bool      `json:"imported,omitempty"` // somebody else made it
}

// Published says whether a key is in sa.pub.
func (k Key) Published() bool { return k.State != Withdrawn }

// Ledger is the truth about a service account key: which keys exist, which are trusted and which one signs.
type Ledger struct {
	Revision int64     `json:"revision"`       // grows by one with every transition
	Last     int32     `json:"last,omitempty"` // the highest number there ever was
	Keys     []Key     `json:"keys,omitempty"`
	Rotation *Rotation `json:"rotation,omitempty"` // the one under way
	// Trigger is the text of rotation.trigger that was taken last.
	Trigger string `json:"trigger,omitempty"`
	// Used are the digests of the texts that a rotation took past its switch: they start nothing again.
	Used []string `json:"used,omitempty"`
	// Published is when the product Secret was first seen to hold the present publication; zero: not yet.
	Published time.Time `json:"published,omitzero"`
}

// ParseLedger reads a ledger and checks it.
func ParseLedger(text []byte) (Ledger, error) {
	var l Ledger
	if err := json.Unmarshal(text, &l); err != nil {
		return Ledger{}, fmt.Errorf("malformed ledger: %w", err)
	}
	if err := l.Check(); err != nil {
		return Ledger{}, err
	}
	return l, nil
}

// Check says what is wrong with a ledger: exactly one key of it is active, none is named twice, and a key that is to sign belongs to
// the rotation under way. One without keys is that of a ServiceAccountKey whose keys were destroyed: its numbers go on.
func (l Ledger) Check() error {
	numbers, ids := map[int32]bool{}, map[string]bool{}
	for _, k := range l.Keys {
		switch {
		case k.Number > l.Last || numbers[k.Number]:
			return fmt.Errorf("the ledger names key %d twice, or never gave that number to a key", k.Number)
		case ids[k.ID]:
			return fmt.Errorf("the ledger gives the ID of key %d to another key too", k.Number)
		}
		if err := k.check(); err != nil {
			return err
		}
		numbers[k.Number], ids[k.ID] = true, true
	}
	switch active := l.count(Active); {
	case l.Revision < 1:
		return errors.New("the ledger has no revision")
	case len(l.Keys) > MaxKeys:
		return fmt.Errorf("the ledger names %d keys, more than %d", len(l.Keys), MaxKeys)
	case active != 1 && len(l.Keys) > 0:
		return fmt.Errorf("the ledger names %d active keys instead of one", active)
	case len(l.Trigger) > maxTrigger || len(l.Used) > maxUsed:
		return errors.New("the ledger keeps more triggers than it may")
	default:
		return l.checkRotation()
	}
}

// checkRotation says what is wrong with the rotation under way: its two keys are the one that signs, and the one that is to or did.
func (k Key) check() error {
	switch {
	case k.Number < 1:
		return fmt.Errorf("the ledger names key %d: that is no number of a key", k.Number)
	case k.ID == "" || len(k.ID) > maxID:
		return fmt.Errorf("the ledger names no ID of key %d", k.Number)
	case !slices.Contains(States, k.State):
		return fmt.Errorf("key %d of the ledger has the unknown state %q", k.Number, k.State)
	case len(k.Trigger) > maxTrigger:
		return fmt.Errorf("the trigger of key %d of the ledger has more than %d bytes", k.Number, maxTrigger)
	default:
		return nil
	}
}

func (l Ledger) checkRotation() error {
	if l.Rotation == nil {
		if l.in(Trusted) != nil {
			return errors.New("the ledger names a key that is to sign, and no rotation")
		}
		return nil
	}
	from, to := l.stateOf(l.Rotation.From), l.stateOf(l.Rotation.To)
	if distributing := from == Active && to == Trusted; l.count(Trusted) > 1 || !distributing && (from != Retiring || to != Active || l.in(Trusted) != nil) {
		return fmt.Errorf("the ledger names a rotation from key %d (%q) to key %d (%q)", l.Rotation.From, from, l.Rotation.To, to)
	}
	return nil
}

// Origin says what the first keys are.
type Origin struct {
	Active   string   // the ID of the key that signs
	Former   []string // the IDs of others that are trusted still, the oldest first
	Imported bool     // somebody else made them
	Trigger  string   // rotation.trigger as it is now: it starts nothing later
}

// Bootstrap is the ledger of the first keys. After a tombstone, was is that: the numbers go on.
func Bootstrap(now time.Time, was Ledger, o Origin) Ledger {
	l := Ledger{Revision: was.Revision + 1, Last: was.Last, Used: was.Used, Trigger: o.Trigger}
	add := func(id string, s State) {
		l.Last++
		l.Keys = append(l.Keys, Key{Number: l.Last, ID: id, State: s, Since: second(now), Imported: o.Imported})
	}
	for _, id := range o.Former {
		add(id, Retiring)
	}
	add(o.Active, Active)
	return l.used(o.Trigger)
}

// Tombstone is the ledger when its keys are destroyed. Numbers go on, and former triggers start nothing.
func (l Ledger) Tombstone() Ledger {
	return Ledger{Revision: l.Revision + 1, Last: l.Last, Trigger: l.Trigger, Used: l.Used}
}

// InPlaceOf is a ledger of a backup that takes the place of another one: no number is given twice, and no trigger that the other one
// has taken starts anything.
func (l Ledger) InPlaceOf(o Ledger) Ledger {
	l.Revision, l.Last, l.Published = max(l.Revision, o.Revision)+1, max(l.Last, o.Last), time.Time{}
	for _, digest := range o.Used {
		l = l.remembering(digest)
	}
	return l
}

// Seen is the ledger once the product Secret was seen to hold the present publication at a time, or to hold it again.
func (l Ledger) Seen(at time.Time) Ledger {
	l.Revision++
	l.Published = second(at)
	return l
}

// Active returns the key that signs; ok is false for a ledger without keys.
func (l Ledger) Active() (k Key, ok bool) {
	if k := l.in(Active); k != nil {
		return *k, true
	}
	return Key{}, false
}

// Publication returns the keys of sa.pub in its order: the one that signs first, the others by number.
func (l Ledger) Publication() []Key {
	out := slices.DeleteFunc(slices.Clone(l.Keys), func(k Key) bool { return !k.Published() })
	slices.SortFunc(out, func(a, b Key) int {
		switch {
		case a.State == Active:
			return -1
		case b.State == Active:
			return 1
		default:
			return int(a.Number) - int(b.Number)
		}
	})
	return out
}

// KeepsPrivate says whether the private half of a key is kept: it signs, is to sign, or some API server may sign by it still.
func (l Ledger) KeepsPrivate(number int32) bool {
	switch l.stateOf(number) {
	case Trusted, Active:
		return true
	case Retiring:
		return l.Rotation != nil && l.Rotation.From == number
	default:
		return false
	}
}

// SwitchedAt is since when every API server signs by another key than those that are Retiring: tokens that were made before may need one of
// these. Zero: none is Retiring.
func (l Ledger) SwitchedAt() time.Time {
	var at time.Time
	for _, k := range l.Keys {
		if k.State == Retiring && k.Since.After(at) {
			at = k.Since
		}
	}
	return at
}

// Names says whether a key is in the ledger.
func (l Ledger) Names(number int32) bool { return l.index(number) >= 0 }

// NextNumber is the number of the next key. Numbers are never used again.
func (l Ledger) NextNumber() int32 { return l.Last + 1 }

// in returns the first key in a state; nil for none.
func (l Ledger) in(s State) *Key {
	i := slices.IndexFunc(l.Keys, func(k Key) bool { return k.State == s })
	if i < 0 {
		return nil
	}
	return &l.Keys[i]
}

func (l Ledger) count(s State) int {
	n := 0
	for _, k := range l.Keys {
		if k.State == s {
			n++
		}
	}
	return n
}

func (l Ledger) index(number int32) int {
	return slices.IndexFunc(l.Keys, func(k Key) bool { return k.Number == number })
}

// stateOf is the state of a key; "" for one that the ledger does not name.
func (l Ledger) stateOf(number int32) State {
	if i := l.index(number); i >= 0 {
		return l.Keys[i].State
	}
	return ""
}

// second is a moment as it is stored: in whole seconds, rounded up, so that no delay is shorter than it should be.
func second(t time.Time) time.Time {
	t = t.UTC()
	if whole := t.Truncate(time.Second); !whole.Equal(t) {
		return whole.Add(time.Second)
	}
	return t
}

package plan

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// State is where a generation of a CA stands in its life. A generation only moves forward.
type State string

// The states, in order.
const (
	Trusted  State = "Trusted"  // in the bundle; signs nothing yet
	Active   State = "Active"   // in the bundle; signs every new certificate
	Retiring State = "Retiring" // in the bundle; signs nothing any more
	// Withdrawn is removed from the trust bundle; its key is kept until no relying party trusts it any more.
	Withdrawn State = "Withdrawn"
)

// States are all states, in order.
var States = []State{Trusted, Active, Retiring, Withdrawn}

// MaxGenerations is how many keys a CA can have at one time.
const MaxGenerations = 8

// Generation is one key of a CA.
type Generation struct {
	Number   int32  `json:"number"`
	State    State  `json:"state"`
	SpecHash string `json:"specHash"` // of what was asked for when it was made
	SHA256   string `json:"sha256"`   // of the certificate
	// Anchor is the identity (pki.IdentityOf) of the root that the bundle holds for it.
	Anchor string `json:"anchor,omitempty"`
	// Root says that it is that root itself. Two generations that are the same root need no overlap.
	Root bool `json:"root,omitempty"`
	// Parent is the key of the parent CA that signed it; zero where there is none.
	Parent Parent `json:"parent,omitzero"`
	// Above are the other CAs below which what it signs verifies: its parent and those above that one, and those of an older generation
	// that signed it too, or whose key it has.
	Above []Ancestor `json:"above,omitempty"`
	// Trigger is rotation.trigger, where a change of it asked for this generation.
	Trigger string `json:"trigger,omitempty"`
	// NotAfter is the end of the certificate.
	NotAfter time.Time `json:"notAfter,omitzero"`
}

// Parent is one key of the parent of an intermediate CA.
type Parent struct {
	Name       string `json:"name"`
	UID        string `json:"uid,omitempty"` // of the parent ClusterCA, as its ledger has it
	Generation int32  `json:"generation"`
}

// Ancestor is another CA below which a generation is.
type Ancestor struct {
	Name  string    `json:"name"`
	Until time.Time `json:"until"` // the end of the certificates that lead there
}

// Signed are the ancestors of a CA that the generation, which is of the CA of a name, signs until an end.
func (g Generation) Signed(name string, end time.Time) []Ancestor {
	out := []Ancestor{{name, end}}
	for _, a := range g.Above {
		if end.Before(a.Until) {
			a.Until = end
		}
		out = append(out, a)
	}
	return out
}

// Ancestors are the names of the other CAs below which the generation is now.
func (g Generation) Ancestors(now time.Time) []string {
	var out []string
	for _, a := range g.Above {
		if now.Before(a.Until) && !slices.Contains(out, a.Name) {
			out = append(out, a.Name)
		}
	}
	return out
}

// SameRoot says whether two generations are one root with other dates: what trusts the one trusts what the other signs.
func (g Generation) SameRoot(o Generation) bool { return g.Root && o.Root && g.Anchor == o.Anchor }

// Published says whether a generation is in the bundle.
func (g Generation) Published() bool { return g.State != Withdrawn }

// Ledger is the truth about a CA: which generations exist, which are trusted and which one is active.
type Ledger struct {
	Revision       int64 `json:"revision"`                 // grows by one with every transition
	BundleRevision int64 `json:"bundleRevision,omitempty"` // the revision at which the bundle last changed
	FormerRevision int64 `json:"formerRevision,omitempty"` // what BundleRevision was before
	Last           int32 `json:"last,omitempty"`           // the highest generation there ever was
	// Turn is the last of the hosts on which something restarts that is to have the present bundle, in the order of their names; "": none is yet. Undone is
	// the last that had what is taken back.
	Turn   string `json:"turn,omitempty"`
	Undone string `json:"undone,omitempty"`
	// Since is when the phase began.
	Since       time.Time    `json:"since,omitzero"`
	Generations []Generation `json:"generations,omitempty"`
	// Wave says which leaves may be re-issued while a generation is Retiring: those of a lower Seed.
	Wave uint64 `json:"wave,omitempty"`
	// Arrival is when all mounted Secrets that the phase, or the wave, waits for were first seen to hold what they should.
	Arrival time.Time `json:"arrival,omitzero"`
	// Settled is the wave of which all mounted Secrets have arrived.
	Settled uint64 `json:"settled,omitempty"`
	// Rotation is the one under way, LastRotation the one before.
	Rotation     *Rotation `json:"rotation,omitempty"`
	LastRotation *Rotation `json:"lastRotation,omitempty"`
	// TakenUp is the spec with which an object took up a CA that was retained: as long as the spec is that one, it is no reason for a rotation. "": none
	// that differs; UnknownSpec: it could not be told yet.
	TakenUp string `json:"takenUp,omitempty"`
	// Triggers are the digests of the texts of rotation.trigger that have had their effect: they start nothing again.
	Triggers []string `json:"triggers,omitempty"`
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

// Check says what is wrong with a ledger: exactly one generation of it is active, and none is named twice. One without
// generations is that of a CA whose keys were destroyed: its numbers go on.
func (l Ledger) Check() error {
	active, numbers := 0, map[int32]bool{}
	for _, g := range l.Generations {
		if g.Number < 1 || g.Number > l.Last || numbers[g.Number] {
			return fmt.Errorf("the ledger names generation %d twice, or it is no number of a generation", g.Number)
		}
		numbers[g.Number] = true
		if !slices.Contains(States, g.State) {
			return fmt.Errorf("generation %d of the ledger has the unknown state %q", g.Number, g.State)
		}
		if g.State == Active {
			active++
		}
	}
	switch {
	case l.Revision < 1:
		return errors.New("the ledger has no revision")
	case len(l.Generations) > MaxGenerations:
		return fmt.Errorf("the ledger names %d generations, more than %d", len(l.Generations), MaxGenerations)
	case active != 1 && len(l.Generations) > 0:
		return fmt.Errorf("the ledger names %d active generations instead of one", active)
	}
	return nil
}

// Bootstrap is the ledger of a CA whose first key was just made: g is active. After a tombstone, was is that: the numbers go on.
func Bootstrap(now time.Time, was Ledger, g Generation) Ledger {
	l := Ledger{Revision: was.Revision + 1, BundleRevision: was.Revision + 1, Last: g.Number, Since: second(now), Triggers: was.Triggers}
	g.State = Active
	l.Generations = []Generation{g}
	return l.used(g.Trigger)
}

// Tombstone is the ledger of a CA whose keys are destroyed. Numbers go on, and former triggers start nothing.
func (l Ledger) Tombstone() Ledger {
	return Ledger{Revision: l.Revision + 1, BundleRevision: l.BundleRevision, Last: l.Last, Triggers: l.Triggers}
}

// InPlaceOf is a ledger of a backup that takes the place of another one: nothing that was issued from that one looks younger, and
// no trigger that it has taken starts anything.
func (l Ledger) InPlaceOf(o Ledger) Ledger {
	l.Revision = max(l.Revision, o.Revision) + 1
	l.BundleRevision = l.Revision
	l.Last = max(l.Last, o.Last)
	for _, digest := range o.Triggers {
		l = l.remembering(digest)
	}
	return l
}

// Active returns the generation that signs; ok is false for a ledger without generations.
func (l Ledger) Active() (g Generation, ok bool) {
	if g := l.in(Active); g != nil {
		return *g, true
	}
	return Generation{}, false
}

// Published returns the generations of the bundle in its order, the oldest first: so the bundle stays the same, byte
// by byte, when another of them becomes active, and nothing is written or waited for because of that.
func (l Ledger) Published() []Generation {
	out := slices.DeleteFunc(slices.Clone(l.Generations), func(g Generation) bool { return !g.Published() })
	slices.SortFunc(out, func(a, b Generation) int { return int(a.Number) - int(b.Number) })
	return out
}

// Names says whether a generation is in the ledger.
func (l Ledger) Names(number int32) bool { return l.index(number) >= 0 }

// NextNumber is the number of the next generation. Numbers are never used again.
func (l Ledger) NextNumber() int32 { return l.Last + 1 }

// in returns the generation in a state, the first of several; nil for none.
func (l Ledger) in(s State) *Generation {
	i := slices.IndexFunc(l.Generations, func(g Generation) bool { return g.State == s })
	if i < 0 {
		return nil
	}
	return &l.Generations[i]
}

func (l Ledger) index(number int32) int {
	return slices.IndexFunc(l.Generations, func(g Generation) bool { return g.Number == number })
}

func (l Ledger) set(number int32, s State) { l.Generations[l.index(number)].State = s }

// second is a moment as it is stored: in whole seconds, rounded up, so that no delay is shorter than it should be.
func second(t time.Time) time.Time {
	t = t.UTC()
	if whole := t.Truncate(time.Second); !whole.Equal(t) {
		return whole.Add(time.Second)
	}
	return t
}

package plan

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// State is where a generation of a CA stands in its life. A generation only moves forward.
type State string

// The states, in order.
const (
	Staged   State = "Staged"   // the key exists; nobody has been told of it
	Trusted  State = "Trusted"  // in the bundle; signs nothing yet
	Signing  State = "Signing"  // in the bundle; signs every new certificate
	Retiring State = "Retiring" // in the bundle; signs nothing any more
	// Withdrawn is out of the bundle; its key is kept until every consumer has let go of it.
	Withdrawn State = "Withdrawn"
	// Abandoned was never in the bundle: its key can be deleted at once.
	Abandoned State = "Abandoned"
)

// States are all states, in order.
var States = []State{Staged, Trusted, Signing, Retiring, Withdrawn, Abandoned}

// Generation is one key of a CA.
type Generation struct {
	Number      int32  `json:"number"`
	State       State  `json:"state"`
	SecretName  string `json:"secretName"`
	RequestHash string `json:"requestHash"` // of what was asked for when it was made
	SHA256      string `json:"sha256"`      // of the certificate
	// Anchor is the identity (pki.IdentityOf) of the root that the bundle holds for it.
	Anchor string `json:"anchor,omitempty"`
	// Root says that it is that root itself. Two generations that are the same root need no overlap.
	Root bool `json:"root,omitempty"`
	// Parent is the key of the CA above that signed it; zero where there is none.
	Parent Parent `json:"parent,omitzero"`
	// Trigger is rotation.revision when it was made.
	Trigger string `json:"trigger,omitempty"`
	// NotAfter is the end of the certificate.
	NotAfter time.Time `json:"notAfter,omitzero"`
}

// Parent is one key of the CA above an intermediate CA.
type Parent struct {
	Name       string `json:"name"`
	Generation int32  `json:"generation"`
}

// SameRoot says whether two generations are one root with other dates: what trusts the one trusts what the other signs.
func (g Generation) SameRoot(o Generation) bool { return g.Root && o.Root && g.Anchor == o.Anchor }

// Ledger is the truth about a CA: which generations exist, which are trusted and which one signs. It
// is stored in the same object as the bundle, so that the two cannot disagree.
type Ledger struct {
	Revision      int64 `json:"revision"`                // grows by one with every transition
	TrustRevision int64 `json:"trustRevision,omitempty"` // the revision at which the bundle last changed
	Last          int32 `json:"last,omitempty"`          // the highest generation there ever was
	// Since is when the phase began: when the last transition was made, but for Admit.
	Since       time.Time    `json:"since,omitzero"`
	Generations []Generation `json:"generations"`
	// Wave says which leaves may be issued again while a generation is Retiring: those of a lower Seed.
	Wave uint64 `json:"wave,omitempty"`
	// Cause and Started are why and when the replacement that is under way began.
	Cause   Cause     `json:"cause,omitempty"`
	Started time.Time `json:"started,omitzero"`
	// Emergency says that it went without overlap.
	Emergency bool `json:"emergency,omitempty"`
}

// ParseLedger reads a ledger and checks that exactly one generation signs and that none is named twice.
func ParseLedger(text string) (Ledger, error) {
	var l Ledger
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		return Ledger{}, fmt.Errorf("malformed ledger: %w", err)
	}
	signing, numbers := 0, map[int32]bool{}
	for _, g := range l.Generations {
		if g.Number < 1 || numbers[g.Number] {
			return Ledger{}, fmt.Errorf("the ledger names generation %d twice, or it is no number of a generation", g.Number)
		}
		numbers[g.Number] = true
		switch g.State {
		case Signing:
			signing++
		case Staged, Trusted, Retiring, Withdrawn, Abandoned:
		default:
			return Ledger{}, fmt.Errorf("generation %d of the ledger has the unknown state %q", g.Number, g.State)
		}
	}
	if signing != 1 {
		return Ledger{}, fmt.Errorf("the ledger names %d signing generations instead of one", signing)
	}
	return l, nil
}

// Encode writes the ledger; equal ledgers give equal texts.
func (l Ledger) Encode() (string, error) {
	text, err := json.Marshal(l)
	if err != nil {
		return "", fmt.Errorf("encode the ledger: %w", err)
	}
	return string(text), nil
}

// Signing returns the generation that signs; ok is false for an empty ledger.
func (l Ledger) Signing() (g Generation, ok bool) {
	i := slices.IndexFunc(l.Generations, func(g Generation) bool { return g.State == Signing })
	if i < 0 {
		return Generation{}, false
	}
	return l.Generations[i], true
}

// published says whether a generation is in the bundle.
func (g Generation) published() bool {
	return g.State == Trusted || g.State == Signing || g.State == Retiring
}

// Published returns the generations of the bundle in its order, the oldest first: so the bundle stays the same, byte
// by byte, when another of them begins to sign, and nothing is written or waited for because of that.
func (l Ledger) Published() []Generation {
	var out []Generation
	for _, g := range l.Generations {
		if g.published() {
			out = append(out, g)
		}
	}
	slices.SortFunc(out, func(a, b Generation) int { return int(a.Number) - int(b.Number) })
	return out
}

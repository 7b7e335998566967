package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"
)

// Phase names where a rotation stands.
type Phase string

// The phases, in order.
const (
	DistributingTrust Phase = "DistributingTrust"
	Reissuing         Phase = "Reissuing"
	WithdrawingTrust  Phase = "WithdrawingTrust"
	Completed         Phase = "Completed"
)

// Phases are all of them.
var Phases = []Phase{DistributingTrust, Reissuing, WithdrawingTrust, Completed}

// Phase follows from the states alone.
func (l Ledger) Phase() Phase {
	switch {
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

// Cause is why a CA is rotated.
type Cause string

// The causes.
const (
	SpecChanged    Cause = "SpecChanged"    // the spec, or an imported CA, is another
	TriggerChanged Cause = "TriggerChanged" // rotation.trigger is another
	CARenewalDue   Cause = "RenewalDue"     // the renewal time has come
	ParentRotated  Cause = "ParentRotated"  // the active CA of the parent is another key
)

// RotationCauses are all of them.
var RotationCauses = []Cause{SpecChanged, TriggerChanged, CARenewalDue, ParentRotated}

// Result is how a rotation ended.
type Result string

// The results.
const (
	Succeeded  Result = "Completed"
	RolledBack Result = "RolledBack" // the spec was changed back before the new key signed
	Superseded Result = "Superseded" // an emergency rotation began before this one had ended
)

// Rotation is what a ledger keeps of one rotation.
type Rotation struct {
	From      int32       `json:"from"`
	To        int32       `json:"to"`
	Cause     Cause       `json:"cause"`
	Trigger   string      `json:"trigger,omitempty"` // that started it, where Cause is TriggerChanged
	Start     time.Time   `json:"start"`
	End       time.Time   `json:"end,omitzero"`
	SameKey   bool        `json:"sameKey,omitempty"`
	Emergency bool        `json:"emergency,omitempty"` // it goes without overlap
	Result    Result      `json:"result,omitempty"`
	Phases    []PhaseTime `json:"phases,omitempty"`
}

// PhaseTime is when a phase of a rotation began and ended.
type PhaseTime struct {
	Name  Phase     `json:"name"`
	Start time.Time `json:"start"`
	End   time.Time `json:"end,omitzero"`
}

// entered is the rotation once another phase has begun.
func (r *Rotation) entered(now time.Time, p Phase) *Rotation {
	next := *r
	next.Phases = slices.Clone(r.Phases)
	if n := len(next.Phases); n > 0 {
		next.Phases[n-1].End = second(now)
	}
	if p == Completed {
		next.End = second(now)
		return &next
	}
	next.Phases = append(next.Phases, PhaseTime{Name: p, Start: second(now)})
	return &next
}

// DesiredLedger is what a CA's spec asks of its generations.
type DesiredLedger struct {
	SpecHash         string
	Trigger          string // rotation.trigger: a new text asks for a new generation; none and a former one ask for nothing
	EmergencyTrigger string // the rotation that this text started goes without overlap
	Due              Cause  // why the active generation must be rotated although the spec is the same; "": it need not
	// Distrusted: the parent has withdrawn the active generation. There is nothing to overlap with.
	Distrusted bool
	// MaxUnavailable is how many leaves may be re-issued and not acknowledged at one time; 0: any number.
	MaxUnavailable int
	// WithdrawalApproved: a person lets the old CA of this rotation be withdrawn, although some consumers are only assumed not to need it.
	WithdrawalApproved bool
	// Outgrown: the generation that is to be active next has reached its own renewal time meanwhile.
	Outgrown bool
	// Hold: no key is made, withdrawn or deleted: what the CA has published already is newer than its ledger, or it is not known
	// now what the spec asks for.
	Hold bool
}

// CauseOf is why the active generation is not what is wanted; "" where it is.
func (l Ledger) CauseOf(w DesiredLedger) Cause {
	active, _ := l.Active()
	switch {
	case l.news(w.Trigger) != "":
		return TriggerChanged
	case active.SpecHash != w.SpecHash && !l.Taken(w.SpecHash):
		return SpecChanged
	default:
		return w.Due
	}
}

// news is a text of rotation.trigger that has not had its effect yet; "" for none, and for a former one.
func (l Ledger) news(trigger string) string {
	if trigger == "" || slices.Contains(l.Triggers, digest(trigger)) {
		return ""
	}
	return trigger
}

// maxTriggers bounds how many former triggers are remembered. The oldest are forgotten.
const maxTriggers = 1000

// used is the ledger once a text of rotation.trigger has had its effect.
func (l Ledger) used(trigger string) Ledger {
	if l.news(trigger) == "" {
		return l
	}
	return l.remembering(digest(trigger))
}

// remembering is the ledger with one more digest of a text that has had its effect.
func (l Ledger) remembering(digest string) Ledger {
	if slices.Contains(l.Triggers, digest) {
		return l
	}
	l.Triggers = append(slices.Clone(l.Triggers), digest)
	if n := len(l.Triggers); n > maxTriggers {
		l.Triggers = l.Triggers[n-maxTriggers:]
	}
	return l
}

// digest is enough of a SHA-256 that nobody finds two texts of one.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}

// IsEmergency says whether the rotation that is under way, or is to begin, goes without overlap: a change of the trigger
// started it, and emergencyTrigger equals that text.
func (l Ledger) IsEmergency(w DesiredLedger) bool {
	r := l.Rotation
	return l.begins(w) || w.EmergencyTrigger != "" && r != nil && r.Result == "" && r.Cause == TriggerChanged && r.Trigger == w.EmergencyTrigger
}

// begins says whether the rotation that is to begin goes without overlap, whatever the one under way does.
func (l Ledger) begins(w DesiredLedger) bool {
	return w.Distrusted || w.EmergencyTrigger != "" && l.news(w.Trigger) == w.EmergencyTrigger
}

// answers says whether a generation that is not active yet is what the spec asks for.
func (l Ledger) answers(g Generation, w DesiredLedger) bool {
	taken := l.Taken(w.SpecHash)
	return (g.SpecHash == w.SpecHash || taken) && (g.Trigger == l.news(w.Trigger) || taken && w.Trigger == "")
}

package ca

import (
	"time"

	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/pki/plan"
)

// State is how a CA stands at the end of a reconciliation, as far as that is known.
type State struct {
	Record  *authority.Record // as it is stored now; nil: there is none
	Created bool              // the first key was made
	Digest  string            // of the trust bundle that is published; "": none is
	Renewal time.Time         // when the active CA is due for rotation; zero: never by itself
	Gate    plan.Gate         // of the present phase, where it was looked at
	Step    Step              // that was made; no transition: none was
	// Waits says why a step that is due is not made, with its reason; "" where none waits.
	Waits, WaitsReason string
	// Undecided says why the contents of the import Secret, or a trigger, decide nothing.
	Undecided Undecided
}

// Step is a transition of a CA's ledger that was made.
type Step struct {
	Transition plan.Transition
	From, To   plan.Ledger
	Asked      []plan.Consumer // that were asked
	// NotCrossSigned says why the new CA is not cross-signed by the old one although that was asked for.
	NotCrossSigned error
}

// Moved says whether a step was made.
func (s State) Moved() bool { return s.Step.Transition != plan.Nothing }

// Undecided is what a person has to do before something that was changed decides anything; the zero value: nothing.
type Undecided struct{ Reason, Message string }

package timeline

import (
	"fmt"
	"time"

	"clusterpki.io/operator/api/v1alpha1"
)

// Publication is how far what a ServiceAccountKey publishes has come to the API servers that name it: in a rotation, and after a key
// has left.
type Publication struct {
	Namespace, Name string // of the ServiceAccountKey
	// Active is the number of the key that signs; 0 where there is none yet.
	Active int32
	// Phase is that of the rotation that is under way, which the fields below are of; "" while there is none.
	Phase    v1alpha1.KeyPhase
	ID       string
	From, To int32
	Reason   v1alpha1.RotationReason
	Trigger  string
	Start    time.Time
	Progress
}

// PublicationOf is that of a ServiceAccountKey, as its status says.
func PublicationOf(k *v1alpha1.ServiceAccountKey) Publication {
	s := k.Status
	p := Publication{
		Namespace: k.Namespace, Name: k.Name, Phase: s.Rotation.Phase, ID: s.Rotation.ID, From: s.Rotation.From, To: s.Rotation.To,
		Reason: s.Rotation.Reason, Trigger: s.Rotation.Trigger, Start: s.Rotation.StartTime.Time,
		Progress: Progress{
			Acknowledged: of(s.Acknowledged), Required: of(s.Required), Counted: s.Acknowledged != nil && s.Required != nil, Pending: s.Pending,
		},
	}
	p.PendingCount = max(p.Required-p.Acknowledged, int32(len(s.Pending))) //nolint:gosec // the status holds twenty at most
	for _, key := range s.Keys {
		if key.State == v1alpha1.GenerationActive {
			p.Active = key.Number
		}
	}
	return p
}

// Rotating says whether a rotation is under way.
func (p Publication) Rotating() bool { return p.Phase != "" }

// Took is how long the rotation that is under way has taken so far.
func (p Publication) Took(now time.Time) time.Duration { return max(0, now.Sub(p.Start)) }

// Title names the keys and the cause.
func (p Publication) Title() string {
	switch {
	case p.Rotating() && p.Reason != "":
		return fmt.Sprintf("key %d → %d (%s)", p.From, p.To, p.Reason)
	case p.Rotating():
		return fmt.Sprintf("key %d → %d", p.From, p.To)
	case p.Active != 0:
		return fmt.Sprintf("key %d signs", p.Active)
	default:
		return "no key yet"
	}
}

// keyPhases are the phases of a rotation in order, with what happens in each.
var keyPhases = []struct {
	phase v1alpha1.KeyPhase
	note  string
}{
	{v1alpha1.KeyDistributingTrust, "the new public key is brought to every API server, one host after the other; the old key signs everything still"},
	{v1alpha1.KeySwitchingSigner, "the new key is brought to every API server and controller manager, one host after the other, and signs; " +
		"the old one stays trusted"},
}

// KeyStep is one phase of the rotation of a ServiceAccountKey.
type KeyStep struct {
	Phase v1alpha1.KeyPhase
	State v1alpha1.PhaseState
	// Word says the state to people, and Note what happens in the phase.
	Word, Note string
}

// Steps are the phases of the rotation that is under way, in order; none while there is none.
func (p Publication) Steps() []KeyStep {
	if !p.Rotating() {
		return nil
	}
	return KeySteps(p.Phase)
}

// KeySteps are the phases of a rotation of which one is under way.
func KeySteps(present v1alpha1.KeyPhase) []KeyStep {
	var out []KeyStep
	state := v1alpha1.PhaseDone
	for _, k := range keyPhases {
		switch {
		case k.phase == present:
			state = v1alpha1.PhaseActive
		case state == v1alpha1.PhaseActive:
			state = v1alpha1.PhasePending
		}
		out = append(out, KeyStep{k.phase, state, keyWords[state], k.note})
	}
	return out
}

var keyWords = map[v1alpha1.PhaseState]string{
	v1alpha1.PhaseDone: "done", v1alpha1.PhaseActive: "under way", v1alpha1.PhasePending: "to come",
}

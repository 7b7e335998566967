package dashboard

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/internal/status"
)

const (
	// maxLog is how many changes are remembered.
	maxLog = 100
	// remembered is how long a replacement is shown after its end.
	remembered = 15 * time.Minute
)

// Memory is what the dashboard has seen since it was started: the status tells how things stand, and not how they came to.
// It is a value, and each look makes another.
type Memory struct {
	Log    []Entry // the latest first
	begun  bool
	phases map[caKey]seenPhase
	ended  []Replacement
}

// Entry is one thing that happened.
type Entry struct {
	Time            time.Time
	Namespace, Name string // of the ClusterCA
	Text            string
}

type caKey struct{ namespace, name string }

// seenPhase is a replacement as it was seen last.
type seenPhase struct {
	v1alpha1.RotationStatus
	signing int32
	began   map[plan.Phase]time.Time
}

// Look takes in how the CAs stand now.
func (m Memory) Look(now time.Time, cas []v1alpha1.ClusterCA) Memory {
	next := Memory{Log: slices.Clone(m.Log), begun: true, phases: map[caKey]seenPhase{}}
	for _, r := range m.ended {
		if now.Sub(r.Ended) < remembered {
			next.ended = append(next.ended, r)
		}
	}
	for i := range cas {
		c := &cas[i]
		key := caKey{c.Namespace, c.Name}
		was, known := m.phases[key]
		is := follow(was, c)
		next.phases[key] = is
		if !m.begun {
			continue
		}
		if text := change(was, known, is); text != "" {
			next.Log = slices.Insert(next.Log, 0, Entry{now.UTC().Truncate(time.Second), c.Namespace, c.Name, text})
		}
		if was.Phase != "" && is.Phase == "" {
			next.ended = append(next.ended, ended(now, c, was))
		}
		if is.Phase != "" { // another replacement of it takes the place of the one before
			next.ended = slices.DeleteFunc(next.ended, func(r Replacement) bool { return r.Namespace == c.Namespace && r.Name == c.Name })
		}
	}
	next.Log = next.Log[:min(len(next.Log), maxLog)]
	return next
}

// In is the part of a memory that concerns some namespaces.
func (m Memory) In(visible func(namespace string) bool) Memory {
	m.Log = slices.DeleteFunc(slices.Clone(m.Log), func(e Entry) bool { return !visible(e.Namespace) })
	m.ended = slices.DeleteFunc(slices.Clone(m.ended), func(r Replacement) bool { return !visible(r.Namespace) })
	return m
}

// follow notes when the phases of a replacement began. Another start is another replacement.
func follow(was seenPhase, c *v1alpha1.ClusterCA) seenPhase {
	is := seenPhase{RotationStatus: c.Status.Rotation, signing: c.Status.Certificate.IssuerGeneration, began: map[plan.Phase]time.Time{}}
	if is.Phase == "" {
		return is
	}
	if was.StartTime.Equal(&is.StartTime) {
		maps.Copy(is.began, was.began)
	}
	is.began[plan.Preparing] = is.StartTime.Time
	is.began[plan.Phase(is.Phase)] = is.PhaseTime.Time
	return is
}

// change says what happened between two looks at a CA, "" for nothing.
func change(was seenPhase, known bool, is seenPhase) string {
	switch {
	case !known:
		return "it was created"
	case was.Phase == "" && is.Phase != "":
		return fmt.Sprintf("its replacement has begun (%s): %s", is.Trigger, is.Phase)
	case was.Phase != "" && is.Phase == "" && is.signing == was.To && was.To > was.From:
		return fmt.Sprintf("replaced: generation %d signs and is trusted alone", is.signing)
	case was.Phase != "" && is.Phase == "":
		return fmt.Sprintf("its replacement was given up: generation %d signs", is.signing)
	case was.Phase != is.Phase:
		return is.Phase + ": " + phaseNotes[plan.Phase(is.Phase)]
	default:
		return ""
	}
}

// Replacement is that of one CA, under way or just over.
type Replacement struct {
	Namespace, Name  string
	From, To         int32
	Trigger          string
	Start, PhaseTime time.Time
	Ended            time.Time // zero while it is under way
	GivenUp          bool      // generation From is given up, and To stays
	Blocked          bool      // the phase has waited for longer than spec.rotation.timeout
	Steps            []Step
	Gate             status.Gate
}

// Step is one phase of a replacement.
type Step struct {
	Phase, Note string
	State       StepState
	// Took is how long it took; negative where that was not seen, or it is not over.
	Took time.Duration
}

// StepState is where a phase stands.
type StepState string

// The states.
const (
	Done    StepState = "done"
	Present StepState = "under way"
	Ahead   StepState = "to come"
	Skipped StepState = "not needed"
)

var order = []plan.Phase{plan.Preparing, plan.DistributingTrust, plan.Reissuing, plan.WithdrawingTrust}

var phaseNotes = map[plan.Phase]string{
	plan.Preparing:         "the new key is made",
	plan.DistributingTrust: "both CAs are published; the old one signs until every consumer trusts both",
	plan.Reissuing:         "the new CA signs; every certificate is issued again",
	plan.WithdrawingTrust:  "the old CA is out of the bundle; its key is deleted once nothing trusts it",
}

// replacements are those under way, and then those that have just ended.
func replacements(objects status.Objects, m Memory) []Replacement {
	var out []Replacement
	for i := range objects.CAs {
		c := &objects.CAs[i]
		if c.Status.Rotation.Phase == "" {
			continue
		}
		seen := m.phases[caKey{c.Namespace, c.Name}]
		if !seen.StartTime.Equal(&c.Status.Rotation.StartTime) {
			seen = follow(seenPhase{}, c)
		}
		seen.RotationStatus = c.Status.Rotation
		r := replacementOf(c, seen)
		r.Gate, _ = objects.In(c.Namespace).GateOf(c)
		out = append(out, r)
	}
	return append(out, m.ended...)
}

func replacementOf(c *v1alpha1.ClusterCA, s seenPhase) Replacement {
	r := Replacement{
		Namespace: c.Namespace, Name: c.Name, From: s.From, To: s.To, Trigger: s.Trigger, Start: s.StartTime.Time, PhaseTime: s.PhaseTime.Time,
		GivenUp: s.To != 0 && s.To < s.From,
	}
	for _, k := range c.Status.Conditions {
		r.Blocked = r.Blocked || k.Type == v1alpha1.RotationBlockedCondition && k.Status == "True"
	}
	r.Steps = stepsOf(c, s, slices.Index(order, plan.Phase(s.Phase)), time.Time{})
	return r
}

// stepsOf are the phases, where the one at an index is under way; end is when the last one ended, zero where none has.
func stepsOf(c *v1alpha1.ClusterCA, s seenPhase, at int, end time.Time) []Step {
	// Without overlap there is nothing to distribute and nothing to issue again.
	direct := c.Spec.Rotation.Mode == v1alpha1.RotationEmergency || c.Spec.Rotation.KeyPolicy == v1alpha1.KeyReuse
	out := make([]Step, len(order))
	for i := len(order) - 1; i >= 0; i-- {
		p := order[i]
		began, seen := s.began[p]
		out[i] = Step{Phase: string(p), Note: phaseNotes[p], State: Ahead, Took: -1}
		switch {
		case i > at:
			continue
		case i == at:
			out[i].State = Present
		case direct && !seen && (p == plan.DistributingTrust || p == plan.Reissuing):
			out[i].State = Skipped
			continue
		default:
			out[i].State = Done
			if seen && !end.IsZero() {
				out[i].Took = max(0, end.Sub(began))
			}
		}
		end = began // the one before ended then; zero where that was not seen
	}
	return out
}

// ended is a replacement that is over.
func ended(now time.Time, c *v1alpha1.ClusterCA, was seenPhase) Replacement {
	r := replacementOf(c, was)
	r.Ended, r.Blocked = now.UTC().Truncate(time.Second), false
	r.GivenUp = was.To <= was.From || c.Status.Certificate.IssuerGeneration != was.To
	if !r.GivenUp {
		r.Steps = stepsOf(c, was, len(order), r.Ended)
	}
	return r
}

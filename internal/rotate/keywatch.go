package rotate

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/status"
	"clusterpki.io/operator/internal/timeline"
)

// KeyWatch follows one rotation of a ServiceAccountKey to its end, by what its status says. A status of an older spec says nothing of
// the end.
type KeyWatch struct {
	trigger string // that is waited for; "": whichever rotation comes next, or is under way
	base    int32  // the key that signed before
	begun   bool   // a rotation was observed
	asked   bool   // the spec had that trigger
	key     *v1alpha1.ServiceAccountKey
}

// BeginKey starts to follow the rotation for a trigger, or, with "", the one that is under way, else the next one.
func BeginKey(trigger string, key *v1alpha1.ServiceAccountKey) *KeyWatch {
	p := timeline.PublicationOf(key)
	w := &KeyWatch{trigger: trigger, base: p.Active}
	if p.Rotating() {
		w.base = p.From
	}
	w.Observe(key)
	return w
}

// Observe takes in what is there now.
func (w *KeyWatch) Observe(key *v1alpha1.ServiceAccountKey) Outcome {
	w.key = key
	w.begun = w.begun || key.Status.Rotation.Phase != ""
	w.asked = w.asked || w.trigger != "" && key.Spec.Rotation.Trigger == w.trigger
	return w.outcome()
}

// outcome judges what was seen last.
func (w *KeyWatch) outcome() Outcome {
	active := w.active()
	switch {
	case w.key.Status.Rotation.Phase != "" || !w.current() || active.Number == 0:
		return Going
	case w.trigger != "" && active.Trigger == w.trigger, (w.trigger == "" || w.asked) && active.Number > w.base:
		return Completed
	case (w.begun || w.asked) && w.is(v1alpha1.StalledCondition) != nil:
		return Stalled
	case w.trigger == "" && w.begun, w.asked && w.key.Spec.Rotation.Trigger != w.trigger:
		return RolledBack
	default:
		return Going
	}
}

// current says whether the status describes the present spec.
func (w *KeyWatch) current() bool { return w.key.Status.ObservedGeneration == w.key.Generation }

// active is the key that signs; zero where the status names none.
func (w *KeyWatch) active() v1alpha1.KeyStatus {
	for _, k := range w.key.Status.Keys {
		if k.State == v1alpha1.GenerationActive {
			return k
		}
	}
	return v1alpha1.KeyStatus{}
}

// is returns a condition that is True and describes the present spec.
func (w *KeyWatch) is(kind string) *metav1.Condition {
	c := meta.FindStatusCondition(w.key.Status.Conditions, kind)
	if c == nil || c.Status != metav1.ConditionTrue || c.ObservedGeneration != w.key.Generation {
		return nil
	}
	return c
}

// alerts are what a person should know now.
func (w *KeyWatch) alerts() []string {
	var out []string
	for _, kind := range []string{v1alpha1.RotationBlockedCondition, v1alpha1.StalledCondition} {
		if c := w.is(kind); c != nil {
			out = append(out, kind+": "+c.Message)
		}
	}
	if now := w.key.Spec.Rotation.Trigger; w.asked && now != w.trigger {
		out = append(out, fmt.Sprintf("spec.rotation.trigger is no longer %q but %q: does something keep the object as it is in Git?", w.trigger, now))
	}
	return out
}

// heading is one line on how it stands.
func (w *KeyWatch) heading() string {
	active := w.active().Number
	switch outcome := w.outcome(); {
	case outcome == Stalled:
		return "it cannot begin before something is changed"
	case outcome == Completed:
		return fmt.Sprintf("completed: key %d signs, and earlier ones stay trusted for spec.retainOldKeyFor", active)
	case outcome == RolledBack:
		return fmt.Sprintf("rolled back: key %d signs as before", active)
	case w.trigger != "" && !w.asked:
		return fmt.Sprintf("waiting until spec.rotation.trigger is %q", w.trigger)
	case w.asked && w.current():
		return "waiting until what is published is in use everywhere; a trigger that an earlier rotation was for starts nothing"
	case w.begun, w.asked:
		return "waiting for the operator to take the change up"
	default:
		return fmt.Sprintf("key %d signs, and no rotation is under way; waiting for one", active)
	}
}

func (w *KeyWatch) name() string {
	return fmt.Sprintf("ServiceAccountKey/%s in %s", w.key.Name, w.key.Namespace)
}

// Frame is the progress as a terminal shows it, line by line.
func (w *KeyWatch) Frame(now time.Time, s status.Style) []string {
	p := timeline.PublicationOf(w.key)
	heading := w.heading()
	if p.Rotating() {
		heading = p.Title() + ", for " + status.HumanDuration(p.Took(now))
	}
	out := []string{s.Colored(status.Bold, w.name()) + ": " + heading, ""}
	wrapped := func(first, indent, text string) {
		out = append(out, strings.Split(s.Wrapped(first, indent, text), "\n")...)
	}
	for _, step := range p.Steps() {
		mark, paint := marksOf(step.State)
		line := fmt.Sprintf("  %s %-18s", s.Colored(paint, mark), step.Phase)
		if step.State == v1alpha1.PhaseActive && p.Counted {
			line += " " + bar(p.Progress)
		}
		out = append(out, strings.TrimRight(line, " "))
	}
	if waiting := p.Waiting(); len(waiting) > 0 {
		wrapped("      ", "      ", "waits for "+strings.Join(waiting, ", "))
	}
	for _, edit := range p.Edits() {
		wrapped("      ", "        ", edit)
	}
	for _, a := range w.alerts() {
		wrapped("  "+s.Colored(status.Red, "!")+" ", "    ", a)
	}
	return out
}

// Lines are the progress as it is logged.
func (w *KeyWatch) Lines() []string {
	p := timeline.PublicationOf(w.key)
	line := w.name() + ": "
	if p.Rotating() {
		line += fmt.Sprintf("%s, %s", p.Phase, p.Title())
		if p.Counted {
			line += ", " + p.Tally()
		}
		if waiting := p.Waiting(); len(waiting) > 0 {
			line += ", waits for " + strings.Join(waiting, ", ")
		}
	} else {
		line += w.heading()
	}
	return append([]string{line}, w.alerts()...)
}

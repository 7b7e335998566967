package rotate

import (
	"fmt"
	"strings"
	"time"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/status"
)

// Frame is the progress as a terminal shows it, line by line.
func (w *Watch) Frame(now time.Time, s status.Style) []string {
	out := []string{s.Painted(status.Bold, w.name()) + ": " + w.heading(now), ""}
	gate, counted := w.gate()
	for _, step := range w.Steps(now) {
		mark, paint := marksOf(step.State)
		line := fmt.Sprintf("  %s %-18s", s.Painted(paint, mark), step.Phase)
		if step.Took >= 0 {
			line += fmt.Sprintf(" %-8s", status.Span(step.Took))
		}
		if step.State == Present && counted {
			line += " " + bar(*gate.Acknowledged, *gate.Required)
		}
		out = append(out, strings.TrimRight(line, " "))
		if step.State == Present && len(gate.Pending) > 0 {
			out = append(out, strings.Split(s.Wrapped("      ", "      ", "waits for "+strings.Join(gate.Pending, ", ")), "\n")...)
		}
	}
	for _, a := range w.Alerts() {
		out = append(out, strings.Split(s.Wrapped("  "+s.Painted(status.Red, "!")+" ", "    ", a), "\n")...)
	}
	return out
}

// Lines are the progress as it is logged: how it stands, and what a person should know.
func (w *Watch) Lines() []string {
	var line string
	switch {
	case w.last.Phase != "" && w.outcome() == Going:
		gate, counted := w.gate()
		line = fmt.Sprintf("%s: %s, %s", w.name(), w.last.Phase, w.route())
		if counted {
			line += fmt.Sprintf(", %d/%d acknowledged", *gate.Acknowledged, *gate.Required)
		}
		if len(gate.Pending) > 0 {
			line += ", waits for " + strings.Join(gate.Pending, ", ")
		}
	default:
		line = w.name() + ": " + w.heading(time.Time{})
	}
	return append([]string{line}, w.Alerts()...)
}

func (w *Watch) name() string {
	return fmt.Sprintf("ClusterCA/%s in %s", w.seen.CA.Name, w.seen.CA.Namespace)
}

// heading is one line on how it stands.
func (w *Watch) heading(now time.Time) string {
	signing, _ := w.seen.Ledger.Signing()
	switch w.outcome() {
	case Completed:
		text := fmt.Sprintf("%s: generation %d signs and is trusted alone", Completed, signing.Number)
		if !w.last.StartTime.IsZero() {
			text += ", after " + status.Span(w.ended.Sub(w.last.StartTime.Time))
		}
		return text
	case GivenUp:
		return fmt.Sprintf("%s: the spec was taken back, and generation %d signs as before", GivenUp, signing.Number)
	case Stuck:
		return "it cannot begin before something is changed"
	default:
	}
	switch {
	case w.last.Phase != "":
		return w.route() + ", for " + status.Span(now.Sub(w.last.StartTime.Time))
	case w.want != "" && !w.asked:
		return fmt.Sprintf("waiting until spec.rotation.revision is %q", w.want)
	case w.held() != "":
		return w.held()
	case w.begun, w.asked:
		return "waiting for the operator to take the change up"
	default:
		return fmt.Sprintf("generation %d signs, and no replacement is under way; waiting for one", signing.Number)
	}
}

// held is why the operator does not begin, where it says so.
func (w *Watch) held() string {
	c := w.is(v1alpha1.ReconcilingCondition)
	if c == nil || c.Reason != v1alpha1.ReasonRestoreIncomplete {
		return ""
	}
	return c.Message
}

// route names the generations of the replacement and its cause.
func (w *Watch) route() string {
	r := w.last
	text := fmt.Sprintf("generation %d → %d", r.From, r.To)
	if r.To < r.From {
		text = fmt.Sprintf("generation %d is given up", r.From)
	}
	if r.Trigger != "" {
		text += " (" + r.Trigger + ")"
	}
	return text
}

// gate is what the phase waits for; counted is false where that is not known yet.
func (w *Watch) gate() (g v1alpha1.GateStatus, counted bool) {
	for _, g := range w.last.Gates {
		if g.Name == w.last.Phase {
			return g, g.Acknowledged != nil && g.Required != nil
		}
	}
	return v1alpha1.GateStatus{}, false
}

func marksOf(s StepState) (mark string, paint status.Paint) {
	switch s {
	case Done:
		return "✓", status.Green
	case Present:
		return "▶", status.Yellow
	case Skipped:
		return "-", status.Faint
	default:
		return "·", status.Faint
	}
}

const barWidth = 20

// bar draws how many of all have acknowledged.
func bar(done, all int32) string {
	full := barWidth
	if all > 0 {
		full = int(barWidth * done / all)
	}
	return fmt.Sprintf("%s%s %d/%d", strings.Repeat("█", full), strings.Repeat("░", barWidth-full), done, all)
}

package rotate

import (
	"fmt"
	"strings"
	"time"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/status"
	"clusterpki.io/operator/internal/timeline"
)

// Frame is the progress as a terminal shows it, line by line.
func (w *Watch) Frame(now time.Time, s status.Style) []string {
	out := []string{s.Colored(status.Bold, w.name()) + ": " + w.heading(now), ""}
	wrapped := func(first, indent, text string) {
		out = append(out, strings.Split(s.Wrapped(first, indent, text), "\n")...)
	}
	r, _ := w.rotation(now)
	for _, step := range r.Steps {
		out = append(out, stepLine(r, step, s))
		if step.State != v1alpha1.PhaseActive {
			continue
		}
		if waiting := r.Waiting(); len(waiting) > 0 {
			wrapped("      ", "      ", "waits for "+strings.Join(waiting, ", "))
		}
		for _, edit := range r.Edits() {
			wrapped("      ", "        ", edit)
		}
	}
	if text := status.ExpectedText(now, r); text != "" {
		wrapped("  ", "  ", text)
	}
	for _, a := range w.Alerts() {
		wrapped("  "+s.Colored(status.Red, "!")+" ", "    ", a)
	}
	return out
}

// stepLine is one phase.
func stepLine(r timeline.Rotation, step timeline.Step, s status.Style) string {
	mark, paint := marksOf(step.State)
	line := fmt.Sprintf("  %s %-18s", s.Colored(paint, mark), step.Phase)
	if step.Took >= 0 {
		line += fmt.Sprintf(" %-8s", status.HumanDuration(step.Took))
	}
	switch {
	case step.State == v1alpha1.PhaseActive && r.Counted:
		line += " " + bar(r.Progress)
	case step.State == v1alpha1.PhaseSkipped:
		line += " " + step.Word
	}
	return strings.TrimRight(line, " ")
}

// Lines are the progress as it is logged: how it stands, and what a person should know. When a rotation is expected to end
// is not among it, since that changes all the time.
func (w *Watch) Lines() []string {
	line := w.name() + ": "
	if r, ok := timeline.UnderWay(time.Time{}, w.snapshot.CA, w.snapshot.Consumers); ok {
		line += fmt.Sprintf("%s, %s", w.snapshot.CA.Status.Rotation.Phase, r.Title())
		if r.Counted {
			line += ", " + r.Tally()
		}
		if waiting := r.Waiting(); len(waiting) > 0 {
			line += ", waits for " + strings.Join(waiting, ", ")
		}
	} else {
		line += w.heading(time.Time{})
	}
	return append([]string{line}, w.Alerts()...)
}

func (w *Watch) name() string {
	return fmt.Sprintf("ClusterCA/%s in %s", w.snapshot.CA.Name, w.snapshot.CA.Namespace)
}

// heading is one line on how it stands.
func (w *Watch) heading(now time.Time) string {
	r, known := w.rotation(now)
	active := activeOf(w.snapshot.CA).Number
	switch outcome := w.outcome(); {
	case outcome == Stalled:
		return "it cannot begin before something is changed"
	case known && r.Over():
		return r.Outcome() + ", after " + status.HumanDuration(r.Took(now))
	case known:
		return r.Title() + ", for " + status.HumanDuration(r.Took(now))
	case outcome == Completed:
		return fmt.Sprintf("completed: generation %d signs and is trusted alone", active)
	case outcome == RolledBack:
		return fmt.Sprintf("rolled back: generation %d signs as before", active)
	case w.trigger != "" && !w.asked:
		return fmt.Sprintf("waiting until spec.rotation.trigger is %q", w.trigger)
	case w.restoring() != "":
		return w.restoring()
	case w.asked && w.current():
		return "waiting for the operator to take the change up; a trigger that an earlier rotation was for starts nothing"
	case w.begun, w.asked:
		return "waiting for the operator to take the change up"
	default:
		return fmt.Sprintf("generation %d signs, and no rotation is under way; waiting for one", active)
	}
}

// restoring is why the operator does not begin, where it says so.
func (w *Watch) restoring() string {
	c := w.is(v1alpha1.ReconcilingCondition)
	if c == nil || c.Reason != v1alpha1.ReasonRestoreIncomplete {
		return ""
	}
	return c.Message
}

func marksOf(s v1alpha1.PhaseState) (mark string, paint status.Paint) {
	switch s {
	case v1alpha1.PhaseDone:
		return "✓", status.Green
	case v1alpha1.PhaseActive:
		return "▶", status.Yellow
	case v1alpha1.PhaseSkipped:
		return "-", status.Faint
	default:
		return "·", status.Faint
	}
}

const barWidth = 20

// bar draws how many of all have acknowledged, and then those of whom it is only assumed.
func bar(r timeline.Progress) string {
	done, assumed, all := barWidth, 0, r.Required
	if all > 0 {
		done = min(barWidth, int(barWidth*r.Acknowledged/all))
		assumed = min(barWidth-done, int(barWidth*r.Assumed/all))
	}
	bars := strings.Repeat("█", done) + strings.Repeat("▒", assumed) + strings.Repeat("░", barWidth-done-assumed)
	text := fmt.Sprintf("%s %d/%d", bars, r.Acknowledged, r.Required)
	if r.Assumed > 0 {
		text += fmt.Sprintf(", %d assumed", r.Assumed)
	}
	return text
}

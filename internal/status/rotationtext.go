package status

import (
	"fmt"
	"strings"
	"time"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/timeline"
)

// RotationLines say how far a rotation is, whom it waits for, and what people can do so that it goes on.
func RotationLines(now time.Time, r timeline.Rotation) []string {
	text := r.Title()
	active, ok := r.Active()
	if ok {
		text = string(active.Phase) + ", " + text
	}
	text += ": "
	if tally := r.Tally(); tally != "" {
		text += tally + ", "
	}
	if ok && active.Took >= 0 {
		text += "for " + HumanDuration(active.Took) + ", "
	}
	out := []string{text + "begun " + ago(now, r.Start)}
	if expected := ExpectedText(now, r); expected != "" {
		out = append(out, expected)
	}
	if waiting := r.Waiting(); len(waiting) > 0 {
		out = append(out, "waits for "+strings.Join(waiting, ", "))
	}
	return append(out, r.Edits()...)
}

// rotation says how far the rotation of a CA is.
func (t *tree) rotation(lead string, r timeline.Rotation, trust v1alpha1.TrustStatus) {
	lines := RotationLines(t.now, r)
	if trust.BundleSHA256 != "" {
		lines = append(lines, "the trust bundle is "+trust.BundleSHA256)
	}
	for _, text := range lines {
		t.rows = append(t.rows, row{tree: lead, prose: text})
	}
}

// LastText says how the last rotation has ended.
func LastText(now time.Time, s v1alpha1.LastRotationStatus) string {
	text := fmt.Sprintf("the last rotation, to generation %d, was %s", s.To, lastWords[s.Result])
	if !s.EndTime.IsZero() {
		text += " " + ago(now, s.EndTime.Time)
	}
	return text
}

// ago is how long something is past. A time of the API has whole seconds, rounded up, and may lie a little ahead.
func ago(now, at time.Time) string { return HumanDuration(max(0, now.Sub(at))) + " ago" }

var lastWords = map[v1alpha1.RotationResult]string{
	v1alpha1.RotationCompleted: "completed", v1alpha1.RotationRolledBack: "rolled back", v1alpha1.RotationSuperseded: "superseded",
}

// ExpectedText says when a rotation is expected to end, or why that is not known; "" where there is nothing to say.
func ExpectedText(now time.Time, r timeline.Rotation) string {
	active, _ := r.Active()
	switch phase, whole := active.Expected, r.Expected; {
	case phase.Unknown != "":
		return "its end is not known: " + phase.Unknown
	case phase.At.IsZero():
		return ""
	case phase.At.Before(now):
		return "the phase was expected to end " + Until(now, phase.At)
	case whole.Unknown != "":
		return "the phase is expected to end " + Until(now, phase.At) + "; the end of the whole is not known: " + whole.Unknown
	case whole.At.Equal(phase.At):
		return "it is expected to end " + Until(now, whole.At)
	default:
		return "the phase is expected to end " + Until(now, phase.At) + ", the whole " + Until(now, whole.At)
	}
}

// fingerprint is the begin of a fingerprint, as much as tells two apart.
func fingerprint(sha256 string) string {
	if sha256 == "" {
		return ""
	}
	return "SHA-256 " + sha256[:min(len(sha256), 16)] + "…"
}

package demo

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/load"
	"clusterpki.io/operator/internal/timeline"
)

// printCounts stops the load and says what it has counted.
func (d *demo) printCounts() error {
	r := d.rotation
	r.load.Stop()
	text, err := countsTable(r.load.Rows(), d.Rotation == Naive)
	if err != nil {
		return err
	}
	took := d.Clock.Since(r.loaded)
	d.say("asked for %s, %.0f requests a second", took.Round(time.Second), float64(r.load.Total().Requests)/took.Seconds())
	d.say("%s", text)
	if n := r.load.Total().Reread; n > 0 {
		d.say("%d times, a certificate was read before a swap of the files and its key after it; they were read again.", n)
	}
	for _, why := range r.load.Reasons()[:min(maxShown, len(r.load.Reasons()))] {
		d.say("%6d × %s, since +%s: %s", why.Count, why.Kind, why.First.Sub(r.began).Round(100*time.Millisecond), why.Text)
	}
	if text, err = phasesTable(r.progress, r.required); err != nil {
		return err
	}
	d.say("\n%s\n", text)
	if a := r.absence; !a.returned.IsZero() {
		d.say("the agent of %s was away from +%s to +%s: the rotation waited for %s", a.host,
			a.stopped.Sub(r.began).Round(time.Second), a.returned.Sub(r.began).Round(time.Second), a.pending)
	}
	if len(r.agents.restarts) == 0 {
		d.say("no component was restarted")
	}
	for _, restarted := range r.agents.restarts {
		d.say("restarted at +%s: %s (%s)", restarted.at.Sub(r.began).Round(time.Second), restarted.process, restarted.why)
	}
	return nil
}

// maxShown is how many kinds of failures, and how many lines of logs, are printed.
const maxShown = 10

// countsTable renders the counts of a load, and how long each client was down where that matters.
func countsTable(rows []load.Row, down bool) (string, error) {
	header := []string{"identity", "connections", "requests", "TLS or auth", "other failures", "cut off, retried", "p50", "p99", "max"}
	if down {
		header = append(header, "down for")
	}
	lines := [][]string{header}
	var sum load.Row
	for _, r := range rows {
		line := []string{
			r.Identity, string(r.Kind), fmt.Sprint(r.Requests), fmt.Sprint(r.Refused), fmt.Sprint(r.Failed), fmt.Sprint(r.CutOff),
			milliseconds(r.P50), milliseconds(r.P99), milliseconds(r.Max),
		}
		if down {
			line = append(line, r.Down.Round(100*time.Millisecond).String())
		}
		lines = append(lines, line)
		sum.Requests, sum.Refused, sum.Failed, sum.CutOff = sum.Requests+r.Requests, sum.Refused+r.Refused, sum.Failed+r.Failed, sum.CutOff+r.CutOff
	}
	lines = append(lines, []string{"all", "", fmt.Sprint(sum.Requests), fmt.Sprint(sum.Refused), fmt.Sprint(sum.Failed), fmt.Sprint(sum.CutOff)})
	return table(lines)
}

// phasesTable renders how long each phase took.
func phasesTable(r timeline.Rotation, required map[v1alpha1.Phase]int32) (string, error) {
	lines := [][]string{{"phase", "took", "acknowledged by"}}
	for _, s := range r.Steps {
		took, by := s.Word, ""
		switch s.State {
		case v1alpha1.PhaseDone:
			took, by = s.Took.Round(time.Second).String(), fmt.Sprint(required[s.Phase])
		case v1alpha1.PhaseActive:
			by = fmt.Sprint(required[s.Phase])
		default:
		}
		lines = append(lines, []string{string(s.Phase), took, by})
	}
	return table(lines)
}

// table aligns columns.
func table(lines [][]string) (string, error) {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	for _, l := range lines {
		fmt.Fprintln(w, strings.Join(l, "\t"))
	}
	if err := w.Flush(); err != nil {
		return "", fmt.Errorf("align a table: %w", err)
	}
	return strings.TrimRight(out.String(), "\n"), nil
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}

package bench_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
)

// tables are what was measured; TestMain prints them.
var tables strings.Builder

// table has a line for each figure.
type table struct {
	b    *testing.B
	text strings.Builder
	w    *tabwriter.Writer
}

func newTable(b *testing.B, head ...string) *table {
	t := &table{b: b}
	t.w = tabwriter.NewWriter(&t.text, 0, 0, 2, ' ', 0)
	t.row(head...)
	return t
}

func (t *table) row(cells ...string) { fmt.Fprintln(t.w, strings.Join(cells, "\t")) }

// print keeps the table for the end.
func (t *table) print() {
	t.w.Flush()
	tables.WriteString("\n" + t.text.String())
}

// report is one figure for `go test`.
func (t *table) report(name string, value float64) {
	t.b.ReportMetric(value, strings.ReplaceAll(name, " ", "-"))
}

func figure(v float64) string { return fmt.Sprintf("%.4g", v) }

func bound(v float64) string { return fmt.Sprintf("≤ %g", v) }

// median of some values; of an even number it is the lower one of the two in the middle.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)-1)/2]
}

package records

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

var now = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// issued are n issues of one object, the oldest first, each with an hour to live.
func issued(n int) []Issue {
	var out []Issue
	for i := range n {
		out = append(out, Issue{
			Object: Object{UID: "u", Kind: "NodeCredential", Name: "n"}, SerialNumber: fmt.Sprintf("%02X", i+1),
			Time: now.Add(time.Duration(i-n) * time.Minute), NotAfter: now.Add(time.Hour),
		})
	}
	return out
}

func TestOutdated(t *testing.T) {
	ended := issued(3)
	ended[1].NotAfter = now
	for name, c := range map[string]struct {
		issues       []Issue
		acknowledged string
		want         []string
	}{
		"nothing is acknowledged":             {issued(3), "", nil},
		"the first is":                        {issued(3), "01", nil},
		"a later one is":                      {issued(3), "03", []string{"01", "02"}},
		"one that is not known is":            {issued(3), "FF", nil},
		"one has ended, an earlier one not":   {ended, "", []string{"01", "02"}},
		"the acknowledged one has":            {ended, "02", []string{"01", "02"}},
		"none was issued":                     {nil, "01", nil},
		"the last one is, and there are many": {issued(18), "01", nil},
	} {
		if got := outdated(c.issues, c.acknowledged, now); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestExcess lets the oldest go, and never what a host has or its Secret holds: 40 re-issues that were never published.
func TestExcess(t *testing.T) {
	for name, c := range map[string]struct {
		n     int
		inUse []string
		want  []string
	}{
		"few":                        {MaxPerObject, nil, nil},
		"one too many":               {MaxPerObject + 1, nil, []string{"01"}},
		"the oldest is in use":       {MaxPerObject + 1, []string{"01"}, []string{"02"}},
		"the two oldest are in use":  {MaxPerObject + 2, []string{"02", "01"}, []string{"03", "04"}},
		"what is in use is not here": {MaxPerObject + 1, []string{"FF", ""}, []string{"01"}},
	} {
		if got := excess(issued(c.n), c.inUse...); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v", name, got)
		}
	}
	all := issued(1)
	for n := range 40 {
		next := issued(1)[0]
		next.SerialNumber, next.Time = fmt.Sprintf("A%d", n), now.Add(time.Duration(n)*time.Second)
		all = append(all, next)
		gone := excess(all, "01")
		all = slices.DeleteFunc(all, func(i Issue) bool { return slices.Contains(gone, i.SerialNumber) })
	}
	if len(all) != MaxPerObject || all[0].SerialNumber != "01" {
		t.Errorf("%d are left, the first is %s", len(all), all[0].SerialNumber)
	}
}

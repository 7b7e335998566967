package status

import (
	"strings"
	"testing"
)

// TestOthersColours: what others wrote has no colour but the one that it is given, in a table and in prose, wrapped or not.
func TestOthersColours(t *testing.T) {
	const text = "a \x1b[32mgood\x1b[0m\tone\u202e"
	for _, width := range []int{0, 60} {
		s := Style{Color: true, Width: width}
		table := s.table([]row{{cells: []cell{{text: text, paint: Red}}}, {tree: "  ", prose: text}})
		if got := table + s.Wrapped("  ", "  ", text); strings.Count(got, "\x1b") != 2 || strings.Contains(got, "\u202e") {
			t.Errorf("width %d: %q", width, got)
		}
	}
	if got := Printable("ä └─ 一\n\xff"); got != "ä └─ 一??" {
		t.Errorf("%q", got)
	}
}

package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"clusterpki.io/operator/internal/status"
)

// styleFor is how texts look where they are written to: in colour on a terminal, unless NO_COLOR (no-color.org) or
// TERM=dumb say otherwise, elsewhere where CLICOLOR_FORCE asks for it; and wrapped on a terminal. redraws says whether
// lines can be drawn again.
func styleFor(w io.Writer) (s status.Style, redraws bool) {
	f, ok := raw(w).(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		forced := os.Getenv("CLICOLOR_FORCE")
		return status.Style{Color: forced != "" && forced != "0" && os.Getenv("NO_COLOR") == ""}, false
	}
	s.Width = 100
	if width, _, err := term.GetSize(int(f.Fd())); err == nil {
		s.Width = max(60, min(width, 140))
	}
	able := os.Getenv("TERM") != "dumb"
	s.Color = able && os.Getenv("NO_COLOR") == ""
	return s, able
}

// screen draws lines in place of those that it drew before.
type screen struct {
	w     io.Writer
	drawn int
}

// draw shows the lines; one that is longer than the terminal is cut off, because the next drawing counts lines.
func (s *screen) draw(lines []string) {
	var b strings.Builder
	if s.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", s.drawn) // up
	}
	b.WriteString("\r\x1b[J\x1b[?7l") // erase what is below, and do not wrap
	for _, line := range lines {
		b.WriteString(cleaned(line) + "\n")
	}
	b.WriteString("\x1b[?7h")
	fmt.Fprint(s.w, b.String())
	s.drawn = len(lines)
}

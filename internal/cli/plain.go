package cli

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf16"

	"github.com/spf13/cobra"
)

// plain is the writer of everything that a command prints. Names, messages and subjects come from others: what of them would
// control a terminal, or show a text otherwise than it is, is replaced by a question mark.
type plain struct{ to io.Writer }

// Write implements io.Writer.
func (p plain) Write(text []byte) (int, error) {
	if _, err := io.WriteString(p.to, cleaned(string(text))); err != nil {
		return 0, err //nolint:wrapcheck // it stands in the place of what it writes to
	}
	return len(text), nil
}

// raw is what a writer of ours writes to: for what belongs to a terminal, and for data that must arrive as it is.
func raw(w io.Writer) io.Writer {
	if p, ok := w.(plain); ok {
		return p.to
	}
	return w
}

// printPlainly lets a command and those below it print by plain.
func printPlainly(c *cobra.Command, _ []string) {
	root := c.Root()
	root.SetOut(plain{raw(c.OutOrStdout())})
	root.SetErr(plain{raw(c.ErrOrStderr())})
}

// Complain prints why a command ended. It may quote others, a file's name among them: nothing in it is a colour of ours.
func Complain(w io.Writer, root *cobra.Command, err error) {
	fmt.Fprintln(w, strings.Map(visible, fmt.Sprintf("%s: %v", root.DisplayName(), err)))
}

// colour is what status.Style writes, on what it has made printable before.
var colour = regexp.MustCompile("\x1b\\[(?:0|1|2|31|32|33)m")

// cleaned is a text without what controls a terminal, but for lines, tabs and our colours.
func cleaned(text string) string {
	if !strings.ContainsFunc(text, hidden) {
		return text
	}
	var b strings.Builder
	for {
		at := colour.FindStringIndex(text)
		if at == nil {
			break
		}
		b.WriteString(strings.Map(visible, text[:at[0]]) + text[at[0]:at[1]])
		text = text[at[1]:]
	}
	return b.String() + strings.Map(visible, text)
}

func visible(r rune) rune {
	if hidden(r) {
		return '?'
	}
	return r
}

// hidden says whether a character does something else than to be seen: controls, the marks that turn the direction of a text, and
// what has no width.
func hidden(r rune) bool {
	return r != '\n' && r != '\t' && (r == unicode.ReplacementChar || !unicode.IsPrint(r) && !unicode.Is(unicode.Zs, r))
}

// escaped writes what is hidden of a JSON text as JSON escapes it: the same to programs.
func escaped(text []byte) []byte {
	var b strings.Builder
	for _, r := range string(text) {
		switch {
		case !hidden(r) || r == unicode.ReplacementChar:
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return []byte(b.String())
}

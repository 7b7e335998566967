package status

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Style says how a text looks. The zero value is plain text that is not wrapped.
type Style struct {
	// Color uses the terminal's colours.
	Color bool
	// Width is where lines of prose are wrapped, in characters; 0: nowhere. Tables are as wide as they are.
	Width int
	// Namespaces shows the namespace of each tree.
	Namespaces bool
	// Wide adds columns: the host, the Secret and the serial number of each certificate.
	Wide bool
}

// Paint is a colour of a terminal (ECMA-48, SGR).
type Paint string

// The colours.
const (
	Plain  Paint = ""
	Bold   Paint = "1"
	Faint  Paint = "2"
	Red    Paint = "31"
	Green  Paint = "32"
	Yellow Paint = "33"
)

// Printable is one line of somebody else's text without what does something else than to be seen: what would control a terminal, colour
// it, begin a line or a column of its own, or show a text otherwise than it is.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
}

// Colored is a text in a colour, where the style has any.
func (s Style) Colored(p Paint, text string) string {
	if !s.Color || p == Plain || text == "" {
		return text
	}
	return "\x1b[" + string(p) + "m" + text + "\x1b[0m"
}

// Wrapped breaks a text, which may be of others, at spaces. Every line begins with indent, the first one with first, which is as long.
func (s Style) Wrapped(first, indent, text string) string {
	if s.Width == 0 {
		return first + Printable(text)
	}
	var b strings.Builder
	line, begun := first, false
	for word := range strings.FieldsSeq(text) {
		if begun && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > s.Width {
			b.WriteString(line + "\n")
			line, begun = indent, false
		}
		word = Printable(word)
		if begun {
			line += " "
		}
		line, begun = line+word, true
	}
	b.WriteString(line)
	return b.String()
}

// cell is a text in a table.
type cell struct {
	text  string
	paint Paint
}

// row is a line of a table: cells, or prose from the tree's lines on.
type row struct {
	tree  string // what is drawn before
	cells []cell
	prose string
}

// table writes rows with their cells below one another.
func (s Style) table(rows []row) string {
	var widths []int
	for _, r := range rows {
		for i, c := range r.cells {
			r.cells[i].text = Printable(c.text)
			c = r.cells[i]
			n := utf8.RuneCountInString(c.text)
			if i == 0 {
				n += utf8.RuneCountInString(r.tree)
			}
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], n)
		}
	}
	var b strings.Builder
	for _, r := range rows {
		if len(r.cells) == 0 {
			b.WriteString(s.Wrapped(r.tree, r.tree, r.prose) + "\n")
			continue
		}
		line, gap := r.tree, 0
		for i, c := range r.cells {
			used := utf8.RuneCountInString(c.text)
			if i == 0 {
				used += utf8.RuneCountInString(r.tree)
			}
			if c.text != "" {
				line += strings.Repeat(" ", gap) + s.Colored(c.paint, c.text)
				gap = 0
			} else {
				used = 0
			}
			gap += widths[i] - used + 2
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

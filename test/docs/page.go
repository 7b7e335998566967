// Package docs reads the pages of the documentation; its tests run them.
package docs

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Page is a Markdown file, taken apart.
type Page struct {
	Path     string // relative to the repository's root
	Needs    []string
	Fences   []Fence
	Headings []string // their anchors, as GitHub makes them
	Links    []Link
	Code     []Span // what stands in `backquotes`
	Indented []int  // lines at which code begins that is indented and in no fence
}

// Fence is a block between two lines of ```.
type Fence struct {
	Line     int    // of its first line of content, from 1
	Language string // the first word after ```, "" for none
	Mark     string // the second: fragment=KIND, file=NAME or unserved
	Text     string
}

// Link leads to a file, a heading of one, or a URL.
type Link struct {
	Line   int
	Target string
}

// Span is code within a line.
type Span struct {
	Line int
	Text string
}

// Files are the Markdown files that readers get, relative to the root: at the top, and in docs, config and charts.
func Files(root string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(root, "*.md"))
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", root, err)
	}
	for _, dir := range []string{"docs", "config", "charts"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(path string, _ fs.DirEntry, err error) error {
			switch {
			case os.IsNotExist(err):
				return nil
			case err == nil && strings.HasSuffix(path, ".md"):
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", dir, err)
		}
	}
	for i, f := range files {
		if files[i], err = filepath.Rel(root, f); err != nil {
			return nil, fmt.Errorf("list %s: %w", root, err)
		}
	}
	slices.Sort(files)
	return files, nil
}

// Read takes a page apart.
func Read(root, path string) (*Page, error) {
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		return nil, fmt.Errorf("read a page: %w", err)
	}
	return parse(path, string(text)), nil
}

var (
	needs      = regexp.MustCompile(`^<!-- test: (?:needs )?([a-z ,-]+) -->$`)
	fenceBegin = regexp.MustCompile("^( *)```([^ `]*) ?([^`]*)$")
	heading    = regexp.MustCompile(`^#{1,6} +(.+?) *$`)
	listItem   = regexp.MustCompile(`^ *([-*]|[0-9]+\.) `)
	link       = regexp.MustCompile(`\]\(([^()\s]+)(?: "[^"]*")?\)`)
	code       = regexp.MustCompile("`([^`]+)`")
)

// parse reads what the tests need of Markdown: fences, headings, links and code.
func parse(path, text string) *Page {
	p := &Page{Path: path}
	lines := strings.Split(text, "\n")
	inList, inIndented := false, false
	for i := 0; i < len(lines); i++ {
		line, blank := lines[i], i == 0 || strings.TrimSpace(lines[i-1]) == ""
		if m := fenceBegin.FindStringSubmatch(line); m != nil {
			end := i + 1
			for end < len(lines) && strings.TrimSpace(lines[end]) != "```" {
				end++
			}
			p.Fences = append(p.Fences, Fence{i + 2, m[2], strings.TrimSpace(m[3]), dedent(lines[i+1:min(end, len(lines))], m[1])})
			i = end
			continue
		}
		indented := strings.HasPrefix(line, "    ")
		if indented && blank && !inList && !inIndented {
			p.Indented = append(p.Indented, i+1)
		}
		inIndented = (inIndented || blank) && (indented || line == "") && !inList
		if !inIndented {
			p.readLine(i+1, line)
		}
		if line != "" && line[0] != ' ' || listItem.MatchString(line) {
			inList = listItem.MatchString(line)
		}
	}
	return p
}

func (p *Page) readLine(n int, line string) {
	if m := needs.FindStringSubmatch(line); m != nil {
		p.Needs = append(p.Needs, strings.FieldsFunc(m[1], func(r rune) bool { return r == ' ' || r == ',' })...)
	}
	if strings.HasPrefix(line, "<!--") && strings.HasSuffix(line, "-->") {
		return
	}
	if m := heading.FindStringSubmatch(line); m != nil {
		p.Headings = append(p.Headings, p.anchor(m[1]))
	}
	for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(line, "code"), -1) {
		p.Links = append(p.Links, Link{n, m[1]})
	}
	for _, m := range code.FindAllStringSubmatch(line, -1) {
		p.Code = append(p.Code, Span{n, m[1]})
	}
}

// anchor is what GitHub makes of a heading: lower case, without punctuation, with hyphens for spaces, and numbered where it
// was there before.
func (p *Page) anchor(heading string) string {
	text := regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`).ReplaceAllString(heading, "$1")
	text = regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(text), "")
	anchor := strings.ReplaceAll(text, " ", "-")
	for name, n := anchor, 1; slices.Contains(p.Headings, anchor); n++ {
		anchor = fmt.Sprintf("%s-%d", name, n)
	}
	return anchor
}

// dedent takes the indentation of a fence, as in a list, from its lines.
func dedent(lines []string, indent string) string {
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(strings.TrimPrefix(l, indent))
		b.WriteByte('\n')
	}
	return b.String()
}

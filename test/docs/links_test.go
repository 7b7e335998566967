package docs

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestLinks follows every link within the repository, to the file and to the heading.
func TestLinks(t *testing.T) {
	byPath := map[string]*Page{}
	for _, p := range pages(t) {
		byPath[p.Path] = p
	}
	for _, p := range byPath {
		for _, l := range p.Links {
			if strings.Contains(l.Target, "://") || strings.HasPrefix(l.Target, "mailto:") {
				continue
			}
			file, anchor, _ := strings.Cut(l.Target, "#")
			path := p.Path
			if file != "" {
				path = filepath.Join(filepath.Dir(p.Path), file)
			}
			if _, err := os.Stat(filepath.Join(root, path)); err != nil {
				t.Errorf("%s:%d: %s: there is no %s", p.Path, l.Line, l.Target, path)
				continue
			}
			if to := byPath[path]; anchor != "" && to != nil && !slices.Contains(to.Headings, anchor) {
				t.Errorf("%s:%d: %s: that page has no such heading", p.Path, l.Line, l.Target)
			}
		}
	}
}

// TestReached begins at the README, and at the index of docs, and follows links to every page.
func TestReached(t *testing.T) {
	byPath := map[string]*Page{}
	for _, p := range pages(t) {
		byPath[p.Path] = p
	}
	next, seen := []string{"README.md", filepath.Join("docs", "README.md")}, map[string]bool{}
	for len(next) > 0 {
		p := byPath[next[0]]
		next = next[1:]
		if p == nil || seen[p.Path] {
			continue
		}
		seen[p.Path] = true
		for _, l := range p.Links {
			file, _, _ := strings.Cut(l.Target, "#")
			if file == "" {
				continue
			}
			path := filepath.Join(filepath.Dir(p.Path), file)
			if info, err := os.Stat(filepath.Join(root, path)); err == nil && info.IsDir() {
				for other := range byPath { // the pages of a folder that is linked
					if filepath.Dir(other) == path {
						next = append(next, other)
					}
				}
			}
			next = append(next, path)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(byPath)) {
		if !seen[path] {
			t.Errorf("%s: no link leads there from README.md or docs/README.md", path)
		}
	}
}

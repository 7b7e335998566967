package docs

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	page := "# Title: a `b` c\n" +
		"<!-- test: needs samples, kubeadm -->\n" +
		"See [this](x.md#y) and `[no](link)`.\n" +
		"\n" +
		"    $ indented\n" +
		"\n" +
		"    more of it\n" +
		"\n" +
		"```yaml fragment=ClusterCA\nspec: {}\n```\n" +
		"1. a list\n" +
		"\n" +
		"    of more lines\n" +
		"\n" +
		"   ```sh\n   ls\n     -l\n   ```\n" +
		"\n" +
		"## Title: a `b` c\n" +
		"```\nno language [no](link)\n# no heading\n```\n"
	want := &Page{
		Path:     "p.md",
		Needs:    []string{"samples", "kubeadm"},
		Headings: []string{"title-a-b-c", "title-a-b-c-1"},
		Links:    []Link{{3, "x.md#y"}},
		Code:     []Span{{1, "b"}, {3, "[no](link)"}, {21, "b"}},
		Indented: []int{5},
		Fences: []Fence{
			{Line: 10, Language: "yaml", Mark: "fragment=ClusterCA", Text: "spec: {}\n"},
			{Line: 17, Language: "sh", Text: "ls\n  -l\n"},
			{Line: 23, Text: "no language [no](link)\n# no heading\n"},
		},
	}
	if diff := cmp.Diff(want, parse("p.md", page)); diff != "" {
		t.Error(diff)
	}
}

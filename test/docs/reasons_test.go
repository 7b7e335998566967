package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestReasons compares docs/troubleshooting.md with the conditions and reasons that there are.
func TestReasons(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs", "troubleshooting.md"))
	if err != nil {
		t.Fatal(err)
	}
	before, after, _ := strings.Cut(string(page), "\n## Reasons\n")
	all := constants(t, filepath.Join("api", "v1alpha1", "conditions.go"))
	var conditions, reasons []string
	for name, value := range all {
		switch {
		case strings.HasSuffix(name, "Condition"):
			conditions = append(conditions, value)
		case strings.HasPrefix(name, "Reason"):
			reasons = append(reasons, value)
		}
	}
	for _, value := range constantsOfType(t, filepath.Join("internal", "pki", "plan", "decision.go"), "Reason") {
		if !slices.Contains(reasons, value) {
			reasons = append(reasons, value)
		}
	}
	same(t, "a row of the table of conditions", found(before, "(?m)^\\| `([A-Z][A-Za-z]+)` \\|"), conditions)
	same(t, "a section", found(after, `(?m)^### (.*)$`), reasons)
	if got := found(after, `(?m)^### (.*)$`); !slices.IsSortedFunc(got, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) }) {
		t.Error("the sections of the reasons are not in the order of the alphabet")
	}
}

func found(text, pattern string) []string {
	var out []string
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		out = append(out, m[1])
	}
	return out
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("docs/troubleshooting.md: %s lacks %s", what, w)
		}
	}
	for _, g := range got {
		if !slices.Contains(want, g) {
			t.Errorf("docs/troubleshooting.md: %s is about %s, which does not exist", what, g)
		}
	}
}

// constants are the names and values of the string constants in a file.
func constants(t *testing.T, path string) map[string]string {
	t.Helper()
	return specs(t, path, func(*ast.ValueSpec) bool { return true })
}

// constantsOfType are those of a type.
func constantsOfType(t *testing.T, path, typ string) map[string]string {
	t.Helper()
	return specs(t, path, func(s *ast.ValueSpec) bool {
		id, ok := s.Type.(*ast.Ident)
		return ok && id.Name == typ
	})
}

func specs(t *testing.T, path string, wanted func(*ast.ValueSpec) bool) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, path), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.ValueSpec); ok && len(s.Values) == 1 && wanted(s) {
			if lit, ok := s.Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if out[s.Names[0].Name], err = strconv.Unquote(lit.Value); err != nil {
					t.Fatal(err)
				}
			}
		}
		return true
	})
	if len(out) == 0 {
		t.Fatalf("%s: no constants", path)
	}
	return out
}

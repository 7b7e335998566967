package chart_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// value is one of values.yaml, with the comment above it.
type value struct{ name, standard, comment string }

// TestReadme compares the table in the chart's README with values.yaml.
func TestReadme(t *testing.T) {
	const begin, end = "<!-- values: written by go test -update -->\n", "<!-- end of values -->\n"
	path := filepath.Join(chartDir(), "README.md")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, found := strings.Cut(rest, end)
	if !ok || !found {
		t.Fatalf("%s has no place for the table", path)
	}
	var table strings.Builder
	table.WriteString("\n| value | default | meaning |\n|---|---|---|\n")
	for _, v := range allValues(t) {
		if v.comment == "" {
			t.Errorf("values.yaml does not say what %s is", v.name)
		}
		fmt.Fprintf(&table, "| `%s` | `%s` | %s |\n", v.name, v.standard, strings.ReplaceAll(v.comment, "|", "\\|"))
	}
	compare(t, path, before+begin+table.String()+"\n"+end+after)
}

// TestSchema has every value in the schema, and no other.
func TestSchema(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(chartDir(), "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	definitions, _ := schema["definitions"].(map[string]any)
	var known []string
	var walk func(prefix string, node map[string]any)
	walk = func(prefix string, node map[string]any) {
		if ref, ok := node["$ref"].(string); ok {
			node, _ = definitions[strings.TrimPrefix(ref, "#/definitions/")].(map[string]any)
		}
		properties, ok := node["properties"].(map[string]any)
		if !ok {
			known = append(known, prefix)
			return
		}
		if node["additionalProperties"] != false {
			t.Errorf("the schema allows anything below %q", prefix)
		}
		for name, child := range properties {
			below, _ := child.(map[string]any)
			walk(strings.TrimPrefix(prefix+"."+name, "."), below)
		}
	}
	walk("", schema)
	var want []string
	for _, v := range allValues(t) {
		want = append(want, v.name)
	}
	for _, name := range want {
		if !slices.ContainsFunc(known, func(k string) bool { return k == name || strings.HasPrefix(k, name+".") }) {
			t.Errorf("the schema lacks %s", name)
		}
	}
	for _, k := range known {
		if !slices.ContainsFunc(want, func(name string) bool { return k == name || strings.HasPrefix(k, name+".") }) && k != "global" {
			t.Errorf("values.yaml lacks %s", k)
		}
	}
}

// allValues reads values.yaml: what has a comment of its own is a value, and what has none is a group of them.
func allValues(t *testing.T) []value {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(chartDir(), "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	var out []value
	var walk func(prefix string, node *yaml.Node)
	walk = func(prefix string, node *yaml.Node) {
		for i := 0; i+1 < len(node.Content); i += 2 {
			key, val := node.Content[i], node.Content[i+1]
			name := strings.TrimPrefix(prefix+"."+key.Value, ".")
			if val.Kind == yaml.MappingNode && len(val.Content) > 0 && val.Content[0].HeadComment != "" {
				walk(name, val)
				continue
			}
			if val.Kind == yaml.MappingNode && len(val.Content) > 0 && key.HeadComment == "" {
				walk(name, val)
				continue
			}
			out = append(out, value{name, inline(t, val), comment(key.HeadComment)})
		}
	}
	walk("", doc.Content[0])
	return out
}

func comment(head string) string {
	lines := strings.Split(head, "\n")
	for i := range lines {
		lines[i] = strings.TrimPrefix(strings.TrimPrefix(lines[i], "#"), " ")
	}
	return strings.Join(lines, " ")
}

// inline is a value as JSON.
func inline(t *testing.T, node *yaml.Node) string {
	t.Helper()
	var v any
	if err := node.Decode(&v); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// schema is what the tables need of a field's OpenAPI schema.
type schema struct {
	Type        string            `json:"type"`
	Description string            `json:"description"`
	Format      string            `json:"format"`
	Default     any               `json:"default"`
	Enum        []string          `json:"enum"`
	Properties  map[string]schema `json:"properties"`
	Items       *schema           `json:"items"`
	Required    []string          `json:"required"`
	IntOrString bool              `json:"x-kubernetes-int-or-string"`
}

// fields is the table of all fields below spec, and below status, of a kind.
func fields(crd string) (string, error) {
	text, err := os.ReadFile(crd) //nolint:gosec // one of these definitions
	if err != nil {
		return "", fmt.Errorf("read a definition: %w", err)
	}
	var d struct {
		Spec struct {
			Versions []struct {
				Schema struct {
					OpenAPIV3Schema schema `json:"openAPIV3Schema"`
				} `json:"schema"`
			} `json:"versions"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(text, &d); err != nil {
		return "", fmt.Errorf("%s: %w", crd, err)
	}
	kind := d.Spec.Versions[0].Schema.OpenAPIV3Schema
	var b strings.Builder
	for _, part := range []string{"spec", "status"} {
		fmt.Fprintf(&b, "\n| `%s.` | type | default | |\n| --- | --- | --- | --- |\n", part)
		if err := rows(&b, "", kind.Properties[part]); err != nil {
			return "", err
		}
	}
	b.WriteByte('\n')
	return b.String(), nil
}

func rows(b *strings.Builder, path string, s schema) error {
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		f := s.Properties[name]
		value, err := defaultOf(f, slices.Contains(s.Required, name))
		if err != nil {
			return fmt.Errorf("%s%s: %w", path, name, err)
		}
		fmt.Fprintf(b, "| `%s%s` | %s | %s | %s |\n", path, name, f.typeText(), value, prose(f.Description, name))
		if path+name == "conditions" { // its fields are those of every Kubernetes condition
			continue
		}
		below, prefix := f, path+name+"."
		if f.Items != nil {
			below, prefix = *f.Items, path+name+"[]."
		}
		if err := rows(b, prefix, below); err != nil {
			return err
		}
	}
	return nil
}

func (s schema) typeText() string {
	switch {
	case len(s.Enum) > 0:
		return "`" + strings.Join(s.Enum, "`, `") + "`"
	case s.IntOrString:
		return "number or percentage"
	case s.Type == "array":
		return "list of " + s.Items.typeText()
	case s.Format == "date-time":
		return "time"
	default:
		return s.Type
	}
}

func defaultOf(s schema, required bool) (string, error) {
	switch {
	case required:
		return "*required*", nil
	case s.Default == nil || s.Type == "object":
		return "", nil
	}
	text, err := json.Marshal(s.Default)
	if err != nil {
		return "", fmt.Errorf("write the default: %w", err)
	}
	return "`" + strings.Trim(string(text), `"`) + "`", nil
}

// prose is a description as the cell of a table, without the name of the field that Go's comments begin with.
func prose(text, name string) string {
	text = strings.Join(strings.Fields(text), " ")
	for _, verb := range []string{" is ", " are "} {
		if rest, ok := strings.CutPrefix(text, name+verb); ok {
			text = rest
		}
	}
	return strings.NewReplacer("<", "&lt;", "|", `\|`).Replace(text)
}

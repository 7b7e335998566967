package crd

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
	"k8s.io/kube-openapi/pkg/validation/validate"
)

// modeline is how an editor is told the schema of a document.
var modeline = regexp.MustCompile(`\A\n?# yaml-language-server: \$schema=(\S+)\n`)

// TestSchemasForEditors: every sample names the schema of its kind, and fits it; a field that is misspelt, or a value of another type, does not.
func TestSchemasForEditors(t *testing.T) {
	samples := filepath.Join("..", "..", "config", "samples")
	files, err := filepath.Glob(filepath.Join(samples, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	below, err := filepath.Glob(filepath.Join(samples, "*", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	checked := map[string]bool{}
	for _, file := range append(files, below...) {
		for _, document := range regexp.MustCompile(`(?m)^---$`).Split(read(t, file), -1) {
			u := parse(t, document)
			if !strings.HasPrefix(u.GetAPIVersion(), "clusterpki.io/") {
				continue
			}
			named := modeline.FindStringSubmatch(document)
			if want := strings.ToLower(u.GetKind()) + ".json"; named == nil || filepath.Base(named[1]) != want {
				t.Errorf("%s: %s %s does not begin with the line that names the schema %s", file, u.GetKind(), u.GetName(), want)
				continue
			}
			schema := schemaAt(t, filepath.Join(filepath.Dir(file), named[1]))
			checked[u.GetKind()] = true
			if problems := validate.NewSchemaValidator(schema, nil, "", strfmt.Default).Validate(u.Object); !problems.IsValid() {
				t.Errorf("%s: %s: %v", file, u.GetName(), problems.AsError())
			}
			fields, _ := u.Object["spec"].(map[string]any)
			if fields == nil {
				continue
			}
			fields["validty"] = "1h"
			if validate.NewSchemaValidator(schema, nil, "", strfmt.Default).Validate(u.Object).IsValid() {
				t.Errorf("%s: the schema of %s takes a field that is misspelt", file, u.GetKind())
			}
			delete(fields, "validty")
			u.Object["spec"] = "text"
			if validate.NewSchemaValidator(schema, nil, "", strfmt.Default).Validate(u.Object).IsValid() {
				t.Errorf("%s: the schema of %s takes a text as its spec", file, u.GetKind())
			}
		}
	}
	if len(checked) != 5 {
		t.Errorf("there are samples of %v alone", checked)
	}
}

func schemaAt(t *testing.T, path string) *spec.Schema {
	t.Helper()
	var out spec.Schema
	if err := json.Unmarshal([]byte(read(t, path)), &out); err != nil {
		t.Fatal(err)
	}
	return &out
}

package metrics

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestReasons tells of every condition and reason that there is a constant for, and of no other.
func TestReasons(t *testing.T) {
	types, known := map[string]bool{}, map[string]bool{otherReason: true}
	for path, sort := range map[string]func(name, kind, value string){
		"../../api/v1alpha1/conditions.go": func(name, _, value string) {
			switch {
			case strings.HasSuffix(name, "Condition"):
				types[value] = true
			case strings.HasPrefix(name, "Reason"):
				known[value] = true
			}
		},
		"../pki/plan/decision.go": func(_, kind, value string) { known[value] = known[value] || kind == "Reason" },
		"../../api/v1alpha1/rotation_status_types.go": func(_, kind, value string) {
			known[value] = known[value] || kind == "Phase" || kind == "RotationReason"
		},
		"../../api/v1alpha1/serviceaccountkey_types.go": func(_, kind, value string) { known[value] = known[value] || kind == "KeyPhase" },
	} {
		constants(t, path, sort)
	}
	if len(types) < 12 || len(known) < 40 {
		t.Fatalf("there are only %d conditions and %d reasons: are all found?", len(types), len(known))
	}
	for kind := range types {
		if !slices.Contains(conditionTypes, kind) {
			t.Errorf("condition %s is not told of", kind)
		}
	}
	for reason, is := range known {
		if is && reason != otherReason && !slices.Contains(reasons, reason) {
			t.Errorf("reason %s reads as %s", reason, otherReason)
		}
	}
	for _, reason := range reasons {
		if !known[reason] {
			t.Errorf("there is no reason %s", reason)
		}
	}
	if len(conditionTypes) != len(types) {
		t.Errorf("there are %d conditions, and %d are told of", len(types), len(conditionTypes))
	}
}

// constants calls found with the name, the type and the value of each text constant of a file.
func constants(t *testing.T, path string, found func(name, kind, value string)) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		literal, ok := spec.Values[0].(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			return true
		}
		value, err := strconv.Unquote(literal.Value)
		if err != nil {
			t.Fatal(err)
		}
		kind := ""
		if id, ok := spec.Type.(*ast.Ident); ok {
			kind = id.Name
		}
		found(spec.Names[0].Name, kind, value)
		return true
	})
}

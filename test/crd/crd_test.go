// Package crd tests the generated CustomResourceDefinitions with the code by which the API server accepts
// them, fills in their defaults and validates custom resources.
package crd

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/install"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	crdvalidation "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apiextensions-apiserver/pkg/registry/customresource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"
)

// kind is one CRD as the API server holds it.
type kind struct {
	name       string
	structural *structuralschema.Structural
	strategy   interface {
		Validate(ctx context.Context, obj runtime.Object) field.ErrorList
	}
}

// load reads a generated CRD and has the API server accept it: its schema, its rules and what they cost.
func load(t *testing.T, plural string) kind {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "config", "crd", "bases", "clusterpki.io_"+plural+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var v1 apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(text, &v1); err != nil {
		t.Fatal(err)
	}
	scheme := runtime.NewScheme()
	install.Install(scheme)
	scheme.Default(&v1)
	v1.Status.StoredVersions = []string{v1.Spec.Versions[0].Name} // the API server's own part
	var crd apiextensions.CustomResourceDefinition
	if err := scheme.Convert(&v1, &crd, nil); err != nil {
		t.Fatal(err)
	}
	if errs := crdvalidation.ValidateCustomResourceDefinition(t.Context(), &crd); len(errs) > 0 {
		t.Fatalf("the API server would refuse the CRD %s: %v", crd.Name, errs.ToAggregate())
	}
	// One version: the schema lies at the top of the internal form.
	props := crd.Spec.Validation.OpenAPIV3Schema
	structural, err := structuralschema.NewStructural(props)
	if err != nil {
		t.Fatal(err)
	}
	validator, _, err := validation.NewSchemaValidator(props)
	if err != nil {
		t.Fatal(err)
	}
	gvk := schema.GroupVersionKind{Group: crd.Spec.Group, Version: v1.Spec.Versions[0].Name, Kind: crd.Spec.Names.Kind}
	return kind{
		name:       crd.Spec.Names.Kind,
		structural: structural,
		strategy:   customresource.NewStrategy(nil, true, gvk, validator, nil, structural, nil, nil, nil),
	}
}

// admit fills in the defaults of an object and validates it, as creating it does.
func (k kind) admit(t *testing.T, u *unstructured.Unstructured) field.ErrorList {
	t.Helper()
	unknown := pruning.PruneWithOptions(u.Object, k.structural, true,
		structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	if len(unknown) > 0 {
		t.Fatalf("%s has unknown fields: %v", u.GetName(), unknown)
	}
	defaulting.Default(u.Object, k.structural)
	if u.GetNamespace() == "" {
		u.SetNamespace("default")
	}
	return slices.DeleteFunc(k.strategy.Validate(t.Context(), u), func(e *field.Error) bool {
		// The API server adds this whenever it left rules out because the schema itself was not met.
		return strings.HasPrefix(e.Detail, "some validation rules were not checked")
	})
}

// edit sets the field at a dotted path of an object, or removes it where the value is nil.
type edit struct {
	path  string
	value any
}

// a test case makes a valid object different; want is "field: part of the message", "" where it stays valid.
type testCase struct {
	edits []edit
	want  string
}

// set is a single edit.
func set(path string, value any) []edit { return []edit{{path, value}} }

// refused says that an edit of one field is refused, in one sentence, at this field.
func refused(path string, value any, message string) testCase {
	return testCase{edits: set(path, value), want: path + ": " + message}
}

// accepted says that an edit of one field is accepted.
func accepted(path string, value any) testCase { return testCase{edits: set(path, value)} }

func runCases(t *testing.T, k kind, valid string, cases map[string]testCase) {
	t.Helper()
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			u := parse(t, valid)
			for _, e := range tc.edits {
				apply(t, u, e)
			}
			errs := k.admit(t, u)
			if tc.want == "" {
				if len(errs) > 0 {
					t.Errorf("refused: %v", errs.ToAggregate())
				}
				return
			}
			// One mistake, one sentence: a second failing rule is noise to whoever has to mend the first.
			if len(errs) != 1 {
				t.Fatalf("got %d errors, want one of %q: %v", len(errs), tc.want, errs.ToAggregate())
			}
			if got := errs[0].Field + ": " + errs[0].Detail; !strings.HasPrefix(got, tc.want) {
				t.Errorf("got  %q\nwant %q…", got, tc.want)
			}
		})
	}
}

func parse(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	data, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := json.Unmarshal(data, &u.Object); err != nil { // this one keeps integers
		t.Fatal(err)
	}
	return u
}

func apply(t *testing.T, u *unstructured.Unstructured, e edit) {
	t.Helper()
	fields := strings.Split(e.path, ".")
	if e.value == nil {
		unstructured.RemoveNestedField(u.Object, fields...)
		return
	}
	if err := unstructured.SetNestedField(u.Object, e.value, fields...); err != nil {
		t.Fatal(err)
	}
}

func list(values ...string) []any {
	out := make([]any, len(values))
	for i, v := range values {
		out[i] = v
	}
	return out
}

package limits

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/config/crd"
)

func schemaOf(t *testing.T, kind string) *schema {
	t.Helper()
	all, err := statuses()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != len(v1alpha1.Kinds()) || all[kind] == nil {
		t.Fatalf("the CRDs are of %d kinds, and not of all %d", len(all), len(v1alpha1.Kinds()))
	}
	return all[kind]
}

// TestEveryFieldIsBounded goes through the types of all statuses: the CRD bounds every text and every list of them.
func TestEveryFieldIsBounded(t *testing.T) {
	for _, kind := range v1alpha1.Kinds() {
		t.Run(kind.Name, func(t *testing.T) {
			status, _ := reflect.TypeOf(kind.New()).Elem().FieldByName("Status")
			for _, fault := range unbounded(schemaOf(t, kind.Name), "status", status.Type) {
				t.Error(fault)
			}
		})
	}
}

// TestUnbounded: it is found, wherever it stands.
func TestUnbounded(t *testing.T) {
	one, ten := 1, 10
	type inner struct {
		Text string `json:"text"`
	}
	type fields struct {
		Text string            `json:"text"`
		List []inner           `json:"list"`
		Map  map[string]string `json:"map"`
		Less *inner            `json:"less"`
	}
	got := unbounded(&schema{Properties: map[string]*schema{
		"list": {MaxItems: &one, Items: &schema{Properties: map[string]*schema{"text": {}}}},
		"map":  {},
		"less": {Properties: map[string]*schema{"text": {MaxLength: &ten}}},
	}}, "status", reflect.TypeFor[fields]())
	want := []string{
		"status.text: the CRD does not have it", "status.list[].text: the CRD does not bound it",
		"status.map: nothing bounds a map[string]string",
	}
	if !slices.Equal(got, want) {
		t.Errorf("found is %q, instead of %q", got, want)
	}
	if got := unbounded(&schema{Items: &schema{}}, "status", reflect.TypeFor[[]bool]()); len(got) != 1 {
		t.Errorf("of a list without a limit is found %q", got)
	}
}

// unbounded are the texts and lists of a type that the schema does not bound.
func unbounded(s *schema, at string, in reflect.Type) (out []string) {
	switch {
	case s == nil:
		return []string{at + ": the CRD does not have it"}
	case in == reflect.TypeFor[metav1.Time]():
		if s.Format != "date-time" {
			return []string{at + ": the CRD does not say that it is a time"}
		}
		return nil
	}
	switch in.Kind() {
	case reflect.Pointer:
		return unbounded(s, at, in.Elem())
	case reflect.Struct:
		for field := range in.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			out = append(out, unbounded(s.Properties[name], at+"."+name, field.Type)...)
		}
		return out
	case reflect.Slice:
		if s.MaxItems == nil {
			out = []string{at + ": the CRD does not bound it"}
		}
		return append(out, unbounded(s.Items, at+"[]", in.Elem())...)
	case reflect.String:
		if s.MaxLength == nil && s.Enum == nil {
			return []string{at + ": the CRD does not bound it"}
		}
		return nil
	case reflect.Bool, reflect.Int32, reflect.Int64:
		return nil
	default:
		return []string{fmt.Sprintf("%s: nothing bounds a %s", at, in)}
	}
}

// TestKeywords: the CRDs say nothing of a status that this package does not know. What a new marker brings has to be made to fit too.
func TestKeywords(t *testing.T) {
	known := []string{
		"description", "default", "type", "format", "properties", "required", "items", "maxItems", "x-kubernetes-list-map-keys", "x-kubernetes-list-type",
		"enum", "pattern", "minLength", "maxLength", "minimum", "maximum",
	}
	var walk func(at string, s map[string]any)
	walk = func(at string, s map[string]any) {
		for keyword := range s {
			if !slices.Contains(known, keyword) {
				t.Errorf("%s has %q", at, keyword)
			}
		}
		if list := s["x-kubernetes-list-type"]; list != nil && list != "map" && list != "atomic" {
			t.Errorf("%s is a list of type %v", at, list)
		}
		if items, ok := s["items"].(map[string]any); ok {
			walk(at+"[]", items)
		}
		properties, _ := s["properties"].(map[string]any)
		for name, property := range properties {
			walk(at+"."+name, property.(map[string]any))
		}
	}
	for kind, status := range rawStatuses(t) {
		walk(kind+".status", status)
	}
}

// rawStatuses are the CRDs' schemas of statuses with all that they say.
func rawStatuses(t *testing.T) map[string]map[string]any {
	t.Helper()
	out := map[string]map[string]any{}
	for _, path := range crd.Paths() {
		text, err := crd.Files.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var definition struct {
			Spec struct {
				Names    struct{ Kind string }
				Versions []struct {
					Schema struct {
						OpenAPIV3Schema struct {
							Properties struct{ Status map[string]any }
						}
					}
				}
			}
		}
		if err := yaml.Unmarshal(text, &definition); err != nil {
			t.Fatal(err)
		}
		out[definition.Spec.Names.Kind] = definition.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties.Status
	}
	if len(out) != len(v1alpha1.Kinds()) {
		t.Fatalf("there are %d CRDs", len(out))
	}
	return out
}

// TestLargestStatus: etcd takes no more than 1.5 MiB for one object, with its spec and its managed fields, however many bytes a
// character takes.
func TestLargestStatus(t *testing.T) {
	for _, kind := range v1alpha1.Kinds() {
		if size := largest(schemaOf(t, kind.Name)); size < 100_000 || size > 1<<20 {
			t.Errorf("%s: a status can have %d bytes", kind.Name, size)
		}
	}
}

// largest is how many bytes of JSON a value can have at most, without the names of its fields.
func largest(s *schema) (size int) {
	const bytes, other = 6, 40 // of a character, as \u0001 has them, and of what is no text
	switch {
	case s.Items != nil && s.MaxItems == nil:
		return math.MaxInt32
	case s.Items != nil:
		return *s.MaxItems * largest(s.Items)
	case s.Properties != nil:
		for _, property := range s.Properties {
			size += largest(property)
		}
		return size
	case s.MaxLength != nil:
		return bytes * min(maxText, *s.MaxLength)
	default:
		return other
	}
}

package controller_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/config/crd"
	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/internal/limits"
	"clusterpki.io/operator/internal/pki/plan"
)

// TestEnums compares what a ledger can hold with what the CRD admits of it in a status: anything else would be cut or left out.
func TestEnums(t *testing.T) {
	definition := crdOf(t, v1alpha1.KindClusterCA)
	status, trigger := definition.at("status"), definition.at("spec", "rotation", "trigger").number("maxLength")
	rotation, last := status.at("rotation"), status.at("lastRotation")
	causes, phases := texts(plan.RotationCauses), texts(plan.Phases[:len(plan.Phases)-1]) // a status has none once it is completed
	results := []plan.Result{plan.Succeeded, plan.RolledBack, plan.Superseded}
	for name, c := range map[string]struct {
		in  schema
		all []string
	}{
		"states of generations":     {status.at("generations", "state"), texts(plan.States)},
		"the phase":                 {rotation.at("phase"), phases},
		"phases":                    {rotation.at("phases", "name"), phases},
		"phases, in the API":        {rotation.at("phases", "name"), texts(v1alpha1.Phases())},
		"phases of a past rotation": {last.at("phases", "name"), phases},
		"reasons":                   {rotation.at("reason"), causes},
		"reasons of a past one":     {last.at("reason"), causes},
		"a result under way":        {rotation.at("result"), texts(results[1:2])},
		"results":                   {last.at("result"), texts(results)},
	} {
		var admitted []string
		for _, value := range c.in.list("enum") {
			admitted = append(admitted, value.(string))
		}
		slices.Sort(admitted)
		slices.Sort(c.all)
		if !slices.Equal(admitted, c.all) {
			t.Errorf("%s: the CRD admits %v, and there are %v", name, admitted, c.all)
		}
	}
	for name, c := range map[string][2]int{
		"a trigger, which is compared with the spec's": {trigger, rotation.at("trigger").number("maxLength")},
		"that of a generation":                         {trigger, status.at("generations", "trigger").number("maxLength")},
		"generations":                                  {plan.MaxGenerations, limits.Items(v1alpha1.KindClusterCA, "generations")},
		"phases":                                       {len(phases), limits.Items(v1alpha1.KindClusterCA, "rotation", "phases")},
		"past phases":                                  {len(phases), limits.Items(v1alpha1.KindClusterCA, "lastRotation", "phases")},
	} {
		if c[0] != c[1] {
			t.Errorf("%s: there are %d, and the CRD admits %d", name, c[0], c[1])
		}
	}
}

func texts[T ~string](values []T) (out []string) {
	for _, v := range values {
		out = append(out, string(v))
	}
	return out
}

// schema is what a CRD says of a place in an object.
type schema map[string]any

func crdOf(t *testing.T, kind string) schema {
	t.Helper()
	for _, path := range crd.Paths() {
		text, err := crd.Files.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var definition struct {
			Spec struct {
				Names    struct{ Kind string }
				Versions []struct {
					Schema struct{ OpenAPIV3Schema schema }
				}
			}
		}
		if err := yaml.Unmarshal(text, &definition); err != nil {
			t.Fatal(err)
		}
		if definition.Spec.Names.Kind == kind {
			return definition.Spec.Versions[0].Schema.OpenAPIV3Schema
		}
	}
	t.Fatalf("there is no CRD of kind %s", kind)
	return nil
}

// at is what it says of a field below, also of the items of a list.
func (s schema) at(path ...string) schema {
	for _, name := range path {
		s = s.fields()[name].(map[string]any)
		if items, ok := s["items"].(map[string]any); ok && name != path[len(path)-1] {
			s = items
		}
	}
	return s
}

func (s schema) fields() map[string]any { return s.object("properties") }

func (s schema) object(keyword string) map[string]any {
	out, _ := s[keyword].(map[string]any)
	return out
}

func (s schema) list(keyword string) []any {
	out, _ := s[keyword].([]any)
	return out
}

// number is a limit, 0 where there is none. YAML has them as float64.
func (s schema) number(keyword string) int {
	out, _ := s[keyword].(float64)
	return int(out)
}

// filling makes statuses that go beyond every limit.
type filling struct {
	letter string // of which texts are made that have no pattern
	wrong  bool   // whatever is told by a pattern, a choice or a range is something else
}

// value is one for a place of a status; i counts the items of a list.
func (f filling) value(s schema, i int) any {
	switch choices := s.list("enum"); {
	case s["properties"] != nil:
		out := map[string]any{}
		for name, property := range s.fields() {
			out[name] = f.value(property.(map[string]any), i)
		}
		return out
	case s["items"] != nil:
		var out []any
		for i := range s.number("maxItems") + 5 {
			out = append(out, f.value(s.object("items"), i))
		}
		return out
	case s["type"] == "boolean":
		return true
	case s["type"] == "integer" && f.wrong:
		return int64(-7)
	case s["type"] == "integer":
		return int64(i + 1)
	case s["format"] == "date-time":
		return time.Unix(1e9, 0).UTC().Format(time.RFC3339)
	case f.wrong:
		return "?!"
	case choices != nil:
		return choices[i%len(choices)]
	case s["pattern"] != nil:
		return string(rune('A'+i)) + strings.Repeat("x", s.number("maxLength"))
	default:
		return strings.Repeat(f.letter, s.number("maxLength")+1)
	}
}

// TestStatusesFit fills every text and every list of the status of each kind beyond its limit, and writes it.
func TestStatusesFit(t *testing.T) {
	t.Parallel()
	api, err := client.New(cfg, client.Options{Scheme: controller.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	if err := api.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	for _, o := range []v1alpha1.Object{newCA("k8s"), newServer("k8s-master"), newKubelet("node1")} {
		s := crdOf(t, o.Kind()).at("status")
		o.SetNamespace(ns.Name)
		if err := api.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		for name, f := range map[string]filling{
			"letters": {letter: "x"}, "characters of four bytes": {letter: "𝄞"}, "characters that JSON writes in six bytes": {letter: "\x01"},
			"what the CRD does not admit": {letter: "x", wrong: true},
		} {
			t.Run(o.Kind()+", "+name, func(t *testing.T) {
				after := o.DeepCopyObject().(v1alpha1.Object)
				status := reflect.ValueOf(after).Elem().FieldByName("Status")
				into(t, f.value(s, 0), status)
				if f.wrong {
					year10000 := metav1.NewTime(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC))
					status.FieldByName("Certificate").FieldByName("NotAfter").Set(reflect.ValueOf(year10000))
				}
				if written, err := limits.PatchStatus(t.Context(), api, o, after); err != nil || !written {
					t.Fatalf("written is %v: %v", written, err)
				}
				if err := api.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
					t.Fatal(err)
				}
				stored := jsonOf(t, o)
				if f.wrong {
					if stored["conditions"] != nil || stored["generations"] != nil || stored["observedGeneration"] != nil {
						t.Errorf("the status is %v", stored)
					}
					return
				}
				for _, fault := range notFull(s, "status", stored) {
					t.Error(fault)
				}
				again := o.DeepCopyObject().(v1alpha1.Object)
				into(t, f.value(s, 0), reflect.ValueOf(again).Elem().FieldByName("Status"))
				if written, err := limits.PatchStatus(t.Context(), api, o, again); err != nil || written {
					t.Errorf("the same was written again: %v, %v", written, err)
				}
			})
		}
	}
}

// jsonOf is the status of an object.
func jsonOf(t *testing.T, o v1alpha1.Object) map[string]any {
	t.Helper()
	out, err := runtime.DefaultUnstructuredConverter.ToUnstructured(reflect.ValueOf(o).Elem().FieldByName("Status").Addr().Interface())
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// into sets a status to one of JSON.
func into(t *testing.T, value any, status reflect.Value) {
	t.Helper()
	fresh := reflect.New(status.Type())
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(value.(map[string]any), fresh.Interface()); err != nil {
		t.Fatal(err)
	}
	status.Set(fresh.Elem())
}

// notFull is what was cut to less than there is room for.
func notFull(s schema, at string, value any) (out []string) {
	switch v := value.(type) {
	case map[string]any:
		for name, property := range s.fields() {
			p := schema(property.(map[string]any))
			digest := p["minLength"] != nil && p["minLength"] == p["maxLength"]
			if _, there := v[name]; there == digest {
				out = append(out, fmt.Sprintf("%s.%s: whether it is there: %v", at, name, there))
			}
			out = append(out, notFull(p, at+"."+name, v[name])...)
		}
	case []any:
		room := s.number("maxItems")
		if len(v) != room {
			out = append(out, fmt.Sprintf("%s has %d items of %d", at, len(v), room))
		}
		for i, item := range v {
			out = append(out, notFull(s.object("items"), fmt.Sprintf("%s[%d]", at, i), item)...)
		}
	case string:
		if room, length := s.number("maxLength"), utf8.RuneCountInString(v); length < min(room, 4096) {
			out = append(out, fmt.Sprintf("%s has %d characters of %d", at, length, room))
		}
	}
	return out
}

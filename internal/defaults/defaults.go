// Package defaults fills in what an object leaves out, as the API server does: with the defaults of the CRD of its kind. It is for objects that no API
// server has seen yet, and to compare what is wanted with what an API server holds. The CRDs are read from the program itself.
package defaults

import (
	"encoding/json"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/config/crd"
)

// schema is what a CRD says of one place, as far as defaults go.
type schema struct {
	Properties map[string]*schema `json:"properties"`
	Items      *schema            `json:"items"`
	Default    json.RawMessage    `json:"default"`
}

// Apply fills in the spec of an object. Its status stays as it is.
func Apply(o v1alpha1.Object) error {
	all, err := specs()
	if err != nil {
		return err
	}
	s, there := all[o.Kind()]
	if !there {
		return fmt.Errorf("there is no CRD of kind %s", o.Kind())
	}
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return fmt.Errorf("read %s %q: %w", o.Kind(), o.GetName(), err)
	}
	if _, there := fields["spec"]; !there { // an empty one has defaults too
		fields["spec"] = map[string]any{}
	}
	if err := fill(fields, &schema{Properties: map[string]*schema{"spec": s}}); err != nil {
		return fmt.Errorf("fill in the defaults of %s %q: %w", o.Kind(), o.GetName(), err)
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(fields, o); err != nil {
		return fmt.Errorf("fill in the defaults of %s %q: %w", o.Kind(), o.GetName(), err)
	}
	return nil
}

// fill puts the defaults of a schema into a value, and those of what a default holds.
func fill(value any, s *schema) error {
	if s == nil {
		return nil
	}
	switch v := value.(type) {
	case map[string]any:
		for name, of := range s.Properties {
			if _, there := v[name]; !there && of.Default != nil {
				var given any
				if err := json.Unmarshal(of.Default, &given); err != nil {
					return fmt.Errorf("default of %s: %w", name, err)
				}
				v[name] = integers(given)
			}
			if err := fill(v[name], of); err != nil {
				return err
			}
		}
	case []any:
		for _, item := range v {
			if err := fill(item, s.Items); err != nil {
				return err
			}
		}
	}
	return nil
}

// integers are numbers as the objects have them. No field holds a fraction.
func integers(value any) any {
	switch v := value.(type) {
	case float64:
		return int64(v)
	case map[string]any:
		for name, of := range v {
			v[name] = integers(of)
		}
	case []any:
		for i, of := range v {
			v[i] = integers(of)
		}
	}
	return value
}

// specs are what the CRDs say of the spec of each kind. They are read once.
var specs = sync.OnceValues(func() (map[string]*schema, error) {
	out := map[string]*schema{}
	for _, path := range crd.Paths() {
		text, err := crd.Files.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read a CRD of this program: %w", err)
		}
		var definition struct {
			Spec struct {
				Names    struct{ Kind string }
				Versions []struct {
					Name   string
					Schema struct {
						OpenAPIV3Schema schema `json:"openAPIV3Schema"`
					}
				}
			}
		}
		if err := yaml.Unmarshal(text, &definition); err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		for _, version := range definition.Spec.Versions {
			if version.Name == v1alpha1.GroupVersion.Version {
				out[definition.Spec.Names.Kind] = version.Schema.OpenAPIV3Schema.Properties["spec"]
			}
		}
	}
	return out, nil
})

package families

import (
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/config/crd"
)

// schema is what the defaults of a CRD need of it.
type schema struct {
	Default    any                `json:"default"`
	Properties map[string]*schema `json:"properties"`
	Items      *schema            `json:"items"`
}

// fillDefaults puts the defaults of a kind into an object, as the API server does.
func fillDefaults(kind string, fields map[string]any) error {
	all, err := schemas()
	if err != nil {
		return err
	}
	s := all[kind]
	if s == nil {
		return fmt.Errorf("there is no CRD of kind %s", kind)
	}
	if spec, there := fields["spec"]; there {
		s.fill(spec)
	}
	return nil
}

func (s *schema) fill(value any) {
	switch value := value.(type) {
	case map[string]any:
		for name, of := range s.Properties {
			if _, there := value[name]; !there && of.Default != nil {
				value[name] = runtime.DeepCopyJSONValue(of.Default)
			}
			if inside, there := value[name]; there {
				of.fill(inside)
			}
		}
	case []any:
		if s.Items == nil {
			return
		}
		for _, item := range value {
			s.Items.fill(item)
		}
	}
}

// schemas are those of the specs of all kinds, as the CRDs of this program have them. They are read once.
var schemas = sync.OnceValues(func() (map[string]*schema, error) {
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
						OpenAPIV3Schema struct{ Properties struct{ Spec *schema } }
					}
				}
			}
		}
		if err := yaml.Unmarshal(text, &definition); err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		for _, version := range definition.Spec.Versions {
			if version.Name == v1alpha1.GroupVersion.Version {
				out[definition.Spec.Names.Kind] = version.Schema.OpenAPIV3Schema.Properties.Spec
			}
		}
	}
	return out, nil
})

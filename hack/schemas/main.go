// Command schemas writes config/schemas: the JSON schema of each kind for editors, from the CustomResourceDefinitions.
//
//	go run ./hack/schemas        (make manifests)
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/config/crd"
)

func main() {
	if err := write(filepath.Join("config", "schemas")); err != nil {
		fmt.Fprintln(os.Stderr, "schemas:", err)
		os.Exit(1) //nolint:forbidigo // this is a program of its own
	}
}

func write(folder string) error {
	all, err := schemas()
	if err != nil {
		return err
	}
	for name, text := range all {
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o644); err != nil { //nolint:gosec // it is for everybody
			return fmt.Errorf("write a schema: %w", err)
		}
	}
	return nil
}

// schemas are the files, by name, such as 'clusterpki.json'.
func schemas() (map[string][]byte, error) {
	out := map[string][]byte{}
	for _, path := range crd.Paths() {
		text, err := crd.Files.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read a CRD: %w", err)
		}
		var definition struct {
			Spec struct {
				Group    string
				Names    struct{ Kind string }
				Versions []struct {
					Name   string
					Schema struct{ OpenAPIV3Schema map[string]any }
				}
			}
		}
		if err := yaml.Unmarshal(text, &definition); err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		spec := definition.Spec
		version := spec.Versions[0] // there is one
		schema := forEditors(version.Schema.OpenAPIV3Schema)
		schema["$schema"], schema["title"] = "http://json-schema.org/draft-07/schema#", spec.Names.Kind
		schema["required"] = []string{"apiVersion", "kind", "metadata", "spec"}
		properties, ok := schema["properties"].(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%s has no fields", path)
		}
		properties["apiVersion"] = map[string]any{"type": "string", "enum": []string{spec.Group + "/" + version.Name}}
		properties["kind"] = map[string]any{"type": "string", "enum": []string{spec.Names.Kind}}
		properties["metadata"] = map[string]any{"type": "object"}
		encoded, err := json.MarshalIndent(schema, "", " ")
		if err != nil {
			return nil, fmt.Errorf("encode the schema of %s: %w", spec.Names.Kind, err)
		}
		out[strings.ToLower(spec.Names.Kind)+".json"] = append(encoded, '\n')
	}
	return out, nil
}

// forEditors is a schema of a CRD without what only an API server reads. A field that it does not name is an error: the API server would drop it.
func forEditors(s map[string]any) map[string]any {
	out := map[string]any{}
	for key, value := range s {
		switch {
		case strings.HasPrefix(key, "x-kubernetes-"):
		case key == "properties":
			fields := map[string]any{}
			for name, field := range object(value) {
				fields[name] = forEditors(object(field))
			}
			out[key], out["additionalProperties"] = fields, false
		case key == "items" || key == "additionalProperties":
			out[key] = forEditors(object(value))
		default:
			out[key] = value
		}
	}
	return out
}

func object(value any) map[string]any {
	out, _ := value.(map[string]any)
	return out
}

package controller

import (
	"os"
	"path/filepath"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki/plan"
)

// TestBounds compares what the code cuts its lists and texts to with what the CRD allows: one that is longer could never be
// written again.
func TestBounds(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "config", "crd", "bases", "clusterpki.io_clustercas.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.Unmarshal(text, &crd); err != nil {
		t.Fatal(err)
	}
	status := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["status"].Properties
	rotation := status["rotation"].Properties
	pending := rotation["pending"].Items.Schema.Properties
	for name, c := range map[string]struct {
		allowed *int64
		most    int64
	}{
		"generations":               {status["generations"].MaxItems, v1alpha1.MaxGenerations},
		"keys of a ledger":          {status["generations"].MaxItems, plan.MaxGenerations},
		"pending consumers":         {rotation["pending"].MaxItems, v1alpha1.MaxPending},
		"what a person can do":      {pending["edit"].MaxLength, v1alpha1.MaxStatusText},
		"phases":                    {rotation["phases"].MaxItems, int64(len(v1alpha1.Phases()))},
		"phases of a past rotation": {status["lastRotation"].Properties["phases"].MaxItems, int64(len(v1alpha1.Phases()))},
		"a serial number":           {status["certificate"].Properties["serialNumber"].MaxLength, maxSerial},
	} {
		if c.allowed == nil || *c.allowed != c.most {
			t.Errorf("%s: the CRD allows %v, and the code cuts to %d", name, c.allowed, c.most)
		}
	}
	for _, s := range []struct {
		in   string
		enum []apiextensionsv1.JSON
		all  []string
	}{
		{"states", status["generations"].Items.Schema.Properties["state"].Enum, texts(plan.States)},
		{"phases", rotation["phase"].Enum, texts(plan.Phases[:len(plan.Phases)-1])}, // a status has none once it is completed
		{"reasons", rotation["reason"].Enum, texts(plan.RotationCauses)},
		{"results", status["lastRotation"].Properties["result"].Enum, texts([]plan.Result{plan.Succeeded, plan.RolledBack, plan.Superseded})},
	} {
		allowed := map[string]bool{}
		for _, value := range s.enum {
			allowed[string(value.Raw)] = true
		}
		for _, value := range s.all {
			if !allowed[`"`+value+`"`] || len(allowed) != len(s.all) {
				t.Errorf("%s: the CRD allows %v, and the ledger has %v", s.in, allowed, s.all)
			}
		}
	}
}

func texts[T ~string](values []T) (out []string) {
	for _, v := range values {
		out = append(out, string(v))
	}
	return out
}

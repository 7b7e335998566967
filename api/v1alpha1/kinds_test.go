package v1alpha1_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/api/v1alpha1"
)

// TestKinds compares the table of kinds with the CRDs, which are made from the types: a kind that was forgotten in it, or is
// called otherwise there, fails.
func TestKinds(t *testing.T) {
	dir := filepath.Join("..", "..", "config", "crd", "bases")
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	served := map[string]v1alpha1.KindInfo{}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		var crd struct {
			Spec struct {
				Names struct {
					Kind       string   `json:"kind"`
					Plural     string   `json:"plural"`
					ShortNames []string `json:"shortNames"`
				} `json:"names"`
			} `json:"spec"`
		}
		if err := yaml.Unmarshal(text, &crd); err != nil {
			t.Fatal(err)
		}
		n := crd.Spec.Names
		served[n.Kind] = v1alpha1.KindInfo{Name: n.Kind, Plural: n.Plural, ShortName: strings.Join(n.ShortNames, ",")}
	}
	s := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	for _, k := range v1alpha1.Kinds() {
		crd, there := served[k.Name]
		if !there || crd.Plural != k.Plural || crd.ShortName != k.ShortName {
			t.Errorf("%s: the table has %s, %s, and the CRD %+v", k.Name, k.Plural, k.ShortName, crd)
		}
		if k.New().Kind() != k.Name {
			t.Errorf("%s: New makes a %s", k.Name, k.New().Kind())
		}
		if gvk, _, err := s.ObjectKinds(k.NewList()); err != nil || gvk[0] != v1alpha1.GroupVersion.WithKind(k.Name+"List") {
			t.Errorf("%s: NewList makes a %v (%v)", k.Name, gvk, err)
		}
		if !meta.IsListType(k.NewList()) {
			t.Errorf("%s: NewList makes no list", k.Name)
		}
		delete(served, k.Name)
	}
	for kind := range served {
		t.Errorf("%s has a CRD, and is not in the table of kinds", kind)
	}
	if !slices.Equal(v1alpha1.KindNames(), []string{"ClusterPKI", "ClusterCA", "ServiceAccountKey", "APIServerCertificate", "NodeCredential"}) {
		t.Errorf("the order is %v: restores and displays depend on it", v1alpha1.KindNames())
	}
}

package explain_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/explain"
	"clusterpki.io/operator/internal/stall"
	"clusterpki.io/operator/test/golden"
)

func sample(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "config", "samples", "clusterpki", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func explained(t *testing.T, text string) (explain.Explained, error) {
	t.Helper()
	all, err := explain.Read([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return explain.Of(all[0])
}

// TestText: what each sample makes, for people.
func TestText(t *testing.T) {
	for _, name := range []string{"cluster", "ha", "hosted", "seed"} {
		e, err := explained(t, sample(t, name))
		if err != nil {
			t.Fatal(err)
		}
		golden.Check(t, filepath.Join("testdata", name+".txt"), []byte(e.Text()))
	}
}

// TestYAML: it is what the operator makes, with the triggers that it gives to new CAs.
func TestYAML(t *testing.T) {
	e, err := explained(t, sample(t, "cluster")+"  rotation: {trigger: first}\n")
	if err != nil {
		t.Fatal(err)
	}
	text, err := e.YAML()
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "\nkind: "); n != len(e.Children) {
		t.Errorf("%d documents for %d objects", n, len(e.Children))
	}
	if n := strings.Count(string(text), "trigger: first"); n != 3 {
		t.Errorf("%d CAs have the trigger", n)
	}
}

// TestRead says what is wrong with a file.
func TestRead(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"nothing":          {"", "there is no ClusterPKI in it"},
		"another kind":     {"apiVersion: v1\nkind: Namespace\n", "there is no ClusterPKI in it"},
		"no YAML":          {"a: [", "no manifest"},
		"another version":  {"apiVersion: clusterpki.io/v1\nkind: ClusterPKI\n", `apiVersion is "clusterpki.io/v1": must be "clusterpki.io/v1alpha1"`},
		"an unknown field": {"apiVersion: clusterpki.io/v1alpha1\nkind: ClusterPKI\nspec: {endpoint: x, pools: []}\n", `unknown field "pools"`},
	} {
		if all, err := explain.Read([]byte(tc.text)); err == nil || !strings.Contains(err.Error(), tc.want) || all != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	all, err := explain.Read([]byte("# of two\n---\napiVersion: v1\nkind: Namespace\n---\n" + sample(t, "cluster") + "---\n" + sample(t, "ha")))
	if err != nil || len(all) != 2 || all[0].Name != "k8s" || all[1].Name != "prod" {
		t.Errorf("%d, %v", len(all), err)
	}
}

// TestRefused: what would be Stalled is told before it is applied.
func TestRefused(t *testing.T) {
	for old, tc := range map[string]struct{ new, want string }{
		"name: k8s-node1":             {"name: k8s-master", "is in spec.controlPlane.hosts too"},
		"addresses: [10.1.10.239]":    {"addresses: [10.1.10.238]", "an address is one host's"},
		"serviceCIDRs: [10.96.0.0/12": {"serviceCIDRs: [10.1.0.0/16", "lies within spec.serviceCIDRs"},
		"  name: k8s\n":               {"  name: system\n", ""},
	} {
		_, err := explained(t, strings.Replace(sample(t, "cluster"), old, tc.new, 1))
		if tc.want == "" {
			if err != nil {
				t.Errorf("%s: %v", tc.new, err)
			}
			continue
		}
		if st, ok := stall.Of(err); !ok || st.Reason != v1alpha1.ReasonInvalidSpec || !strings.Contains(st.Message, tc.want) {
			t.Errorf("%s: %v", tc.new, err)
		}
	}
}

package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/test/testenv"
)

// TestChartArgs lets the manager read the arguments of each rendering of the chart: it gets as far as to look for the API
// server, which there is not.
func TestChartArgs(t *testing.T) {
	nowhere := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(nowhere, []byte("no kubeconfig"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", nowhere)
	files, err := filepath.Glob(filepath.Join(testenv.Root(), "test", "chart", "testdata", "golden", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatal(err, "no renderings")
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			c := New()
			c.SilenceErrors, c.SilenceUsage = true, true
			c.SetArgs(managerArgs(t, file))
			if err := c.ExecuteContext(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "find the API server: ") {
				t.Errorf("the manager says: %v", err)
			}
		})
	}
}

// managerArgs are the arguments of the Deployment in a manifest.
func managerArgs(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for doc := range strings.SplitSeq(string(text), "\n---\n") {
		var d appsv1.Deployment
		if err := yaml.Unmarshal([]byte(doc), &d); err == nil && d.Kind == "Deployment" {
			return d.Spec.Template.Spec.Containers[0].Args
		}
	}
	t.Fatalf("%s has no Deployment", file)
	return nil
}

package gitops_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/test/testenv"
)

// TestHealthScripts runs every health_test.yaml in Argo CD's own program, with the scripts as they stand in
// argocd-cm.yaml.
func TestHealthScripts(t *testing.T) {
	dir := filepath.Join(testenv.Root(), "config", "argocd")
	patch, err := os.ReadFile(filepath.Join(dir, "argocd-cm.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var cm corev1.ConfigMap
	if err := yaml.UnmarshalStrict(patch, &cm); err != nil {
		t.Fatal(err)
	}
	whole := configMap("argocd-cm", cm.Data)
	whole.APIVersion, whole.Kind = "v1", "ConfigMap"
	text, err := yaml.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "argocd-cm.yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "clusterpki.io", "*", "health_test.yaml"))
	if err != nil || len(files) != len(v1alpha1.Kinds()) {
		t.Fatalf("%d kinds have tests: %v", len(files), err)
	}
	for _, file := range files {
		runHealthTests(t, path, file)
	}
}

func runHealthTests(t *testing.T, cm, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var tests struct {
		Tests []struct {
			HealthStatus struct{ Status, Message string }
			InputPath    string
		}
	}
	if err := yaml.Unmarshal(text, &tests); err != nil {
		t.Fatal(err)
	}
	for _, test := range tests.Tests {
		t.Run(filepath.Base(filepath.Dir(file))+"/"+test.InputPath, func(t *testing.T) {
			cmd := exec.Command(filepath.Join(os.Getenv("ARGOCD"), "argocd"), "admin", "settings", "resource-overrides", "health",
				filepath.Join(filepath.Dir(file), test.InputPath), "--argocd-cm-path="+cm)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			said := regexp.MustCompile(`(?m)^(STATUS|MESSAGE): (.*)$`).FindAllStringSubmatch(string(out), -1)
			if len(said) != 2 || said[0][2] != test.HealthStatus.Status || said[1][2] != test.HealthStatus.Message {
				t.Errorf("Argo CD says:\n%s\ninstead of %+v", out, test.HealthStatus)
			}
		})
	}
}

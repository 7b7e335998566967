package health_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/test/testenv"
)

// expressions are the health checks in docs/flux.md, by kind.
func expressions(t *testing.T) map[string]*cel.StatusEvaluator {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(testenv.Root(), "docs", "flux.md"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*cel.StatusEvaluator{}
	for _, block := range regexp.MustCompile("(?s)```yaml unserved\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		var k struct {
			Spec struct {
				HealthCheckExprs []kustomize.CustomHealthCheck `json:"healthCheckExprs"`
			} `json:"spec"`
		}
		if err := yaml.Unmarshal([]byte(block[1]), &k); err != nil {
			t.Fatalf("docs/flux.md: %v", err)
		}
		for _, check := range k.Spec.HealthCheckExprs {
			if out[check.Kind], err = cel.NewStatusEvaluator(&check.HealthCheckExpressions); err != nil {
				t.Fatalf("docs/flux.md: %s: %v", check.Kind, err)
			}
		}
	}
	return out
}

// byFlux is what Flux makes of an object with these expressions; without one for its kind it uses kstatus.
func byFlux(t *testing.T, evaluators map[string]*cel.StatusEvaluator, u *unstructured.Unstructured, kstatus string) string {
	t.Helper()
	e, ok := evaluators[u.GetKind()]
	if !ok {
		return kstatus
	}
	result, err := e.Evaluate(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	return string(result.Status)
}

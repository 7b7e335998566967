package metrics_test

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"clusterpki.io/operator/internal/metrics"
	"clusterpki.io/operator/test/golden"
)

// TestTable compares the table in docs/monitoring.md with what is exposed.
func TestTable(t *testing.T) {
	const path = "../../docs/monitoring.md"
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := bytes.Cut(page, []byte("-update` -->\n"))
	_, after, ok2 := bytes.Cut(rest, []byte("<!-- end of metrics -->"))
	if !ok || !ok2 {
		t.Fatal("the marks around the table are gone")
	}
	want := slices.Concat(before, []byte("-update` -->\n"), table(t), []byte("<!-- end of metrics -->"), after)
	golden.Check(t, path, want)
}

func table(t *testing.T) []byte {
	t.Helper()
	cache := fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(objects()...).Build()
	registry := prometheus.NewPedanticRegistry()
	counts := metrics.NewCounts(map[string][]string{"NodeCredential": {"Expired"}})
	ask(t, counts, http.MethodGet, "/api/v1/namespaces/prod/secrets/x", http.StatusOK)
	registry.MustRegister(metrics.NewObjects(cache, looked, yes, told, unproved), counts, metrics.NewBuildInfo())
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	out.WriteString("\n| metric | type | labels | |\n|---|---|---|---|\n")
	for _, f := range families {
		known := map[string]bool{}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				known["`"+l.GetName()+"`"] = true
			}
		}
		fmt.Fprintf(&out, "| `%s` | %s | %s | %s |\n", f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(slices.Sorted(maps.Keys(known)), ", "), f.GetHelp())
	}
	out.WriteString("\n")
	return out.Bytes()
}

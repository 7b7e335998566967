package monitoring_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/test/testenv"
)

// query is an expression and where it stands.
type query struct{ where, expr string }

// queries are the expressions of all alerts and of the dashboard.
func queries(t *testing.T) []query {
	t.Helper()
	var out []query
	for name, a := range alerts(t) {
		out = append(out, query{"the alert " + name, a.Expr.String()})
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(read(t, "config", "prometheus", "dashboard.json"), &dashboard); err != nil {
		t.Fatal(err)
	}
	variables := strings.NewReplacer("$namespace", ".*", "$__rate_interval", "5m")
	for _, p := range dashboard.Panels {
		for _, q := range p.Targets {
			out = append(out, query{"the panel " + p.Title, variables.Replace(q.Expr)})
		}
	}
	if len(out) < 30 {
		t.Fatalf("there are only %d queries: are all found?", len(out))
	}
	return out
}

// TestQueries asks only for metrics, labels and values that the operator exposes after it has issued the samples and while it
// replaces their CA.
func TestQueries(t *testing.T) {
	exposed := expose(t)
	for _, q := range queries(t) {
		expr, err := parser.NewParser(parser.Options{}).ParseExpr(q.expr)
		if err != nil {
			t.Errorf("%s: %v", q.where, err)
			continue
		}
		parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
			if s, ok := node.(*parser.VectorSelector); ok {
				check(t, q.where, exposed, s)
			}
			return nil
		})
		for _, label := range grouped(expr) {
			if !slices.ContainsFunc(slices.Collect(maps.Values(exposed)), func(f family) bool { return f[label] != nil }) {
				t.Errorf("%s groups by %q, which no metric has", q.where, label)
			}
		}
	}
}

// rare are values of labels that the samples do not bring about: the operator's own tests do.
var rare = []string{"ReplacementPending", "Stalled", "RotationBlocked", "RedeliveryRequired", "TrustAcknowledged", "AgentSilent", "AgentProblem"}

func check(t *testing.T, where string, exposed map[string]family, s *parser.VectorSelector) {
	t.Helper()
	f, ok := exposed[s.Name]
	if !ok {
		t.Errorf("%s asks for %s, which is not exposed", where, s.Name)
		return
	}
	for _, m := range s.LabelMatchers {
		if m.Name == labels.MetricName {
			continue
		}
		values := f[m.Name]
		if values == nil {
			t.Errorf("%s asks for the label %s of %s, which has none", where, m.Name, s.Name)
		}
		if !slices.ContainsFunc(slices.Collect(maps.Keys(values)), m.Matches) && !slices.Contains(rare, m.Value) {
			t.Errorf("%s asks for %s of %s, which is none of %v", where, m, s.Name, slices.Sorted(maps.Keys(values)))
		}
	}
}

// grouped are the labels that an expression groups or matches by.
func grouped(expr parser.Expr) []string {
	var out []string
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.AggregateExpr:
			out = append(out, n.Grouping...)
		case *parser.BinaryExpr:
			if n.VectorMatching != nil {
				out = append(out, n.VectorMatching.MatchingLabels...)
			}
		}
		return nil
	})
	return slices.DeleteFunc(out, func(l string) bool { return l == "le" })
}

// family is the labels of a metric, with the values that each has.
type family map[string]map[string]bool

// expose runs the operator on a real API server, with the samples, a probe, and a CA that is being replaced.
func expose(t *testing.T) map[string]family {
	t.Helper()
	env, err := testenv.Start()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- operate(ctx, env.Config) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := env.Stop(); err != nil {
			t.Error(err)
		}
	})
	kubectl := func(args ...string) {
		dir, err := testenv.Binaries()
		if err != nil {
			t.Fatal(err)
		}
		c := exec.CommandContext(t.Context(), dir+"/kubectl", append([]string{"--kubeconfig", writeKubeconfig(t, env.KubeConfig)}, args...)...)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	kubectl("create", "namespace", "prod")
	kubectl("apply", "-n", "prod", "-k", testenv.Root()+"/config/samples")
	kubectl("patch", "-n", "prod", "asc", "k8s-master", "--type=merge", "-p",
		`{"spec": {"probe": {"addresses": ["`+strings.TrimPrefix(env.Config.Host, "https://")+`"], "interval": "1s"}}}`)
	kubectl("wait", "-n", "prod", "clusterpki", "--all", "--for=condition=Ready", "--timeout=120s")
	kubectl("patch", "-n", "prod", "cca", "k8s", "--type=merge", "-p", `{"spec": {"validity": "43800h"}}`)
	var out map[string]family
	for out["clusterpki_rotation_acknowledgments_pending"] == nil || out["clusterpki_probe_success"] == nil {
		select {
		case <-t.Context().Done():
			t.Fatal("the CA is not being replaced, or nothing is probed")
		case <-time.After(time.Second):
		}
		if out, err = gather(); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func operate(ctx context.Context, cfg *rest.Config) error {
	mgr, err := controller.New(ctx, cfg, controller.Options{MetricsAddress: "127.0.0.1:0"})
	if err != nil {
		return fmt.Errorf("set the operator up: %w", err)
	}
	return mgr.Start(ctx)
}

// gather reads what the operator exposes, by the names that queries use.
func gather() (map[string]family, error) {
	families, err := metrics.Registry.Gather()
	if err != nil {
		return nil, err
	}
	out := map[string]family{}
	for _, f := range families {
		names := []string{f.GetName()}
		if f.GetType() == dto.MetricType_HISTOGRAM {
			names = []string{f.GetName() + "_bucket", f.GetName() + "_sum", f.GetName() + "_count"}
		}
		known := family{}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if known[l.GetName()] == nil {
					known[l.GetName()] = map[string]bool{}
				}
				known[l.GetName()][l.GetValue()] = true
			}
		}
		for _, name := range names {
			out[name] = known
		}
	}
	return out, nil
}

func writeKubeconfig(t *testing.T, text []byte) string {
	t.Helper()
	path := t.TempDir() + "/kubeconfig"
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

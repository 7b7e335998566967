package monitoring_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
)

// query is an expression and where it stands.
type query struct{ where, expr string }

// variable is the query of a variable; those of other kinds have a text there.
type variable struct{ Query string }

func (v *variable) UnmarshalJSON(text []byte) error {
	type plain variable
	if len(text) > 0 && text[0] != '{' {
		return nil
	}
	return json.Unmarshal(text, (*plain)(v))
}

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
		Templating struct {
			List []struct {
				Name, Type string
				Query      variable
			}
		}
	}
	if err := json.Unmarshal(read(t, "config", "prometheus", "dashboard.json"), &dashboard); err != nil {
		t.Fatal(err)
	}
	for _, v := range dashboard.Templating.List {
		if v.Type == "query" {
			metric, label, ok := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(v.Query.Query, "label_values("), ")"), ", ")
			if !ok {
				t.Errorf("the variable %s is not of the form label_values(metric, label)", v.Name)
			}
			out = append(out, query{"the variable " + v.Name, "count by (" + label + ") (" + metric + ")"})
		}
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
// rotates their CA, and evaluates each expression on what it exposes.
func TestQueries(t *testing.T) {
	scraped := expose(t)
	exposed := families(scraped)
	w := newStore(t, scraped)
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
		got := w.ask(q)
		if _, is := strings.CutPrefix(q.where, "the alert "); is {
			if fires := len(got) > 0; fires != firing[q.where] {
				t.Errorf("%s: fires is %v: %v", q.where, fires, got)
			}
		} else if len(got) == 0 && !empty[q.where] {
			t.Errorf("%s shows nothing", q.where)
		}
	}
}

// firing are the alerts that this operator has a reason for: the API server that it looks at, of the test, serves a
// certificate of its own.
var firing = map[string]bool{"the alert ClusterPKIUnexpectedCertificate": true}

// empty are the panels that show nothing of a moment: nothing is issued while nothing is counted up.
var empty = map[string]bool{"the panel Certificates issued": true}

// rare are values of labels that the samples do not bring about: the operator's own tests do.
var rare = []string{"RotationPending", "Stalled", "PolicyDenied", "RotationBlocked", "WithdrawalPending", "RedeliveryRequired", "LeaseExpired", "AgentProblem", "KeyRemovalDue"}

func check(t *testing.T, where string, exposed map[string]family, s *parser.VectorSelector) {
	t.Helper()
	f, ok := exposed[s.Name]
	if !ok {
		t.Errorf("%s asks for %s, which is not exposed", where, s.Name)
		return
	}
	for _, m := range s.LabelMatchers {
		if m.Name == model.MetricNameLabel {
			continue
		}
		values := f[m.Name]
		if values == nil {
			t.Errorf("%s asks for the label %s of %s, which has none", where, m.Name, s.Name)
		}
		if !slices.ContainsFunc(slices.Collect(maps.Keys(values)), m.Matches) && !slices.ContainsFunc(rare, m.Matches) {
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
				out = append(append(out, n.VectorMatching.MatchingLabels...), n.VectorMatching.Include...)
			}
		}
		return nil
	})
	return slices.DeleteFunc(out, func(l string) bool { return l == "le" })
}

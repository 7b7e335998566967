package monitoring_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/test/testenv"
)

func read(t *testing.T, path ...string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{testenv.Root()}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// rules are those that the operator ships.
func rules(t *testing.T) monitoringv1.PrometheusRuleSpec {
	t.Helper()
	var r monitoringv1.PrometheusRule
	if err := yaml.UnmarshalStrict(read(t, "config", "prometheus", "rules.yaml"), &r); err != nil {
		t.Fatal(err)
	}
	return r.Spec
}

func alerts(t *testing.T) map[string]monitoringv1.Rule {
	t.Helper()
	out := map[string]monitoringv1.Rule{}
	for _, g := range rules(t).Groups {
		for _, r := range g.Rules {
			if _, twice := out[r.Alert]; twice || r.Alert == "" {
				t.Errorf("there is no name, or a second alert of the name: %q", r.Alert)
			}
			out[r.Alert] = r
		}
	}
	return out
}

// promtool is Prometheus' own program, built once.
func promtool(t *testing.T) string {
	t.Helper()
	path := filepath.Join(testenv.Root(), "bin", "tools", "promtool")
	build := exec.CommandContext(t.Context(), "make", "-s", "-C", testenv.Root(), "bin/tools/promtool")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build promtool: %v\n%s", err, out)
	}
	return path
}

// TestAlerts lets promtool check the rules, and run the cases in testdata/alerts.yaml.
func TestAlerts(t *testing.T) {
	dir := t.TempDir()
	text, err := yaml.Marshal(rules(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"rules.yaml": text, "alerts.yaml": read(t, "test", "monitoring", "testdata", "alerts.yaml")} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"check", "rules", "--lint=all", "--lint-fatal", "rules.yaml"}, {"test", "rules", "alerts.yaml"}} {
		c := exec.CommandContext(t.Context(), promtool(t), args...)
		c.Dir = dir
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// TestEveryAlertIsTested finds, for each alert, a case in which it fires and one in which it does not.
func TestEveryAlertIsTested(t *testing.T) {
	var file struct {
		Tests []struct {
			Alerts []struct {
				Name     string `json:"alertname"`
				Expected []any  `json:"exp_alerts"`
			} `json:"alert_rule_test"`
		} `json:"tests"`
	}
	if err := yaml.Unmarshal(read(t, "test", "monitoring", "testdata", "alerts.yaml"), &file); err != nil {
		t.Fatal(err)
	}
	fires, quiet := map[string]bool{}, map[string]bool{}
	for _, c := range file.Tests {
		for _, a := range c.Alerts {
			if len(a.Expected) > 0 {
				fires[a.Name] = true
			} else {
				quiet[a.Name] = true
			}
		}
	}
	for name := range alerts(t) {
		if !fires[name] || !quiet[name] {
			t.Errorf("%s: fires in a case: %v, stays quiet in one: %v", name, fires[name], quiet[name])
		}
	}
}

// TestChangeOfLeader bridges, for each alert on what the leader alone tells, the evaluations that see no leader.
func TestChangeOfLeader(t *testing.T) {
	for _, g := range rules(t).Groups {
		for _, r := range g.Rules {
			keeps := r.KeepFiringFor != nil && *r.KeepFiringFor == "5m"
			if ofObjects := g.Name != "clusterpki-operator"; keeps != ofObjects {
				t.Errorf("%s: keeps firing for five minutes: %v, want %v", r.Alert, keeps, ofObjects)
			}
		}
	}
}

// TestRunbooks finds a page for each alert and an alert for each page, and a row in the list of alerts.
func TestRunbooks(t *testing.T) {
	known := alerts(t)
	list := string(read(t, "docs", "monitoring.md"))
	for name, a := range known {
		if want := "https://clusterpki.io/docs/runbooks/" + name; a.Annotations["runbook_url"] != want {
			t.Errorf("%s: its runbook is at %q, not %q", name, a.Annotations["runbook_url"], want)
		}
		if severity := a.Labels["severity"]; !slices.Contains([]string{"info", "warning", "critical"}, severity) {
			t.Errorf("%s: its severity is %q", name, severity)
		} else if row := fmt.Sprintf("| [%s](runbooks/%s.md) | %s |", name, name, severity); !strings.Contains(list, row) {
			t.Errorf("docs/monitoring.md lacks %s", row)
		}
		page := read(t, "docs", "runbooks", name+".md")
		if !bytes.HasPrefix(page, []byte("# "+name+"\n")) {
			t.Errorf("%s: its page has another title", name)
		}
		for _, part := range []string{"## Meaning", "## Impact", "## Diagnosis", "## Cure", "## When it means nothing"} {
			if !bytes.Contains(page, []byte("\n"+part+"\n")) {
				t.Errorf("%s: its page lacks %q", name, part)
			}
		}
	}
	pages, err := filepath.Glob(filepath.Join(testenv.Root(), "docs", "runbooks", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		if name := strings.TrimSuffix(filepath.Base(page), ".md"); known[name].Alert == "" {
			t.Errorf("there is a page and no alert of the name %s", name)
		}
	}
}

// TestServiceMonitor is what prometheus-operator understands.
func TestServiceMonitor(t *testing.T) {
	var m monitoringv1.ServiceMonitor
	if err := yaml.UnmarshalStrict(read(t, "config", "prometheus", "servicemonitor.yaml"), &m); err != nil {
		t.Fatal(err)
	}
	if len(m.Spec.Endpoints) != 1 || !m.Spec.Endpoints[0].HonorLabels {
		t.Error("without honorLabels the namespaces of objects become those of the pod")
	}
}

// TestComponent adds the component to a kustomization, as docs/monitoring.md says: Grafana's sidecar finds the dashboard by its label.
func TestComponent(t *testing.T) {
	bin, err := testenv.Binaries()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	component, err := filepath.Rel(dir, filepath.Join(testenv.Root(), "config", "prometheus"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte("components: ["+component+"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(bin, "kubectl"), "kustomize", dir).Output()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]corev1.ConfigMap{}
	for text := range strings.SplitSeq(string(out), "\n---\n") {
		var o corev1.ConfigMap // of the others only what all have is read
		if err := yaml.Unmarshal([]byte(text), &o); err != nil {
			t.Fatal(err)
		}
		if o.Namespace != "clusterpki-system" {
			t.Errorf("%s %s is in namespace %q", o.Kind, o.Name, o.Namespace)
		}
		found[o.Kind+"/"+o.Name] = o
	}
	want := []string{"ConfigMap/clusterpki-dashboard", "PrometheusRule/clusterpki", "ServiceMonitor/clusterpki"}
	if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, want) {
		t.Errorf("it holds %v, not %v", got, want)
	}
	dashboard := found[want[0]]
	if dashboard.Labels["grafana_dashboard"] != "1" || dashboard.Data["dashboard.json"] != string(read(t, "config", "prometheus", "dashboard.json")) {
		t.Errorf("the ConfigMap has the labels %v and %d bytes", dashboard.Labels, len(dashboard.Data["dashboard.json"]))
	}
}

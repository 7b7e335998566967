package chart_test

import (
	"bufio"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// update writes the golden files, and the table in the chart's README.
var update = flag.Bool("update", false, "write what is compared")

func newLines(text string) *bufio.Reader { return bufio.NewReader(strings.NewReader(text)) }

// compare compares with a file, or writes it.
func compare(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; go test -update writes it):\n%s", path, diff)
	}
}

// TestGolden renders each file of values; Helm 3 renders the same objects.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/values/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(err, "no values")
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			v := readValues(t, filepath.Base(file))
			got := render(t, v)
			compare(t, filepath.Join("testdata", "golden", filepath.Base(file)), got)
			if diff := cmp.Diff(contents(objects(t, got)), contents(objects(t, render3(t, v)))); diff != "" {
				t.Errorf("Helm 4 and Helm 3 differ (-4 +3):\n%s", diff)
			}
		})
	}
}

// TestNames names objects after the release, so that several may be in one cluster.
func TestNames(t *testing.T) {
	for release, want := range map[string]string{
		"clusterpki": "clusterpki", "clusterpki-prod": "clusterpki-prod", "prod": "prod-clusterpki",
		"a-name-of-fifty-three-characters-which-is-the-longest": "a-name-of-fifty-three-characters-which-is-clusterpki",
	} {
		rel, err := template(release, "prod", nil)
		if err != nil {
			t.Fatal(err)
		}
		for key, o := range objects(t, rel.Manifest) {
			if name := o.GetName(); o.GetKind() != "CustomResourceDefinition" && o.GetKind() != "Namespace" && name != want && !strings.HasPrefix(name, want+"-") {
				t.Errorf("release %s has a %s", release, key)
			}
			if ns := o.GetNamespace(); ns != "" && ns != "prod" && ns != "clusterpki-agents" {
				t.Errorf("release %s has a %s", release, key)
			}
		}
	}
}

// TestDenials has the policies name the roles of their release.
func TestDenials(t *testing.T) {
	rel, err := template("mine", "prod", nil)
	if err != nil {
		t.Fatal(err)
	}
	all := objects(t, rel.Manifest)
	for _, plural := range []string{"clustercas", "apiservercertificates", "nodecredentials"} {
		policy, binding := all["ValidatingAdmissionPolicy /mine-clusterpki-"+plural], all["ValidatingAdmissionPolicyBinding /mine-clusterpki-"+plural]
		if policy == nil || binding == nil {
			t.Fatalf("there is no policy of %s, or no binding", plural)
		}
		shown, err := yaml.Marshal(policy.Object["spec"])
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(shown), "mine-clusterpki-", "mine-")
		if !strings.Contains(text, "mine-pki-admin") || strings.Contains(text, "clusterpki-") {
			t.Errorf("the policy of %s names roles that are not there:\n%s", plural, text)
		}
		if spec, _ := binding.Object["spec"].(map[string]any); spec["policyName"] != policy.GetName() {
			t.Errorf("the binding of %s is of policy %v", plural, spec["policyName"])
		}
	}
	for _, role := range []string{"editor", "node-operator", "pki-admin", "viewer"} {
		if all["ClusterRole /mine-clusterpki-"+role] == nil {
			t.Errorf("there is no role %s", role)
		}
	}
}

// TestRefused gives values that the schema does not allow.
func TestRefused(t *testing.T) {
	for text, want := range map[string]string{
		`replica: 3`: `additional properties 'replica' not allowed`,
		`metrics: {serviceMonitor: {enable: true}}`:               `additional properties 'enable' not allowed`,
		`scope: Namespaced`:                                       `at '/scope': value must be one of 'Cluster', 'Namespace'`,
		`scope: Namespace`:                                        `at '/namespace': minLength`,
		`namespace: prod`:                                         `at '/namespace': maxLength`,
		`authorityNamespace: a.b`:                                 `at '/authorityNamespace': 'a.b' does not match pattern`,
		`authorityNamespace: clusterpki-system`:                   `is that of the release`,
		`{scope: Namespace, namespace: clusterpki-system}`:        `is that of the release`,
		`{scope: Namespace, namespace: a, authorityNamespace: a}`: `cannot be that of objects and of keys`,
		`{authorityNamespace: a, agentsNamespace: a}`:             `"a" cannot be that of the agents`,
		`{scope: Namespace, namespace: a, agentsNamespace: a}`:    `"a" cannot be that of the agents`,
		`agentsNamespace: clusterpki-system`:                      `"clusterpki-system" cannot be that of the agents`,
		`replicas: "2"`:                                           `at '/replicas': got string, want integer`,
		`replicas: -1`:                                            `at '/replicas': minimum: got -1, want 0`,
		`image: {digest: sha256:12}`:                              `at '/image/digest': 'sha256:12' does not match pattern`,
		`image: {repository: ""}`:                                 `at '/image/repository': minLength`,
		`image: {tag: "a b"}`:                                     `at '/image/tag'`,
		`probeAllow: [127.0.0.1]`:                                 `at '/probeAllow/0'`,
		`dashboard: {hosts: ["https://pki"]}`:                     `at '/dashboard/hosts/0'`,
		`extraArgs: [manager]`:                                    `at '/extraArgs/0'`,
		`crds: {enabled: "true"}`:                                 `at '/crds/enabled': got string, want boolean`,
		`podLabels: {a: 1}`:                                       `at '/podLabels/a': got number, want string`,
		`topologySpreadConstraints: [{topologyKey: zone}]`:        `missing properties`,
		`resources: {request: {cpu: 1}}`:                          `additional properties 'request' not allowed`,
		`serviceAccount: {name: "Upper"}`:                         `at '/serviceAccount/name'`,
		`metrics: {grafanaDashboard: {labels: [a]}}`:              `at '/metrics/grafanaDashboard/labels': got array, want object`,
		`imagePullSecrets: [registry]`:                            `at '/imagePullSecrets/0': got string, want object`,
		`dashboard: {enabled: true, port: 1}`:                     `additional properties 'port' not allowed`,
		`dashboard: {enabled: true, secure: false}`:               `additional properties 'secure' not allowed`,
		`networkPolicy: true`:                                     `networkPolicy`,
		`rbac: {nodeOperatorClusterPKIs: []}`:                     `at '/rbac/nodeOperatorClusterPKIs': minItems`,
		`rbac: {nodeOperatorCAs: []}`:                             `at '/rbac/nodeOperatorCAs': minItems`,
	} {
		var v values
		if err := yaml.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		_, err := template("clusterpki", system, v)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error\n%v\nwant %s", text, err, want)
		}
	}
}

// TestPrometheus has what config/prometheus holds follow the values.
func TestPrometheus(t *testing.T) {
	const text = `{secure: false, serviceMonitor: {enabled: true, labels: {release: prometheus}},
		prometheusRule: {enabled: true, runbookBaseURL: "https://wiki.example.com/runbooks/"}}`
	var metrics values
	if err := yaml.Unmarshal([]byte(text), &metrics); err != nil {
		t.Fatal(err)
	}
	rel, err := template("mine", "prod", values{"metrics": metrics})
	if err != nil {
		t.Fatal(err)
	}
	all := objects(t, rel.Manifest)
	monitor, rules := all["ServiceMonitor prod/mine-clusterpki"], all["PrometheusRule prod/mine-clusterpki"]
	if monitor == nil || rules == nil {
		t.Fatalf("there is no ServiceMonitor or no PrometheusRule in\n%s", rel.Manifest)
	}
	if monitor.GetLabels()["release"] != "prometheus" {
		t.Errorf("the ServiceMonitor has the labels %v", monitor.GetLabels())
	}
	shown, err := yaml.Marshal(monitor.Object["spec"])
	if err != nil {
		t.Fatal(err)
	}
	for what, want := range map[string]bool{"scheme: http\n": true, "tlsConfig": false, "namespaceSelector": false} {
		if strings.Contains(string(shown), what) != want {
			t.Errorf("the ServiceMonitor has %q: %t, want %t:\n%s", what, !want, want, shown)
		}
	}
	if shown, err = yaml.Marshal(rules.Object["spec"]); err != nil {
		t.Fatal(err)
	}
	alerts := strings.Count(string(shown), "alert: ")
	if urls := strings.Count(string(shown), "runbook_url: https://wiki.example.com/runbooks/ClusterPKI"); urls != alerts || alerts == 0 {
		t.Errorf("%d of %d alerts lead to the runbooks", urls, alerts)
	}
}

// TestNotes shows what `helm install` says at the end.
func TestNotes(t *testing.T) {
	for text, want := range map[string]string{
		`{}`:                                     "for all namespaces.",
		`{authorityNamespace: keys}`:             "in namespace keys, which is no part of this release",
		`{scope: Namespace, namespace: prod}`:    "for namespace prod alone.",
		`{scope: Namespace, namespace: staging}`: "kubectl create namespace clusterpki-system-authority",
		`crds: {enabled: false}`:                 "upgrade them yourself",
		`crds: {keep: false}`:                    "deletes the CustomResourceDefinitions",
		`admission: {enabled: false}`:            "Nothing asks who may have which identity issued",
	} {
		var v values
		if err := yaml.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		rel, err := template("clusterpki", system, v)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(rel.Info.Notes, want) {
			t.Errorf("%s: the notes lack %q:\n%s", text, want, rel.Info.Notes)
		}
	}
}

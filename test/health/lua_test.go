package health_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	lua "github.com/yuin/gopher-lua"
	luajson "layeh.com/gopher-json"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/test/testenv"
)

// healthStatus is what a health script answers.
type healthStatus struct {
	Status  string `json:"status"`
	Message string `json:"message,omitempty"`
}

// healthTest is Argo CD's health_test.yaml.
type healthTest struct {
	Tests []healthCase `json:"tests"`
}

type healthCase struct {
	HealthStatus healthStatus `json:"healthStatus"`
	InputPath    string       `json:"inputPath"`
}

func argocd(path ...string) string {
	return filepath.Join(append([]string{testenv.Root(), "config", "argocd"}, path...)...)
}

func script(t *testing.T, kind string) string {
	t.Helper()
	text, err := os.ReadFile(argocd("clusterpki.io", kind, "health.lua"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// assess runs a kind's health script in the interpreter that Argo CD embeds, with no more libraries than Argo CD opens
// for scripts by default. test/gitops runs the same scripts in Argo CD itself.
func assess(t *testing.T, kind string, object map[string]any) healthStatus {
	t.Helper()
	l := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer l.Close()
	for name, open := range map[string]lua.LGFunction{lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable} {
		if err := l.CallByParam(lua.P{Fn: l.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			t.Fatal(err)
		}
	}
	data, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	value, err := luajson.Decode(l, data)
	if err != nil {
		t.Fatal(err)
	}
	l.SetGlobal("obj", value)
	if err := l.DoString(script(t, kind)); err != nil {
		t.Fatal(err)
	}
	answer, err := luajson.Encode(l.Get(-1))
	if err != nil {
		t.Fatal(err)
	}
	var s healthStatus
	if err := json.Unmarshal(answer, &s); err != nil {
		t.Fatalf("%s answers %s: %v", kind, answer, err)
	}
	return s
}

// TestHealthScripts runs each health_test.yaml.
func TestHealthScripts(t *testing.T) {
	for _, kind := range kinds {
		var tests healthTest
		readYAML(t, argocd("clusterpki.io", kind, "health_test.yaml"), &tests)
		data, err := filepath.Glob(argocd("clusterpki.io", kind, "testdata", "*.yaml"))
		if err != nil || len(data) != len(tests.Tests) {
			t.Errorf("%s has %d tests for %d files of test data: %v", kind, len(tests.Tests), len(data), err)
		}
		for _, test := range tests.Tests {
			t.Run(kind+"/"+test.InputPath, func(t *testing.T) {
				var object map[string]any
				readYAML(t, argocd("clusterpki.io", kind, test.InputPath), &object)
				if diff := cmp.Diff(test.HealthStatus, assess(t, kind, object)); diff != "" {
					t.Errorf("-want +got:\n%s", diff)
				}
			})
		}
	}
}

// TestConfigMap: argocd-cm.yaml holds the scripts as they are.
func TestConfigMap(t *testing.T) {
	var want strings.Builder
	want.WriteString("# The health scripts of this folder, to be merged into Argo CD's own ConfigMap:\n" +
		"#   kubectl patch configmap argocd-cm -n argocd --patch-file config/argocd/argocd-cm.yaml\n" +
		"# Generated: `make argocd-cm` writes it anew.\ndata:\n")
	for _, kind := range kinds {
		want.WriteString("  resource.customizations.health.clusterpki.io_" + kind + ": |\n")
		for line := range strings.Lines(script(t, kind)) {
			if line != "\n" {
				line = "    " + line
			}
			want.WriteString(line)
		}
	}
	if *update {
		write(t, argocd("argocd-cm.yaml"), want.String())
	}
	got, err := os.ReadFile(argocd("argocd-cm.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.String(), string(got)); diff != "" {
		t.Errorf("run `make argocd-cm`; -want +got:\n%s", diff)
	}
}

func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(text, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

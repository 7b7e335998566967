package chart_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"clusterpki.io/operator/test/testenv"
)

// twins are kustomizations and the values that say the same.
func twins() map[string]values {
	latest := values{"tag": "latest"} // config/ names no version of the program, and the chart its own
	on := values{"enabled": true}
	return map[string]values{
		"default":    {"image": latest},
		"namespaced": {"image": latest, "scope": "Namespace", "namespace": "prod"},
		"dashboard":  {"image": latest, "dashboard": on},
		"namespaced-dashboard": {
			"image": latest, "scope": "Namespace", "namespace": "prod", "dashboard": on,
		},
		"prometheus": {
			"image": latest, "metrics": values{"serviceMonitor": on, "prometheusRule": on, "grafanaDashboard": on},
		},
	}
}

// TestTwins compares `kubectl kustomize` with `helm template`.
func TestTwins(t *testing.T) {
	for name, v := range twins() {
		t.Run(name, func(t *testing.T) {
			want := objects(t, kustomize(t, filepath.Join("testdata", "overlays", name)))
			got := objects(t, render(t, v))
			// A release is recorded in its namespace, which is there before: no chart can make it.
			if want["Namespace /"+system] == nil {
				t.Error("kustomize makes no namespace")
			}
			delete(want, "Namespace /"+system)
			if v["scope"] == "Namespace" { // the agents' namespace is beside the authority's there, where no copy of config/namespaced renames it
				for key, o := range objects(t, kustomize(t, filepath.Join(testenv.Root(), "config", "authority"))) {
					if strings.Contains(key, "-agents") {
						want[key] = o
					}
				}
			}
			if diff := cmp.Diff(contents(want), contents(got)); diff != "" {
				t.Errorf("kustomize and Helm differ (-kustomize +helm):\n%s", diff)
			}
		})
	}
}

// TestRenamed copies config/namespaced, renames both namespaces in it and adds the components, as docs/install.md says: nothing
// stays in the namespaces of before.
func TestRenamed(t *testing.T) {
	config, dir := filepath.Join(testenv.Root(), "config"), t.TempDir()
	files, err := filepath.Glob(filepath.Join(config, "namespaced", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatal(err, "there is nothing to copy")
	}
	up, err := filepath.Rel(dir, config)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		own := strings.NewReplacer(system, "operators", "namespace: prod", "namespace: staging", "../", up+"/").Replace(string(text))
		if filepath.Base(file) == "kustomization.yaml" {
			own += "components: [" + up + "/dashboard, " + up + "/prometheus]\n"
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(file)), []byte(own), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	made := kustomize(t, dir)
	for line := range strings.Lines(made) {
		if strings.Contains(line, system) || strings.Contains(line, " prod") {
			t.Errorf("it still says %s", line)
		}
	}
	all := objects(t, made)
	for _, key := range []string{
		"RoleBinding staging/clusterpki", "RoleBinding operators/clusterpki-own", "ClusterRoleBinding /clusterpki-crds:operators",
		"Service operators/clusterpki-dashboard", "ServiceMonitor operators/clusterpki", "PrometheusRule operators/clusterpki",
		"ConfigMap operators/clusterpki-dashboard",
	} {
		if all[key] == nil {
			t.Errorf("there is no %s", key)
		}
	}
}

// TestOverlays has a twin for each kustomization that there is.
func TestOverlays(t *testing.T) {
	dirs, err := os.ReadDir(filepath.Join("testdata", "overlays"))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		if twins()[d.Name()] == nil {
			t.Errorf("testdata/overlays/%s is compared with nothing", d.Name())
		}
	}
}

// contents are objects without what Helm alone adds: labels that say which chart and release they are of, and the
// annotation that keeps what is the cluster's.
func contents(all map[string]*unstructured.Unstructured) map[string]any {
	out := map[string]any{}
	for key, o := range all {
		o = o.DeepCopy()
		labels := o.GetLabels()
		for _, l := range []string{"helm.sh/chart", "app.kubernetes.io/managed-by", "app.kubernetes.io/instance", "app.kubernetes.io/version"} {
			delete(labels, l)
		}
		o.SetLabels(labels)
		kept := o.GetKind() == "CustomResourceDefinition" || o.GetKind() == "Namespace" || strings.HasPrefix(o.GetKind(), "ValidatingAdmissionPolicy")
		if a := o.GetAnnotations(); kept && a["helm.sh/resource-policy"] == "keep" {
			delete(a, "helm.sh/resource-policy")
			if len(a) == 0 {
				a = nil
			}
			o.SetAnnotations(a)
		}
		out[key] = o.Object
	}
	return out
}

func kustomize(t *testing.T, dir string) string {
	t.Helper()
	binaries, err := testenv.Binaries()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(binaries, "kubectl"), "kustomize", dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("kubectl kustomize %s: %v\n%s", dir, err, stderr.String())
	}
	return string(out)
}

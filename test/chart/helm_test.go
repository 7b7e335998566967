// Package chart_test renders and installs the Helm chart through Helm's own library.
package chart_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	chart3 "helm.sh/helm/v3/pkg/chart"
	loader3 "helm.sh/helm/v3/pkg/chart/loader"
	chartutil3 "helm.sh/helm/v3/pkg/chartutil"
	engine3 "helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	release "helm.sh/helm/v4/pkg/release/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/test/testenv"
)

const (
	system     = "clusterpki-system"
	kubernetes = "v1.37.2"
)

func chartDir() string { return filepath.Join(testenv.Root(), "charts", "clusterpki") }

type values = map[string]any

// readValues reads one of testdata/values.
func readValues(t *testing.T, name string) values {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "values", name))
	if err != nil {
		t.Fatal(err)
	}
	var v values
	if err := yaml.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// template is what `helm template NAME charts/clusterpki -n NAMESPACE` does.
func template(name, namespace string, v values) (*release.Release, error) {
	c, err := loader.Load(chartDir())
	if err != nil {
		return nil, err
	}
	version, err := common.ParseKubeVersion(kubernetes)
	if err != nil {
		return nil, err
	}
	install := action.NewInstall(action.NewConfiguration())
	install.DryRunStrategy = action.DryRunClient
	install.ReleaseName, install.Namespace, install.KubeVersion = name, namespace, version
	rel, err := install.Run(c, v)
	if err != nil {
		return nil, err
	}
	return rel.(*release.Release), nil
}

// render returns the chart's manifest, of a release named clusterpki.
func render(t *testing.T, v values) string {
	t.Helper()
	rel, err := template("clusterpki", system, v)
	if err != nil {
		t.Fatal(err)
	}
	return rel.Manifest
}

// render3 returns what Helm 3 renders.
func render3(t *testing.T, v values) string {
	t.Helper()
	c, err := loader3.Load(chartDir())
	if err != nil {
		t.Fatal(err)
	}
	all, err := chartutil3.ToRenderValues(c, v, chartutil3.ReleaseOptions{Name: "clusterpki", Namespace: system}, chartutil3.DefaultCapabilities)
	if err != nil {
		t.Fatal(err)
	}
	files, err := engine3.Render(c, all)
	if err != nil {
		t.Fatal(err)
	}
	return joined3(c, files)
}

func joined3(c *chart3.Chart, files map[string]string) string {
	var out strings.Builder
	for _, f := range c.Templates {
		if strings.HasSuffix(f.Name, ".yaml") {
			fmt.Fprintf(&out, "---\n%s\n", files[c.Name()+"/"+f.Name])
		}
	}
	return out.String()
}

// objects are those of a manifest, by kind, namespace and name.
func objects(t *testing.T, manifest string) map[string]*unstructured.Unstructured {
	t.Helper()
	out := map[string]*unstructured.Unstructured{}
	reader := utilyaml.NewYAMLReader(newLines(manifest))
	for {
		doc, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := yaml.YAMLToJSONStrict(doc) // no key twice
		if err != nil {
			t.Fatalf("%v in\n%s", err, doc)
		}
		if bytes.Equal(text, []byte("null")) {
			continue
		}
		var u unstructured.Unstructured
		if err := u.UnmarshalJSON(text); err != nil {
			t.Fatalf("%v in\n%s", err, doc)
		}
		key := fmt.Sprintf("%s %s/%s", u.GetKind(), u.GetNamespace(), u.GetName())
		if out[key] != nil {
			t.Errorf("%s is there twice", key)
		}
		out[key] = &u
	}
}

package chart_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/kube"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// helm is Helm's own library on a cluster, with its releases in a namespace.
func (c *cluster) helm(namespace string) *action.Configuration {
	c.t.Helper()
	flags := genericclioptions.NewConfigFlags(false)
	flags.KubeConfig, flags.Namespace = &c.kubeconfig, &namespace
	cfg := action.NewConfiguration()
	if err := cfg.Init(flags, namespace, "secret"); err != nil {
		c.t.Fatal(err)
	}
	return cfg
}

// install is `helm install clusterpki CHART -n NAMESPACE`. It doesn't wait: there are no nodes.
func (c *cluster) install(namespace, chart string, v values) {
	c.t.Helper()
	if err := c.tryInstall("clusterpki", namespace, chart, v); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) tryInstall(name, namespace, chart string, v values) error {
	c.t.Helper()
	ch, err := loader.Load(chart)
	if err != nil {
		c.t.Fatal(err)
	}
	install := action.NewInstall(c.helm(namespace))
	install.ReleaseName, install.Namespace, install.WaitStrategy = name, namespace, kube.HookOnlyStrategy
	_, err = install.Run(ch, v)
	return err
}

// upgrade is `helm upgrade clusterpki CHART -n NAMESPACE`.
func (c *cluster) upgrade(namespace, chart string, v values) {
	c.t.Helper()
	ch, err := loader.Load(chart)
	if err != nil {
		c.t.Fatal(err)
	}
	upgrade := action.NewUpgrade(c.helm(namespace))
	upgrade.Namespace, upgrade.WaitStrategy, upgrade.ServerSideApply = namespace, kube.HookOnlyStrategy, "auto"
	if _, err := upgrade.Run("clusterpki", ch, v); err != nil {
		c.t.Fatal(err)
	}
}

// uninstall is `helm uninstall clusterpki -n NAMESPACE`.
func (c *cluster) uninstall(namespace string) {
	c.t.Helper()
	uninstall := action.NewUninstall(c.helm(namespace))
	uninstall.WaitStrategy = kube.HookOnlyStrategy
	if _, err := uninstall.Run("clusterpki"); err != nil {
		c.t.Fatal(err)
	}
}

// TestAccepted installs each file of values and each kustomization on a real API server, one after the other, in a
// namespace that is restricted; and has their pods admitted.
func TestAccepted(t *testing.T) {
	c := newCluster(t)
	c.restrictedNamespace(system)
	c.namespace("prod") // which those of scope Namespace serve
	c.install(system, chartDir(), nil)
	c.admitted(system, "clusterpki")
	c.uninstall(system)
	files, err := filepath.Glob("testdata/values/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(err, "no values")
	}
	for _, file := range files {
		v := readValues(t, filepath.Base(file))
		c.install(system, chartDir(), v)
		c.admitted(system, "clusterpki")
		c.uninstall(system)
	}
	for name := range twins() {
		if name == "prometheus" { // whose kinds are not here
			continue
		}
		c.kubectl("apply", "-k", filepath.Join("test", "chart", "testdata", "overlays", name))
		c.admitted(system, "clusterpki")
	}
}

// admitted makes a pod of a Deployment's template, as its ReplicaSet would.
func (c *cluster) admitted(namespace, deployment string) {
	c.t.Helper()
	var d appsv1.Deployment
	if err := c.api.Get(c.t.Context(), client.ObjectKey{Namespace: namespace, Name: deployment}, &d); err != nil {
		c.t.Fatal(err)
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: deployment + "-", Namespace: namespace, Labels: d.Spec.Template.Labels},
		Spec:       d.Spec.Template.Spec,
	}
	if err := c.api.Create(c.t.Context(), pod); err != nil {
		c.t.Error(err)
	}
	for _, w := range c.warnings() {
		c.t.Errorf("the API server warns: %s", w)
	}
	pod.Spec.HostNetwork, pod.ResourceVersion, pod.Name = true, "", ""
	if err := c.api.Create(c.t.Context(), pod); err == nil || !strings.Contains(err.Error(), "PodSecurity") {
		c.t.Errorf("a pod in the network of its host: %v", err)
	}
}

// TestUninstall leaves what is not to be lost, and takes it up again.
func TestUninstall(t *testing.T) {
	c := newCluster(t)
	c.restrictedNamespace(system)
	c.namespace("prod")
	c.install(system, chartDir(), nil)
	c.established()
	c.kubectl("apply", "--namespace=prod", "-k", "config/samples")
	_, stop := c.run("")
	c.ready("prod")
	stop()
	before, keys := c.holds("prod"), c.keys()
	c.uninstall(system)
	c.same(before, c.holds("prod"))
	c.same(keys, c.keys())
	for _, kind := range []string{"validatingadmissionpolicies", "validatingadmissionpolicybindings"} { // else others' releases had none any more
		if left := c.kubectl("get", kind, "--output=name"); strings.Count(left, "/clusterpki-") != 7 {
			t.Errorf("of the %s is left: %s", kind, left)
		}
	}
	if left := c.kubectl("get", "deployments,services,serviceaccounts,roles,rolebindings", "--namespace="+system,
		"--selector=app.kubernetes.io/name=clusterpki", "--output=name"); left != "" {
		t.Errorf("left behind:\n%s", left)
	}
	if err := c.tryInstall("another", system, chartDir(), nil); err == nil || !strings.Contains(err.Error(), "meta.helm.sh/release-name") {
		t.Errorf("another release takes the CRDs that this one left: %v", err)
	}
	if err := c.tryInstall("another", system, chartDir(), values{"crds": values{"enabled": false}, "admission": values{"enabled": false}, "createAgentsNamespace": false}); err != nil {
		t.Errorf("another release, without what is the cluster's: %v", err)
	}
	c.install(system, chartDir(), nil)
	c.idle("")
	c.same(before, c.holds("prod"))
	c.same(keys, c.keys())
	c.upgrade(system, chartDir(), values{"crds": values{"keep": false}})
	c.uninstall(system)
	c.kubectl("wait", "--for=delete", "--timeout=60s", "crd", "clustercas.clusterpki.io")
	c.same(keys, c.keys())
}

// TestUpgrade upgrades from the chart's first version, with CRDs that differ: they become those of the new one, nothing is
// re-issued and nobody's spec changes.
func TestUpgrade(t *testing.T) {
	old, err := filepath.Glob("testdata/clusterpki-*.tgz")
	if err != nil || len(old) == 0 {
		t.Fatal(err, "there is no chart to upgrade from")
	}
	for _, chart := range old {
		t.Run(filepath.Base(chart), func(t *testing.T) {
			c := newCluster(t)
			c.restrictedNamespace(system)
			c.namespace("prod")
			c.install(system, older(t, chart), nil)
			c.established()
			c.kubectl("apply", "--namespace=prod", "-k", "config/samples")
			_, stop := c.run("")
			c.ready("prod")
			stop()
			before := c.holds("prod")
			if n := len(c.outdated()); n != 5 {
				t.Errorf("%d CRDs differ before the upgrade, want 5", n)
			}
			c.upgrade(system, chartDir(), nil)
			c.current()
			c.idle("")
			c.same(before, c.holds("prod"))
		})
	}
}

// older unpacks a chart and gives each of its CRDs another description.
func older(t *testing.T, chart string) string {
	t.Helper()
	dir := t.TempDir()
	if err := chartutil.ExpandFile(dir, chart); err != nil {
		t.Fatal(err)
	}
	crds, err := filepath.Glob(filepath.Join(dir, "clusterpki", "files", "crds", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range crds {
		crd := readCRD(t, path)
		crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Description = "An older one."
		text, err := yaml.Marshal(crd)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "clusterpki")
}

func readCRD(t *testing.T, path string) apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(text, &crd); err != nil {
		t.Fatal(err)
	}
	return crd
}

// outdated are the CRDs of which a version differs from that of the chart here, and how.
func (c *cluster) outdated() map[string]string {
	c.t.Helper()
	paths, err := filepath.Glob(filepath.Join(chartDir(), "files", "crds", "*.yaml"))
	if err != nil || len(paths) == 0 {
		c.t.Fatal(err, "the chart has no CRDs")
	}
	out := map[string]string{}
	for _, path := range paths {
		want := readCRD(c.t, path)
		var got apiextensionsv1.CustomResourceDefinition
		if err := c.api.Get(c.t.Context(), client.ObjectKeyFromObject(&want), &got); err != nil {
			c.t.Fatal(err)
		}
		if diff := cmp.Diff(want.Spec.Versions, got.Spec.Versions); diff != "" {
			out[want.Name] = diff
		}
	}
	return out
}

// current finds the CRDs to be those of the chart here.
func (c *cluster) current() {
	c.t.Helper()
	var meta struct{ Name, Version string }
	text, err := os.ReadFile(filepath.Join(chartDir(), "Chart.yaml"))
	if err != nil {
		c.t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &meta); err != nil {
		c.t.Fatal(err)
	}
	var crds apiextensionsv1.CustomResourceDefinitionList
	if err := c.api.List(c.t.Context(), &crds); err != nil {
		c.t.Fatal(err)
	}
	for _, crd := range crds.Items {
		if got, want := crd.Labels["helm.sh/chart"], meta.Name+"-"+meta.Version; got != want {
			c.t.Errorf("%s is of %s, want %s", crd.Name, got, want)
		}
	}
	for name, diff := range c.outdated() {
		c.t.Errorf("%s differs (-chart +cluster):\n%s", name, diff)
	}
	if len(crds.Items) != 5 {
		c.t.Errorf("there are %d CRDs", len(crds.Items))
	}
}

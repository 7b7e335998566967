package chart_test

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/test/testenv"
)

// pool has the control planes that each test finds empty.
var pool = &testenv.Pool{}

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(testenv.Run(m, pool))
}

// cluster is a control plane without anything of clusterpki.
type cluster struct {
	*testenv.Plane
	t          *testing.T
	api        client.Client
	kubeconfig string

	mu     sync.Mutex
	warned []string
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	env := pool.Borrow(t)
	kubeconfig, err := env.KubeconfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{Plane: env, t: t, kubeconfig: kubeconfig}
	mine := rest.CopyConfig(env.Config)
	mine.WarningHandler = c
	scheme := controller.Scheme()
	if err := apiextensionsv1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	if c.api, err = client.New(mine, client.Options{Scheme: scheme}); err != nil {
		t.Fatal(err)
	}
	return c
}

// HandleWarningHeader keeps what the API server warns of.
func (c *cluster) HandleWarningHeader(_ int, _, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.warned = append(c.warned, text)
}

func (c *cluster) warnings() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.warned
	c.warned = nil
	return out
}

// kubectl runs kubectl in the repository's root and returns what it said.
func (c *cluster) kubectl(args ...string) string {
	c.t.Helper()
	out, _, err := c.Kubectl(c.t.Context(), args...)
	if err != nil {
		c.t.Fatal(err)
	}
	return out
}

func (c *cluster) namespace(name string) {
	c.t.Helper()
	if err := c.api.Create(c.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
		c.t.Fatal(err)
	}
}

// restrictedNamespace makes the namespace of a release, as docs/install.md does.
func (c *cluster) restrictedNamespace(name string) {
	c.t.Helper()
	labels := map[string]string{
		"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted",
	}
	err := c.api.Create(c.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}})
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) established() {
	c.t.Helper()
	c.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd",
		"clustercas.clusterpki.io", "apiservercertificates.clusterpki.io", "nodecredentials.clusterpki.io", "serviceaccountkeys.clusterpki.io", "clusterpkis.clusterpki.io")
}

// run runs the operator as the release's ServiceAccount until it is stopped.
func (c *cluster) run(namespace string) (o *testenv.Operator, stop func()) {
	c.t.Helper()
	return testenv.RunOperator(c.t, testenv.As(c.Config, system, "clusterpki"), controller.Options{
		Namespace: namespace, OwnNamespace: system, LeaderElect: true, LeaderElectionNamespace: system,
	})
}

func (c *cluster) list(gv schema.GroupVersion, kind, namespace string, o ...client.ListOption) []unstructured.Unstructured {
	c.t.Helper()
	var list unstructured.UnstructuredList
	list.SetGroupVersionKind(gv.WithKind(kind + "List"))
	if err := c.api.List(c.t.Context(), &list, append(o, client.InNamespace(namespace))...); err != nil {
		c.t.Fatal(err)
	}
	return list.Items
}

// ready waits until every object of clusterpki in a namespace is Ready, and nothing is under way.
func (c *cluster) ready(namespace string) {
	c.t.Helper()
	testenv.Eventually(c.t, "all is Ready in "+namespace, func() error {
		var waiting []string
		for _, kind := range v1alpha1.KindNames() {
			for _, o := range c.list(v1alpha1.GroupVersion, kind, namespace) {
				if !settled(&o) {
					waiting = append(waiting, kind+" "+o.GetName())
				}
			}
		}
		if len(waiting) > 0 {
			return fmt.Errorf("not Ready are %v", waiting)
		}
		return nil
	})
}

func settled(o *unstructured.Unstructured) bool {
	items, _, err := unstructured.NestedSlice(o.Object, "status", "conditions")
	if err != nil {
		return false
	}
	ready := false
	for _, i := range items {
		c, _ := i.(map[string]any)
		switch c["type"] {
		case v1alpha1.ReadyCondition:
			ready = c["status"] == "True"
		case v1alpha1.ReconcilingCondition, v1alpha1.StalledCondition:
			return false
		}
	}
	return ready
}

// holds is what an upgrade must leave as it is: the version of each object that the operator wrote, and what people wrote.
func (c *cluster) holds(namespace string) map[string]any {
	c.t.Helper()
	out := map[string]any{}
	ours := client.MatchingLabels{v1alpha1.ManagedLabel: v1alpha1.ManagedValue}
	for _, kind := range []string{"Secret", "ConfigMap"} {
		items := c.list(corev1.SchemeGroupVersion, kind, namespace, ours)
		if len(items) == 0 {
			c.t.Errorf("there is no %s of the operator", kind)
		}
		for _, o := range items {
			out[kind+" "+o.GetName()] = o.GetResourceVersion()
		}
	}
	for _, kind := range v1alpha1.KindNames() {
		for _, o := range c.list(v1alpha1.GroupVersion, kind, namespace) {
			out[kind+" "+o.GetName()] = map[string]any{"generation": o.GetGeneration(), "uid": string(o.GetUID()), "spec": o.Object["spec"]}
		}
	}
	return out
}

// keys are what the authority namespace holds, byte for byte.
func (c *cluster) keys() map[string]any {
	c.t.Helper()
	out := map[string]any{}
	for _, o := range c.list(corev1.SchemeGroupVersion, "Secret", controller.DefaultAuthorityNamespace) {
		out[o.GetName()] = o.Object["data"]
	}
	if len(out) < 2 { // the key of seals, and a CA
		c.t.Error("the authority namespace holds no CA")
	}
	return out
}

func (c *cluster) same(before, after map[string]any) {
	c.t.Helper()
	if diff := cmp.Diff(before, after); diff != "" {
		c.t.Errorf("something changed (-before +after):\n%s", diff)
	}
}

// idle runs the operator until it has looked at every object and has nothing more to do.
func (c *cluster) idle(namespace string) {
	c.t.Helper()
	o, stop := c.run(namespace)
	o.Idle(c.t, c.api, namespace)
	stop()
}

// Package gitops_test lets a real Argo CD synchronize the samples from a Git repository into a real API server, on which
// the operator runs, and watches what Argo CD says all the time. It uninstalls the operator by Argo CD and by Flux, and installs
// it again. `make test-gitops` builds what it needs.
package gitops_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"clusterpki.io/operator/test/testenv"
)

// cluster is a control plane.
type cluster struct {
	t          *testing.T
	api        client.WithWatch
	kubeconfig string
	programs   string // the folder of Kubernetes' programs
}

// ourCRDs is the folder of clusterpki's kinds.
func ourCRDs() string { return filepath.Join(testenv.Root(), "config", "crd", "bases") }

// newCluster starts a control plane with the CustomResourceDefinitions of some folders.
func newCluster(t *testing.T, crds ...string) *cluster {
	t.Helper()
	ctrl.SetLogger(logr.Discard())
	programs, err := testenv.Binaries("kube-controller-manager")
	if err != nil {
		t.Fatal(err)
	}
	env, err := testenv.StartEmpty()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := env.Stop(); err != nil {
			t.Error(err)
		}
	})
	if _, err := envtest.InstallCRDs(env.Config, envtest.CRDInstallOptions{Paths: crds, MaxTime: time.Minute}); err != nil {
		t.Fatal(err)
	}
	api, err := testenv.Client(env.Config)
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := env.KubeconfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, api: api, kubeconfig: kubeconfig, programs: programs}
	c.startCollector()
	return c
}

// startCollector runs Kubernetes' garbage collector: Argo CD deletes in the foreground, and waits for it. It empties namespaces too.
func (c *cluster) startCollector() {
	c.t.Helper()
	c.start("kube-controller-manager", nil, filepath.Join(c.programs, "kube-controller-manager"), "--kubeconfig="+c.kubeconfig,
		"--controllers=garbage-collector-controller,namespace-controller", "--leader-elect=false", "--bind-address=127.0.0.1", "--secure-port="+port(c.t))
}

func (c *cluster) apply(objects ...client.Object) {
	c.t.Helper()
	for _, o := range objects {
		if err := c.api.Create(c.t.Context(), o); err != nil {
			c.t.Fatalf("create %T %s: %v", o, o.GetName(), err)
		}
	}
}

func configMap(name string, data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "argocd", Name: name, Labels: map[string]string{"app.kubernetes.io/part-of": "argocd"}},
		Data:       data,
	}
}

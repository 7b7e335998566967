// Package restore_test backs the PKI of a cluster up, loses it, and restores it: a real API server, and of Kubernetes' own controllers
// the garbage collector, which deletes what refers to an owner that does not exist, and the one that empties namespaces.
package restore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	testingclock "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/internal/process"
	"clusterpki.io/operator/test/testenv"
)

// cluster is a control plane with clusterpki's kinds.
type cluster struct {
	cfg  *rest.Config
	api  client.Client // not cached
	env  *testenv.ControlPlane
	file string // a kubeconfig
}

// management is where everything happens.
var management *cluster

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	if err := testenv.Parallel(16); err != nil { // half of them wait for namespace prod
		return 0, err
	}
	dir, err := os.MkdirTemp("", "clusterpki-restore-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if management, err = newCluster(filepath.Join(dir, "kubeconfig")); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, management.env.Stop()) }()
	collector, err := collectGarbage(management, filepath.Join(dir, "kube-controller-manager.log"))
	if err != nil {
		return 0, err
	}
	defer collector.Stop(5 * time.Second)
	if code = m.Run(); collector.Failed() != nil {
		tail, _ := process.Tail(collector.Log(), 20)
		return code, fmt.Errorf("%w\n%s", collector.Failed(), tail)
	}
	return code, nil
}

func newCluster(file string) (*cluster, error) {
	env, err := testenv.Start()
	if err != nil {
		return nil, err
	}
	c := &cluster{cfg: env.Config, env: env, file: file}
	err = os.WriteFile(file, env.KubeConfig, 0o600)
	if err == nil {
		c.api, err = client.New(env.Config, client.Options{Scheme: controller.Scheme()})
	}
	if err != nil {
		return nil, errors.Join(err, env.Stop())
	}
	return c, nil
}

// collectGarbage runs kube-controller-manager for what deletes.
func collectGarbage(c *cluster, log string) (*process.Process, error) {
	dir, err := testenv.Binaries("kube-controller-manager")
	if err != nil {
		return nil, err
	}
	return process.Start(process.Spec{
		Name: "kube-controller-manager", Path: filepath.Join(dir, "kube-controller-manager"), Log: log,
		Args: []string{
			"--kubeconfig=" + c.file, "--controllers=garbage-collector-controller,namespace-controller", "--leader-elect=false", "--secure-port=0",
			"--kube-api-qps=500", "--kube-api-burst=500",
		},
	})
}

// operate runs the operator for a namespace until the function that it returns is called, or the test ends.
func (w *fixture) operate(clock *testingclock.FakePassiveClock) (stop func()) {
	w.t.Helper()
	o := controller.Options{Namespace: w.ns, AuthorityNamespace: w.authority, Poll: 200 * time.Millisecond}
	if clock != nil {
		o.Clock = clock
	}
	ctx, cancel := context.WithCancel(context.Background())
	mgr, err := controller.New(ctx, w.cfg, o)
	if err != nil {
		cancel()
		w.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("the operator ended: %v", err)
		}
	}
	w.t.Cleanup(stop)
	return stop
}

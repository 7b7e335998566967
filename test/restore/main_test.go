// Package restore_test backs the PKI of a cluster up, loses it, and restores it: a real API server, and of Kubernetes' own controllers
// the garbage collector, which deletes what refers to an owner that does not exist, and the one that empties namespaces.
package restore_test

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/go-logr/logr"
	testingclock "k8s.io/utils/clock/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/test/testenv"
)

// cluster is a control plane with clusterpki's kinds.
type cluster struct {
	*testenv.ControlPlane
	api  client.Client // not cached
	file string        // a kubeconfig
}

// Two control planes, in each of which one test at a time uses namespace prod. All other tests share the first one.
var (
	management *cluster
	prods      = make(chan *cluster, 2)
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// run is not testenv.Main: there are two control planes.
func run(m *testing.M) (code int, err error) {
	if err := testenv.Parallel(16); err != nil { // half of them wait for namespace prod
		return 0, err
	}
	for range cap(prods) {
		c, err := newCluster()
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, c.Stop()) }()
		management = c
		prods <- c
	}
	return m.Run(), nil
}

func newCluster() (*cluster, error) {
	env, err := testenv.Start()
	if err != nil {
		return nil, err
	}
	c := &cluster{ControlPlane: env}
	if c.file, err = env.KubeconfigFile(); err == nil {
		c.api, err = testenv.Client(env.Config)
	}
	if err == nil {
		err = env.StartControllers("garbage-collector-controller", "namespace-controller")
	}
	if err != nil {
		return nil, errors.Join(err, env.Stop())
	}
	return c, nil
}

// operate runs the operator for a namespace, under the rights of its manifests, until the function that it returns is called, or the
// test ends.
func (w *fixture) operate(clock *testingclock.FakePassiveClock) (stop func()) {
	w.t.Helper()
	o := w.installed.Options
	o.Poll = 100 * time.Millisecond
	if clock != nil {
		o.Clock = clock
	}
	_, stop = testenv.RunOperator(w.t, w.installed.Config, o)
	return stop
}

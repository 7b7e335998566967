// Package health_test shows how clusterpki's objects look to GitOps tools, with the tools' own libraries, on objects
// that the real API server and the operator made.
package health_test

import (
	"context"
	"flag"
	"os"
	"testing"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"clusterpki.io/operator/test/testenv"
)

// update writes what the tests compare with: the health scripts' test data, and config/argocd/argocd-cm.yaml.
var update = flag.Bool("update", false, "write config/argocd anew")

var shared *testenv.ControlPlane

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(testenv.Main(m, testenv.Start, func(_ context.Context, c *testenv.ControlPlane) error { shared = c; return nil }))
}

// Package health_test shows how clusterpki's objects look to GitOps tools, with the tools' own libraries, on objects
// that the real API server and the operator made.
package health_test

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"

	"clusterpki.io/operator/test/testenv"
)

// update writes what the tests compare with: the health scripts' test data, and config/argocd/argocd-cm.yaml.
var update = flag.Bool("update", false, "write config/argocd anew")

var cfg *rest.Config

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctrl.SetLogger(logr.Discard())
	env, err := testenv.Start()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	cfg = env.Config
	code := m.Run()
	if err := env.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

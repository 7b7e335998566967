// Package attacks_test tries, on a real API server and against the operator under the rights that config/default gives it,
// what somebody who may write this or that in a namespace can reach. Each attacker has a Role that grants what his test names,
// and nothing else; those that attack by objects have every verb of admission besides, see TestRefused. The worst that any of them reaches is a message on an object of that namespace.
package attacks_test

import (
	"context"
	"os"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/test/testenv"
)

var (
	cfg   *rest.Config
	admin client.WithWatch // may do everything
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(testenv.Main(m, testenv.StartEmpty, operate))
}

// operate runs the operator with exactly the rights that its manifests give it.
func operate(ctx context.Context, c *testenv.ControlPlane) (err error) {
	if err := testenv.Parallel(8); err != nil {
		return err
	}
	cfg = c.Config
	if admin, err = testenv.Client(cfg); err != nil {
		return err
	}
	return c.Operate(ctx)
}

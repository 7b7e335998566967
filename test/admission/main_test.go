// Package admission_test asks a real API server, on which config/default is installed and the operator runs, who may do what: each verb
// that the policies of config/admission ask for, objects that everybody must be able to write, and every persona of docs/security.md.
package admission_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/test/given"
	"clusterpki.io/operator/test/testenv"
)

// prod is the namespace of the samples.
const prod = "prod"

var (
	cfg   *rest.Config
	plane *testenv.ControlPlane
	admin client.WithWatch // may do everything
)

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(testenv.Main(m, testenv.StartEmpty, operate))
}

// operate installs the operator and the samples, and waits until the policies are in force and the samples are Ready.
func operate(ctx context.Context, c *testenv.ControlPlane) (err error) {
	if err := testenv.Parallel(8); err != nil {
		return err
	}
	cfg, plane = c.Config, c
	if admin, err = testenv.Client(cfg); err != nil {
		return err
	}
	if err := c.Operate(ctx); err != nil {
		return err
	}
	if err := c.StartControllers("garbage-collector-controller", "namespace-controller", "clusterrole-aggregation-controller"); err != nil {
		return err
	}
	if err := admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: prod}}); err != nil {
		return err
	}
	if _, _, err := c.Kubectl(ctx, "apply", "-n", prod, "-k", "config/samples"); err != nil {
		return err
	}
	if _, _, err := c.Kubectl(ctx, "patch", "-n", prod, "nodecredentials", "k8s-node1-kubelet", "k8s-node1-kube-proxy", "k8s-node1-kubelet-serving",
		"--type=merge", `--patch={"spec":{"delivery":{"mode":"Agent"}}}`); err != nil { // a host with an agent
		return err
	}
	return errors.Join(inForce(ctx), issued(ctx))
}

// inForce waits until each policy denies what it should.
func inForce(ctx context.Context) error {
	somebody, err := may(ctx, prod, "somebody")
	if err != nil {
		return err
	}
	for _, o := range []client.Object{given.CA("new"), given.Server("new"), given.Kubelet("new"), given.AccountKey("new")} {
		o.SetNamespace(prod)
		err := testenv.Wait(ctx, func() error {
			if err := somebody.Create(ctx, o.DeepCopyObject().(client.Object), client.DryRunAll); !deniedByPolicy(err) {
				return fmt.Errorf("nobody's %T is not denied: %w", o, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func issued(ctx context.Context) error {
	return testenv.Wait(ctx, func() error {
		n, err := testenv.AllReady(ctx, admin, prod)
		if err == nil && n == 0 {
			return errors.New("there is nothing")
		}
		return err
	})
}

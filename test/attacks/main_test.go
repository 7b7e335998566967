// Package attacks_test tries, on a real API server and against the operator under the rights that config/default gives it,
// what somebody who may write this or that in a namespace can reach. Each attacker has a Role that grants what his test names,
// and nothing else. The worst that any of them reaches is a message on an object of that namespace.
package attacks_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/test/testenv"
)

const (
	system   = "clusterpki-system"
	operator = "system:serviceaccount:" + system + ":clusterpki"
)

var (
	cfg   *rest.Config
	admin client.WithWatch // may do everything
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	ctrl.SetLogger(logr.Discard())
	if err := testenv.Parallel(8); err != nil {
		return 1, err
	}
	dir, err := testenv.Binaries()
	if err != nil {
		return 1, err
	}
	env, err := testenv.StartEmpty()
	if err != nil {
		return 1, err
	}
	cfg = env.Config
	defer func() {
		if stopped := env.Stop(); err == nil {
			err = stopped
		}
	}()
	if admin, err = client.NewWithWatch(cfg, client.Options{Scheme: controller.Scheme()}); err != nil {
		return 1, err
	}
	if err := install(filepath.Join(dir, "kubectl"), env.KubeConfig); err != nil {
		return 1, err
	}
	stop, err := operate()
	if err != nil {
		return 1, err
	}
	code = m.Run()
	return code, stop()
}

// install applies config/default, whose Deployment nothing runs here: the operator runs in this process, as its ServiceAccount.
func install(kubectl string, kubeconfig []byte) error {
	dir, err := os.MkdirTemp("", "attacks")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(path, kubeconfig, 0o600); err != nil {
		return err
	}
	cmd := exec.Command(kubectl, "--kubeconfig", path, "apply", "-k", "config/default")
	cmd.Dir = testenv.Root()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("install the operator: %w\n%s", err, &out)
	}
	return nil
}

// operate runs the operator with exactly the rights that its manifests give it.
func operate() (stop func() error, err error) {
	own := rest.CopyConfig(cfg)
	own.Impersonate = rest.ImpersonationConfig{UserName: operator, Groups: []string{"system:serviceaccounts", "system:authenticated"}}
	ctx, cancel := context.WithCancel(context.Background())
	mgr, err := controller.New(ctx, own, controller.Options{OwnNamespace: system, Poll: 200 * time.Millisecond})
	if err != nil {
		cancel()
		return nil, err
	}
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	return func() error { cancel(); return <-done }, nil
}

// namespace makes one for a test.
func namespace(t *testing.T) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "prod-"}}
	if err := admin.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	return ns.Name
}

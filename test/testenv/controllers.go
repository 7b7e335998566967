package testenv

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clusterpki.io/operator/internal/process"
)

// StartControllers runs so many of kube-controller-manager's controllers until the control plane is stopped, each as the service
// account that it has in a real cluster.
func (c *ControlPlane) StartControllers(names ...string) error {
	stop, err := c.controllers(names)
	if err == nil {
		c.Finally(stop)
	}
	return err
}

// RunSigner runs the controller that signs certificate signing requests, with the files of a CA, until the test ends.
func (c *ControlPlane) RunSigner(t testing.TB, certFile, keyFile string) {
	t.Helper()
	stop, err := c.controllers([]string{"certificatesigningrequest-signing-controller"}, "--cluster-signing-cert-file="+certFile, "--cluster-signing-key-file="+keyFile)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// controllers runs some of kube-controller-manager's, with more of its flags.
func (c *ControlPlane) controllers(names []string, more ...string) (stop func() error, err error) {
	programs, err := Binaries("kube-controller-manager")
	if err != nil {
		return nil, err
	}
	dir, err := c.TempDir()
	if err != nil {
		return nil, err
	}
	kubeconfig, err := c.KubeconfigFile()
	if err != nil {
		return nil, err
	}
	manager, err := process.Start(process.Spec{
		Name: "kube-controller-manager", Path: filepath.Join(programs, "kube-controller-manager"), Log: filepath.Join(dir, "log"),
		Args: append([]string{
			"--kubeconfig=" + kubeconfig, "--controllers=" + strings.Join(names, ","), "--use-service-account-credentials",
			"--leader-elect=false", "--secure-port=0", "--kube-api-qps=500", "--kube-api-burst=500",
		}, more...),
	})
	if err != nil {
		return nil, fmt.Errorf("start the controllers: %w", err)
	}
	return func() error {
		if failed := manager.Failed(); failed != nil {
			tail, _ := process.Tail(manager.Log(), 20)
			return fmt.Errorf("%w\n%s", failed, tail)
		}
		manager.Stop(5 * time.Second)
		return nil
	}, nil
}

package testenv

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"clusterpki.io/operator/internal/process"
)

// StartControllers runs so many of kube-controller-manager's controllers until the control plane is stopped, each as the service
// account that it has in a real cluster.
func (c *ControlPlane) StartControllers(names ...string) error {
	programs, err := Binaries("kube-controller-manager")
	if err != nil {
		return err
	}
	dir, err := c.TempDir()
	if err != nil {
		return err
	}
	kubeconfig, err := c.KubeconfigFile()
	if err != nil {
		return err
	}
	manager, err := process.Start(process.Spec{
		Name: "kube-controller-manager", Path: filepath.Join(programs, "kube-controller-manager"), Log: filepath.Join(dir, "log"),
		Args: []string{
			"--kubeconfig=" + kubeconfig, "--controllers=" + strings.Join(names, ","), "--use-service-account-credentials",
			"--leader-elect=false", "--secure-port=0", "--kube-api-qps=500", "--kube-api-burst=500",
		},
	})
	if err != nil {
		return fmt.Errorf("start the controllers: %w", err)
	}
	c.Finally(func() error {
		if failed := manager.Failed(); failed != nil {
			tail, _ := process.Tail(manager.Log(), 20)
			return fmt.Errorf("%w\n%s", failed, tail)
		}
		manager.Stop(5 * time.Second)
		return nil
	})
	return nil
}

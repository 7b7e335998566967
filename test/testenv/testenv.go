// Package testenv starts the real etcd and kube-apiserver that the tests run against.
package testenv

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// Root is the repository's root folder.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// Binaries returns the folder of etcd, kube-apiserver, kubectl, and further programs of Kubernetes: KUBEBUILDER_ASSETS where
// it is set and holds them, else one that hack/kubernetes builds them into, which takes minutes the first time.
func Binaries(more ...string) (string, error) {
	if dir := os.Getenv("KUBEBUILDER_ASSETS"); dir != "" && holds(dir, more) {
		return dir, nil
	}
	programs := append([]string{"etcd", "kube-apiserver", "kubectl"}, more...)
	build := exec.Command(filepath.Join(Root(), "hack", "kubernetes", "build.sh"), programs...)
	build.Stderr = os.Stderr
	out, err := build.Output()
	if err != nil {
		return "", fmt.Errorf("build %s: %w", strings.Join(programs, ", "), err)
	}
	return strings.TrimSpace(string(out)), nil
}

func holds(dir string, programs []string) bool {
	return !slices.ContainsFunc(programs, func(name string) bool {
		_, err := os.Stat(filepath.Join(dir, name))
		return err != nil
	})
}

// Parallel lets so many tests of a package run side by side, unless go test -parallel says otherwise: on a control plane they
// mostly wait. For its TestMain.
func Parallel(tests int) error {
	if err := flag.Set("test.parallel", strconv.Itoa(tests)); err != nil {
		return fmt.Errorf("let tests run side by side: %w", err)
	}
	return nil
}

// ControlPlane is a real etcd and kube-apiserver.
type ControlPlane struct {
	*envtest.Environment
	dir     string         // of what the methods need
	finally []func() error // see Finally
	stopped chan struct{}  // closed by Stop
}

// Main starts a control plane that all tests of a package share, prepares it, and runs them; for its TestMain.
func Main(m *testing.M, start func() (*ControlPlane, error), prepare func(context.Context, *ControlPlane) error) int {
	c, err := start()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := 1
	if err = prepare(context.Background(), c); err == nil {
		code = m.Run()
	}
	if err := errors.Join(err, c.Stop()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// Start runs a control plane with clusterpki's CRDs installed; the caller stops it.
func Start() (*ControlPlane, error) {
	c, err := newControlPlane()
	if err != nil {
		return nil, err
	}
	c.CRDDirectoryPaths = []string{filepath.Join(Root(), "config", "crd", "bases")}
	c.ErrorIfCRDPathMissing = true
	return c, c.start()
}

// StartEmpty runs one without anything of clusterpki.
func StartEmpty() (*ControlPlane, error) { return StartWith(nil) }

// StartWith is StartEmpty with flags of kube-apiserver, by name and value.
func StartWith(flags map[string]string) (*ControlPlane, error) {
	c, err := newControlPlane()
	if err != nil {
		return nil, err
	}
	for name, value := range flags {
		c.ControlPlane.GetAPIServer().Configure().Set(name, value)
	}
	return c, c.start()
}

func newControlPlane() (*ControlPlane, error) {
	programs, err := Binaries()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "clusterpki-testenv-")
	if err != nil {
		return nil, fmt.Errorf("start the control plane: %w", err)
	}
	// A busy machine takes longer than envtest's 20 seconds; to begin anew makes it busier.
	env := &envtest.Environment{BinaryAssetsDirectory: programs, ControlPlaneStartTimeout: 2 * time.Minute}
	c := &ControlPlane{Environment: env, dir: dir, stopped: make(chan struct{})}
	etcd, err := c.child("etcd")
	if err != nil {
		return nil, err
	}
	env.ControlPlane.Etcd = &envtest.Etcd{Path: etcd}
	env.ControlPlane.GetAPIServer().Path, err = c.child("kube-apiserver")
	return c, err
}

// child is a program that ends with this process, however that ends: envtest gives each program a process group of its own,
// which an interrupt at the terminal does not reach, and whoever is killed stops nothing. It needs setpriv of util-linux;
// where there is none, as on macOS, what an interrupted test has started stays.
func (c *ControlPlane) child(program string) (string, error) {
	path := filepath.Join(c.BinaryAssetsDirectory, program)
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		return path, nil //nolint:nilerr // see above
	}
	script := filepath.Join(c.dir, program)
	text := fmt.Sprintf("#!/bin/sh\nexec '%s' --pdeathsig KILL -- '%s' \"$@\"\n", setpriv, path)
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		return "", fmt.Errorf("start the control plane: %w", err)
	}
	return script, nil
}

func (c *ControlPlane) start() error {
	started := make(chan error)
	go func() {
		// Linux tells a child of the end of the *thread* that started it, so the thread must stay.
		runtime.LockOSThread()
		_, err := c.Start()
		started <- err
		<-c.stopped
	}()
	if err := <-started; err != nil {
		// A start that failed half-way leaves its processes running.
		return errors.Join(fmt.Errorf("start the control plane: %w", err), c.Stop())
	}
	return nil
}

// Finally hands over what ends something that uses the control plane: Stop calls it first, the last one before the others.
func (c *ControlPlane) Finally(end func() error) { c.finally = append(c.finally, end) }

// Stop ends its programs, and removes its data.
func (c *ControlPlane) Stop() error {
	var errs []error
	for _, end := range slices.Backward(c.finally) {
		errs = append(errs, end())
	}
	errs = append(errs, c.Environment.Stop(), os.RemoveAll(c.dir))
	close(c.stopped)
	return errors.Join(errs...)
}

// TempDir is a directory that is removed when the control plane is stopped.
func (c *ControlPlane) TempDir() (string, error) {
	dir, err := os.MkdirTemp(c.dir, "")
	if err != nil {
		return "", fmt.Errorf("make a directory: %w", err)
	}
	return dir, nil
}

// FreeAddress is an address of this machine that nobody listens on.
func FreeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}

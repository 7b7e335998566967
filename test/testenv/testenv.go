// Package testenv starts the real etcd and kube-apiserver that the tests run against.
package testenv

import (
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
	"time"

	"k8s.io/client-go/rest"
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

// Start runs a control plane with clusterpki's CRDs installed; the caller stops it. Flags are those
// of kube-apiserver, as in "enable-admission-plugins=NodeRestriction".
func Start(flags ...string) (*envtest.Environment, error) {
	env, err := environment(flags)
	if err != nil {
		return nil, err
	}
	env.CRDDirectoryPaths = []string{filepath.Join(Root(), "config", "crd", "bases")}
	env.ErrorIfCRDPathMissing = true
	return env, start(env)
}

// StartEmpty runs one without anything of clusterpki.
func StartEmpty(flags ...string) (*envtest.Environment, error) {
	env, err := environment(flags)
	if err != nil {
		return nil, err
	}
	return env, start(env)
}

func environment(flags []string) (*envtest.Environment, error) {
	dir, err := Binaries()
	if err != nil {
		return nil, err
	}
	// A busy machine takes longer than envtest's 20 seconds; to begin anew makes it busier.
	env := &envtest.Environment{BinaryAssetsDirectory: dir, ControlPlaneStartTimeout: 2 * time.Minute}
	for _, f := range flags {
		name, value, _ := strings.Cut(f, "=")
		env.ControlPlane.GetAPIServer().Configure().Set(name, value)
	}
	return env, nil
}

func start(env *envtest.Environment) error {
	if _, err := env.Start(); err != nil {
		// A start that failed half-way leaves its processes running.
		return errors.Join(fmt.Errorf("start the control plane: %w", err), env.Stop())
	}
	return nil
}

// As is somebody's connection as a ServiceAccount, with its permissions and no more.
func As(cfg *rest.Config, namespace, account string) *rest.Config {
	out := rest.CopyConfig(cfg)
	out.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + namespace + ":" + account, Groups: []string{"system:serviceaccounts", "system:authenticated"},
	}
	return out
}

// FreeAddress is an address of this machine that nobody listens on.
func FreeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}

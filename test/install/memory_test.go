package install_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/test/given"
	"clusterpki.io/operator/test/testenv"
)

// TestMemory lets somebody of one namespace make 200 ConfigMaps of 1 MB that bear the operator's label, once while the operator runs
// and once before it starts. It stays below the memory limit of its Deployment, and goes on issuing.
func TestMemory(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.kubectl("apply", "-k", "config/default")
	c.established()
	c.namespace("prod")
	c.kubectl("apply", "--namespace=prod", "-k", "config/samples")
	c.namespace("crowd")
	c.kubectl("create", "role", "mallory", "--namespace=crowd", "--verb=create", "--resource=configmaps")
	c.kubectl("create", "rolebinding", "mallory", "--namespace=crowd", "--role=mallory", "--user=mallory")
	program := c.built()

	p := c.process(program)
	c.ready("prod")
	c.fill("crowd")
	c.joins("while")
	p.stop()

	p = c.process(program)
	c.joins("after")
	p.stop()
}

// fill makes ConfigMaps as large as the API server takes them.
func (c *cluster) fill(namespace string) {
	c.t.Helper()
	mallory, err := testenv.Client(testenv.AsUser(c.Config, "mallory"))
	if err != nil {
		c.t.Fatal(err)
	}
	text := strings.Repeat("x", 1_000_000)
	var made sync.WaitGroup
	failed := make(chan error, 4)
	for worker := range cap(failed) {
		made.Go(func() {
			for i := range 200 / cap(failed) {
				cm := &corev1.ConfigMap{
					ObjectMeta: metav1.ObjectMeta{
						Namespace: namespace, Name: fmt.Sprintf("large-%d-%d", worker, i), Labels: map[string]string{v1alpha1.ManagedLabel: v1alpha1.ManagedValue},
					},
					Data: map[string]string{"ca.crt": text},
				}
				if err := mallory.Create(c.t.Context(), cm); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	made.Wait()
	close(failed)
	for err := range failed {
		c.t.Fatal(err)
	}
}

// joins lets a new node have its credential.
func (c *cluster) joins(name string) {
	c.t.Helper()
	n := given.Kubelet(name, func(n *v1alpha1.NodeCredential) { n.Namespace = "prod" })
	if err := c.api.Create(c.t.Context(), n); err != nil {
		c.t.Fatal(err)
	}
	c.ready("prod")
}

// built is the program, as it is shipped.
func (c *cluster) built() string {
	c.t.Helper()
	path := filepath.Join(c.t.TempDir(), "clusterpki")
	build := exec.CommandContext(c.t.Context(), "go", "build", "-trimpath", "-o", path, "./cmd")
	build.Dir, build.Env = testenv.Root(), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		c.t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// process is the operator as a program, under the rights of its manifests.
type process struct {
	*cluster
	cmd *exec.Cmd
	log bytes.Buffer
}

// process starts one as the Deployment does.
func (c *cluster) process(program string) *process {
	c.t.Helper()
	own, err := os.ReadFile(c.kubeconfig)
	if err == nil {
		own, err = testenv.KubeconfigAs(own, system, "clusterpki")
	}
	path := filepath.Join(c.t.TempDir(), "operator")
	if err == nil {
		err = os.WriteFile(path, own, 0o600)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	p := &process{cluster: c}
	p.cmd = exec.Command(program, "manager", "--leader-elect", "--leader-election-namespace="+system, "--health-probe-bind-address=0")
	p.cmd.Env = append(os.Environ(), "KUBECONFIG="+path)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	return p
}

// stop compares the most memory that the process ever had with the limit, and ends it.
func (p *process) stop() {
	p.t.Helper()
	peak, limit := p.peak(), p.limit()
	p.t.Logf("the operator took %d MiB of %d", peak>>20, limit>>20)
	if peak >= limit {
		p.t.Errorf("the operator took %d MiB: the limit is %d", peak>>20, limit>>20)
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	if err := p.cmd.Wait(); err != nil {
		p.t.Errorf("the operator ended: %v\n%s", err, p.log.String())
	}
}

// peak is the highest resident set, in bytes.
func (p *process) peak() int64 {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "VmHWM:")
	number, _, _ := strings.Cut(strings.TrimSpace(after), " ")
	kib, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return kib << 10
}

// limit is that of the Deployment, in bytes.
func (p *process) limit() int64 {
	p.t.Helper()
	var d appsv1.Deployment
	if err := p.api.Get(p.t.Context(), client.ObjectKey{Namespace: system, Name: "clusterpki"}, &d); err != nil {
		p.t.Fatal(err)
	}
	return d.Spec.Template.Spec.Containers[0].Resources.Limits.Memory().Value()
}

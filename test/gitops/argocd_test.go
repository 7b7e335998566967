package gitops_test

import (
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/test/testenv"
)

// start runs a program until it is stopped or the test ends. What it says is shown if the test fails. One that ends by itself
// fails the test, unless it is stopped afterwards.
func (c *cluster) start(name string, env []string, program string, args ...string) (stop func()) {
	c.t.Helper()
	log, err := os.Create(filepath.Join(c.t.TempDir(), "log"))
	if err != nil {
		c.t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(append(os.Environ(), "KUBECONFIG="+c.kubeconfig), env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		c.t.Fatalf("start %s: %v", name, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait(); close(ended) }()
	stop = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
	}
	c.t.Cleanup(func() {
		select {
		case err, itself := <-ended:
			if itself {
				c.t.Errorf("%s ended early: %v", name, err)
			}
		default:
			stop()
		}
		if text, err := os.ReadFile(log.Name()); err == nil && c.t.Failed() {
			c.t.Logf("%s said:\n%s", name, text[max(0, len(text)-6000):])
		}
	})
	return stop
}

// argoCD is the folder of Argo CD.
func argoCD(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("ARGOCD")
	if dir == "" {
		t.Fatal("ARGOCD names no folder: run `make test-gitops`, which builds Argo CD with hack/argocd/build.sh")
	}
	return dir
}

// startArgoCD runs Redis, Argo CD's repository server and its application controller, as its own manifests configure
// them, apart from what makes them quick: no pods, no TLS between them, and all on the loopback interface.
func (c *cluster) startArgoCD(settings map[string]string) {
	c.t.Helper()
	argocd := argoCD(c.t)
	var cm corev1.ConfigMap
	text, err := os.ReadFile(filepath.Join(testenv.Root(), "config", "argocd", "argocd-cm.yaml"))
	if err != nil {
		c.t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(text, &cm); err != nil {
		c.t.Fatal(err)
	}
	maps.Copy(cm.Data, settings)
	project := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject",
		"metadata": map[string]any{"name": "default", "namespace": "argocd"},
		"spec": map[string]any{
			"sourceRepos":              []any{"*"},
			"destinations":             []any{map[string]any{"namespace": "*", "server": "*"}},
			"clusterResourceWhitelist": []any{map[string]any{"group": "*", "kind": "*"}},
		},
	}}
	c.apply(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "argocd"}}, configMap("argocd-cm", cm.Data),
		configMap("argocd-rbac-cm", nil), configMap("argocd-ssh-known-hosts-cm", nil), configMap("argocd-tls-certs-cm", nil),
		configMap("argocd-gpg-keys-cm", nil), &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: "argocd", Name: "argocd-secret", Labels: map[string]string{"app.kubernetes.io/part-of": "argocd"}},
			StringData: map[string]string{"server.secretkey": "of this test alone"},
		}, project)

	redis, repo := port(c.t), port(c.t)
	dir := c.t.TempDir()
	env := []string{
		"HOME=" + dir, "TMPDIR=" + dir, "ARGOCD_FAKE_IN_CLUSTER=true", "ARGOCD_GPG_ENABLED=false",
		"ARGOCD_TLS_DATA_PATH=" + dir, "ARGOCD_SSH_DATA_PATH=" + dir, "PATH=" + argocd + ":" + os.Getenv("PATH"),
	}
	c.start("redis", nil, "redis-server", "--bind", "127.0.0.1", "--port", redis, "--save", "", "--appendonly", "no", "--dir", dir)
	c.start("argocd-repo-server", append(env, "ARGOCD_BINARY_NAME=argocd-repo-server"), filepath.Join(argocd, "argocd"),
		"--address=127.0.0.1", "--port="+repo, "--metrics-address=127.0.0.1", "--metrics-port="+port(c.t), "--disable-tls", "--client-ca-path=",
		"--redis=127.0.0.1:"+redis, "--loglevel=warn")
	c.start("argocd-application-controller", append(env, "ARGOCD_BINARY_NAME=argocd-application-controller"), filepath.Join(argocd, "argocd"),
		"--kubeconfig="+c.kubeconfig, "--namespace=argocd", "--repo-server=127.0.0.1:"+repo, "--repo-server-plaintext",
		"--redis=127.0.0.1:"+redis, "--metrics-port="+port(c.t), "--self-heal-timeout-seconds=1", "--loglevel=warn")
}

// port is one that is free now.
func port(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// git is a repository of manifests, one file an object, in one folder.
type git struct {
	t           *testing.T
	dir, folder string
}

func newGit(t *testing.T, folder string) git {
	t.Helper()
	g := git{t, t.TempDir(), folder}
	g.run("init", "--quiet", "--initial-branch=main")
	return g
}

func (g git) url() string { return "file://" + g.dir }

func (g git) run(args ...string) {
	g.t.Helper()
	cmd := exec.Command("git", append([]string{
		"-C", g.dir, "-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false",
	}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		g.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
}

// commit writes objects and answers the revision.
func (g git) commit(objects ...*unstructured.Unstructured) string {
	g.t.Helper()
	for _, o := range objects {
		text, err := yaml.Marshal(o.Object)
		if err != nil {
			g.t.Fatal(err)
		}
		path := filepath.Join(g.dir, g.file(o))
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			g.t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			g.t.Fatal(err)
		}
	}
	g.run("add", "--all")
	g.run("commit", "--quiet", "--allow-empty", "--message=a change")
	return g.head()
}

// remove deletes the files of objects, and answers the revision.
func (g git) remove(objects ...*unstructured.Unstructured) string {
	g.t.Helper()
	for _, o := range objects {
		g.run("rm", "--quiet", g.file(o))
	}
	g.run("commit", "--quiet", "--message=a removal")
	return g.head()
}

func (g git) head() string {
	g.t.Helper()
	out, err := exec.Command("git", "-C", g.dir, "rev-parse", "HEAD").Output()
	if err != nil {
		g.t.Fatal(err)
	}
	return string(out[:len(out)-1])
}

func (g git) file(o *unstructured.Unstructured) string { return part{folder: g.folder}.file(o) }

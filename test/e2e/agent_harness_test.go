package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/agent"
	"clusterpki.io/operator/internal/hostdir"
	"clusterpki.io/operator/test/given"
	"clusterpki.io/operator/test/testenv"
)

// agentEnv has this program run as an agent with the configuration that it names, and dieEnv die before a step.
const (
	agentEnv = "E2E_AGENT_CONFIG"
	dieEnv   = "E2E_AGENT_DIES_AT"
)

// runAgent is what this program does when a test has started it again.
func runAgent(file string) int {
	c, err := agent.ReadConfig(file)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	o := agent.Options{Clock: clock.RealClock{}, Log: funcr.New(func(_, args string) { fmt.Fprintln(os.Stderr, args) }, funcr.Options{})}
	if step := os.Getenv(dieEnv); step != "" {
		o.System = &mortal{System: hostdir.Real{}, steps: step}
	}
	a, err := agent.New(c, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	a.Run(ctx)
	return 0
}

// host is a host that an agent looks after.
type host struct {
	t      *testing.T
	config agent.Config
	logs   *logs
	// accounts are the service account keys of an API server by hand.
	accounts map[string][]byte
	// identity is who the agent is in the management cluster, where that is not its administrator.
	identity *rest.Config
}

// logs collects what an agent says.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logs) logger() logr.Logger {
	return funcr.New(func(_, args string) { fmt.Fprintln(l, args) }, funcr.Options{})
}

// newHost gives a host its own directories and short times.
func newHost(t *testing.T, c agent.Config) *host {
	t.Helper()
	dir := t.TempDir()
	c.Directory, c.StateDirectory = filepath.Join(dir, "kubernetes"), filepath.Join(dir, "state")
	c.Quiet = metav1.Duration{Duration: 50 * time.Millisecond}
	c.ReloadDelay = metav1.Duration{Duration: time.Second}
	c.CheckTimeout = metav1.Duration{Duration: 4 * time.Second}
	h := &host{t: t, config: c, logs: &logs{}}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the agent of %s says:\n%s", c.Host, h.logs)
		}
	})
	return h
}

// file writes the configuration.
func (h *host) file() string {
	h.t.Helper()
	text, err := yaml.Marshal(h.config)
	if err != nil {
		h.t.Fatal(err)
	}
	name := filepath.Join(filepath.Dir(h.config.Directory), "agent.yaml")
	if err := os.WriteFile(name, text, 0o600); err != nil {
		h.t.Fatal(err)
	}
	return name
}

// run runs the agent within this process, and returns how to stop it.
func (h *host) run(o agent.Options) (stop func()) {
	h.t.Helper()
	c, err := agent.ReadConfig(h.file())
	if err != nil {
		h.t.Fatal(err)
	}
	o.Clock, o.Log = clock.RealClock{}, h.logs.logger()
	a, err := agent.New(c, o)
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		a.Run(ctx)
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		<-ended
	})
	h.t.Cleanup(stop)
	return stop
}

// process prepares the agent as a process of its own.
func (h *host) process(env ...string) *exec.Cmd {
	h.t.Helper()
	self, err := os.Executable()
	if err != nil {
		h.t.Fatal(err)
	}
	cmd := exec.CommandContext(context.Background(), self)
	cmd.Env = append(append(os.Environ(), agentEnv+"="+h.file()), env...)
	cmd.Stderr = h.logs
	return cmd
}

func (h *host) at(name string) string { return filepath.Join(h.config.Directory, name) }

func (h *host) read(name string) []byte {
	h.t.Helper()
	text, err := os.ReadFile(h.at(name))
	if err != nil {
		h.t.Fatal(err)
	}
	return text
}

// tree is all that lies at the paths of the host, by path: contents and modes.
func (h *host) tree() map[string]string {
	h.t.Helper()
	out := map[string]string{}
	set, err := hostdir.New(h.config.Directory, hostdir.Options{}).Current()
	if err != nil {
		h.t.Fatal(err)
	}
	for _, f := range set.Files {
		out[f.Path] = f.Mode.String() + " " + string(f.Data)
	}
	return out
}

// set is the name of the set of files in use: each swap has another one.
func (h *host) set() string {
	h.t.Helper()
	name, err := os.Readlink(h.at("..data"))
	if err != nil {
		h.t.Fatal(err)
	}
	return name
}

// report is what the agent says of a credential.
func (h *host) report(lease string) ack.Report {
	h.t.Helper()
	var l coordinationv1.Lease
	if err := shared.management.Get(h.t.Context(), client.ObjectKey{Namespace: h.config.Namespace, Name: lease}, &l); err != nil {
		h.t.Fatal(err)
	}
	return ack.Of(&l)
}

// inUse waits until the agent reports what is in a credential's Secrets as in use, and no problem.
func (h *host) inUse(lease string) {
	h.t.Helper()
	testenv.Eventually(h.t, lease+" is in use", func() error {
		var s corev1.Secret
		if err := shared.management.Get(h.t.Context(), client.ObjectKey{Namespace: h.config.Namespace, Name: lease}, &s); err != nil {
			return err
		}
		want, err := ack.StateOf(&s)
		if err != nil {
			return err
		}
		if r := h.report(lease); !r.Verified.Covers(want) || r.Problem != "" {
			return fmt.Errorf("the Lease says installed %+v, verified %+v, problem %q; issued is %+v", r.Installed, r.Verified, r.Problem, want)
		}
		return nil
	})
}

// complains waits until the agent reports a problem with all of some words.
func (h *host) complains(lease string, words ...string) {
	h.t.Helper()
	testenv.Eventually(h.t, "a problem with "+strings.Join(words, ", "), func() error {
		got := h.report(lease).Problem
		for _, w := range words {
			if !strings.Contains(got, w) {
				return fmt.Errorf("the problem is %q, without %q", got, w)
			}
		}
		return nil
	})
}

// kubeconfigOf writes a kubeconfig for a connection.
func kubeconfigOf(t *testing.T, c *rest.Config) string {
	t.Helper()
	k := clientcmdapi.NewConfig()
	k.Clusters["c"] = &clientcmdapi.Cluster{Server: c.Host, CertificateAuthorityData: c.CAData}
	k.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: c.BearerToken, Impersonate: c.Impersonate.UserName, ClientCertificateData: c.CertData, ClientKeyData: c.KeyData}
	k.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	k.CurrentContext = "x"
	name := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*k, name); err != nil {
		t.Fatal(err)
	}
	return name
}

// wantModes looks at every file: keys and kubeconfigs are their owner's alone.
func (h *host) wantModes(paths ...string) {
	h.t.Helper()
	for _, p := range paths {
		info, err := os.Stat(h.at(p))
		if err != nil {
			h.t.Error(err)
			continue
		}
		if want := modeOf(p); info.Mode().Perm() != want || info.Size() == 0 {
			h.t.Errorf("%s has mode %v and %d bytes, and not %v", p, info.Mode(), info.Size(), want)
		}
	}
}

func modeOf(path string) fs.FileMode {
	if strings.HasSuffix(path, ".crt") {
		return 0o644
	}
	return 0o600
}

// newLease makes a Lease as the operator does.
func newLease(t *testing.T, namespace, name string, seconds int32) {
	t.Helper()
	if err := shared.management.Create(t.Context(), given.Lease(namespace, name, seconds)); err != nil {
		t.Fatal(err)
	}
}

// mortal is the disk of a process that is killed before one of its steps.
type mortal struct {
	hostdir.System
	mu    sync.Mutex
	steps string
	done  int
}

func (m *mortal) step() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.done++; fmt.Sprint(m.done) == m.steps {
		if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
			panic(err)
		}
		select {}
	}
}

func (m *mortal) Mkdir(name string, mode fs.FileMode, owner *hostdir.Owner) error {
	m.step()
	return m.System.Mkdir(name, mode, owner)
}

func (m *mortal) Write(name string, data []byte, mode fs.FileMode, owner *hostdir.Owner) error {
	m.step()
	return m.System.Write(name, data, mode, owner)
}

func (m *mortal) Symlink(target, name string) error {
	m.step()
	return m.System.Symlink(target, name)
}

func (m *mortal) Rename(from, to string) error {
	m.step()
	return m.System.Rename(from, to)
}

func (m *mortal) Exchange(a, b string) error {
	m.step()
	return m.System.Exchange(a, b)
}

func (m *mortal) Chmod(name string, mode fs.FileMode) error {
	m.step()
	return m.System.Chmod(name, mode)
}

func (m *mortal) Remove(in *os.Root, name string) error {
	m.step()
	return m.System.Remove(in, name)
}

func (m *mortal) SyncDir(name string) error {
	m.step()
	return m.System.SyncDir(name)
}

// wasKilled says why a process ended otherwise than by a kill.
func wasKilled(err error) error {
	if exit := (&exec.ExitError{}); !errors.As(err, &exit) || exit.ExitCode() != -1 {
		return fmt.Errorf("it was not killed: %w", err)
	}
	return nil
}

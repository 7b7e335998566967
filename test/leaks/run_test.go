package leaks_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/test/testenv"
)

const (
	namespace = "prod"
	home      = "clusterpki-authority"
)

// run is what was said, by whom, and every key that there was.
type run struct {
	t    *testing.T
	dir  string
	keys *keyring

	mu   sync.Mutex
	said map[string]*bytes.Buffer
}

func newRun(t *testing.T) *run {
	t.Helper()
	return &run{t: t, dir: t.TempDir(), keys: newKeyring(), said: map[string]*bytes.Buffer{}}
}

// sink collects what a source says, from several goroutines.
func (r *run) sink(source string) io.Writer {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.said[source] == nil {
		r.said[source] = &bytes.Buffer{}
	}
	return &sink{r, r.said[source]}
}

type sink struct {
	r    *run
	text *bytes.Buffer
}

func (s *sink) Write(p []byte) (int, error) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	return s.text.Write(p)
}

func (r *run) file(name string, contents []byte) string {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.WriteFile(path, contents, 0o600); err != nil {
		r.t.Fatal(err)
	}
	return path
}

// clusterpki prepares the program with some kubeconfig.
func (r *run) clusterpki(ctx context.Context, kubeconfig string, args ...string) *exec.Cmd {
	r.t.Helper()
	self, err := os.Executable()
	if err != nil {
		r.t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(os.Environ(), programEnv+"=1", "KUBECONFIG="+kubeconfig)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	out := r.sink("clusterpki " + strings.Join(args, " "))
	cmd.Stdout, cmd.Stderr = out, out
	return cmd
}

// command runs clusterpki as the administrator; with an error as often as not, which says something too.
func (r *run) command(args ...string) {
	r.t.Helper()
	err := r.clusterpki(r.t.Context(), r.admin(), args...).Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || !exit.Exited()) {
		r.t.Fatalf("clusterpki %s: %v", strings.Join(args, " "), err)
	}
}

// background runs clusterpki until the function that it returns is called.
func (r *run) background(kubeconfig string, args ...string) (stop func()) {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := r.clusterpki(ctx, kubeconfig, args...)
	if err := cmd.Start(); err != nil {
		cancel()
		r.t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		cancel()
		_ = cmd.Wait()
	})
	r.t.Cleanup(stop)
	return stop
}

func (r *run) admin() string {
	r.t.Helper()
	file, err := shared.KubeconfigFile()
	if err != nil {
		r.t.Fatal(err)
	}
	return file
}

// as is the administrator's kubeconfig with the rights of a ServiceAccount.
func (r *run) as(namespace, account string) string {
	r.t.Helper()
	text, err := testenv.KubeconfigAs(shared.KubeConfig, namespace, account)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.file(account+".kubeconfig", text)
}

// kubectl runs kubectl, and keeps what it says, an error too.
func (r *run) kubectl(args ...string) string {
	r.t.Helper()
	out, warning, err := shared.Kubectl(r.t.Context(), args...)
	fmt.Fprintln(r.sink("kubectl "+strings.Join(args, " ")), out, warning, err)
	return out
}

// watch collects the keys of all Secrets from now on, those of generations that go too, and what Secrets say but for their keys.
func (r *run) watch() {
	r.t.Helper()
	events, err := shared.api.Watch(r.t.Context(), &corev1.SecretList{})
	if err != nil {
		r.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for e := range events.ResultChan() {
			if s, ok := e.Object.(*corev1.Secret); ok {
				r.secret(s)
			}
		}
	}()
	r.t.Cleanup(func() {
		events.Stop()
		<-ended
	})
}

// belongs says whether a key of a Secret is there to hold a private key. In the Secrets to import from are the mistakes.
func belongs(s *corev1.Secret, key string) bool {
	return s.Namespace == home || strings.HasPrefix(s.Name, "import-") || slices.Contains([]string{
		corev1.TLSPrivateKeyKey, "sa.key", "value", "ca.key", "config",
	}, key)
}

func (r *run) secret(s *corev1.Secret) {
	s = s.DeepCopy()
	name := s.Namespace + "/" + s.Name
	for key, value := range s.Data {
		if !belongs(s, key) {
			continue
		}
		r.mu.Lock()
		if s.Type == authority.SealSecretType {
			r.keys.addSecret(name+" "+key, value)
		} else {
			r.keys.addAll(name+" "+key, value)
		}
		r.mu.Unlock()
		delete(s.Data, key)
	}
	out := r.sink("Secret " + name + ", but for its keys")
	for key, value := range s.Data {
		fmt.Fprintf(out, "%s: %s\n", key, value)
	}
	s.Data = nil
	fmt.Fprintf(out, "%+v\n", s.ObjectMeta)
}

// readable collects the files of a directory that others than their owner may read.
func (r *run) readable(dir string) {
	r.t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		if info.Mode().Perm()&0o077 != 0 {
			fmt.Fprintf(r.sink("file "+path), "%s\n", text)
		}
		return err
	})
	if err != nil {
		r.t.Error(err)
	}
}

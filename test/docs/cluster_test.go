package docs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/test/testenv"
)

// The control planes that pages run on, by what a page takes for granted. One that installs the operator itself begins with nothing.
var (
	empty   = &testenv.Pool{}
	running = &testenv.Pool{Prepare: func(ctx context.Context, p *testenv.Plane) error { return prepare(ctx, p, install) }}
	sampled = &testenv.Pool{Prepare: func(ctx context.Context, p *testenv.Plane) error { return prepare(ctx, p, install+samples) }}
)

// prepare has the operator come up where it is installed, and runs a script.
func prepare(ctx context.Context, p *testenv.Plane, script string) error {
	s, err := newStandIn(p)
	if err != nil {
		return err
	}
	p.OnStop(s.stop)
	config, err := p.KubeconfigFile()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "KUBECONFIG="+config, "PATH="+binaries+":"+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("before a page begins: %w\n%s", err, out)
	}
	return nil
}

// standIn does what kube-controller-manager and kubelets would for Deployments: once that of the operator is there, the operator
// runs, in this process, with the permissions of its ServiceAccount; and each Deployment is Available.
type standIn struct {
	cfg    *rest.Config
	api    client.Client
	cancel context.CancelFunc
	done   chan error
}

func newStandIn(p *testenv.Plane) (*standIn, error) {
	api, err := testenv.Client(p.Config)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &standIn{cfg: p.Config, api: api, cancel: cancel, done: make(chan error, 1)}
	go func() { s.done <- s.run(ctx) }()
	return s, nil
}

// stop ends it, and says how each operator ended.
func (s *standIn) stop() error {
	s.cancel()
	return <-s.done
}

func (s *standIn) run(ctx context.Context) error {
	operators := map[string]*testenv.Operator{}
	for ctx.Err() == nil {
		var list appsv1.DeploymentList
		if err := s.api.List(ctx, &list); err == nil {
			for i := range list.Items {
				d := &list.Items[i]
				if operators[d.Namespace] == nil && d.Spec.Template.Spec.ServiceAccountName == "clusterpki" {
					if o, err := s.operator(d); err == nil { // else the kinds are not served yet
						operators[d.Namespace] = o
					}
				}
				s.available(ctx, d)
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
	var errs []error
	for _, o := range operators {
		errs = append(errs, o.Stop())
	}
	return errors.Join(errs...)
}

// operator runs what a Deployment describes.
func (s *standIn) operator(d *appsv1.Deployment) (*testenv.Operator, error) {
	o := controller.Options{Poll: time.Second, OwnNamespace: d.Namespace}
	for _, arg := range d.Spec.Template.Spec.Containers[0].Args {
		if value, ok := strings.CutPrefix(arg, "--namespace="); ok {
			o.Namespace = value
		}
	}
	return testenv.StartOperator(testenv.As(s.cfg, d.Namespace, d.Spec.Template.Spec.ServiceAccountName), o)
}

func (s *standIn) available(ctx context.Context, d *appsv1.Deployment) {
	n := int32(1)
	if d.Spec.Replicas != nil {
		n = *d.Spec.Replicas
	}
	if d.Status.ObservedGeneration == d.Generation && d.Status.AvailableReplicas == n {
		return
	}
	d.Status = appsv1.DeploymentStatus{
		ObservedGeneration: d.Generation, Replicas: n, UpdatedReplicas: n, ReadyReplicas: n, AvailableReplicas: n,
		Conditions: []appsv1.DeploymentCondition{{Type: appsv1.DeploymentAvailable, Status: corev1.ConditionTrue, Reason: "MinimumReplicasAvailable"}},
	}
	_ = s.api.Status().Update(ctx, d) // it is tried again
}

// fixture is where the reader of a page works: a clone of the repository, a home, and programs.
type fixture struct {
	t                     *testing.T
	home, dir, bin, hosts string
}

func newFixture(t *testing.T, kubeconfig []byte) *fixture {
	t.Helper()
	d := &fixture{t: t, home: t.TempDir(), dir: t.TempDir(), bin: t.TempDir(), hosts: t.TempDir()}
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "bin" && e.Name() != "dist" && !strings.HasPrefix(e.Name(), ".") {
			d.link(filepath.Join(root, e.Name()), filepath.Join(d.dir, e.Name()))
		}
	}
	d.link(d.bin, filepath.Join(d.dir, "bin"))
	d.link(program, filepath.Join(d.bin, "clusterpki"))
	d.link(program, filepath.Join(d.bin, "kubectl-clusterpki"))
	d.link(program+"-agent", filepath.Join(d.bin, "clusterpki-agent"))
	d.link(filepath.Join(binaries, "kubectl"), filepath.Join(d.bin, "kubectl"))
	for name, script := range standIns {
		d.write(filepath.Join(d.bin, name), "#!/bin/bash\nset -euo pipefail\n"+script, 0o700)
	}
	d.write(filepath.Join(d.home, ".kube", "config"), string(kubeconfig), 0o600)
	return d
}

func (d *fixture) link(to, name string) {
	d.t.Helper()
	if err := os.Symlink(to, name); err != nil {
		d.t.Fatal(err)
	}
}

func (d *fixture) write(path, text string, mode os.FileMode) {
	d.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		d.t.Fatal(err)
	}
}

// standIns take the place of programs that need a host: its files lie in $HOSTS/<host>, and what it is told is in $HOSTS/<host>.log.
var standIns = map[string]string{
	"ssh": `host=${1#*@}; shift
		echo "$*" >> "$HOSTS/$host.log"
		case "$1" in
		sh) DESTDIR=$HOSTS/$host sh ;;
		mkdir) mkdir -p "$HOSTS/$host${@: -1}" ;;
		cat) cat "$HOSTS/$host$2" ;;
		systemctl | journalctl) ;;
		*) echo "ssh: the stand-in of the test knows no $1; see test/docs/cluster_test.go" >&2; exit 1 ;;
		esac
		`,
	"scp": `flags=() paths=()
		for a; do
			if [[ $a == -* ]]; then flags+=("$a"); continue; fi
			if [[ $a == *:* ]]; then host=${a%%:*}; a=$HOSTS/${host#*@}${a#*:}; mkdir -p "$(dirname "$a")"; fi
			paths+=("$a")
		done
		exec cp "${flags[@]}" "${paths[@]}"
		`,
}

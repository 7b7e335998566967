package docs

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"clusterpki.io/operator/internal/controller"
)

// cluster is an etcd and a kube-apiserver of a page's own. There is no kube-controller-manager: of what it would do, the
// Deployment of the operator comes up, and nothing else.
type cluster struct {
	t          *testing.T
	cfg        *rest.Config
	api        client.Client
	kubeconfig []byte // somebody's who may do everything
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	env := &envtest.Environment{BinaryAssetsDirectory: binaries}
	cfg, err := env.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := env.Stop(); err != nil {
			t.Error(err)
		}
	})
	c := &cluster{t: t, cfg: cfg, kubeconfig: env.KubeConfig}
	if c.api, err = client.New(cfg, client.Options{Scheme: controller.Scheme()}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); c.deployments(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return c
}

// deployments stands for kube-controller-manager and kubelets: once the Deployment of the operator is there, the operator
// runs, in this process, with the permissions of its ServiceAccount; and each Deployment is Available.
func (c *cluster) deployments(ctx context.Context) {
	running := map[string]chan error{}
	for ctx.Err() == nil {
		var list appsv1.DeploymentList
		if err := c.api.List(ctx, &list); err == nil {
			for i := range list.Items {
				d := &list.Items[i]
				if running[d.Namespace] == nil && d.Spec.Template.Spec.ServiceAccountName == "clusterpki" {
					running[d.Namespace] = c.operator(ctx, d)
				}
				c.available(ctx, d)
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
	for namespace, done := range running {
		if err := <-done; err != nil {
			c.t.Errorf("the operator in %s ended: %v", namespace, err)
		}
	}
}

// operator runs what a Deployment describes.
func (c *cluster) operator(ctx context.Context, d *appsv1.Deployment) chan error {
	o := controller.Options{Poll: time.Second}
	for _, arg := range d.Spec.Template.Spec.Containers[0].Args {
		if value, ok := strings.CutPrefix(arg, "--namespace="); ok {
			o.Namespace = strings.ReplaceAll(value, "$(POD_NAMESPACE)", d.Namespace)
		}
	}
	cfg := rest.CopyConfig(c.cfg)
	cfg.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + d.Namespace + ":" + d.Spec.Template.Spec.ServiceAccountName,
		Groups:   []string{"system:serviceaccounts", "system:authenticated"},
	}
	done := make(chan error, 1)
	go func() {
		mgr, err := controller.New(ctx, cfg, o)
		for err != nil && ctx.Err() == nil { // the kinds may not be served yet
			time.Sleep(200 * time.Millisecond)
			mgr, err = controller.New(ctx, cfg, o)
		}
		if err == nil {
			err = mgr.Start(ctx)
		}
		done <- err
	}()
	return done
}

func (c *cluster) available(ctx context.Context, d *appsv1.Deployment) {
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
	_ = c.api.Status().Update(ctx, d) // it is tried again
}

// desk is where the reader of a page works: a clone of the repository, a home, and programs.
type desk struct {
	*cluster
	home, dir, bin, hosts string
}

func newDesk(t *testing.T, c *cluster) *desk {
	t.Helper()
	d := &desk{cluster: c, home: t.TempDir(), dir: t.TempDir(), bin: t.TempDir(), hosts: t.TempDir()}
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
	d.link(filepath.Join(binaries, "kubectl"), filepath.Join(d.bin, "kubectl"))
	for name, script := range standIns {
		d.write(filepath.Join(d.bin, name), "#!/bin/bash\nset -euo pipefail\n"+script, 0o700)
	}
	d.write(filepath.Join(d.home, ".kube", "config"), string(c.kubeconfig), 0o600)
	return d
}

func (d *desk) link(to, name string) {
	d.t.Helper()
	if err := os.Symlink(to, name); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) write(path, text string, mode os.FileMode) {
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

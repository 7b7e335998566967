package install_test

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/test/testenv"
)

// TestReplicas runs the two replicas of config/default: both are ready, one reconciles, and the other takes over.
func TestReplicas(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.kubectl("apply", "-k", "config/default")
	c.established()
	first, second := c.replica(controller.Options{}), c.replica(controller.Options{})
	first.ready()
	second.ready()
	before := c.leader("")
	first.stop()
	second.ready()
	third := c.replica(controller.Options{})
	third.ready()
	second.stop()
	third.ready()
	c.leader(before)
	c.namespace("prod")
	c.kubectl("apply", "--namespace=prod", "-k", "config/samples")
	if n := c.ready("prod"); n == 0 {
		t.Error("there are no credentials")
	}
	third.stop()
}

// replica is one pod's operator.
type replica struct {
	*cluster
	probes string
	cancel context.CancelFunc
	done   chan error
}

// replica starts an operator as the manifests' ServiceAccount.
func (c *cluster) replica(o controller.Options) *replica {
	c.t.Helper()
	probes, err := testenv.FreeAddress()
	if err != nil {
		c.t.Fatal(err)
	}
	r := &replica{cluster: c, probes: probes, done: make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	o.OwnNamespace = cmp.Or(o.OwnNamespace, system)
	o.LeaderElect, o.LeaderElectionNamespace, o.ProbeAddress = true, o.OwnNamespace, r.probes
	mgr, err := controller.New(ctx, testenv.As(c.cfg, o.OwnNamespace, "clusterpki"), o)
	if err != nil {
		c.t.Fatal(err)
	}
	go func() { r.done <- mgr.Start(ctx) }()
	c.t.Cleanup(cancel)
	return r
}

// ready waits until the replica says what its Deployment's readiness probe asks.
func (r *replica) ready() {
	r.t.Helper()
	r.probed("/readyz", "ok")
}

// says waits until the replica says why it is not ready.
func (r *replica) says(why string) {
	r.t.Helper()
	r.probed("/readyz/authority-namespace", why)
}

// probed waits until a probe answers with a text.
func (r *replica) probed(path, want string) {
	r.t.Helper()
	last := ""
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "http://"+r.probes+path, http.NoBody)
		if err != nil {
			r.t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			last = err.Error()
			continue
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if last = string(body); err == nil && strings.Contains(last, want) && (resp.StatusCode == http.StatusOK) == (want == "ok") {
			return
		}
	}
	r.t.Fatalf("%s does not say %q after a minute, but %q", path, want, last)
}

func (r *replica) stop() {
	r.t.Helper()
	r.cancel()
	if err := <-r.done; err != nil {
		r.t.Errorf("a replica ended: %v", err)
	}
}

// leader waits until the Lease has a holder other than one, and returns it.
func (c *cluster) leader(other string) string {
	c.t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		var lease coordinationv1.Lease
		err := c.api.Get(c.t.Context(), client.ObjectKey{Namespace: system, Name: "clusterpki.io"}, &lease)
		if client.IgnoreNotFound(err) != nil {
			c.t.Fatal(err)
		}
		if holder := lease.Spec.HolderIdentity; holder != nil && *holder != "" && *holder != other {
			return *holder
		}
	}
	c.t.Fatalf("nobody but %q leads after a minute", other)
	return ""
}

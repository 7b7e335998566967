package install_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/test/testenv"
)

// TestReplicas runs the two replicas of config/default: both are ready, one reconciles, and the other takes over.
func TestReplicas(t *testing.T) {
	c := newCluster(t)
	c.kubectl("apply", "-k", "config/default")
	c.established()
	first, second := c.replica(), c.replica()
	first.ready()
	second.ready()
	before := c.leader("")
	first.stop()
	second.ready()
	third := c.replica()
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
func (c *cluster) replica() *replica {
	c.t.Helper()
	probes, err := testenv.FreeAddress()
	if err != nil {
		c.t.Fatal(err)
	}
	r := &replica{cluster: c, probes: probes, done: make(chan error, 1)}
	cfg := testenv.As(c.cfg, system, "clusterpki")
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	mgr, err := controller.New(ctx, cfg, controller.Options{
		LeaderElect: true, LeaderElectionNamespace: system, ProbeAddress: r.probes,
	})
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
	var last error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "http://"+r.probes+"/readyz", http.NoBody)
		if err != nil {
			r.t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if last = err; err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
	}
	r.t.Fatalf("a replica is not ready after a minute: %v", last)
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

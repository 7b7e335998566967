package install_test

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/utils/ptr"
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
	stop   func()
}

// replica starts an operator as the manifests' ServiceAccount.
func (c *cluster) replica(o controller.Options) *replica {
	c.t.Helper()
	probes, err := testenv.FreeAddress()
	if err != nil {
		c.t.Fatal(err)
	}
	o.OwnNamespace = cmp.Or(o.OwnNamespace, system)
	o.LeaderElect, o.LeaderElectionNamespace, o.ProbeAddress = true, o.OwnNamespace, probes
	_, stop := testenv.RunOperator(c.t, testenv.As(c.Config, o.OwnNamespace, "clusterpki"), o)
	return &replica{cluster: c, probes: probes, stop: stop}
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
	testenv.Eventually(r.t, path+" says "+want, func() error {
		req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "http://"+r.probes+path, http.NoBody)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || !strings.Contains(string(body), want) || (resp.StatusCode == http.StatusOK) != (want == "ok") {
			return fmt.Errorf("it says %q: %w", body, err)
		}
		return nil
	})
}

// leader waits until the Lease has a holder other than one, and returns it.
func (c *cluster) leader(other string) string {
	c.t.Helper()
	var leader string
	testenv.Eventually(c.t, "another than "+other+" leads", func() error {
		var lease coordinationv1.Lease
		if err := c.api.Get(c.t.Context(), client.ObjectKey{Namespace: system, Name: "clusterpki.io"}, &lease); err != nil {
			return err
		}
		if leader = ptr.Deref(lease.Spec.HolderIdentity, ""); leader == "" || leader == other {
			return fmt.Errorf("%q does", leader)
		}
		return nil
	})
	return leader
}

package cli

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/delivery"
	"clusterpki.io/operator/test/given"
	"clusterpki.io/operator/test/testenv"
)

// TestRotateDeliveryKey makes the next key, says once more whom it waits for, and lets it sign at once where it is told to.
func TestRotateDeliveryKey(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	rotate := []string{"rotate-delivery-key", "-n", v.ns}
	v.refuses("has no delivery key", rotate...)
	if _, err := v.store.Delivery(t.Context(), v.ns, "the one before"); err != nil {
		t.Fatal(err)
	}
	v.refuses("authority release -n "+v.ns+" --all", rotate...)
	v.keep("k8s", func(*authority.Record) {})
	v.says("released", "release", "-n", v.ns, "--all")
	stored := func() *authority.DeliveryKey {
		t.Helper()
		key, err := v.store.StoredDelivery(t.Context(), v.ns)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	first := stored()
	v.says("no object is delivered by an agent here, so no report of one lets the next key sign: give --now", rotate...)
	out, err := v.authority(append(rotate, "--now")...)
	if again := "give --now again"; err != nil || !strings.Contains(out, again) || strings.Contains(out, "agent config") {
		t.Errorf("%v; it printed\n%swant %s", err, out, again)
	}
	if now := stored(); now.ID() == first.ID() || !now.Follows(first) {
		t.Errorf("%s signs", now.ID())
	}
	first = stored()
	v.create(given.Kubelet("node1", func(c *v1alpha1.NodeCredential) { c.Spec.Delivery.Mode = v1alpha1.DeliveryAgent }))
	v.create(given.Kubelet("node2"))
	out, err = v.authority(rotate...)
	both := stored()
	for _, want := range []string{"is made: " + both.NextID(), first.ID() + " signs until every agent", `host "k8s-node1" (NodeCredential node1): its agent has installed nothing`, "--now"} {
		if err != nil || both.ID() != first.ID() || both.NextID() == "" || !strings.Contains(out, want) {
			t.Errorf("%v; it printed\n%swant %s", err, out, want)
		}
	}
	if strings.Contains(out, " node2)") {
		t.Errorf("it waits for a host without an agent:\n%s", out)
	}
	v.says("signs until every agent has the next one, "+both.NextID(), rotate...)
	if now := stored(); now.NextID() != both.NextID() {
		t.Error("there is another next key")
	}
	out, err = v.authority(append(rotate, "--now")...)
	if now := stored(); err != nil || now.ID() != both.NextID() || now.NextID() != "" || !strings.Contains(out, `"k8s-node1"`) || !strings.Contains(out, "agent config") {
		t.Errorf("%s signs; %v; it printed\n%s", now.ID(), err, out)
	}
	if published, err := authority.PublishedDelivery(t.Context(), v.api, v.home, v.ns); err != nil || len(published) != 1 {
		t.Errorf("%q are published, %v", published, err)
	} else if key, err := delivery.ParsePublic([]byte(published[0])); err != nil || delivery.KeyID(key) != both.NextID() {
		t.Errorf("%q is published, %v", published, err)
	}
	if out, err = v.authority(append(rotate, "--now")...); err != nil || !strings.Contains(out, "in place of "+both.NextID()) || strings.Contains(out, "again") {
		t.Errorf("%v; it printed\n%s", err, out)
	}
	if now := stored(); now.ID() == both.NextID() || now.ID() == first.ID() || now.NextID() != "" {
		t.Error("what may be in other hands signs")
	}
}

// TestDeliveryKeyReachesAHost rotates the delivery key of a namespace with an operator and an agent, twice, and by --now: the agent follows the first two by
// itself, also after a restart, and the last once its configuration is written anew.
func TestDeliveryKeyReachesAHost(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	w.operate(time.Second)
	w.kubeconfig = administrator(t)
	v := &vault{w, w.ns + "-authority", authority.New(w.ns+"-authority", w.api, nil)}
	w.create(given.CA("k8s"))
	w.create(given.Kubelet("k8s-node1-kubelet-serving", func(c *v1alpha1.NodeCredential) {
		c.Spec.Role, c.Spec.Delivery.Mode, c.Spec.APIServerRef, c.Spec.Kubeconfig = "KubeletServing", v1alpha1.DeliveryAgent, nil, nil
	}))
	var config string
	testenv.Eventually(t, "there is something to deliver", func() error {
		out, err := w.run("agent", "config", "--host", "k8s-node1", "--authority-namespace", v.home)
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	identity := w.identity()
	config = w.hostConfigFrom(v.home, identity)
	running := start(t, "agent", "--config", config)
	restart := func(config string) {
		t.Helper()
		running.stop()
		if err := running.end(); err != nil {
			t.Fatal(err)
		}
		running = start(t, "agent", "--config", config)
	}
	reports := func(check func(ack.Report) bool) {
		t.Helper()
		testenv.Eventually(t, "it is reported", func() error {
			var l coordinationv1.Lease
			if err := w.api.Get(t.Context(), client.ObjectKey{Namespace: w.ns, Name: "k8s-node1-kubelet-serving-tls"}, &l); err != nil {
				return err
			}
			if r := ack.Of(&l); !check(r) {
				return fmt.Errorf("it says %+v", r)
			}
			return nil
		})
	}
	trusts := func(id string) {
		t.Helper()
		reports(func(r ack.Report) bool { return slices.Equal(r.DeliveryKeys, []string{id}) && r.Problem == "" })
	}
	stored := func() *authority.DeliveryKey {
		t.Helper()
		key, err := v.store.StoredDelivery(t.Context(), w.ns)
		if err != nil || key == nil {
			t.Fatal(key, err)
		}
		return key
	}
	first := stored()
	trusts(first.ID())
	for range 2 {
		out, err := v.authority("rotate-delivery-key", "-n", w.ns)
		_, made, _ := strings.Cut(out, "is made: ")
		id, _, _ := strings.Cut(made, "\n")
		if err != nil || id == "" {
			t.Fatalf("%v; it printed\n%s", err, out)
		}
		trusts(id)
		if now := stored(); now.ID() != id {
			t.Errorf("%s signs, and not %s", now.ID(), id)
		}
		restart(config)
		trusts(id)
	}
	v.says(`host "k8s-node1"`, "rotate-delivery-key", "-n", w.ns, "--now")
	reports(func(r ack.Report) bool { return strings.HasPrefix(r.Problem, v1alpha1.ReasonSignatureInvalid) })
	anew := w.hostConfigFrom(v.home, identity)
	restart(anew)
	trusts(stored().ID())
}

package restore_test

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	testingclock "k8s.io/utils/clock/testing"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/backup"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/test/testenv"
)

// clients are delivered in every way.
var clients = []string{"mounted", "agent", "manual"}

// acknowledge lets the agent and a person say that what is issued now is in use.
func (w *fixture) acknowledge(at time.Time) {
	w.t.Helper()
	w.report("agent", "agent", at)
	var s corev1.Secret
	w.get("manual-tls", &s)
	certs, err := pki.ParseCertificates(s.Data["tls.crt"])
	if err != nil {
		w.t.Fatal(err)
	}
	roots, err := pki.ParseCertificates(s.Data["ca.crt"])
	if err != nil {
		w.t.Fatal(err)
	}
	edit(w, "manual", &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) {
		c.Spec.Delivery.Acknowledged = &v1alpha1.AcknowledgedDelivery{
			SerialNumber: pki.SerialOf(certs[0]),
			Trust:        []v1alpha1.AcknowledgedTrust{{Name: "k8s", BundleSHA256: pki.BundleDigest(roots)}},
		}
	})
}

// rotatingUntil rotates a CA until a phase, in which the agent has acknowledged everything and a person nothing.
func rotatingUntil(t *testing.T, phase plan.Phase) *fixture {
	t.Helper()
	w := newFixture(t, "rotation-"+strings.ToLower(string(phase)))
	stop := w.operate(nil)
	w.create(newCA("k8s"), newAccountKey("k8s-sa"), newServer("k8s-master"), newKubelet("mounted", v1alpha1.DeliveryMounted),
		newKubelet("agent", v1alpha1.DeliveryAgent), newKubelet("manual", v1alpha1.DeliveryManual))
	w.ready()
	w.settled()
	w.acknowledge(time.Now())
	w.settled()
	edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.Rotation.Trigger = "2" })
	testenv.Eventually(w.t, "the rotation is in phase "+string(phase), func() error {
		now := w.ledger("k8s").Phase()
		if now == phase {
			return nil
		}
		if now != plan.Completed {
			if w.settled(); w.ledger("k8s").Phase() == now { // else what was acknowledged before has opened the gate meanwhile
				w.acknowledge(time.Now())
			}
		}
		return fmt.Errorf("it is in phase %s", now)
	})
	w.settled()
	w.report("agent", "agent", time.Now())
	w.settled()
	stop()
	return w
}

// disk is what one party uses.
type disk struct {
	pair   pki.Leaf
	trusts []*x509.Certificate // the servers of, or the clients of
}

// disks are what stands in the Secrets now.
func (w *fixture) disks() map[string]disk {
	w.t.Helper()
	out := map[string]disk{}
	read := func(name, pair, bundle, key string) {
		var tls, trust corev1.Secret
		w.get(pair, &tls)
		w.get(bundle, &trust)
		p, err := pki.ParseLeaf(tls.Data["tls.crt"], tls.Data["tls.key"])
		if err != nil {
			w.t.Fatal(err)
		}
		roots, err := pki.ParseCertificates(trust.Data[key])
		if err != nil {
			w.t.Fatal(err)
		}
		out[name] = disk{p, roots}
	}
	read("k8s-master", "k8s-master-tls", "k8s-master-tls", "client-ca.crt")
	for _, c := range clients {
		read(c, c+"-tls", c+"-kubeconfig", "ca.crt")
	}
	return out
}

// hosts are the parties as they may be: some have what stands in the Secrets now, others what is the oldest that they
// may still have.
type hosts struct {
	w       *fixture
	slow    map[string]disk
	history []moment
	met     int
}

type moment struct {
	at    time.Time
	disks map[string]disk
}

// look lets everybody meet everybody. What is mounted arrives ten minutes after it was written, at the latest.
func (h *hosts) look(now time.Time) {
	h.w.t.Helper()
	fresh := h.w.disks()
	h.history = append(h.history, moment{now, fresh})
	for _, m := range h.history {
		if !m.at.Add(10 * time.Minute).After(now) {
			h.slow["mounted"], h.slow["k8s-master"] = m.disks["mounted"], m.disks["k8s-master"]
		}
	}
	for _, server := range []disk{fresh["k8s-master"], h.slow["k8s-master"]} {
		for _, name := range clients {
			for _, c := range []disk{fresh[name], h.slow[name]} {
				h.met++
				if err := server.pair.Verify(now, c.trusts); err != nil {
					h.w.t.Errorf("%s: %s refuses the server: %v", h.w.ledger("k8s").Phase(), name, err)
				}
				if err := c.pair.Verify(now, server.trusts); err != nil {
					h.w.t.Errorf("%s: the server refuses %s: %v", h.w.ledger("k8s").Phase(), name, err)
				}
			}
		}
	}
}

// slowDelivery sets every propagationDelay to what the hosts of these tests take.
func slowDelivery(o *unstructured.Unstructured) {
	if ours(*o) && o.GetKind() != "ClusterCA" {
		_ = unstructured.SetNestedField(o.Object, "10m", "spec", "delivery", "propagationDelay")
	}
}

// fingerprints is the fingerprint of each generation of a ledger.
func fingerprints(l plan.Ledger) map[int32]string {
	out := map[int32]string{}
	for _, g := range l.Generations {
		out[g.Number] = g.SHA256
	}
	return out
}

// TestUnfinishedRotation backs up in every phase of a rotation, and restores: it goes on with the same keys, nobody's word of
// before counts, and everybody can talk to everybody at every moment.
func TestUnfinishedRotation(t *testing.T) {
	t.Parallel()
	for _, phase := range []plan.Phase{plan.DistributingTrust, plan.Reissuing, plan.WithdrawingTrust} {
		t.Run(string(phase), func(t *testing.T) {
			t.Parallel()
			w := rotatingUntil(t, phase)
			want, was := w.contents(), w.ledger("k8s")
			if phase == plan.Reissuing {
				d := w.velero()
				w.lose()
				w.restore(d.each(slowDelivery))
				w.release()
			} else {
				text := w.backup()
				w.lose()
				w.restoreSlowly(text)
			}
			w.swept()
			clock := testingclock.NewFakePassiveClock(time.Now())
			h := &hosts{w: w, slow: w.disks()}
			w.operate(clock)
			w.settled()
			w.same(want)

			w.unheard(h, clock, was)
			w.finish(h, clock, was)
			if now := fingerprints(w.ledger("k8s")); len(now) != 1 || now[2] != fingerprints(was)[2] {
				t.Errorf("the generations are %v, and were %v", now, fingerprints(was))
			}
			w.ready()
			t.Logf("%d meetings", h.met)
		})
	}
}

// restoreSlowly is mustRestore, with slowDelivery.
func (w *fixture) restoreSlowly(text []byte) {
	w.t.Helper()
	archive, err := backup.Parse(bytes.NewReader(text))
	if err != nil {
		w.t.Fatal(err)
	}
	archive.Objects = dump(archive.Objects).each(slowDelivery)
	if _, err := (backup.Target{Client: w.api, AuthorityNamespace: w.authority}).Restore(w.t.Context(), archive); err != nil {
		w.t.Fatal(err)
	}
}

// unheard lets half an hour pass in which neither an agent nor a person says anything. The phase stays, and with it what is
// trusted and what signs.
func (w *fixture) unheard(h *hosts, clock *testingclock.FakePassiveClock, was plan.Ledger) {
	w.t.Helper()
	begin := clock.Now()
	for clock.Now().Before(begin.Add(30 * time.Minute)) {
		clock.SetTime(clock.Now().Add(5 * time.Minute))
		w.settled()
		h.look(clock.Now())
		if l := w.ledger("k8s"); l.Phase() != was.Phase() || l.BundleRevision != was.BundleRevision {
			w.t.Fatalf("nobody has said anything, and after %s the ledger is %+v", clock.Now().Sub(begin), l)
		}
		if clock.Now().After(begin.Add(plan.Settling)) { // as soon as the gate could open
			w.awaited()
		}
	}
}

// awaited checks that the rotation waits for both of whom nothing was heard.
func (w *fixture) awaited() {
	w.t.Helper()
	var ca v1alpha1.ClusterCA
	testenv.Eventually(w.t, "the agent and the person are waited for", func() error {
		w.get("k8s", &ca)
		awaits := func(name, reason string) bool {
			return slices.ContainsFunc(ca.Status.Rotation.Pending, func(p v1alpha1.PendingConsumer) bool {
				return p.Kind == "NodeCredential" && p.Name == name && p.Reason == reason
			})
		}
		if !awaits("agent", v1alpha1.ReasonLeaseExpired) || !awaits("manual", v1alpha1.PendingNotAcknowledged) {
			return fmt.Errorf("pending are %+v", ca.Status.Rotation.Pending)
		}
		return nil
	})
}

// TestRotatedTooEarly asks for another CA just after a restore. That waits, and says so, unless the key is compromised.
func TestRotatedTooEarly(t *testing.T) {
	t.Parallel()
	w := issued(t)
	w.mustRestore(saved.archive)
	w.operate(nil)
	w.settled()
	rotate := func(trigger, emergency string) {
		edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) {
			c.Spec.Rotation.Trigger, c.Spec.Rotation.EmergencyTrigger = trigger, emergency
		})
	}
	rotate("wanted", "")
	c := w.condition(&v1alpha1.ClusterCA{}, "k8s", v1alpha1.ReconcilingCondition, metav1.ConditionTrue, v1alpha1.ReasonRestoreIncomplete)
	if !strings.Contains(c.Message, "10 minutes") || w.ledger("k8s").Phase() != plan.Completed {
		t.Errorf("it says %q in phase %s", c.Message, w.ledger("k8s").Phase())
	}
	rotate("compromised", "compromised")
	testenv.Eventually(w.t, "a compromised key is rotated at once", func() error {
		if active, _ := w.ledger("k8s").Active(); active.Number < 2 {
			return fmt.Errorf("generation %d is active", active.Number)
		}
		var ca v1alpha1.ClusterCA
		w.get("k8s", &ca)
		if r := meta.FindStatusCondition(ca.Status.Conditions, v1alpha1.ReconcilingCondition); r != nil && r.Reason == v1alpha1.ReasonRestoreIncomplete {
			return fmt.Errorf("it still says %q", r.Message)
		}
		return nil
	})
}

// finish brings the rotation to its end.
func (w *fixture) finish(h *hosts, clock *testingclock.FakePassiveClock, was plan.Ledger) {
	w.t.Helper()
	revision, trust := was.Revision, was.BundleRevision
	for range 60 {
		l := w.ledger("k8s")
		if l.Revision < revision || l.BundleRevision < trust {
			w.t.Fatalf("the ledger went back to %+v", l)
		}
		if revision, trust = l.Revision, l.BundleRevision; l.Phase() == plan.Completed {
			return
		}
		now := w.disks()
		h.slow["agent"], h.slow["manual"] = now["agent"], now["manual"]
		w.acknowledge(clock.Now())
		w.settled()
		h.look(clock.Now())
		clock.SetTime(clock.Now().Add(5 * time.Minute))
		w.settled()
		h.look(clock.Now())
	}
	w.t.Fatalf("the rotation does not end: %+v", w.ledger("k8s"))
}

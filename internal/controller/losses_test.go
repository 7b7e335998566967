package controller_test

import (
	"fmt"
	"maps"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/test/testenv"
)

// rotating is an env of an API server and two credentials that is observed, and whose CA is about to be replaced.
func rotating(t *testing.T) *env {
	t.Helper()
	w := standard(t)
	w.create(newKubelet("node2", func(c *v1alpha1.NodeCredential) { c.Spec.HostName = "k8s-node2" }))
	w.ready("node2", &v1alpha1.NodeCredential{})
	w.settled()
	w.observe()
	w.validity("k8s", 50000)
	return w
}

// TestStatusWiped takes the status of every object away in every phase: nothing is issued because of that.
func TestStatusWiped(t *testing.T) {
	t.Parallel()
	w := rotating(t)
	w.replaced("k8s", func(p plan.Phase) {
		before := w.serials()
		w.stop()
		for _, o := range []client.Object{
			&v1alpha1.ClusterCA{ObjectMeta: metav1.ObjectMeta{Name: "k8s"}},
			&v1alpha1.APIServerCertificate{ObjectMeta: metav1.ObjectMeta{Name: "k8s-master"}},
			&v1alpha1.NodeCredential{ObjectMeta: metav1.ObjectMeta{Name: "node1"}},
			&v1alpha1.NodeCredential{ObjectMeta: metav1.ObjectMeta{Name: "node2"}},
		} {
			o.SetNamespace(w.ns)
			if err := w.api.Status().Patch(t.Context(), o, client.RawPatch("application/merge-patch+json", []byte(`{"status":null}`))); err != nil {
				t.Fatal(err)
			}
		}
		w.start()
		w.settled()
		w.ready("node1", &v1alpha1.NodeCredential{})
		if after := w.serials(); !maps.Equal(after, before) {
			t.Errorf("%s: certificates were issued again: %v instead of %v", p, after, before)
		}
	})
}

// TestTrustConfigMapDeleted deletes, and forges, what is published, in every phase: it is published again, and nothing
// follows from it.
func TestTrustConfigMapDeleted(t *testing.T) {
	t.Parallel()
	w := rotating(t)
	w.replaced("k8s", func(plan.Phase) {
		before := w.ledger("k8s")
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "k8s-trust"}}
		w.delete(cm)
		w.eventually("it is published again", func() error {
			return w.api.Get(t.Context(), client.ObjectKeyFromObject(cm), cm)
		})
		if after := w.ledger("k8s"); after.Phase() != before.Phase() {
			t.Errorf("the ledger went on from %s to %s", before.Phase(), after.Phase())
		}
	})
}

// TestAuthoritySecretDeleted deletes what decides, in every phase: nothing is made in its place, nothing is issued, and when it
// is restored the rotation goes on.
func TestAuthoritySecretDeleted(t *testing.T) {
	t.Parallel()
	w := rotating(t)
	w.walk("k8s", func(plan.Phase) {
		kept, before := w.authoritySecret("k8s"), w.serials()
		w.delete(kept)
		w.condition("k8s", &v1alpha1.ClusterCA{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonAuthorityMissing)
		w.settled()
		if after := w.serials(); !maps.Equal(after, before) {
			t.Errorf("certificates were issued: %v instead of %v", after, before)
		}
		kept.ResourceVersion, kept.UID = "", ""
		if err := w.api.Create(t.Context(), kept); err != nil {
			t.Fatal(err)
		}
		w.condition("k8s", &v1alpha1.ClusterCA{}, v1alpha1.ReadyCondition, metav1.ConditionTrue, "")
	})
	w.whole("k8s")
}

// loseKey takes a key out of a CA's Secret, as somebody with rights there could, and returns what brings it back.
func (w *env) loseKey(ca string, number int32) (restore func()) {
	w.t.Helper()
	s := w.authoritySecret(ca)
	name := fmt.Sprintf("g%d.key", number)
	key := s.Data[name]
	put := func(value []byte) {
		testenv.Edit(w.t, w.api, s, func(s *corev1.Secret) { // the operator may write at the same time
			if s.Data[name] = value; value == nil {
				delete(s.Data, name)
			}
		})
	}
	put(nil)
	return func() { put(key) }
}

// TestActiveKeyLost takes the active key away, and has it restored, or the CA rotated.
func TestActiveKeyLost(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		phase plan.Phase
		cure  func(w *env, restore func())
	}{
		{"restored", plan.DistributingTrust, func(_ *env, restore func()) { restore() }},
		{"rotated", plan.Reissuing, func(w *env, _ func()) {
			edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.Rotation.Trigger = "lost" })
		}},
	} {
		t.Run(c.name+" in "+string(c.phase), func(t *testing.T) {
			t.Parallel()
			w := rotating(t)
			w.hosts.Store(nil) // it would tell of the loss
			w.walk("k8s", func(p plan.Phase) {
				if p != c.phase {
					return
				}
				active, _ := w.ledger("k8s").Active()
				before := w.serials()
				restore := w.loseKey("k8s", active.Number)
				w.condition("k8s", &v1alpha1.ClusterCA{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonCAKeyMissing)
				if after := w.serials(); p == plan.DistributingTrust && !maps.Equal(after, before) {
					t.Errorf("certificates were issued: %v instead of %v", after, before)
				}
				w.ready("node1", &v1alpha1.NodeCredential{})
				c.cure(w, restore)
			})
			w.whole("k8s")
			w.ready("k8s", &v1alpha1.ClusterCA{})
			w.ready("node1", &v1alpha1.NodeCredential{})
		})
	}
}

// TestClockJumps lets the operator's clock jump by ten minutes between its runs, in every phase. The true time does
// not: propagationDelay has to be longer than what hosts take by as much.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	for name, jump := range map[string]time.Duration{"ahead": 10 * time.Minute, "back": -10 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := rotating(t)
			w.patient("21m")
			h := w.hosts.Load()
			w.replaced("k8s", func(plan.Phase) {
				w.stop()
				h.ahead.Add(int64(jump))
				w.restartAt(w.clock.Now().Add(jump))
			})
		})
	}
}

// patient sets the time after which what was written counts as in use, for every object.
func (w *env) patient(delay string) {
	w.t.Helper()
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"delivery":{"propagationDelay":"`+delay+`"}}}`))
	for _, o := range []client.Object{&v1alpha1.APIServerCertificate{}, &v1alpha1.NodeCredential{}} {
		for _, name := range []string{"k8s-master", "node1", "node2"} {
			o.SetNamespace(w.ns)
			o.SetName(name)
			if err := w.api.Patch(w.t.Context(), o, patch); client.IgnoreNotFound(err) != nil {
				w.t.Fatal(err)
			}
		}
	}
}

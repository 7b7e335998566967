package controller_test

import (
	"maps"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki/plan"
)

// rotating is a world of an API server and two credentials that is observed, and whose CA is about to be replaced.
func rotating(t *testing.T) *world {
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

// TestLedgerDeleted deletes bundle and ledger in every phase: they are rebuilt, no trust is lost, and no revision
// comes twice.
func TestLedgerDeleted(t *testing.T) {
	for name, also := range map[string]func(*world){
		"alone": func(*world) {},
		"with all status": func(w *world) {
			o := &v1alpha1.ClusterCA{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "k8s"}}
			if err := w.api.Status().Patch(w.t.Context(), o, client.RawPatch("application/merge-patch+json", []byte(`{"status":null}`))); err != nil {
				w.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := rotating(t)
			w.walk("k8s", func(plan.Phase) {
				w.stop()
				w.delete(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "k8s-trust"}})
				also(w)
				w.start()
				w.settled()
				w.ready("node1", &v1alpha1.NodeCredential{})
			})
			w.whole("k8s")
			if g := w.ledger("k8s").Generations[0].Number; g != 2 {
				t.Errorf("generation %d signs", g)
			}
		})
	}
}

// TestAbortCutShort takes an edit back and makes it again while the operator cannot write the ledger, and loses the
// ledger later: what was marked for giving up must not be taken for given up.
func TestAbortCutShort(t *testing.T) {
	w := rotating(t)
	w.settled()
	w.phase("k8s", string(plan.DistributingTrust))
	heal := w.failing(http.MethodPut, "/configmaps/k8s-trust", http.StatusConflict)
	w.validity("k8s", 87600)
	w.settled()
	w.validity("k8s", 50000)
	w.settled()
	heal()
	w.walk("k8s", func(p plan.Phase) {
		if p == plan.Reissuing {
			w.stop()
			w.delete(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "k8s-trust"}})
			w.start()
		}
	})
	w.whole("k8s")
}

// TestGenerationLost deletes the key of a generation in each state that it can be in. Only that of the one which
// signs is a loss.
func TestGenerationLost(t *testing.T) {
	for _, state := range []plan.State{plan.Trusted, plan.Retiring, plan.Withdrawn} {
		t.Run(string(state), func(t *testing.T) {
			w := rotating(t)
			lost := false
			w.walk("k8s", func(plan.Phase) {
				for _, g := range w.ledger("k8s").Generations {
					if g.State == state && !lost {
						lost = true
						w.delete(w.secret(g.SecretName))
					}
				}
				w.settled()
				w.ready("node1", &v1alpha1.NodeCredential{})
				w.ready("k8s", &v1alpha1.ClusterCA{})
			})
			if !lost {
				t.Error("there was none")
			}
			w.whole("k8s")
		})
	}
}

// TestSigningKeyLost deletes the key that signs, and has it restored, or the CA replaced.
func TestSigningKeyLost(t *testing.T) {
	restore := func(w *world, s *corev1.Secret) {
		s.ResourceVersion, s.UID = "", ""
		w.create(s)
	}
	replace := func(w *world, _ *corev1.Secret) {
		edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.Rotation.Revision = "lost" })
	}
	for _, c := range []struct {
		name  string
		phase plan.Phase
		cure  func(*world, *corev1.Secret)
	}{
		{"restored", plan.DistributingTrust, restore}, {"replaced", plan.DistributingTrust, replace},
		{"replaced", plan.Reissuing, replace}, {"restored", plan.WithdrawingTrust, restore},
	} {
		t.Run(c.name+" in "+string(c.phase), func(t *testing.T) {
			w := rotating(t)
			w.walk("k8s", func(p plan.Phase) {
				if p != c.phase {
					return
				}
				signing, _ := w.ledger("k8s").Signing()
				key, before := w.secret(signing.SecretName), w.serials()
				w.delete(key)
				w.condition("k8s", &v1alpha1.ClusterCA{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonCAKeyMissing)
				w.settled()
				if after := w.serials(); !maps.Equal(after, before) {
					t.Errorf("certificates were issued: %v instead of %v", after, before)
				}
				w.ready("node1", &v1alpha1.NodeCredential{})
				c.cure(w, key)
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
	for name, jump := range map[string]time.Duration{"ahead": 10 * time.Minute, "back": -10 * time.Minute} {
		t.Run(name, func(t *testing.T) {
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
func (w *world) patient(delay string) {
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

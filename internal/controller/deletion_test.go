package controller_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/test/given"
)

const week = 7 * 24 * time.Hour

// rebound writes other identities into a CA's Secret, as if it had been another object's.
func (w *env) rebound(ca string, change func(*authority.Record)) {
	w.t.Helper()
	w.eventually("write the CA's Secret", func() error {
		was := w.record(ca)
		next := was.Next()
		change(next)
		_, err := w.store().Commit(w.t.Context(), was, next)
		return err
	})
}

// marked waits until the keys of a CA are marked as those of a deleted one, or are not any more.
func (w *env) marked(ca string, want bool) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("marked: %v", want), func() error {
		if r := w.record(ca); r.Deleted.IsZero() == want {
			return fmt.Errorf("it was deleted at %v", r.Deleted)
		}
		return nil
	})
}

func forDeletion(c *v1alpha1.ClusterCA) { c.Spec.DeletionPolicy = v1alpha1.DeletionDelete }

// TestDeletedCA deletes a ClusterCA whose keys are to go with it: they are marked at once, and go after seven days. Until then
// one of the same name takes the CA up.
func TestDeletedCA(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.create(newCA("k8s", forDeletion), newServer("k8s-master"), newKubelet("node1"))
	w.ready("node1", &v1alpha1.NodeCredential{})
	w.ready("k8s", &v1alpha1.ClusterCA{})
	w.ready("k8s-master", &v1alpha1.APIServerCertificate{})
	was := w.root("k8s")

	w.delete(w.clusterCA("k8s"))
	w.marked("k8s", true)
	w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.ReadyCondition, metav1.ConditionTrue, "")
	w.restartAt(w.clock.Now().Add(week - time.Hour))
	w.settled()
	w.create(newCA("k8s", forDeletion))
	w.ready("k8s", &v1alpha1.ClusterCA{})
	w.marked("k8s", false)
	if !w.root("k8s").Equal(was) {
		t.Fatal("it is another CA")
	}

	w.settled()
	w.delete(w.clusterCA("k8s"))
	w.marked("k8s", true)
	at := w.record("k8s").Deleted
	w.restartAt(at.Add(week - time.Second))
	w.settled()
	if w.record("k8s").Tombstone() {
		t.Fatal("the keys were destroyed too early")
	}
	w.restartAt(at.Add(week))
	w.eventually("the keys are destroyed", func() error {
		if !w.record("k8s").Tombstone() {
			return errors.New("they are there")
		}
		return nil
	})
	if s := w.authoritySecret("k8s"); len(s.Data) != 1 {
		t.Errorf("it holds %d values", len(s.Data))
	}

	// Traces don't count any more: a new ClusterCA begins anew, and its numbers go on.
	w.create(newCA("k8s"))
	w.ready("k8s", &v1alpha1.ClusterCA{})
	if active, _ := w.ledger("k8s").Active(); active.Number != 2 || w.root("k8s").Equal(was) {
		t.Errorf("the ledger is %+v", w.ledger("k8s"))
	}
	w.eventually("everybody follows", func() error {
		for _, s := range []string{"node1-tls", "k8s-master-tls"} {
			if err := w.pair(s).Cert.CheckSignatureFrom(w.root("k8s")); err != nil {
				return err
			}
		}
		return w.verified("node1")
	})
}

// TestBackInTime creates a ClusterCA again after the seven days, before an operator came to destroy its keys.
func TestBackInTime(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.create(newCA("k8s", forDeletion))
	w.ready("k8s", &v1alpha1.ClusterCA{})
	was := w.root("k8s")
	w.delete(w.clusterCA("k8s"))
	w.marked("k8s", true)
	w.stop()
	w.clock.SetTime(w.clock.Now().Add(week + time.Hour))
	w.create(newCA("k8s", forDeletion))
	w.start()
	w.ready("k8s", &v1alpha1.ClusterCA{})
	w.marked("k8s", false)
	if !w.root("k8s").Equal(was) {
		t.Error("it is another CA")
	}
}

// holdUp gives a ClusterCA a finalizer and owners.
func (w *env) holdUp(ca string, owners ...metav1.OwnerReference) {
	w.t.Helper()
	edit(w, ca, &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) {
		c.Finalizers, c.OwnerReferences = []string{"example.org/wait"}, owners
	})
}

// letGo takes the owners off a ClusterCA, and then its finalizers.
func (w *env) letGo(ca string) {
	w.t.Helper()
	edit(w, ca, &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.OwnerReferences = nil })
	edit(w, ca, &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Finalizers = nil })
}

// TestHeldUp deletes a ClusterCA that a finalizer holds up for a while: it is deleted all the same.
func TestHeldUp(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.create(newCA("k8s", forDeletion))
	w.ready("k8s", &v1alpha1.ClusterCA{})
	w.holdUp("k8s")
	w.delete(w.clusterCA("k8s"))
	w.letGo("k8s")
	w.marked("k8s", true)
}

// TestAbsence lets ClusterCAs go in ways that are no deletion: their keys stay for ever.
func TestAbsence(t *testing.T) {
	t.Parallel()
	for name, goes := range map[string]func(w *env){
		"deletionPolicy Retain": func(w *env) {
			edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.DeletionPolicy = v1alpha1.DeletionRetain })
			w.ready("k8s", &v1alpha1.ClusterCA{})
			w.delete(w.clusterCA("k8s"))
		},
		"with an owner reference": func(w *env) {
			cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "owner"}}
			w.create(cm)
			edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) {
				c.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: cm.Name, UID: cm.UID}}
			})
			w.settled()
			w.delete(w.clusterCA("k8s"))
		},
		"an owner reference that is gone at its end": func(w *env) {
			w.holdUp("k8s", metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "x", UID: "gone"})
			w.delete(w.clusterCA("k8s")) // as the garbage collector
			w.letGo("k8s")
		},
		"an owner reference among large metadata": func(w *env) {
			edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) {
				c.Annotations = map[string]string{"example.org/x": strings.Repeat("x", 100<<10)} // more than the operator keeps
				c.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "x", UID: "gone"}}
			})
			w.settled()
			w.delete(w.clusterCA("k8s"))
		},
		"no operator ran when it began": func(w *env) {
			w.holdUp("k8s")
			w.stop()
			w.delete(w.clusterCA("k8s"))
			w.start()
			w.settled()
			w.letGo("k8s")
		},
		"the namespace is going": func(w *env) {
			w.delete(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.ns}})
			w.delete(w.clusterCA("k8s"))
		},
		"the namespace is another one": func(w *env) {
			w.rebound("k8s", func(r *authority.Record) { r.NamespaceUID = "another" })
			w.delete(w.clusterCA("k8s"))
		},
		"the CRD is another one": func(w *env) {
			w.rebound("k8s", func(r *authority.Record) { r.CRDUID = "another" })
			w.delete(w.clusterCA("k8s"))
		},
		"the ledger is another object's": func(w *env) {
			w.rebound("k8s", func(r *authority.Record) { r.UID = types.UID("another") })
			w.stop() // its own reconciler would bind it
			w.delete(w.clusterCA("k8s"))
			w.start()
		},
		"no operator runs": func(w *env) {
			w.stop()
			w.delete(w.clusterCA("k8s"))
			w.start()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newEnv(t)
			w.create(newCA("k8s", forDeletion))
			w.ready("k8s", &v1alpha1.ClusterCA{})
			w.settled()
			goes(w)
			w.eventually("the ClusterCA is gone", func() error {
				if !w.missing("k8s", &v1alpha1.ClusterCA{}) {
					return errors.New("it is there")
				}
				return nil
			})
			w.settled()
			w.restartAt(w.clock.Now().Add(2 * week))
			w.settled()
			if r := w.record("k8s"); r.Tombstone() || !r.Deleted.IsZero() {
				t.Errorf("it was deleted at %v: %+v", r.Deleted, r.Ledger)
			}
		})
	}
}

// TestDeletedAccountKey: the keys of a ServiceAccountKey end by the same rules. They are marked at once, one of the same name takes them up, and
// they go after seven days.
func TestDeletedAccountKey(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	kept := func() *authority.AccountKeys {
		k, err := w.store().LiveAccountKeys(w.t.Context(), w.ns, "k8s-sa")
		if err != nil || k == nil {
			t.Fatal(k, err)
		}
		return k
	}
	marked := func(want bool) {
		w.eventually(fmt.Sprintf("marked: %v", want), func() error {
			if k := kept(); k.Deleted.IsZero() == want {
				return fmt.Errorf("it was deleted at %v", k.Deleted)
			}
			return nil
		})
	}
	deletable := func() *v1alpha1.ServiceAccountKey {
		return given.AccountKey("k8s-sa", func(k *v1alpha1.ServiceAccountKey) { k.Spec.DeletionPolicy = v1alpha1.DeletionDelete })
	}
	first := deletable()
	w.create(first)
	w.ready("k8s-sa", &v1alpha1.ServiceAccountKey{})
	was := kept()
	w.delete(first)
	marked(true)
	w.settled()
	second := deletable()
	w.create(second)
	w.ready("k8s-sa", &v1alpha1.ServiceAccountKey{})
	marked(false)
	if now := kept(); now.Ledger.Keys[0].ID != was.Ledger.Keys[0].ID || now.UID != second.UID {
		t.Fatalf("it is another key: %+v", now.Ledger)
	}
	w.delete(second)
	marked(true)
	at := kept().Deleted
	w.restartAt(at.Add(week - time.Second))
	w.settled()
	if kept().Tombstone() {
		t.Fatal("the keys were destroyed too early")
	}
	w.restartAt(at.Add(week))
	w.eventually("the keys are destroyed", func() error {
		if !kept().Tombstone() {
			return errors.New("they are there")
		}
		return nil
	})
}

// TestTakenUpWithAnotherSpec: a ClusterCA that is created again, by somebody who need not have the right to rotate it, has the CA that was retained, whatever
// its spec says and whatever else is edited later. A trigger, which takes that right, rotates it.
func TestTakenUpWithAnotherSpec(t *testing.T) {
	t.Parallel()
	w := standard(t)
	was := w.root("k8s")
	w.delete(w.clusterCA("k8s"))
	w.settled()
	w.create(newCA("k8s", func(c *v1alpha1.ClusterCA) { c.Spec.Validity, c.Spec.Subject.CommonName = hours(800000), "another" }))
	w.condition("k8s", &v1alpha1.ClusterCA{}, v1alpha1.RotationPendingCondition, metav1.ConditionTrue, v1alpha1.ReasonTakenUp)
	edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.DeletionPolicy = v1alpha1.DeletionDelete })
	w.later(0)
	if now := w.clusterCA("k8s"); !w.root("k8s").Equal(was) || now.Status.Rotation.Phase != "" {
		t.Errorf("it is another CA: %+v", now.Status.Rotation)
	}
	w.ready("k8s", &v1alpha1.ClusterCA{})
	edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.Rotation.Trigger = "now" })
	w.phase("k8s", v1alpha1.PhaseDistributingTrust)
	if got := w.record("k8s").CAs[2].Cert.Subject.CommonName; got != "another g2" || w.ledger("k8s").TakenUp != "" {
		t.Errorf("it is rotated to %q", got)
	}
}

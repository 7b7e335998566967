package controller_test

import (
	"errors"
	"maps"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
)

// besideIt starts another installation, with an authority namespace of its own, for the namespace of this one.
func (w *env) besideIt(keys string) *env {
	w.t.Helper()
	o := newEnvOf(w.t, keys)
	o.stop()
	o.ns = w.ns
	o.start()
	return o
}

// quiet waits until nobody has written anything in the namespace for a while.
func (w *env) quiet() {
	w.t.Helper()
	was, since := w.versions(), time.Now()
	w.eventually("all comes to rest", func() error {
		if now := w.versions(); !maps.Equal(now, was) {
			was, since = now, time.Now()
		}
		if time.Since(since) < 3*time.Second {
			return errors.New("it is written still")
		}
		return nil
	})
}

// atRest waits until all is quiet, and ready then.
func (w *env) atRest() {
	w.t.Helper()
	w.quiet()
	for name, o := range map[string]client.Object{
		"k8s": &v1alpha1.ClusterCA{}, "k8s-master": &v1alpha1.APIServerCertificate{}, "node1": &v1alpha1.NodeCredential{},
	} {
		w.ready(name, o)
		if meta.IsStatusConditionTrue(conditionsOf(o), v1alpha1.StalledCondition) {
			w.t.Errorf("%s is stalled: %+v", name, conditionsOf(o))
		}
	}
}

// TestTwoInstallationsComeToRest has two operators, each with an authority namespace of its own, in one namespace: the one whose
// authority namespace the status names serves it, and the other one leaves it alone, before and after an edit.
func TestTwoInstallationsComeToRest(t *testing.T) {
	w := newEnv(t)
	w.besideIt("")
	w.create(newCA("k8s"), newServer("k8s-master"), newKubelet("node1"))
	w.atRest()
	edit(w, "node1", &v1alpha1.NodeCredential{}, func(c *v1alpha1.NodeCredential) { c.Spec.Validity = hours(4000) })
	edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.DeletionPolicy = v1alpha1.DeletionDelete })
	w.atRest()
}

// copied makes another authority namespace, with a copy of all that this one holds.
func (w *env) copied() string {
	w.t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "copied-"}}
	if err := w.api.Create(w.t.Context(), ns); err != nil {
		w.t.Fatal(err)
	}
	var all corev1.SecretList
	if err := w.api.List(w.t.Context(), &all, client.InNamespace(w.authority)); err != nil {
		w.t.Fatal(err)
	}
	for _, s := range all.Items {
		s.ObjectMeta = metav1.ObjectMeta{Namespace: ns.Name, Name: s.Name}
		if err := w.api.Create(w.t.Context(), &s); err != nil {
			w.t.Fatal(err)
		}
	}
	return ns.Name
}

// TestCopiedAuthorityNamespace copies the authority namespace of a running operator, and points a second one at the copy. That one
// signs nothing, and its copy stays as it is, even if the status names nobody. Once a person has released the CA there, it
// serves, and the first one no longer does.
func TestCopiedAuthorityNamespace(t *testing.T) {
	w := standard(t)
	w.settled()
	o := w.besideIt(w.copied())
	before := o.authoritySecret("k8s")
	w.atRest()
	w.create(newKubelet("node2"))
	w.ready("node2", &v1alpha1.NodeCredential{})
	w.stop()
	w.status(w.clusterCA("k8s"), `{"authority":null}`)
	w.create(newKubelet("node3"))
	w.condition("k8s", &v1alpha1.ClusterCA{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonAuthorityRetained)
	w.condition("node3", &v1alpha1.NodeCredential{}, v1alpha1.IssuerReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonIssuerNotReady)
	if !w.missing("node3-tls", &corev1.Secret{}) || o.authoritySecret("k8s").ResourceVersion != before.ResourceVersion {
		t.Fatal("the second operator has used the copy")
	}
	w.start()
	w.ready("node3", &v1alpha1.NodeCredential{})
	w.atRest()

	mine := w.authoritySecret("k8s")
	o.rebound("k8s", func(r *authority.Record) { r.HomeUID, r.UID = types.UID(o.authorityUID()), "" })
	o.eventually("the second one takes it up", func() error {
		if got := w.clusterCA("k8s").Status.Authority.NamespaceUID; got != o.authorityUID() {
			return errors.New("it is that of " + got)
		}
		return nil
	})
	w.atRest()
	w.create(newKubelet("node4"))
	w.ready("node4", &v1alpha1.NodeCredential{})
	if w.authoritySecret("k8s").ResourceVersion != mine.ResourceVersion {
		t.Error("the first one has gone on")
	}
}

// TestTwoInstallationsDisagree has two operators see the same object otherwise, where its CA's status names neither: both say so once,
// and the one that has made what there is has the last word.
func TestTwoInstallationsDisagree(t *testing.T) {
	t.Run("a CA that neither has, and that was there before", func(t *testing.T) {
		t.Parallel()
		w := newEnv(t)
		o := w.besideIt("")
		w.create(newCA("k8s", func(c *v1alpha1.ClusterCA) { c.Annotations = map[string]string{v1alpha1.RestoredAnnotation: "b1"} }), newKubelet("node1"))
		w.condition("k8s", &v1alpha1.ClusterCA{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonAuthorityMissing)
		o.quiet()
		edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.DeletionPolicy = v1alpha1.DeletionDelete })
		w.condition("k8s", &v1alpha1.ClusterCA{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonAuthorityMissing)
		o.quiet()
	})
	t.Run("a leaf whose CA is gone", func(t *testing.T) {
		t.Parallel()
		w := standard(t)
		w.settled()
		if err := w.api.Delete(t.Context(), w.clusterCA("k8s")); err != nil {
			t.Fatal(err)
		}
		w.besideIt("").quiet()
		for name, o := range map[string]client.Object{"k8s-master": &v1alpha1.APIServerCertificate{}, "node1": &v1alpha1.NodeCredential{}} {
			w.condition(name, o, v1alpha1.ReadyCondition, metav1.ConditionTrue, "")
			w.condition(name, o, v1alpha1.IssuerReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonIssuerNotFound)
		}
	})
	t.Run("the authority namespace of each was made anew", func(t *testing.T) {
		t.Parallel()
		w := newEnv(t)
		o := w.besideIt("")
		for _, of := range []*env{w, o} {
			of.stop()
			taken := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: of.installed.Options.OwnNamespace, Name: "clusterpki-namespaces"}}
			if err := w.api.Patch(t.Context(), taken, client.RawPatch(types.MergePatchType, []byte(`{"data":{"`+of.authority+`":"another"}}`))); err != nil {
				t.Fatal(err)
			}
			of.start()
		}
		w.create(newCA("k8s"), newKubelet("node1"))
		for name, o := range map[string]client.Object{"k8s": &v1alpha1.ClusterCA{}, "node1": &v1alpha1.NodeCredential{}} {
			w.condition(name, o, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonAuthorityNotReady)
		}
		o.quiet()
	})
}

// TestSaidAgain: what was cured, and is there again, is said again.
func TestSaidAgain(t *testing.T) {
	t.Parallel()
	w := newEnv(t)
	w.create(newKubelet("node1"))
	for range 2 {
		foreign := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "node1-tls", Labels: map[string]string{v1alpha1.ManagedLabel: v1alpha1.ManagedValue}}}
		foreign.Annotations = map[string]string{v1alpha1.OwnerAnnotation: "NodeCredential/node1"}
		w.create(foreign)
		w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonSecretConflict)
		if err := w.api.Delete(t.Context(), foreign); err != nil {
			t.Fatal(err)
		}
		w.condition("node1", &v1alpha1.NodeCredential{}, v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonIssuerNotFound)
	}
}

// TestStatusForged has somebody who may write statuses hide what is wrong with a CA, and take its installation's name out, twice: what
// the operator found is there again each time.
func TestStatusForged(t *testing.T) {
	t.Parallel()
	w := standard(t)
	w.loseKey("k8s", 1)
	for range 2 {
		w.condition("k8s", &v1alpha1.ClusterCA{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonCAKeyMissing)
		w.settled()
		w.status(w.clusterCA("k8s"), `{"authority":null,"conditions":[]}`)
	}
	w.condition("k8s", &v1alpha1.ClusterCA{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonCAKeyMissing)
	if got := w.clusterCA("k8s").Status.Authority.NamespaceUID; got != w.authorityUID() {
		t.Errorf("the status names the authority namespace %q", got)
	}
}

// TestSaidAnHourLater has somebody who may write statuses hide that a CA is not served here: it is said again after an hour.
func TestSaidAnHourLater(t *testing.T) {
	t.Parallel()
	w := standard(t)
	w.settled()
	good := *w.clusterCA("k8s").StatusConditions()
	w.status(w.clusterCA("k8s"), `{"authority":{"namespaceUID":"elsewhere"}}`)
	stalled := func() {
		w.condition("k8s", &v1alpha1.ClusterCA{}, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonAuthorityMissing)
	}
	stalled()
	w.quiet()
	ca := w.clusterCA("k8s")
	ca.Status.Conditions = good
	if err := w.api.Status().Update(t.Context(), ca); err != nil {
		t.Fatal(err)
	}
	w.quiet()
	w.clock.SetTime(w.clock.Now().Add(time.Hour))
	edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Labels = map[string]string{"a": "b"} })
	stalled()
}

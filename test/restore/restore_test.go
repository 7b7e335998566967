package restore_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/internal/pki/plan"
)

// optionsOf are the operator's; a nil clock is the system's.
func optionsOf(w *world, clock *testingclock.FakePassiveClock) controller.Options {
	o := controller.Options{Namespace: w.ns}
	if clock != nil {
		o.Clock = clock
	}
	return o
}

// swept waits until the garbage collector has seen everything that was created so far: it has deleted an object of each
// kind whose owner does not exist.
func (w *world) swept() {
	w.t.Helper()
	orphan := metav1.ObjectMeta{Name: "orphan", Namespace: w.ns, OwnerReferences: []metav1.OwnerReference{{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: "NodeCredential", Name: "nobody", UID: "00000000-0000-4000-8000-000000000000",
	}}}
	for _, o := range []client.Object{
		&corev1.Secret{ObjectMeta: orphan}, &corev1.ConfigMap{ObjectMeta: orphan}, &coordinationv1.Lease{ObjectMeta: orphan},
	} {
		w.create(o)
		w.eventually(fmt.Sprintf("the garbage collector deletes %T", o), func() error {
			if !w.missing("orphan", o) {
				return fmt.Errorf("it is still there")
			}
			return nil
		})
	}
}

// same says what differs from what was backed up.
func (w *world) same(want map[string]string) {
	w.t.Helper()
	if diff := changed(w.contents(), want); len(diff) > 0 {
		w.t.Errorf("what was restored is not what was backed up:\n%s", strings.Join(diff, "\n"))
	}
}

// TestRestore restores everything in several orders, with the operator stopped and with the operator running. Not one
// byte of a key, a certificate, a bundle or a ledger is another afterwards.
func TestRestore(t *testing.T) {
	from := issued(t)
	want := from.contents()
	for name, c := range map[string]struct {
		dump    dump
		running bool
	}{
		"velero":                         {from.velero(), false},
		"velero-operator-running":        {from.velero(), true},
		"velero-backwards":               {from.velero().backwards(), false},
		"velero-backwards-operator-runs": {from.velero().backwards(), true},
		"clusterpki-backup":              {from.backup(), false},
		"clusterpki-backup-backwards":    {from.backup().backwards(), true},
	} {
		t.Run(name, func(t *testing.T) {
			w := target.world(t, name)
			between := func(unstructured.Unstructured) {}
			if c.running {
				target.operate(t, optionsOf(w, nil))
				last := ""
				between = func(next unstructured.Unstructured) {
					if kind := fmt.Sprint(next.GetKind(), strings.Contains(next.GetName(), "-g1-")); kind != last {
						last = kind
						w.settled() // the operator does whatever it would do without what is still to come
					}
				}
			}
			w.restore(c.dump, between)
			w.swept()
			if !c.running {
				w.same(want)
				target.operate(t, optionsOf(w, nil))
			}
			// The host whose key never leaves it asks again, by the agent, where its Lease did not come back.
			if backwards := strings.Contains(name, "backwards"); backwards && c.running {
				w.request(from)
			}
			w.settled()
			w.ready()
			w.swept()
			w.same(want)
			w.owned()
		})
	}
}

// request brings the request of a host back that its agent would make again.
func (w *world) request(from *world) {
	w.t.Helper()
	var was coordinationv1.Lease
	from.get("own-key-tls", &was)
	edit(w, "own-key-tls", &coordinationv1.Lease{}, func(l *coordinationv1.Lease) {
		metav1.SetMetaDataAnnotation(&l.ObjectMeta, v1alpha1.RequestAnnotation, was.Annotations[v1alpha1.RequestAnnotation])
	})
}

// owned checks that what goes with its object refers to the one that is there now.
func (w *world) owned() {
	w.t.Helper()
	uids := map[string]string{}
	for _, o := range w.resources() {
		kind := strings.TrimPrefix(fmt.Sprintf("%T", o), "*v1alpha1.")
		uids[kind+"/"+o.GetName()] = string(o.GetUID())
	}
	for _, o := range w.list(&corev1.SecretList{}) {
		ref := metav1.GetControllerOf(o)
		owner := o.GetAnnotations()[v1alpha1.OwnerAnnotation]
		if owner == "" || strings.HasPrefix(owner, "ClusterCA/") && owner != "ClusterCA/signer" {
			continue
		}
		if ref == nil || string(ref.UID) != uids[owner] {
			w.t.Errorf("Secret %s of %s refers to %+v", o.GetName(), owner, ref)
		}
	}
}

// TestNothingComes restores custom resources alone. No CA and no service account keys are ever made in place of what
// was lost, until a person says so.
func TestNothingComes(t *testing.T) {
	w := target.world(t, "nothing-comes")
	clock := testingclock.NewFakePassiveClock(time.Now())
	w.restore(issued(t).velero().only(ours))
	target.operate(t, optionsOf(w, clock))
	incomplete := func() {
		t.Helper()
		for _, name := range []string{"k8s", "legacy", "signer"} {
			w.condition(&v1alpha1.ClusterCA{}, name, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonRestoreIncomplete)
		}
		w.condition(&v1alpha1.APIServerCertificate{}, "k8s-master", v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonRestoreIncomplete)
		w.settled()
		if got := w.contents(); len(got) > 0 {
			t.Errorf("made were %v", changed(got, nil))
		}
	}
	incomplete()
	clock.SetTime(clock.Now().Add(plan.Settling + time.Hour))
	edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.Rotation.Timeout.Duration = time.Hour }) // a visit
	for _, name := range []string{"k8s", "legacy", "signer"} {
		w.condition(&v1alpha1.ClusterCA{}, name, v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonRestoreIncomplete)
	}
	w.settled()
	if got := w.contents(); len(got) > 0 {
		t.Errorf("made were %v", changed(got, nil))
	}

	edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { delete(c.Labels, v1alpha1.VeleroRestoreLabel) })
	w.eventually("another CA is made when a person says so", func() error {
		if w.missing("k8s-trust", &corev1.ConfigMap{}) {
			return fmt.Errorf("it is not")
		}
		return nil
	})
	w.condition(&v1alpha1.APIServerCertificate{}, "k8s-master", v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonRestoreIncomplete)
	if !w.missing("k8s-sa", &corev1.Secret{}) {
		t.Error("other service account keys were made")
	}
}

// TestAppliedMeanwhile restores custom resources with kubectl create, and a person, or Git, applies their manifests before
// the Secrets are back: the mark of what was restored outlives that, and nothing is issued anew.
func TestAppliedMeanwhile(t *testing.T) {
	from := issued(t)
	want := from.contents()
	w := target.world(t, "applied-meanwhile")
	target.operate(t, optionsOf(w, nil))
	all := from.backup()
	var file bytes.Buffer
	for _, o := range all.only(ours) {
		o.SetNamespace(w.ns)
		text, err := o.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		file.Write(text)
	}
	name := filepath.Join(t.TempDir(), "restored.json")
	if err := os.WriteFile(name, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	w.kubectl("create", "-f", name)
	w.kubectl("apply", "-k", "config/samples")
	w.settled()
	if got := w.contents(); len(got) > 0 {
		t.Errorf("made were %v", changed(got, nil))
	}
	w.restore(all.only(func(o unstructured.Unstructured) bool { return !ours(o) }))
	w.settled()
	w.ready()
	w.same(want)
}

// TestGarbageCollector restores owner references as they were: the garbage collector deletes what they are on, and that is why
// a backup must not hold them. What it cannot take are the keys of CAs; what it took is issued again.
func TestGarbageCollector(t *testing.T) {
	from := issued(t)
	want := from.contents()
	w := target.world(t, "verbatim")
	d := from.plain()
	slices.SortStableFunc(d, func(a, b unstructured.Unstructured) int { // the owners last
		switch {
		case ours(a) == ours(b):
			return 0
		case ours(a):
			return 1
		default:
			return -1
		}
	})
	w.restore(d)
	w.swept()
	for _, name := range []string{"agent-tls", "k8s-master-tls", "k8s-sa", "signer-pair"} {
		if !w.missing(name, &corev1.Secret{}) {
			t.Errorf("the garbage collector left Secret %s", name)
		}
	}
	kept := 0
	for name, value := range w.contents() {
		if strings.Contains(name, "-g1-") {
			kept++
			if value != want[name] {
				t.Errorf("%s is another", name)
			}
		}
	}
	if kept < 6 { // certificate and key of each CA that is to be retained
		t.Errorf("of the CAs' keys and certificates %d are left", kept)
	}
	target.operate(t, optionsOf(w, nil))
	w.condition(&v1alpha1.NodeCredential{}, "agent", v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	if got := w.contents()["Secret agent-tls ca.crt"]; got != want["Secret agent-tls ca.crt"] {
		t.Error("what is issued again trusts another CA")
	}
}

// TestKeysAskedLater asks for service account keys for the first time on an object that was restored: they are made when a
// person takes the mark away, and Ready names no Secret that does not exist.
func TestKeysAskedLater(t *testing.T) {
	w := target.world(t, "keys-asked-later")
	server := newServer("k8s-master")
	server.Spec.ServiceAccountKeys = nil
	server.Annotations = map[string]string{v1alpha1.RestoredAnnotation: "true"}
	w.create(newCA("k8s"), server)
	clock := testingclock.NewFakePassiveClock(time.Now().Add(plan.Settling + time.Hour))
	target.operate(t, optionsOf(w, clock))
	w.ready()
	edit(w, "k8s-master", &v1alpha1.APIServerCertificate{}, func(c *v1alpha1.APIServerCertificate) {
		c.Spec.ServiceAccountKeys = &v1alpha1.ServiceAccountKeysSpec{SecretName: "k8s-sa"}
	})
	c := w.condition(&v1alpha1.APIServerCertificate{}, "k8s-master", v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonRestoreIncomplete)
	if !strings.Contains(c.Message, "asked for the first time") {
		t.Errorf("the message is %q", c.Message)
	}
	c = w.condition(&v1alpha1.APIServerCertificate{}, "k8s-master", v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonIssued)
	if strings.Contains(c.Message, `service account keys in Secret "k8s-sa"`) {
		t.Errorf("Ready names what does not exist: %q", c.Message)
	}
	edit(w, "k8s-master", &v1alpha1.APIServerCertificate{}, func(c *v1alpha1.APIServerCertificate) { delete(c.Annotations, v1alpha1.RestoredAnnotation) })
	w.eventually("service account keys are made", func() error {
		if w.missing("k8s-sa", &corev1.Secret{}) {
			return fmt.Errorf("they are not")
		}
		return nil
	})
}

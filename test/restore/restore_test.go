package restore_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
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
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/test/testenv"
)

// certificateAuthorities are those of issueEverything.
var certificateAuthorities = []string{"k8s", "etcd", "front-proxy", "legacy", "below", "signer"}

// swept waits until the garbage collector has seen everything that was created so far: it has deleted an object of each
// kind whose owner does not exist.
func (w *fixture) swept() {
	w.t.Helper()
	orphan := metav1.ObjectMeta{Name: "orphan", Namespace: w.ns, OwnerReferences: []metav1.OwnerReference{{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: "NodeCredential", Name: "nobody", UID: "00000000-0000-4000-8000-000000000000",
	}}}
	for _, o := range []client.Object{
		&corev1.Secret{ObjectMeta: orphan}, &corev1.ConfigMap{ObjectMeta: orphan}, &coordinationv1.Lease{ObjectMeta: orphan},
	} {
		w.create(o)
		testenv.Eventually(w.t, fmt.Sprintf("the garbage collector deletes %T", o), func() error {
			if !w.missing("orphan", o) {
				return fmt.Errorf("it is still there")
			}
			return nil
		})
	}
}

// same says what differs from what was backed up.
func (w *fixture) same(want map[string]string) {
	w.t.Helper()
	if diff := changed(w.contents(), want); len(diff) > 0 {
		w.t.Errorf("what was restored is not what was backed up:\n%s", strings.Join(diff, "\n"))
	}
}

// restored checks that everything is as it was, and belongs to what is there now.
func (w *fixture) restored() {
	w.t.Helper()
	w.settled()
	w.ready()
	w.swept()
	w.same(saved.contents)
	w.owned()
}

// owned checks that what goes with its object refers to the one that is there now.
func (w *fixture) owned() {
	w.t.Helper()
	uids := map[string]string{}
	for _, o := range w.resources() {
		uids[o.Kind()+"/"+o.GetName()] = string(o.GetUID())
	}
	for _, o := range w.list(&corev1.SecretList{}) {
		ref := metav1.GetControllerOf(o)
		owner := o.GetAnnotations()[v1alpha1.OwnerAnnotation]
		if owner == "" || o.GetName() == "k8s-sa" { // service account keys go with nobody
			continue
		}
		if ref == nil || string(ref.UID) != uids[owner] {
			w.t.Errorf("Secret %s of %s refers to %+v", o.GetName(), owner, ref)
		}
	}
}

// TestRestore restores everything after a loss. Not one byte of a key, a certificate, a bundle or a ledger is another afterwards.
func TestRestore(t *testing.T) {
	t.Parallel()
	t.Run("clusterpki restore", func(t *testing.T) {
		w := issued(t)
		w.mustRestore(saved.archive)
		w.swept()
		w.operate(nil)
		w.restored()
		w.deliversAs(saved.archive)
		if again := w.mustRestore(saved.archive); again.CAs+again.Objects > 0 {
			t.Errorf("a second time it wrote something: %+v", again)
		}
	})
	t.Run("into a namespace of another name", func(t *testing.T) {
		issued(t)
		w := newFixture(t, "drill")
		w.mustRestore(saved.archive)
		w.operate(nil)
		w.restored()
		w.deliversAs(saved.archive)
	})
	t.Run("Velero", func(t *testing.T) {
		w := issued(t)
		w.restore(saved.velero)
		w.swept()
		w.operate(nil)
		for _, name := range certificateAuthorities { // these are other namespaces of the same names
			w.stalled(name, v1alpha1.ReasonAuthorityRetained)
		}
		w.same(saved.contents)
		w.release()
		w.stalled("signer", v1alpha1.ReasonSecretConflict) // nobody knows who made a copy of a key that has another UID
		w.deleteSecret("signer-pair")
		w.restored()
		w.deliversAs(saved.archive)
	})
}

// stalled waits until a ClusterCA is stalled for a reason.
func (w *fixture) stalled(ca, reason string) metav1.Condition {
	w.t.Helper()
	return w.condition(&v1alpha1.ClusterCA{}, ca, v1alpha1.StalledCondition, metav1.ConditionTrue, reason)
}

// TestObjectsFirst lets the operator run while custom resources come before everything else, are applied from Git besides, and
// Secrets come before what decides: no CA is made, and nothing is issued, until all is there.
func TestObjectsFirst(t *testing.T) {
	t.Parallel()
	w := issued(t)
	w.operate(nil)
	objects := saved.backup.only(ours)
	var file bytes.Buffer
	for _, o := range objects {
		text, err := o.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		file.Write(text)
	}
	name := filepath.Join(t.TempDir(), "objects.json")
	if err := os.WriteFile(name, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	w.kubectl("create", "-f", name)
	w.kubectl("apply", "-k", "config/samples")
	for _, name := range certificateAuthorities {
		w.stalled(name, v1alpha1.ReasonAuthorityMissing)
	}
	w.settled()
	if got := w.contents(); len(got) > 0 {
		t.Errorf("made were %v", changed(got, nil))
	}
	w.mustRestore(saved.archive)
	w.restored()
}

// TestNothingComes restores custom resources alone, and then all but what decides. No CA and no service account keys are ever made
// in place of what was lost.
func TestNothingComes(t *testing.T) {
	t.Parallel()
	w := issued(t)
	clock := testingclock.NewFakePassiveClock(time.Now())
	w.restore(saved.velero.only(ours))
	stop := w.operate(clock)
	nothing := func() {
		t.Helper()
		for _, name := range certificateAuthorities {
			w.stalled(name, v1alpha1.ReasonAuthorityMissing)
		}
		w.condition(&v1alpha1.APIServerCertificate{}, "k8s-master", v1alpha1.ReadyCondition, metav1.ConditionFalse, "")
		w.settled()
		if got := w.contents(); len(got) > 0 {
			t.Errorf("made were %v", changed(got, nil))
		}
	}
	nothing()
	stop()
	clock.SetTime(clock.Now().Add(plan.Settling + time.Hour))
	stop = w.operate(clock)
	nothing()

	// What was issued is there, and what decides is not: it is in use as it is.
	stop()
	seal := func(o unstructured.Unstructured) bool { return w.decides(o) && o.GetName() == "seal" }
	if err := w.api.DeleteAllOf(t.Context(), &corev1.Secret{}, client.InNamespace(w.authority)); err != nil {
		t.Fatal(err)
	}
	w.restore(saved.velero.only(func(o unstructured.Unstructured) bool { return w.products(o) || seal(o) }))
	w.operate(clock)
	w.settled()
	for _, name := range certificateAuthorities {
		w.stalled(name, v1alpha1.ReasonAuthorityMissing)
	}
	if got := w.keys(); len(got) > 0 {
		t.Errorf("made were %v", changed(got, nil))
	}
	for name, value := range w.contents() {
		if value != saved.contents[name] {
			t.Errorf("%s is another", name)
		}
	}
}

// TestAuthorityAlone restores what decides, and custom resources from Git: everything is re-issued by the same CAs.
func TestAuthorityAlone(t *testing.T) {
	t.Parallel()
	w := issued(t)
	w.restore(saved.velero.only(w.decides))
	w.operate(nil)
	w.settled()
	w.release()
	imported := func(o unstructured.Unstructured) bool { return o.GetName() == "legacy-ca" }
	w.restore(saved.velero.only(imported))
	w.restore(saved.backup.only(ours).each(func(o *unstructured.Unstructured) { o.SetAnnotations(nil) }))
	w.ask("own-key")
	w.settled()
	w.ready()
	now := w.contents()
	for name, value := range saved.contents {
		kept := strings.HasPrefix(name, "Secret ca.") || strings.HasPrefix(name, "ConfigMap ") || strings.Contains(name, " ca.crt")
		if same := now[name] == value; kept && !same {
			t.Errorf("%s is another", name)
		} else if strings.HasSuffix(name, "-tls tls.key") && same {
			t.Errorf("%s is the same: where does it come from?", name)
		}
	}
}

// TestAnotherCAWasMade applies custom resources from Git before the backup is restored, and puts that right.
func TestAnotherCAWasMade(t *testing.T) {
	t.Parallel()
	w := issued(t)
	w.operate(nil)
	imported := func(o unstructured.Unstructured) bool { return o.GetName() == "legacy-ca" }
	w.restore(saved.velero.only(imported))
	w.restore(saved.backup.only(ours).each(func(o *unstructured.Unstructured) { o.SetAnnotations(nil) }))
	w.ask("own-key")
	w.settled()
	w.ready()
	before := w.contents()
	if before["ConfigMap k8s-trust ca.crt"] == saved.contents["ConfigMap k8s-trust ca.crt"] {
		t.Fatal("it is the same CA")
	}
	_, err := w.restoreArchive(saved.archive, "k8s", "front-proxy", "below", "signer", "serviceaccountkeys/k8s-sa")
	if err == nil || !strings.Contains(err.Error(), "--replace prod/etcd") || !strings.Contains(err.Error(), "Nothing was written") {
		t.Errorf("with a CA that is not named the error is %v", err)
	}
	w.settled()
	if diff := changed(w.contents(), before); len(diff) > 0 {
		t.Errorf("something was written all the same: %v", diff)
	}
	w.mustRestore(saved.archive, append(slices.Clone(certificateAuthorities), "serviceaccountkeys/k8s-sa")...)
	w.settled()
	w.ready()
	w.deliversAs(saved.archive)
	// The host whose key never leaves it has made another one meanwhile. What was issued meanwhile was recorded last, so what an agent or a person delivers
	// is re-issued: the pairs of the backup may be in anybody's hands.
	now := w.contents()
	delivered := regexp.MustCompile(`^Secret (own-key|agent|manual)-`)
	differ := slices.DeleteFunc(changed(now, saved.contents), delivered.MatchString)
	if len(differ) > 0 {
		t.Errorf("what was restored is not what was backed up:\n%s", strings.Join(differ, "\n"))
	}
}

// TestMove moves a namespace by the commands, as docs/backup.md says.
func TestMove(t *testing.T) {
	t.Parallel()
	w := issued(t)
	w.mustRestore(saved.archive)
	file := filepath.Join(t.TempDir(), "prod.yaml")
	var piped bytes.Buffer
	run := func(args ...string) error { return w.clusterpki(&piped, args...) }
	for _, out := range []string{file, "-"} {
		if err := run("backup", "-n", w.ns, "--out", out); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(text, piped.Bytes()) {
		t.Errorf("the file is not what the pipe got: %v", err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v: %v", info.Mode(), err)
	}
	w.lose()
	if err := run("restore", file, "--namespace", "nothing"); err == nil {
		t.Error("a namespace was restored that is not in the file")
	}
	if err := run("restore", file, "--namespace", w.ns); err != nil {
		t.Fatal(err)
	}
	w.operate(nil)
	w.restored()
}

// TestKeysAskedLater: a ServiceAccountKey that was restored without its keys gets no others until a person takes the mark away.
func TestKeysAskedLater(t *testing.T) {
	t.Parallel()
	w := newFixture(t, "keys-asked-later")
	key := newAccountKey("k8s-sa")
	key.Annotations = map[string]string{v1alpha1.RestoredAnnotation: "true"}
	w.create(newCA("k8s"), newServer("k8s-master"), key)
	w.operate(testingclock.NewFakePassiveClock(time.Now().Add(plan.Settling + time.Hour)))
	c := w.condition(&v1alpha1.ServiceAccountKey{}, "k8s-sa", v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonAuthorityMissing)
	if !strings.Contains(c.Message, "sak."+w.ns+".k8s-sa") {
		t.Errorf("the message is %q", c.Message)
	}
	w.condition(&v1alpha1.APIServerCertificate{}, "k8s-master", v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonServiceAccountKeyNotFound)
	if !w.missing("k8s-sa", &corev1.Secret{}) {
		t.Error("other keys are made")
	}
	edit(w, "k8s-sa", &v1alpha1.ServiceAccountKey{}, func(k *v1alpha1.ServiceAccountKey) { delete(k.Annotations, v1alpha1.RestoredAnnotation) })
	w.ready()
}

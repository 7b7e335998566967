package restore_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/cli"
	"clusterpki.io/operator/internal/pki/plan"
)

// TestMove moves a namespace to another management cluster by `clusterpki backup` and `kubectl create`, as docs/backup.md says.
func TestMove(t *testing.T) {
	from := issued(t)
	file := filepath.Join(t.TempDir(), "prod.yaml")
	var piped bytes.Buffer
	for _, out := range []string{file, "-"} {
		command := cli.New()
		command.SetOut(&piped)
		command.SetErr(io.Discard)
		command.SetArgs([]string{"backup", "--kubeconfig", from.file, "-n", from.ns, "--out", out})
		if err := command.ExecuteContext(t.Context()); err != nil {
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
	w := target.world(t, from.ns)
	w.kubectl("create", "-f", file)
	target.operate(t, optionsOf(w, nil))
	w.settled()
	w.ready()
	w.same(from.contents())
}

// TestAnotherCAWasMade applies custom resources from Git before the backup, and puts that right as docs/operations.md says.
func TestAnotherCAWasMade(t *testing.T) {
	from := issued(t)
	want := from.contents()
	w := target.world(t, "another-ca")
	stop := target.operate(t, optionsOf(w, nil))
	d := from.backup()
	imported := func(o unstructured.Unstructured) bool { return o.GetName() == "legacy-ca" }
	w.restore(d.only(imported))
	w.restore(d.only(ours).each(func(o *unstructured.Unstructured) { o.SetAnnotations(nil) }))
	w.eventually("another CA is made", func() error {
		return w.api.Get(t.Context(), client.ObjectKey{Namespace: w.ns, Name: "agent-tls"}, &corev1.Secret{})
	})
	w.settled()
	if got := w.contents()["ConfigMap k8s-trust ca.crt"]; got == want["ConfigMap k8s-trust ca.crt"] {
		t.Fatal("it is the same CA")
	}

	stop()
	w.kubectl("delete", "secrets,configmaps,leases", "-l", "app.kubernetes.io/managed-by=clusterpki")
	w.restore(d.only(func(o unstructured.Unstructured) bool { return !ours(o) && !imported(o) }))
	target.operate(t, optionsOf(w, nil))
	w.settled()
	w.ready()
	w.same(want)
}

// standing is a CA with an API server and a mounted client, and an operator whose clock the test moves.
func standing(t *testing.T, ns string, at time.Time) (w *world, clock *testingclock.FakePassiveClock, stop func()) {
	t.Helper()
	w = source.world(t, ns)
	clock = testingclock.NewFakePassiveClock(at)
	stop = source.operate(t, optionsOf(w, clock))
	w.create(newCA("k8s"), newServer("k8s-master"), newKubelet("mounted", v1alpha1.DeliveryMounted))
	w.eventually("the Secrets are there", func() error {
		return w.api.Get(t.Context(), client.ObjectKey{Namespace: w.ns, Name: "mounted-kubeconfig"}, &corev1.Secret{})
	})
	w.settled()
	return w, clock, stop
}

// TestEverythingExpired lets the operator be off until the certificates have expired, and until the CA has.
func TestEverythingExpired(t *testing.T) {
	w, clock, stop := standing(t, "expired", time.Now())
	ca, leaf, tokens := w.contents()["ConfigMap k8s-trust ca.crt"], w.contents()["Secret mounted-tls tls.crt"], w.contents()["Secret k8s-sa sa.key"]

	stop()
	clock.SetTime(clock.Now().Add(2 * 8760 * time.Hour))
	stop = source.operate(t, optionsOf(w, clock))
	w.settled()
	w.ready()
	if now := w.contents(); now["ConfigMap k8s-trust ca.crt"] != ca || now["Secret mounted-tls tls.crt"] == leaf {
		t.Error("after two years the certificate must be another, and the CA the same")
	}

	stop()
	clock.SetTime(clock.Now().Add(10 * 8760 * time.Hour))
	source.operate(t, optionsOf(w, clock))
	w.settled()
	for range 20 {
		if l := w.ledger("k8s"); l.Phase() == plan.Completed && l.Generations[0].Number == 2 {
			break
		}
		clock.SetTime(clock.Now().Add(11 * time.Minute))
		w.settled()
	}
	w.ready()
	if now := w.contents(); now["ConfigMap k8s-trust ca.crt"] == ca || now["Secret k8s-sa sa.key"] != tokens {
		t.Error("after twelve years the CA must be another, and the service account keys the same")
	}
}

// TestClockAhead lets the operator's clock be a year ahead when everything is issued, and then right. Nobody can use what
// is issued, and Ready says so; nothing is issued again until a person deletes it, because it may be the clock that
// is wrong now.
func TestClockAhead(t *testing.T) {
	now := time.Now()
	w, clock, stop := standing(t, "clock-ahead", now.Add(8760*time.Hour))
	w.ready()
	stop()
	before := w.contents()
	clock.SetTime(now)
	source.operate(t, optionsOf(w, clock))
	c := w.condition(&v1alpha1.NodeCredential{}, "mounted", v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonNotUsable)
	if !strings.Contains(c.Message, "not yet valid") {
		t.Errorf("the message is %q", c.Message)
	}
	w.settled()
	w.same(before)
}

// TestClockBehind lets the operator's clock be two years behind when a certificate is issued, and then right.
func TestClockBehind(t *testing.T) {
	now := time.Now()
	w, clock, stop := standing(t, "clock-behind", now.Add(-2*8760*time.Hour))
	w.ready()
	stop()
	before := w.contents()
	clock.SetTime(now)
	source.operate(t, optionsOf(w, clock))
	w.settled()
	w.ready()
	after := w.contents()
	if after["Secret mounted-tls tls.crt"] == before["Secret mounted-tls tls.crt"] {
		t.Error("the certificate, which had expired, was not issued again")
	}
	if after["ConfigMap k8s-trust ca.crt"] != before["ConfigMap k8s-trust ca.crt"] {
		t.Error("the CA, which has eight years left, was replaced")
	}
}

// TestOlderLedger puts the ConfigMap of before a replacement in the place of the present one. Nobody goes back to the old
// bundle; deleting it has it rebuilt, and no revision comes twice.
func TestOlderLedger(t *testing.T) {
	w, clock, _ := standing(t, "older-ledger", time.Now())
	var older corev1.ConfigMap
	w.get("k8s-trust", &older)
	edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.Rotation.Revision = "2" })
	w.settled()
	for w.ledger("k8s").Phase() != plan.Completed {
		clock.SetTime(clock.Now().Add(11 * time.Minute))
		w.settled()
	}
	revision, leaf := w.ledger("k8s").Revision, w.contents()["Secret mounted-tls tls.crt"]
	bundle := w.contents()["Secret mounted-tls ca.crt"]

	edit(w, "k8s-trust", &corev1.ConfigMap{}, func(cm *corev1.ConfigMap) { cm.Data = older.Data })
	w.condition(&v1alpha1.NodeCredential{}, "mounted", v1alpha1.IssuerReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonLedgerOutdated)
	w.settled()
	if now := w.contents(); now["Secret mounted-tls tls.crt"] != leaf || now["Secret mounted-tls ca.crt"] != bundle {
		t.Error("a leaf went back")
	}

	w.kubectl("delete", "configmap", "k8s-trust")
	w.condition(&v1alpha1.NodeCredential{}, "mounted", v1alpha1.IssuerReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonIssuerAvailable)
	w.settled()
	w.ready()
	l := w.ledger("k8s")
	if now := w.contents(); l.Revision < revision || now["Secret mounted-tls tls.crt"] != leaf || now["Secret mounted-tls ca.crt"] != bundle {
		t.Errorf("the ledger that was rebuilt is %+v, and was at revision %d", l, revision)
	}
}

package restore_test

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/test/testenv"
)

// standing is a CA with an API server and a mounted client, and an operator whose clock the test moves.
func standing(t *testing.T, ns string, at time.Time) (w *fixture, clock *testingclock.FakePassiveClock, stop func()) {
	t.Helper()
	w = newFixture(t, ns)
	clock = testingclock.NewFakePassiveClock(at)
	stop = w.operate(clock)
	w.create(newCA("k8s"), newAccountKey("k8s-sa"), newServer("k8s-master"), newKubelet("mounted", v1alpha1.DeliveryMounted))
	testenv.Eventually(w.t, "the Secrets are there", func() error {
		return w.api.Get(t.Context(), client.ObjectKey{Namespace: w.ns, Name: "mounted-kubeconfig"}, &corev1.Secret{})
	})
	w.settled()
	return w, clock, stop
}

// TestEverythingExpired lets the operator be off until the certificates have expired, and until the CA has.
func TestEverythingExpired(t *testing.T) {
	t.Parallel()
	w, clock, stop := standing(t, "expired", time.Now())
	ca, leaf, tokens := w.contents()["ConfigMap k8s-trust ca.crt"], w.contents()["Secret mounted-tls tls.crt"], w.contents()["Secret k8s-sa sa.key"]

	stop()
	clock.SetTime(clock.Now().Add(2 * 8760 * time.Hour))
	stop = w.operate(clock)
	w.settled()
	w.ready()
	if now := w.contents(); now["ConfigMap k8s-trust ca.crt"] != ca || now["Secret mounted-tls tls.crt"] == leaf {
		t.Error("after two years the certificate must be another, and the CA the same")
	}

	stop()
	clock.SetTime(clock.Now().Add(10 * 8760 * time.Hour))
	w.operate(clock)
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
// is issued, and Ready says so; nothing is re-issued until a person deletes it, because it may be the clock that
// is wrong now.
func TestClockAhead(t *testing.T) {
	t.Parallel()
	now := time.Now()
	w, clock, stop := standing(t, "clock-ahead", now.Add(8760*time.Hour))
	w.ready()
	stop()
	before := w.contents()
	clock.SetTime(now)
	w.operate(clock)
	c := w.condition(&v1alpha1.NodeCredential{}, "mounted", v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonNotUsable)
	if !strings.Contains(c.Message, "not yet valid") {
		t.Errorf("the message is %q", c.Message)
	}
	w.settled()
	w.same(before)
}

// TestClockBehind lets the operator's clock be two years behind when a certificate is issued, and then right.
func TestClockBehind(t *testing.T) {
	t.Parallel()
	now := time.Now()
	w, clock, stop := standing(t, "clock-behind", now.Add(-2*8760*time.Hour))
	w.ready()
	stop()
	before := w.contents()
	clock.SetTime(now)
	w.operate(clock)
	w.settled()
	w.ready()
	after := w.contents()
	if after["Secret mounted-tls tls.crt"] == before["Secret mounted-tls tls.crt"] {
		t.Error("the certificate, which had expired, was not re-issued")
	}
	if after["ConfigMap k8s-trust ca.crt"] != before["ConfigMap k8s-trust ca.crt"] {
		t.Error("the CA, which has eight years left, was rotated")
	}
}

// TestOlderAuthority puts the authority Secret of an earlier phase in the place of the present one. Nobody goes back to the old
// bundle, and nothing is withdrawn or deleted, until the present one is restored.
func TestOlderAuthority(t *testing.T) {
	t.Parallel()
	// Ahead of the API server's clock: a ledger that is older than its Secret was restored.
	w, clock, _ := standing(t, "older-authority", time.Now().Add(time.Hour))
	older := map[plan.Phase]*corev1.Secret{plan.Completed: w.authoritySecret("k8s")}
	edit(w, "k8s", &v1alpha1.ClusterCA{}, func(c *v1alpha1.ClusterCA) { c.Spec.Rotation.Trigger = "2" })
	w.settled()
	for w.ledger("k8s").Phase() != plan.Completed {
		older[w.ledger("k8s").Phase()] = w.authoritySecret("k8s")
		clock.SetTime(clock.Now().Add(3 * time.Minute))
		w.settled()
	}
	present, want := w.authoritySecret("k8s"), w.contents()
	for _, phase := range []plan.Phase{plan.Completed, plan.DistributingTrust, plan.Reissuing} {
		if older[phase] == nil {
			t.Fatalf("no phase %s was seen", phase)
		}
		w.putAuthority(older[phase])
		w.condition(&v1alpha1.NodeCredential{}, "mounted", v1alpha1.IssuerReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonLedgerOutdated)
		for range 4 {
			clock.SetTime(clock.Now().Add(20 * time.Minute))
			w.settled()
		}
		now := w.contents()
		for _, name := range []string{"Secret mounted-tls tls.crt", "Secret mounted-tls ca.crt", "Secret k8s-master-tls client-ca.crt"} {
			if now[name] != want[name] {
				t.Errorf("%s: %s went back", phase, name)
			}
		}
		for key, value := range older[phase].Data {
			if key != "ledger.json" && now["Secret ca.k8s "+key] != string(value) {
				t.Errorf("%s: %s was deleted", phase, key)
			}
		}
		if l := w.ledger("k8s"); phase != plan.Completed && l.Published()[0].Number != 1 {
			t.Errorf("%s: the old CA was withdrawn", phase)
		}
	}
	w.putAuthority(present)
	w.condition(&v1alpha1.NodeCredential{}, "mounted", v1alpha1.IssuerReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonIssuerAvailable)
	w.settled()
	w.ready()
	w.same(want)
}

// putAuthority lets the Secret of a CA hold what it held before.
func (w *fixture) putAuthority(s *corev1.Secret) {
	w.t.Helper()
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		there := w.authoritySecret("k8s")
		there.Data = s.Data
		return w.api.Update(w.t.Context(), there)
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

package rotate_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/rotate"
	"clusterpki.io/operator/internal/status"
)

// newKey is a ServiceAccountKey whose first key signs.
func newKey(mods ...func(*v1alpha1.ServiceAccountKey)) *v1alpha1.ServiceAccountKey {
	k := &v1alpha1.ServiceAccountKey{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "k8s-sa"}}
	k.Spec.RetainOldKeyFor.Duration = 365 * 24 * time.Hour
	k.Status.Conditions = ready()
	k.Status.Keys = []v1alpha1.KeyStatus{{Number: 1, State: v1alpha1.GenerationActive}}
	for _, m := range mods {
		m(k)
	}
	return k
}

// masters are API servers that name the key: one by an agent, one by hand, one that mounts its Secret; and one that names another key.
func masters(k *v1alpha1.ServiceAccountKey) status.Objects {
	o := status.Objects{Keys: []v1alpha1.ServiceAccountKey{*k}}
	for i, mode := range []v1alpha1.DeliveryMode{v1alpha1.DeliveryManual, v1alpha1.DeliveryAgent, v1alpha1.DeliveryMounted} {
		s := v1alpha1.APIServerCertificate{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "m" + string(rune('3'-i))}}
		s.Spec.CARef.Name, s.Spec.Delivery, s.Status.Conditions = "k8s", mounted(10*time.Minute), ready()
		s.Spec.Delivery.Mode, s.Spec.ServiceAccountKeyRef = mode, &v1alpha1.KeyReference{Name: k.Name}
		o.Servers = append(o.Servers, s)
	}
	other := o.Servers[0]
	other.Name, other.Spec.ServiceAccountKeyRef = "other", &v1alpha1.KeyReference{Name: "other"}
	o.Servers = append(o.Servers, other)
	return o
}

func TestKeyPlan(t *testing.T) {
	k := newKey()
	text, err := rotate.NewKeyPlan(now, k, masters(k), "2026-11").Text(status.Style{}, false)
	if err != nil {
		t.Fatal(err)
	}
	want := `ServiceAccountKey/k8s-sa in prod: key 1 signs

To rotate it, change this one field, in Git if the object comes from there:

    apiVersion: clusterpki.io/v1alpha1
    kind: ServiceAccountKey
    metadata:
      name: k8s-sa
      namespace: prod
    spec:
      rotation:
        trigger: "2026-11"

or in the cluster, by this command with --apply, or by

    kubectl patch serviceaccountkey k8s-sa -n prod --type=merge --field-manager=clusterpki-rotate -p '{"spec":{"rotation":{"trigger":"2026-11"}}}'

What happens then:

  1  DistributingTrust  the new public key is brought to every API server, one host after the other; the old key signs everything still
  2  SwitchingSigner    the new key is brought to every API server and controller manager, one host after the other, and signs; the old one stays trusted

In each phase these restart, one after the other, with the controller manager of the host: APIServerCertificate/m1, APIServerCertificate/m2, APIServerCertificate/m3
A phase takes at least 10m.
It waits until delivery.acknowledged.publicKeysSHA256 says with which keys these were started: APIServerCertificate/m3
Of these only time tells that they have read the new keys; restart them yourself in each phase: APIServerCertificate/m1
No token ends: the old key's are accepted for 1y after the rotation (spec.retainOldKeyFor), and as long as any is left that never ends.
`
	if diff := cmp.Diff(want, text); diff != "" {
		t.Error(diff, "\n", text)
	}
	alone := rotate.NewKeyPlan(now, k, status.Objects{Keys: []v1alpha1.ServiceAccountKey{*k}}, "x")
	if len(alone.Warnings) != 1 || !strings.Contains(alone.Warnings[0], "no APIServerCertificate names it") {
		t.Errorf("where nothing uses it: %q", alone.Warnings)
	}
	report, err := rotate.NewKeyPlan(now, k, masters(k), "x").Report(true)
	if err != nil || report.ObjectKind != "ServiceAccountKey" || len(report.Phases) != 2 || report.Phases[1].Consumers != 3 || report.LeastSeconds != 1200 {
		t.Errorf("%+v: %v", report, err)
	}
}

// TestKeyPlanWarns says what would hold the rotation up.
func TestKeyPlanWarns(t *testing.T) {
	k := newKey(func(k *v1alpha1.ServiceAccountKey) {
		k.Annotations = map[string]string{"argocd.argoproj.io/tracking-id": "x"}
		k.Status.Rotation.Phase = v1alpha1.KeySwitchingSigner
		k.Status.Conditions = append(k.Status.Conditions, metav1.Condition{Type: v1alpha1.RotationBlockedCondition, Status: metav1.ConditionTrue, Message: "m2 waits"})
	})
	o := masters(k)
	o.Servers[1].Status.Conditions = []metav1.Condition{{Type: "Ready", Status: metav1.ConditionFalse, Reason: "SecretConflict", Message: "taken"}}
	o.Servers[3].Status.Conditions = o.Servers[1].Status.Conditions // of another key
	var got []string
	for _, w := range rotate.NewKeyPlan(now, k, o, "x").Warnings {
		first, _, _ := strings.Cut(w, ":")
		got = append(got, first)
	}
	want := []string{
		"a rotation is under way (SwitchingSigner)", "Argo CD keeps this object as it is in Git (annotation argocd.argoproj.io/tracking-id", "it is blocked",
		"APIServerCertificate/m2 may hold it up",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestKeyWatch follows a rotation to each of its ends.
func TestKeyWatch(t *testing.T) {
	rotating := func(phase v1alpha1.KeyPhase, active int32) func(*v1alpha1.ServiceAccountKey) {
		return func(k *v1alpha1.ServiceAccountKey) {
			k.Status.Rotation = v1alpha1.KeyRotationStatus{Phase: phase, From: 1, To: 2}
			k.Status.Keys = []v1alpha1.KeyStatus{{Number: 1, State: v1alpha1.GenerationRetiring}, {Number: 2, State: v1alpha1.GenerationTrusted}}
			k.Status.Keys[active-1].State = v1alpha1.GenerationActive
			k.Status.Acknowledged, k.Status.Required = new(int32(1)), new(int32(2))
			k.Status.Pending = []v1alpha1.PendingConsumer{{Kind: "APIServerCertificate", Name: "m2", Host: "k8s-m2", Reason: "LeaseExpired", Edit: "start its agent"}}
		}
	}
	over := func(k *v1alpha1.ServiceAccountKey) {
		k.Status.Keys = []v1alpha1.KeyStatus{{Number: 1, State: v1alpha1.GenerationRetiring}, {Number: 2, State: v1alpha1.GenerationActive, Trigger: "x"}}
	}
	asked := func(trigger string) func(*v1alpha1.ServiceAccountKey) {
		return func(k *v1alpha1.ServiceAccountKey) { k.Spec.Rotation.Trigger = trigger }
	}
	unseen := func(k *v1alpha1.ServiceAccountKey) { k.Generation = 7 }
	stalled := func(k *v1alpha1.ServiceAccountKey) {
		k.Status.Conditions = append(k.Status.Conditions, metav1.Condition{Type: v1alpha1.StalledCondition, Status: metav1.ConditionTrue, Message: "a Secret"})
	}
	distributing, switching := rotating(v1alpha1.KeyDistributingTrust, 1), rotating(v1alpha1.KeySwitchingSigner, 2)
	for name, c := range map[string]struct {
		trigger string
		seen    [][]func(*v1alpha1.ServiceAccountKey)
		want    rotate.Outcome
		heading string
	}{
		"none is under way":        {"", [][]func(*v1alpha1.ServiceAccountKey){{}}, rotate.Going, "key 1 signs, and no rotation is under way; waiting for one"},
		"it is asked for":          {"x", [][]func(*v1alpha1.ServiceAccountKey){{}}, rotate.Going, `waiting until spec.rotation.trigger is "x"`},
		"the operator is away":     {"x", [][]func(*v1alpha1.ServiceAccountKey){{asked("x"), unseen}}, rotate.Going, "waiting for the operator to take the change up"},
		"under way":                {"x", [][]func(*v1alpha1.ServiceAccountKey){{asked("x"), distributing}}, rotate.Going, "DistributingTrust, key 1 → 2, 1/2 acknowledged, waits for APIServerCertificate/m2 on k8s-m2 (LeaseExpired)"},
		"completed":                {"x", [][]func(*v1alpha1.ServiceAccountKey){{asked("x"), distributing}, {asked("x"), switching}, {asked("x"), over}}, rotate.Completed, "completed: key 2 signs, and earlier ones stay trusted for spec.retainOldKeyFor"},
		"completed, not asked for": {"", [][]func(*v1alpha1.ServiceAccountKey){{switching}, {over}}, rotate.Completed, "completed: key 2 signs, and earlier ones stay trusted for spec.retainOldKeyFor"},
		"over before it was seen":  {"x", [][]func(*v1alpha1.ServiceAccountKey){{}, {asked("x"), over}}, rotate.Completed, "completed: key 2 signs, and earlier ones stay trusted for spec.retainOldKeyFor"},
		"rolled back":              {"x", [][]func(*v1alpha1.ServiceAccountKey){{asked("x"), distributing}, {}}, rotate.RolledBack, "rolled back: key 1 signs as before"},
		"rolled back, looked on":   {"", [][]func(*v1alpha1.ServiceAccountKey){{distributing}, {}}, rotate.RolledBack, "rolled back: key 1 signs as before"},
		"it cannot begin":          {"x", [][]func(*v1alpha1.ServiceAccountKey){{asked("x"), stalled}}, rotate.Stalled, "it cannot begin before something is changed"},
	} {
		t.Run(name, func(t *testing.T) {
			w := rotate.BeginKey(c.trigger, newKey(c.seen[0]...))
			var got rotate.Outcome
			for _, mods := range c.seen {
				got = w.Observe(newKey(mods...))
			}
			if line := w.Lines()[0]; got != c.want || line != "ServiceAccountKey/k8s-sa in prod: "+c.heading {
				t.Errorf("%s: %s", got, line)
			}
		})
	}
	w := rotate.BeginKey("x", newKey(asked("x"), switching))
	frame := strings.Join(w.Frame(now, status.Style{}), "\n")
	for _, want := range []string{"✓ DistributingTrust", "▶ SwitchingSigner", "1/2", "APIServerCertificate/m2: start its agent"} {
		if !strings.Contains(frame, want) {
			t.Errorf("%q is missing in\n%s", want, frame)
		}
	}
}

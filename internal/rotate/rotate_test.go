package rotate_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/internal/rotate"
	"clusterpki.io/operator/internal/status"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func ready() []metav1.Condition {
	return []metav1.Condition{{Type: v1alpha1.ReadyCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonIssued}}
}

func mounted(d time.Duration) v1alpha1.DeliverySpec {
	return v1alpha1.DeliverySpec{Mode: v1alpha1.DeliveryMounted, PropagationDelay: metav1.Duration{Duration: d}}
}

func newCA(mods ...func(*v1alpha1.ClusterCA)) *v1alpha1.ClusterCA {
	c := &v1alpha1.ClusterCA{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "k8s"}}
	c.Spec.Rotation = v1alpha1.RotationSpec{Mode: v1alpha1.RotationSafe, KeyPolicy: v1alpha1.KeyReplace, MaxUnavailable: new(intstr.FromString("25%"))}
	c.Status.Conditions = ready()
	c.Status.Certificate = v1alpha1.CertificateStatus{IssuerGeneration: 1, NotAfter: metav1.NewTime(now.Add(100 * 24 * time.Hour))}
	for _, m := range mods {
		m(c)
	}
	return c
}

// cluster is an API server, and credentials: one is carried by hand, and one is not Ready.
func cluster(ca *v1alpha1.ClusterCA, n int) status.Objects {
	s := v1alpha1.APIServerCertificate{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "k8s-master"}}
	s.Spec.CARef.Name, s.Spec.Delivery, s.Status.Conditions = "k8s", mounted(10*time.Minute), ready()
	s.Spec.Probe = &v1alpha1.ProbeSpec{}
	o := status.Objects{CAs: []v1alpha1.ClusterCA{*ca}, Servers: []v1alpha1.APIServerCertificate{s}}
	other := v1alpha1.NodeCredential{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "of-another-ca"}} // and not Ready
	other.Spec.CARef.Name = "etcd"
	o.Credentials = append(o.Credentials, other)
	for i := range n {
		c := v1alpha1.NodeCredential{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: fmt.Sprintf("node%d", i)}}
		c.Spec.CARef.Name, c.Spec.Delivery, c.Status.Conditions = "k8s", mounted(5*time.Minute), ready()
		switch i {
		case 0:
			c.Spec.Delivery.Mode = v1alpha1.DeliveryManual
		case 1:
			c.Status.Conditions = []metav1.Condition{{Type: "Ready", Status: metav1.ConditionFalse, Reason: "SecretConflict", Message: "Secret is taken"}}
		}
		o.Credentials = append(o.Credentials, c)
	}
	return o
}

func TestPlan(t *testing.T) {
	ca := newCA()
	text, err := rotate.NewPlan(now, ca, cluster(ca, 7), "2026-11").Text(now, status.Style{}, false)
	if err != nil {
		t.Fatal(err)
	}
	want := `ClusterCA/k8s in prod: generation 1 signs, until 2027-03-03 (in 100d)

To replace it, change this one field, in Git if the object comes from there:

    apiVersion: clusterpki.io/v1alpha1
    kind: ClusterCA
    metadata:
      name: k8s
      namespace: prod
    spec:
      rotation:
        revision: "2026-11"

or in the cluster, by this command with --apply, or by

    kubectl patch clusterca k8s -n prod --type=merge --field-manager=clusterpki-rotate -p '{"spec":{"rotation":{"revision":"2026-11"}}}'

What happens then:

  1  Preparing          a new key is made
  2  DistributingTrust  both CAs are trusted, the old one signs
                        waits for 8 consumers, at least 10m
  3  Reissuing          the new CA signs, and every certificate is issued again, 2 at a time
                        waits for 8 consumers, at least 20m
  4  WithdrawingTrust   the new CA is trusted alone, then the old key is deleted
                        waits for 8 consumers, at least 10m

It takes at least 40m.
It waits until delivery.acknowledged states what is in use at: NodeCredential/node0
It waits until the probe has seen the change at: APIServerCertificate/k8s-master

warning  NodeCredential/node1 may hold it up: NotReady: SecretConflict: Secret is taken
`
	if diff := cmp.Diff(want, text); diff != "" {
		t.Error(diff, "\n", text)
	}
}

// TestPlans has the other ways to replace a CA, and how long each takes at least.
func TestPlans(t *testing.T) {
	for name, c := range map[string]struct {
		mod     func(*v1alpha1.ClusterCA)
		none    bool
		phases  string
		least   time.Duration
		warning string
	}{
		"without consumers": {none: true, phases: "Preparing DistributingTrust Reissuing WithdrawingTrust", least: 3 * plan.Settling},
		"emergency": {
			mod:    func(c *v1alpha1.ClusterCA) { c.Spec.Rotation.Mode = v1alpha1.RotationEmergency },
			phases: "Preparing WithdrawingTrust", least: 10 * time.Minute, warning: "distrusted at once",
		},
		"the same key": {
			mod:    func(c *v1alpha1.ClusterCA) { c.Spec.Rotation.KeyPolicy = v1alpha1.KeyReuse },
			phases: "Preparing WithdrawingTrust", least: 10 * time.Minute,
		},
		"imported": {
			mod: func(c *v1alpha1.ClusterCA) {
				c.Spec.Source = &v1alpha1.CASource{Import: &v1alpha1.ImportSource{SecretRef: v1alpha1.SecretReference{Name: "corp"}}}
			},
			phases: "Preparing DistributingTrust Reissuing WithdrawingTrust", least: 30 * time.Minute, warning: `into Secret "corp"`,
		},
		"under way": {
			mod:    func(c *v1alpha1.ClusterCA) { c.Status.Rotation.Phase = "Reissuing" },
			phases: "Preparing DistributingTrust Reissuing WithdrawingTrust", least: 30 * time.Minute, warning: "is under way (Reissuing)",
		},
		"kept by Flux": {
			mod:    func(c *v1alpha1.ClusterCA) { c.Labels = map[string]string{"kustomize.toolkit.fluxcd.io/name": "pki"} },
			phases: "Preparing DistributingTrust Reissuing WithdrawingTrust", least: 30 * time.Minute, warning: "Flux keeps this object",
		},
	} {
		t.Run(name, func(t *testing.T) {
			ca := newCA()
			if c.mod != nil {
				c.mod(ca)
			}
			o := cluster(ca, 1)
			if c.none {
				o = status.Objects{CAs: o.CAs}
			}
			p := rotate.NewPlan(now, ca, o, "x")
			var phases []string
			for _, phase := range p.Phases {
				phases = append(phases, string(phase.Phase))
			}
			if got := strings.Join(phases, " "); got != c.phases || p.Least != c.least {
				t.Errorf("%s, %s", got, p.Least)
			}
			if (c.warning == "") != (len(p.Warnings) == 0) || !strings.Contains(strings.Join(p.Warnings, "\n"), c.warning) {
				t.Errorf("the warnings are %q", p.Warnings)
			}
		})
	}
}

func TestPatch(t *testing.T) {
	text, err := rotate.Patch(`"it's"`, "7")
	if err != nil {
		t.Fatal(err)
	}
	var ca v1alpha1.ClusterCA
	if err := json.Unmarshal(text, &ca); err != nil || ca.Spec.Rotation.Revision != `"it's"` || ca.ResourceVersion != "7" {
		t.Errorf("%v: %s", err, text)
	}
}

// ledgerOf has generations as '1 Signing r1'.
func ledgerOf(t *testing.T, texts ...string) plan.Ledger {
	t.Helper()
	l := plan.Ledger{Since: now}
	for _, text := range texts {
		f := strings.Fields(text + " -")
		g := plan.Generation{State: plan.State(f[1]), Trigger: strings.Trim(f[2], "-")}
		if _, err := fmt.Sscan(f[0], &g.Number); err != nil {
			t.Fatal(err)
		}
		l.Generations = append(l.Generations, g)
	}
	return l
}

// TestOutcome says when a replacement is over, and when it only looks so.
func TestOutcome(t *testing.T) {
	seen := func(l plan.Ledger, revision, phase string, generation, observed int64, more ...metav1.Condition) rotate.Seen {
		ca := newCA()
		ca.Generation, ca.Spec.Rotation.Revision = generation, revision
		ca.Status.ObservedGeneration, ca.Status.Rotation.Phase = observed, phase
		for _, c := range more {
			c.ObservedGeneration = observed
			ca.Status.Conditions = append(ca.Status.Conditions, c)
		}
		return rotate.Seen{CA: ca, Ledger: l}
	}
	stalled := metav1.Condition{Type: "Stalled", Status: metav1.ConditionTrue}
	before, after := ledgerOf(t, "1 Signing r1"), ledgerOf(t, "2 Signing r2")
	under := ledgerOf(t, "1 Retiring r1", "2 Signing r2")
	steady := seen(before, "r1", "", 1, 1)
	for name, c := range map[string]struct {
		want string
		seen []rotate.Seen
		end  rotate.Outcome
	}{
		"nothing begins":                       {"", []rotate.Seen{steady, steady}, rotate.Going},
		"it is not in the spec yet":            {"r2", []rotate.Seen{steady, steady}, rotate.Going},
		"the operator has not seen it":         {"r2", []rotate.Seen{seen(before, "r2", "", 2, 1)}, rotate.Going},
		"it was done already":                  {"r1", []rotate.Seen{steady}, rotate.Completed},
		"completed":                            {"r2", []rotate.Seen{steady, seen(under, "r2", "Reissuing", 2, 2), seen(after, "r2", "", 2, 2)}, rotate.Completed},
		"completed, and nothing seen between":  {"r2", []rotate.Seen{steady, seen(after, "r2", "", 2, 2)}, rotate.Completed},
		"the ledger is done, not the status":   {"r2", []rotate.Seen{steady, seen(after, "r2", "WithdrawingTrust", 2, 2)}, rotate.Going},
		"the status is done, not the ledger":   {"r2", []rotate.Seen{steady, seen(under, "r2", "", 2, 2)}, rotate.Going},
		"completed, and asked for once more":   {"r2", []rotate.Seen{steady, seen(after, "r3", "", 3, 3)}, rotate.Going},
		"completed, and another field changed": {"r2", []rotate.Seen{steady, seen(after, "r2", "", 3, 2)}, rotate.Going},
		"any one, under way":                   {"", []rotate.Seen{seen(under, "r2", "Reissuing", 2, 2)}, rotate.Going},
		"any one, completed":                   {"", []rotate.Seen{seen(under, "r2", "Reissuing", 2, 2), seen(after, "r2", "", 2, 2)}, rotate.Completed},
		"any one, from the beginning":          {"", []rotate.Seen{steady, seen(after, "r2", "", 2, 2)}, rotate.Completed},
		"another revision came after":          {"r2", []rotate.Seen{seen(before, "r2", "", 2, 1), seen(ledgerOf(t, "3 Signing r3"), "r3", "", 3, 3)}, rotate.Completed},
		"taken back":                           {"r2", []rotate.Seen{seen(before, "r2", "", 2, 1), seen(before, "r1", "", 3, 3)}, rotate.GivenUp},
		"taken back after it was published":    {"", []rotate.Seen{seen(ledgerOf(t, "1 Signing r1", "2 Withdrawn r2"), "r1", "WithdrawingTrust", 3, 3), seen(before, "r1", "", 3, 3)}, rotate.GivenUp},
		"stalled before it began":              {"r2", []rotate.Seen{seen(before, "r2", "", 2, 2, stalled)}, rotate.Stuck},
		"stalled, of the spec before":          {"r2", []rotate.Seen{seen(before, "r2", "", 2, 1, stalled)}, rotate.Going},
		"stalled, before the spec was changed": {"r2", []rotate.Seen{seen(before, "r1", "", 1, 1, stalled)}, rotate.Going},
		"stalled, before it is asked for":      {"r3", []rotate.Seen{seen(before, "r2", "", 2, 2, stalled)}, rotate.Going},
		"stalled on its way":                   {"r2", []rotate.Seen{seen(under, "r2", "Reissuing", 2, 2, stalled)}, rotate.Going},
		"there is no ledger":                   {"r2", []rotate.Seen{seen(plan.Ledger{}, "r2", "", 2, 2)}, rotate.Going},
	} {
		t.Run(name, func(t *testing.T) {
			w := rotate.Begin(c.want, c.seen[0])
			var got rotate.Outcome
			for _, s := range c.seen {
				got = w.Look(s)
			}
			if got != c.end {
				t.Errorf("%s instead of %s: %q", got, c.end, w.Lines())
			}
		})
	}
}

// TestAlerts leaves out what the operator said of an older spec.
func TestAlerts(t *testing.T) {
	ca := newCA(func(c *v1alpha1.ClusterCA) {
		c.Generation = 2
		c.Status.Conditions = append(c.Status.Conditions,
			metav1.Condition{Type: "Stalled", Status: metav1.ConditionTrue, Message: "older", ObservedGeneration: 1},
			metav1.Condition{Type: "RotationBlocked", Status: metav1.ConditionTrue, Message: "present", ObservedGeneration: 2})
	})
	w := rotate.Begin("", rotate.Seen{CA: ca, Ledger: ledgerOf(t, "1 Signing")})
	if diff := cmp.Diff([]string{"RotationBlocked: present"}, w.Alerts()); diff != "" {
		t.Error(diff)
	}
}

// TestFrame shows what a terminal draws in the middle and at the end.
func TestFrame(t *testing.T) {
	at := func(phase string, since time.Duration, acked, required int32, pending ...string) *v1alpha1.ClusterCA {
		return newCA(func(c *v1alpha1.ClusterCA) {
			c.Spec.Rotation.Revision = "r2"
			c.Status.Rotation = v1alpha1.RotationStatus{
				Phase: phase, Trigger: "RevisionChanged", From: 1, To: 2, StartTime: metav1.NewTime(now), PhaseTime: metav1.NewTime(now.Add(since)),
				Gates: []v1alpha1.GateStatus{{Name: phase, Acknowledged: &acked, Required: &required, Pending: pending}},
			}
		})
	}
	frame := func(w *rotate.Watch, at time.Duration) string {
		return strings.Join(w.Frame(now.Add(at), status.Style{Width: 60}), "\n") + "\n"
	}
	w := rotate.Begin("r2", rotate.Seen{CA: at("DistributingTrust", 2*time.Second, 0, 3), Ledger: ledgerOf(t, "1 Signing r1", "2 Trusted r2")})
	blocked := at("Reissuing", 602*time.Second, 1, 3, "NodeCredential/node1-kubelet", "NodeCredential/node1-proxy")
	blocked.Status.Conditions = append(blocked.Status.Conditions, metav1.Condition{
		Type: v1alpha1.RotationBlockedCondition, Status: metav1.ConditionTrue, Message: "the phase has waited for longer than spec.rotation.timeout",
	})
	w.Look(rotate.Seen{CA: blocked, Ledger: ledgerOf(t, "1 Retiring r1", "2 Signing r2")})
	want := `ClusterCA/k8s in prod: generation 1 → 2 (RevisionChanged), for 12m 3s

  ✓ Preparing          2s
  ✓ DistributingTrust  10m
  ▶ Reissuing          2m 1s    ██████░░░░░░░░░░░░░░ 1/3
      waits for NodeCredential/node1-kubelet,
      NodeCredential/node1-proxy
  · WithdrawingTrust
  ! RotationBlocked: the phase has waited for longer than
    spec.rotation.timeout
`
	if diff := cmp.Diff(want, frame(w, 723*time.Second)); diff != "" {
		t.Error(diff)
	}

	w.Look(rotate.Seen{CA: at("WithdrawingTrust", 1202*time.Second, 0, 3), Ledger: ledgerOf(t, "1 Withdrawn r1", "2 Signing r2")})
	done := newCA(func(c *v1alpha1.ClusterCA) { c.Spec.Rotation.Revision = "r2" })
	before := w.Lines()
	if w.Look(rotate.Seen{CA: done, Ledger: ledgerOf(t, "1 Withdrawn r1", "2 Signing r2")}); !cmp.Equal(before, w.Lines()) {
		t.Errorf("half of the news is no news: %q", w.Lines())
	}
	l := ledgerOf(t, "2 Signing r2")
	l.Since = now.Add(1803 * time.Second)
	w.Look(rotate.Seen{CA: done, Ledger: l})
	want = `ClusterCA/k8s in prod: Completed: generation 2 signs and is trusted alone, after 30m 3s

  ✓ Preparing          2s
  ✓ DistributingTrust  10m
  ✓ Reissuing          10m
  ✓ WithdrawingTrust   10m 1s
`
	if diff := cmp.Diff(want, frame(w, 2000*time.Second)); diff != "" {
		t.Error(diff)
	}

	early := rotate.Begin("", rotate.Seen{CA: at("WithdrawingTrust", 0, 0, 3), Ledger: plan.Ledger{Emergency: true, Generations: ledgerOf(t, "1 Withdrawn r1", "2 Signing r2").Generations}})
	if got := frame(early, time.Minute); !strings.Contains(got, "  - DistributingTrust\n  - Reissuing\n  ▶ WithdrawingTrust   1m ") || !strings.Contains(got, "  ✓ Preparing          0s\n") {
		t.Error(got)
	}
}

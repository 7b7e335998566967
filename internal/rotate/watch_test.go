package rotate_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/rotate"
	"clusterpki.io/operator/internal/status"
)

// generationsOf are those of a status, as '1 Active r1'.
func generationsOf(t *testing.T, texts ...string) []v1alpha1.GenerationStatus {
	t.Helper()
	var out []v1alpha1.GenerationStatus
	for _, text := range texts {
		var g v1alpha1.GenerationStatus
		if _, err := fmt.Sscan(text, &g.Number, &g.State, &g.Trigger); err != nil {
			t.Fatal(err)
		}
		out = append(out, g)
	}
	return out
}

// ended is a rotation that began a number of minutes after noon, and has ended.
func ended(minutes int, trigger string, result v1alpha1.RotationResult) func(*v1alpha1.ClusterCA) {
	return func(c *v1alpha1.ClusterCA) {
		start := now.Add(time.Duration(minutes) * time.Minute)
		c.Status.LastRotation = v1alpha1.LastRotationStatus{
			From: 1, To: 2, Trigger: trigger, Result: result, StartTime: metav1.NewTime(start), EndTime: metav1.NewTime(start.Add(time.Hour)),
		}
	}
}

// TestOutcome says when a rotation is over, and when it only looks so.
func TestOutcome(t *testing.T) {
	snapshot := func(generations []v1alpha1.GenerationStatus, trigger string, phase v1alpha1.Phase, generation, observed int64, mods ...func(*v1alpha1.ClusterCA)) rotate.Snapshot {
		ca := newCA()
		ca.Generation, ca.Spec.Rotation.Trigger = generation, trigger
		ca.Status.ObservedGeneration, ca.Status.Generations = observed, generations
		if phase != "" {
			ca.Status.Rotation = v1alpha1.RotationStatus{Phase: phase, From: 1, To: 2}
		}
		for _, m := range mods {
			m(ca)
		}
		return rotate.Snapshot{CA: ca}
	}
	stalled := func(c *v1alpha1.ClusterCA) {
		c.Status.Conditions = append(c.Status.Conditions, metav1.Condition{
			Type: "Stalled", Status: metav1.ConditionTrue, ObservedGeneration: c.Status.ObservedGeneration,
		})
	}
	before, after := generationsOf(t, "1 Active r1"), generationsOf(t, "2 Active r2")
	under := generationsOf(t, "1 Retiring r1", "2 Active r2")
	steady := snapshot(before, "r1", "", 1, 1)
	completed, rolledBack := ended(1, "r2", v1alpha1.RotationCompleted), ended(1, "r2", v1alpha1.RotationRolledBack)
	for name, c := range map[string]struct {
		want      string
		snapshots []rotate.Snapshot
		end       rotate.Outcome
	}{
		"nothing begins":                       {"", []rotate.Snapshot{steady, steady}, rotate.Going},
		"nothing begins, and one was before":   {"", []rotate.Snapshot{snapshot(before, "r1", "", 1, 1, rolledBack), snapshot(before, "r1", "", 1, 1, rolledBack)}, rotate.Going},
		"it is not in the spec yet":            {"r2", []rotate.Snapshot{steady, steady}, rotate.Going},
		"the operator has not seen it":         {"r2", []rotate.Snapshot{snapshot(before, "r2", "", 2, 1)}, rotate.Going},
		"it was done already":                  {"r1", []rotate.Snapshot{steady}, rotate.Completed},
		"completed":                            {"r2", []rotate.Snapshot{steady, snapshot(under, "r2", "Reissuing", 2, 2), snapshot(after, "r2", "", 2, 2, completed)}, rotate.Completed},
		"completed, and nothing seen between":  {"r2", []rotate.Snapshot{steady, snapshot(after, "r2", "", 2, 2, completed)}, rotate.Completed},
		"the new one signs, and it goes on":    {"r2", []rotate.Snapshot{steady, snapshot(under, "r2", "WithdrawingTrust", 2, 2)}, rotate.Going},
		"completed, and asked for once more":   {"r2", []rotate.Snapshot{steady, snapshot(after, "r3", "", 3, 2, completed)}, rotate.Going},
		"completed, and another field changed": {"r2", []rotate.Snapshot{steady, snapshot(after, "r2", "", 3, 2, completed)}, rotate.Going},
		"any one, under way":                   {"", []rotate.Snapshot{snapshot(under, "r2", "Reissuing", 2, 2)}, rotate.Going},
		"any one, completed":                   {"", []rotate.Snapshot{snapshot(under, "r2", "Reissuing", 2, 2), snapshot(after, "r2", "", 2, 2, completed)}, rotate.Completed},
		"any one, from the beginning":          {"", []rotate.Snapshot{steady, snapshot(after, "r2", "", 2, 2, completed)}, rotate.Completed},
		"any one, of any cause":                {"", []rotate.Snapshot{snapshot(generationsOf(t, "1 Active r1", "2 Trusted r1"), "r1", "DistributingTrust", 2, 2), snapshot(generationsOf(t, "2 Active r1"), "r1", "", 2, 2)}, rotate.Completed},
		"another trigger came after":           {"r2", []rotate.Snapshot{snapshot(before, "r2", "", 2, 1), snapshot(generationsOf(t, "3 Active r3"), "r3", "", 3, 3)}, rotate.Completed},
		"rolled back before it began":          {"r2", []rotate.Snapshot{snapshot(before, "r2", "", 2, 1), snapshot(before, "r1", "", 3, 3)}, rotate.RolledBack},
		"being rolled back":                    {"r2", []rotate.Snapshot{snapshot(before, "r2", "", 2, 1), snapshot(generationsOf(t, "1 Active r1", "2 Withdrawn r2"), "r1", "WithdrawingTrust", 3, 3)}, rotate.Going},
		"rolled back, any one":                 {"", []rotate.Snapshot{snapshot(generationsOf(t, "1 Active r1", "2 Withdrawn r2"), "r1", "WithdrawingTrust", 3, 3), snapshot(before, "r1", "", 3, 3, rolledBack)}, rotate.RolledBack},
		"begun anew after another edit":        {"", []rotate.Snapshot{snapshot(generationsOf(t, "1 Active r1", "2 Trusted r2"), "r2", "DistributingTrust", 2, 2), snapshot(before, "r2", "", 3, 3, rolledBack)}, rotate.Going},
		"rolled back by a former trigger":      {"", []rotate.Snapshot{snapshot(generationsOf(t, "1 Active r1", "2 Trusted r2"), "r2", "DistributingTrust", 2, 2), snapshot(before, "r0", "", 3, 3, rolledBack)}, rotate.RolledBack},
		"stalled before it began":              {"r2", []rotate.Snapshot{snapshot(before, "r2", "", 2, 2, stalled)}, rotate.Stalled},
		"stalled, of the spec before":          {"r2", []rotate.Snapshot{snapshot(before, "r2", "", 2, 1, stalled)}, rotate.Going},
		"stalled, before the spec was changed": {"r2", []rotate.Snapshot{snapshot(before, "r1", "", 1, 1, stalled)}, rotate.Going},
		"stalled, before it is asked for":      {"r3", []rotate.Snapshot{snapshot(before, "r2", "", 2, 2, stalled)}, rotate.Going},
		"stalled on its way":                   {"r2", []rotate.Snapshot{snapshot(under, "r2", "Reissuing", 2, 2, stalled)}, rotate.Going},
		"there is no CA yet":                   {"r2", []rotate.Snapshot{snapshot(nil, "r2", "", 2, 2)}, rotate.Going},
	} {
		t.Run(name, func(t *testing.T) {
			w := rotate.Begin(c.want, c.snapshots[0])
			var got rotate.Outcome
			for _, s := range c.snapshots {
				got = w.Observe(s)
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
	w := rotate.Begin("", rotate.Snapshot{CA: ca})
	if diff := cmp.Diff([]string{"RotationBlocked: present"}, w.Alerts()); diff != "" {
		t.Error(diff)
	}
}

// phases are those of a rotation: how many seconds after noon each began, -1 for one that is skipped.
func phases(active bool, began ...int) []v1alpha1.PhaseStatus {
	var out []v1alpha1.PhaseStatus
	for i, name := range v1alpha1.Phases() {
		p := v1alpha1.PhaseStatus{Name: name, State: v1alpha1.PhasePending}
		switch {
		case i >= len(began):
		case began[i] < 0:
			p.State = v1alpha1.PhaseSkipped
		default:
			p.State, p.StartTime = v1alpha1.PhaseDone, metav1.NewTime(now.Add(time.Duration(began[i])*time.Second))
			if i+1 < len(began) {
				p.EndTime = metav1.NewTime(now.Add(time.Duration(began[i+1]) * time.Second))
			} else if active {
				p.State = v1alpha1.PhaseActive
			}
		}
		out = append(out, p)
	}
	return out
}

// TestFrame shows what a terminal draws in the middle and at the end.
func TestFrame(t *testing.T) {
	at := func(phase v1alpha1.Phase, acknowledged, required int32, pending []v1alpha1.PendingConsumer, began ...int) *v1alpha1.ClusterCA {
		return newCA(func(c *v1alpha1.ClusterCA) {
			c.Spec.Rotation.Trigger = "r2"
			c.Status.Generations = generationsOf(t, "1 Retiring r1", "2 Active r2")
			c.Status.Rotation = v1alpha1.RotationStatus{
				Phase: phase, Reason: v1alpha1.RotationTriggerChanged, From: 1, To: 2, StartTime: metav1.NewTime(now), Phases: phases(true, began...),
				Acknowledged: &acknowledged, Required: &required, PendingCount: new(required - acknowledged), Pending: pending,
			}
		})
	}
	frame := func(w *rotate.Watch, at time.Duration) string {
		return strings.Join(w.Frame(now.Add(at), status.Style{Width: 60}), "\n") + "\n"
	}
	w := rotate.Begin("r2", rotate.Snapshot{CA: at(v1alpha1.PhaseDistributingTrust, 0, 3, nil, 0)})
	blocked := at(v1alpha1.PhaseReissuing, 1, 3, []v1alpha1.PendingConsumer{
		{Kind: "NodeCredential", Name: "node1-kubelet", Reason: "NotAcknowledged", Edit: "set spec.delivery.acknowledged"},
		{Kind: "NodeCredential", Name: "node1-proxy", Reason: "NotInUse"},
	}, 0, 602)
	blocked.Status.Conditions = append(blocked.Status.Conditions, metav1.Condition{
		Type: v1alpha1.RotationBlockedCondition, Status: metav1.ConditionTrue, Message: "the phase has waited for longer than spec.rotation.progressDeadline",
	})
	w.Observe(rotate.Snapshot{CA: blocked})
	want := `ClusterCA/k8s in prod: generation 1 → 2 (TriggerChanged), for 12m 3s

  ✓ DistributingTrust  10m 2s
  ▶ Reissuing          2m 1s    ██████░░░░░░░░░░░░░░ 1/3
      waits for NodeCredential/node1-kubelet
      (NotAcknowledged), NodeCredential/node1-proxy
      (NotInUse)
      NodeCredential/node1-kubelet: set
        spec.delivery.acknowledged
  · WithdrawingTrust
  its end is not known: NodeCredential/node1-kubelet waits
  for a person
  ! RotationBlocked: the phase has waited for longer than
    spec.rotation.progressDeadline
`
	if diff := cmp.Diff(want, frame(w, 723*time.Second)); diff != "" {
		t.Error(diff)
	}
	assumed := at(v1alpha1.PhaseReissuing, 1, 4, []v1alpha1.PendingConsumer{{Kind: "NodeCredential", Name: "n", Reason: "Assumed"}}, 0, 602)
	assumed.Status.Rotation.ID, assumed.Status.Rotation.Assumed = "k8s/r2.g2", new(int32(3))
	assumed.Status.Conditions = append(assumed.Status.Conditions, metav1.Condition{Type: v1alpha1.WithdrawalPendingCondition, Status: metav1.ConditionTrue})
	w.Observe(rotate.Snapshot{CA: assumed})
	for _, text := range []string{"█████▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒ 1/4, 3 assumed\n", "n (Assumed), and 2 more\n", "spec.rotation.approved.withdrawal of ClusterCA/k8s\n        to 'k8s/r2.g2',"} {
		if got := frame(w, 723*time.Second); !strings.Contains(got, text) {
			t.Errorf("%q is not in\n%s", text, got)
		}
	}
	done := newCA(func(c *v1alpha1.ClusterCA) {
		c.Spec.Rotation.Trigger, c.Status.Generations = "r2", generationsOf(t, "2 Active r2")
		last := phases(false, 0, 602, 1202)
		last[2].EndTime = metav1.NewTime(now.Add(1803 * time.Second))
		c.Status.LastRotation = v1alpha1.LastRotationStatus{
			From: 1, To: 2, Result: v1alpha1.RotationCompleted, StartTime: metav1.NewTime(now), EndTime: last[2].EndTime, Phases: last,
		}
	})
	w.Observe(rotate.Snapshot{CA: done})
	want = `ClusterCA/k8s in prod: completed: generation 2 signs and is trusted alone, after 30m 3s

  ✓ DistributingTrust  10m 2s
  ✓ Reissuing          10m
  ✓ WithdrawingTrust   10m 1s
`
	if diff := cmp.Diff(want, frame(w, 2000*time.Second)); diff != "" {
		t.Error(diff)
	}

	emergency := at(v1alpha1.PhaseWithdrawingTrust, 0, 3, nil, -1, -1, 0)
	emergency.Status.Rotation.Emergency = new(true)
	early := rotate.Begin("", rotate.Snapshot{CA: emergency})
	if got := frame(early, time.Minute); !strings.Contains(got, "  - DistributingTrust  not needed\n  - Reissuing          not needed\n  ▶ WithdrawingTrust   1m ") {
		t.Error(got)
	}
}

// TestFrameRolledBack: what never happened is not ticked, and the old CA is not said to be gone.
func TestFrameRolledBack(t *testing.T) {
	w := rotate.Begin("", rotate.Snapshot{CA: newCA(func(c *v1alpha1.ClusterCA) {
		c.Status.Generations = generationsOf(t, "1 Active r1", "2 Trusted r2")
		c.Status.Rotation = v1alpha1.RotationStatus{
			Phase: v1alpha1.PhaseDistributingTrust, From: 1, To: 2, StartTime: metav1.NewTime(now), Phases: phases(true, 0),
		}
	})})
	w.Observe(rotate.Snapshot{CA: newCA(ended(0, "r2", v1alpha1.RotationRolledBack), func(c *v1alpha1.ClusterCA) {
		c.Spec.Rotation.Trigger, c.Status.Generations = "r1", generationsOf(t, "1 Active r1")
		c.Status.LastRotation.Phases = phases(false, 0, 600, 600)
	})})
	want := `ClusterCA/k8s in prod: rolled back: generation 1 signs as before, and generation 2 has signed nothing, after 1h

  - DistributingTrust  10m      broken off
  - Reissuing          not reached
  ✓ WithdrawingTrust   50m
`
	if diff := cmp.Diff(want, strings.Join(w.Frame(now.Add(2*time.Hour), status.Style{}), "\n")+"\n"); diff != "" {
		t.Error(diff)
	}
}

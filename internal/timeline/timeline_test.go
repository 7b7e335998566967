package timeline_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/timeline"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// at is a moment, in minutes from noon.
func at(minutes int) metav1.Time {
	return metav1.NewTime(noon.Add(time.Duration(minutes) * time.Minute))
}

// phases are those of a rotation, as 'Done 0 10', 'Active 10', 'Pending' or 'Skipped', in minutes from noon.
func phases(t *testing.T, texts ...string) []v1alpha1.PhaseStatus {
	t.Helper()
	var out []v1alpha1.PhaseStatus
	for i, text := range texts {
		p := v1alpha1.PhaseStatus{Name: v1alpha1.Phases()[i]}
		start, end := -1, -1
		if _, err := fmt.Sscan(text+" -1 -1", &p.State, &start, &end); err != nil {
			t.Fatal(err)
		}
		if start >= 0 {
			p.StartTime = at(start)
		}
		if end >= 0 {
			p.EndTime = at(end)
		}
		out = append(out, p)
	}
	return out
}

func under(t *testing.T, texts ...string) v1alpha1.RotationStatus {
	t.Helper()
	s := v1alpha1.RotationStatus{From: 1, To: 2, Reason: v1alpha1.RotationSpecChanged, StartTime: at(0), Phases: phases(t, texts...)}
	for _, p := range s.Phases {
		if p.State == v1alpha1.PhaseActive {
			s.Phase = p.Name
		}
	}
	return s
}

func over(t *testing.T, result v1alpha1.RotationResult, end int, texts ...string) v1alpha1.LastRotationStatus {
	t.Helper()
	return v1alpha1.LastRotationStatus{
		From: 1, To: 2, Reason: v1alpha1.RotationSpecChanged, Result: result, StartTime: at(0), EndTime: at(end), Phases: phases(t, texts...),
	}
}

func counted(acknowledged, required int32, pending ...v1alpha1.PendingConsumer) func(*v1alpha1.RotationStatus) {
	return func(s *v1alpha1.RotationStatus) {
		s.Acknowledged, s.Required, s.PendingCount, s.Pending = &acknowledged, &required, new(required-acknowledged), pending
	}
}

func caOf(mods ...func(*v1alpha1.ClusterCA)) *v1alpha1.ClusterCA {
	c := &v1alpha1.ClusterCA{ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "k8s"}}
	c.Spec.Rotation.MaxUnavailable = new(intstr.FromString("25%"))
	for _, m := range mods {
		m(c)
	}
	return c
}

func rotating(s v1alpha1.RotationStatus, mods ...func(*v1alpha1.RotationStatus)) func(*v1alpha1.ClusterCA) {
	return func(c *v1alpha1.ClusterCA) {
		c.Status.Rotation = s
		for _, m := range mods {
			m(&c.Status.Rotation)
		}
	}
}

// drawn is a rotation in words, a line for each phase.
func drawn(r timeline.Rotation) string {
	var b strings.Builder
	b.WriteString(r.Title())
	if r.Over() {
		b.WriteString("; " + r.Outcome())
	}
	for _, s := range r.Steps {
		fmt.Fprintf(&b, "\n%s %s", s.Phase, s.Word)
		if s.Took >= 0 {
			fmt.Fprintf(&b, " %.0fm", s.Took.Minutes())
		}
	}
	return b.String()
}

func TestUnderWay(t *testing.T) {
	yes := true
	isEmergency := func(s *v1alpha1.RotationStatus) { s.Emergency = &yes }
	for name, c := range map[string]struct {
		ca   *v1alpha1.ClusterCA
		want string
	}{
		"safe": {
			caOf(rotating(under(t, "Done 0 10", "Active 10", "Pending"))),
			"generation 1 → 2 (SpecChanged)\nDistributingTrust done 10m\nReissuing under way 5m\nWithdrawingTrust to come",
		},
		"what was done is not 'not needed', whatever the spec says meanwhile": {
			caOf(rotating(under(t, "Done 0 5", "Done 5 10", "Active 10")), func(c *v1alpha1.ClusterCA) {
				c.Spec.Rotation.KeyPolicy = v1alpha1.KeyReuse
			}),
			"generation 1 → 2 (SpecChanged)\nDistributingTrust done 5m\nReissuing done 5m\nWithdrawingTrust under way 5m",
		},
		"emergency": {
			caOf(rotating(under(t, "Skipped", "Skipped", "Active 0"), isEmergency)),
			"emergency: generation 1 → 2 (SpecChanged)\nDistributingTrust not needed\nReissuing not needed\nWithdrawingTrust under way 15m",
		},
		"an emergency in the middle": {
			caOf(rotating(under(t, "Done 0 10", "Done 10 12", "Active 12"), isEmergency)),
			"emergency: generation 1 → 2 (SpecChanged)\nDistributingTrust done 10m\nReissuing broken off 2m\nWithdrawingTrust under way 3m",
		},
		"an emergency in place of another rotation": {
			caOf(rotating(under(t, "Skipped", "Skipped", "Active 10"), isEmergency, func(s *v1alpha1.RotationStatus) { s.To, s.StartTime = 3, at(10) }),
				func(c *v1alpha1.ClusterCA) {
					c.Status.LastRotation = over(t, v1alpha1.RotationSuperseded, 10, "Done 0 10", "Skipped", "Skipped")
				}),
			"emergency: generation 1 → 3, in place of the rotation to generation 2 (SpecChanged)\n" +
				"DistributingTrust not needed\nReissuing not needed\nWithdrawingTrust under way 5m",
		},
		"the same key": {
			caOf(rotating(under(t, "Skipped", "Skipped", "Active 0"), func(s *v1alpha1.RotationStatus) { s.SameKey = &yes })),
			"generation 1 → 2 with the same key (SpecChanged)\nDistributingTrust not needed\nReissuing not needed\nWithdrawingTrust under way 15m",
		},
		"rolled back before the switch": {
			caOf(rotating(under(t, "Done 0 10", "Done 10 10", "Active 10"), func(s *v1alpha1.RotationStatus) { s.Result = v1alpha1.RotationRolledBack })),
			"generation 2 is rolled back, and generation 1 stays (SpecChanged)\n" +
				"DistributingTrust broken off 10m\nReissuing not reached\nWithdrawingTrust under way 5m",
		},
		"a status that names no phases": {
			caOf(rotating(v1alpha1.RotationStatus{Phase: v1alpha1.PhaseReissuing, From: 1, To: 2})),
			"generation 1 → 2\nDistributingTrust to come\nReissuing to come\nWithdrawingTrust to come",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, ok := timeline.UnderWay(at(15).Time, c.ca, nil)
			if diff := cmp.Diff(c.want, drawn(r)); !ok || diff != "" {
				t.Errorf("%v (-want +got):\n%s", ok, diff)
			}
		})
	}
	if _, ok := timeline.UnderWay(noon, caOf(), nil); ok {
		t.Error("a rotation is under way of which the status says nothing")
	}
}

func emergencyOf(s v1alpha1.LastRotationStatus) v1alpha1.LastRotationStatus {
	s.Emergency = new(true)
	return s
}

func TestLast(t *testing.T) {
	for name, c := range map[string]struct {
		last v1alpha1.LastRotationStatus
		want string
	}{
		"completed": {
			over(t, v1alpha1.RotationCompleted, 30, "Done 0 10", "Done 10 20", "Done 20 30"),
			"generation 1 → 2 (SpecChanged); completed: generation 2 signs and is trusted alone\n" +
				"DistributingTrust done 10m\nReissuing done 10m\nWithdrawingTrust done 10m",
		},
		"rolled back before the switch": {
			over(t, v1alpha1.RotationRolledBack, 20, "Done 0 10", "Skipped", "Done 10 20"),
			"generation 2 is rolled back, and generation 1 stays (SpecChanged); " +
				"rolled back: generation 1 signs as before, and generation 2 has signed nothing\n" +
				"DistributingTrust broken off 10m\nReissuing not reached\nWithdrawingTrust done 10m",
		},
		"superseded": {
			over(t, v1alpha1.RotationSuperseded, 30, "Done 0 10", "Done 10 30", "Skipped"),
			"generation 1 → 2 (SpecChanged); superseded: an emergency rotation took the place of the one to generation 2\n" +
				"DistributingTrust done 10m\nReissuing broken off 20m\nWithdrawingTrust not reached",
		},
		"superseded, and a status that was cut short": {
			over(t, v1alpha1.RotationSuperseded, 10, "Active 0", "Pending", "Pending"),
			"generation 1 → 2 (SpecChanged); superseded: an emergency rotation took the place of the one to generation 2\n" +
				"DistributingTrust broken off 10m\nReissuing not reached\nWithdrawingTrust not reached",
		},
		"an emergency from the begin": {
			emergencyOf(over(t, v1alpha1.RotationCompleted, 10, "Skipped", "Skipped", "Done 0 10")),
			"emergency: generation 1 → 2 (SpecChanged); completed: generation 2 signs and is trusted alone\n" +
				"DistributingTrust not needed\nReissuing not needed\nWithdrawingTrust done 10m",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, ok := timeline.Last(caOf(func(ca *v1alpha1.ClusterCA) { ca.Status.LastRotation = c.last }))
			if diff := cmp.Diff(c.want, drawn(r)); !ok || diff != "" {
				t.Errorf("%v (-want +got):\n%s", ok, diff)
			}
		})
	}
	if _, ok := timeline.Last(caOf()); ok {
		t.Error("there was a rotation of which the status says nothing")
	}
}

// TestRolledBackNotes: nothing says that a certificate was re-issued, or that the old CA was removed from the trust bundle.
func TestRolledBackNotes(t *testing.T) {
	r, _ := timeline.Last(caOf(func(c *v1alpha1.ClusterCA) {
		c.Status.LastRotation = over(t, v1alpha1.RotationRolledBack, 20, "Done 0 10", "Done 10 10", "Done 10 20")
	}))
	for _, s := range r.Steps {
		if s.Phase == v1alpha1.PhaseReissuing && s.State == v1alpha1.PhaseDone {
			t.Error("Reissuing is done")
		}
		if strings.Contains(s.Note, "old CA is removed") || strings.Contains(s.Note, "is re-issued") {
			t.Errorf("%s: %s", s.Phase, s.Note)
		}
	}
}

// TestNotes: every phase of every course says what happens in it.
func TestNotes(t *testing.T) {
	yes := true
	for name, mod := range map[string]func(*v1alpha1.RotationStatus){
		"safe": func(*v1alpha1.RotationStatus) {}, "emergency": func(s *v1alpha1.RotationStatus) { s.Emergency = &yes },
		"the same key": func(s *v1alpha1.RotationStatus) { s.SameKey = &yes },
		"rolled back":  func(s *v1alpha1.RotationStatus) { s.Result = v1alpha1.RotationRolledBack },
	} {
		r, _ := timeline.UnderWay(noon, caOf(rotating(under(t, "Active 0", "Pending", "Pending"), mod)), nil)
		for _, s := range r.Steps {
			if s.Note == "" {
				t.Errorf("%s: nothing is said of %s", name, s.Phase)
			}
		}
	}
}

func TestPending(t *testing.T) {
	var pending []v1alpha1.PendingConsumer
	for i := range 20 {
		pending = append(pending, v1alpha1.PendingConsumer{Kind: "NodeCredential", Name: fmt.Sprintf("n%02d", i), Host: "h", Reason: "NotInUse"})
	}
	pending[0].Edit = "set spec.delivery.acknowledged"
	ca := caOf(rotating(under(t, "Active 0", "Pending", "Pending"), counted(1, 26, pending...)))
	r, _ := timeline.UnderWay(noon, ca, nil)
	waiting := r.Waiting()
	if len(waiting) != 21 || waiting[0] != "NodeCredential/n00 on h (NotInUse)" || waiting[20] != "and 5 more" || r.More() != 5 {
		t.Errorf("it waits for %q", waiting)
	}
	if diff := cmp.Diff([]string{"NodeCredential/n00: set spec.delivery.acknowledged"}, r.Edits()); diff != "" {
		t.Error(diff)
	}
	if !r.Waits("NodeCredential", "n19") || r.Waits("NodeCredential", "n20") {
		t.Error("it is not said who is pending")
	}
	ca.Status.Rotation.Pending = []v1alpha1.PendingConsumer{{Kind: timeline.KindUnknown, Name: "Unknown", Reason: "Settling"}}
	ca.Status.Rotation.PendingCount = nil
	r, _ = timeline.UnderWay(noon, ca, nil)
	if diff := cmp.Diff([]string{"consumers that may not be there yet"}, r.Waiting()); diff != "" {
		t.Error(diff)
	}
}

// TestWithdrawalPending: what is assumed is never said to be acknowledged, one edit is for all, and no end is promised.
func TestWithdrawalPending(t *testing.T) {
	ca := caOf(rotating(under(t, "Done 0 10", "Active 10", "Pending"), counted(1, 3,
		v1alpha1.PendingConsumer{Kind: "NodeCredential", Name: "n00", Host: "h", Reason: v1alpha1.ReasonAssumed, Edit: "of one"},
		v1alpha1.PendingConsumer{Kind: "NodeCredential", Name: "n01", Reason: v1alpha1.ReasonAssumed, Edit: "of another"},
		v1alpha1.PendingConsumer{Kind: "NodeCredential", Name: "gone", Reason: v1alpha1.ReasonAssumed},
	)))
	ca.Status.Rotation.ID, ca.Status.Rotation.Assumed = "k8s/age.g2", new(int32(2))
	ca.Status.Conditions = []metav1.Condition{{Type: v1alpha1.WithdrawalPendingCondition, Status: metav1.ConditionTrue}}
	r, _ := timeline.UnderWay(noon, ca, consumersOf(v1alpha1.DeliveryMounted, 2))
	if !r.WithdrawalPending || r.Tally() != "1/3 acknowledged, 2 assumed" {
		t.Errorf("%v, %s", r.WithdrawalPending, r.Tally())
	}
	want := []string{"NodeCredential/n00 on h (assumed after 10m)", "NodeCredential/n01 (assumed after 10m)", "NodeCredential/gone (Assumed)"}
	if diff := cmp.Diff(want, r.Waiting()); diff != "" {
		t.Error(diff)
	}
	edits := r.Edits()
	if len(edits) != 1 || !strings.Contains(edits[0], "'k8s/age.g2'") || !strings.Contains(edits[0], "acceptAssumed") {
		t.Errorf("%q", edits)
	}
	if !strings.Contains(r.Expected.Unknown, "a person accepts") {
		t.Errorf("it is expected to end %+v", r.Expected)
	}
}

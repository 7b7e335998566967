package timeline_test

import (
	"fmt"
	"testing"
	"time"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/internal/timeline"
)

// doubted are consumers of whom something is only assumed, and nobody has accepted that.
func doubted(n int) []consumers.Dependent {
	out := consumersOf(v1alpha1.DeliveryMounted, n)
	for i := range out {
		out[i].AcceptsAssumed = false
	}
	return out
}

// holder has a certificate of the CA, and does not trust it. What is assumed of it is accepted.
func holder(kind, name string, mode v1alpha1.DeliveryMode) consumers.Dependent {
	c := plan.Consumer{Kind: kind, Name: name, HasLeaf: true, Mounted: mode == v1alpha1.DeliveryMounted, AcceptsAssumed: true}
	if c.Mounted {
		c.Delay = 10 * time.Minute
	}
	return consumers.Dependent{Consumer: c, Manual: mode == v1alpha1.DeliveryManual}
}

func consumersOf(mode v1alpha1.DeliveryMode, n int) []consumers.Dependent {
	var out []consumers.Dependent
	for i := range n {
		out = append(out, holder("NodeCredential", fmt.Sprintf("n%02d", i), mode))
		out[i].RelyingParty = true
	}
	return out
}

// TestExpected has when phase and rotation are expected to end, in minutes from noon, or why that is not known. It is
// looked at a quarter past twelve.
func TestExpected(t *testing.T) {
	const mounted, agent, manual = v1alpha1.DeliveryMounted, v1alpha1.DeliveryAgent, v1alpha1.DeliveryManual
	yes := true
	node := func(n int, reason, edit string) v1alpha1.PendingConsumer {
		return v1alpha1.PendingConsumer{Kind: "NodeCredential", Name: fmt.Sprintf("n%02d", n), Reason: reason, Edit: edit}
	}
	distributing, reissuing := []string{"Active 10", "Pending", "Pending"}, []string{"Done 0 10", "Active 10", "Pending"}
	withdrawing := []string{"Done 0 5", "Done 5 10", "Active 10"}
	past := func(result v1alpha1.RotationResult) func(*v1alpha1.ClusterCA) {
		return func(c *v1alpha1.ClusterCA) {
			c.Status.LastRotation = over(t, result, 90, "Done 0 20", "Done 20 60", "Done 60 90")
		}
	}
	for name, c := range map[string]struct {
		phases       []string
		dependents   []consumers.Dependent
		mods         []func(*v1alpha1.RotationStatus)
		more         func(*v1alpha1.ClusterCA)
		phase, whole string
	}{
		"delays": {
			// 8 in waves of 2 take four delays.
			phases: distributing, dependents: consumersOf(mounted, 8), mods: []func(*v1alpha1.RotationStatus){counted(0, 8)},
			phase: "20", whole: "70",
		},
		"waves that are left": {
			phases: reissuing, dependents: consumersOf(mounted, 8), mods: []func(*v1alpha1.RotationStatus){counted(2, 8)},
			phase: "50", whole: "60",
		},
		"waves that are late": {
			phases: []string{"Done 0 1", "Active 1", "Pending"}, dependents: consumersOf(mounted, 8), mods: []func(*v1alpha1.RotationStatus){counted(0, 8)},
			phase: "45", whole: "55",
		},
		"the last wave": {
			phases: reissuing, dependents: consumersOf(mounted, 4), mods: []func(*v1alpha1.RotationStatus){counted(3, 4)},
			phase: "50", whole: "60",
		},
		"later than was expected": {
			phases: []string{"Done 0 1", "Done 1 2", "Active 2"}, dependents: consumersOf(mounted, 1), mods: []func(*v1alpha1.RotationStatus){counted(0, 1)},
			phase: "12", whole: "12",
		},
		"one began anew": {
			phases: withdrawing, dependents: consumersOf(mounted, 2), mods: []func(*v1alpha1.RotationStatus){counted(1, 2, v1alpha1.PendingConsumer{
				Kind: "NodeCredential", Name: "n01", Reason: "Propagating", Since: at(14),
			})},
			phase: "24", whole: "24",
		},
		"some have yet to be issued to": {
			phases: distributing, dependents: consumersOf(mounted, 2),
			mods:  []func(*v1alpha1.RotationStatus){counted(0, 2, node(1, "NotIssued", "see its conditions, if it stays so"))},
			phase: "25", whole: "55",
		},
		"nobody is known": {phases: distributing, mods: []func(*v1alpha1.RotationStatus){counted(0, 0)}, phase: "20", whole: "40"},
		"settling after a restore": {
			phases: withdrawing, mods: []func(*v1alpha1.RotationStatus){counted(0, 0, v1alpha1.PendingConsumer{
				Kind: timeline.KindUnknown, Name: "Unknown", Reason: "Settling", Since: at(13),
			})},
			phase: "23", whole: "23",
		},
		"agents, the first time": {
			phases: distributing, dependents: consumersOf(agent, 2), mods: []func(*v1alpha1.RotationStatus){counted(0, 2, node(0, "NotInUse", ""))},
			phase: "no rotation before has shown how long the agents take",
		},
		"agents, as the last time": {
			phases: distributing, dependents: consumersOf(agent, 2), mods: []func(*v1alpha1.RotationStatus){counted(0, 2)},
			more: past(v1alpha1.RotationCompleted), phase: "30", whole: "100",
		},
		"what was rolled back shows nothing": {
			phases: distributing, dependents: consumersOf(agent, 2), mods: []func(*v1alpha1.RotationStatus){counted(0, 2)},
			more: past(v1alpha1.RotationRolledBack), phase: "no rotation before has shown how long the agents take",
		},
		"withdrawing takes as long as distributing did": {
			phases: withdrawing, dependents: consumersOf(agent, 2), mods: []func(*v1alpha1.RotationStatus){counted(0, 2)}, phase: "15", whole: "15",
		},
		"a person": {
			phases: distributing, dependents: consumersOf(mounted, 2),
			mods:  []func(*v1alpha1.RotationStatus){counted(0, 2, node(1, "AgentProblem", "free space on the disk"))},
			phase: "NodeCredential/n01 waits for a person",
		},
		"an expired lease": {
			phases: distributing, dependents: consumersOf(agent, 2),
			mods:  []func(*v1alpha1.RotationStatus){counted(0, 2, node(1, v1alpha1.ReasonLeaseExpired, "start the agent"))},
			phase: "the lease of NodeCredential/n01 has expired",
		},
		"by hand, later": {
			phases: distributing, dependents: append(consumersOf(mounted, 1), holder("Secret", "ca", manual)),
			mods:  []func(*v1alpha1.RotationStatus){counted(0, 1)},
			phase: "20", whole: "Reissuing: Secret/ca is delivered by hand",
		},
		"by hand, acknowledged": {
			phases: withdrawing, dependents: consumersOf(manual, 1), mods: []func(*v1alpha1.RotationStatus){counted(1, 1)}, phase: "15", whole: "15",
		},
		"by hand, among those that are not named": {
			phases: distributing, dependents: append(consumersOf(mounted, 3), consumers.Dependent{
				Consumer: plan.Consumer{Kind: "Secret", Name: "x", RelyingParty: true}, Manual: true,
			}),
			mods:  []func(*v1alpha1.RotationStatus){counted(0, 4, node(0, "Propagating", ""))},
			phase: "Secret/x is delivered by hand",
		},
		"what is assumed waits for a person": {
			phases: distributing, dependents: doubted(8), mods: []func(*v1alpha1.RotationStatus){counted(0, 8)},
			phase: "20", whole: "WithdrawingTrust: it waits until a person accepts what is only assumed",
		},
		"who has approved it already": {
			phases: distributing, dependents: doubted(8),
			mods: []func(*v1alpha1.RotationStatus){counted(0, 8), func(s *v1alpha1.RotationStatus) { s.ID = "k8s/age.g2" }},
			more: func(c *v1alpha1.ClusterCA) {
				c.Spec.Rotation.Approved = &v1alpha1.RotationApproval{Withdrawal: "k8s/age.g2"}
			},
			phase: "20", whole: "70",
		},
		"a subordinate CA": {
			phases: reissuing, dependents: append(consumersOf(mounted, 1), holder("ClusterCA", "sub", "")),
			mods:  []func(*v1alpha1.RotationStatus){counted(1, 2, v1alpha1.PendingConsumer{Kind: "ClusterCA", Name: "sub", Reason: "NotRotated", Edit: "wait for it"})},
			phase: "ClusterCA/sub is rotated in phases of its own",
		},
		"an emergency asks everybody": {
			phases: []string{"Skipped", "Skipped", "Active 10"}, dependents: []consumers.Dependent{holder("Secret", "ca", mounted)},
			mods:  []func(*v1alpha1.RotationStatus){counted(0, 1), func(s *v1alpha1.RotationStatus) { s.Emergency = &yes }},
			phase: "20", whole: "20",
		},
		"the same key": {
			phases: []string{"Skipped", "Skipped", "Active 10"}, dependents: consumersOf(mounted, 2),
			mods:  []func(*v1alpha1.RotationStatus){counted(0, 2), func(s *v1alpha1.RotationStatus) { s.SameKey = &yes }},
			phase: "20", whole: "20",
		},
		"rolled back": {
			phases: []string{"Done 0 10", "Skipped", "Active 10"}, dependents: consumersOf(mounted, 2),
			mods:  []func(*v1alpha1.RotationStatus){counted(0, 2), func(s *v1alpha1.RotationStatus) { s.Result = v1alpha1.RotationRolledBack }},
			phase: "20", whole: "20",
		},
	} {
		t.Run(name, func(t *testing.T) {
			ca := caOf(rotating(under(t, c.phases...), c.mods...))
			if c.more != nil {
				c.more(ca)
			}
			r, _ := timeline.UnderWay(at(15).Time, ca, c.dependents)
			active, _ := r.Active()
			if c.whole == "" {
				c.whole = c.phase
			}
			if phase, whole := said(active.Expected), said(r.Expected); phase != c.phase || whole != c.whole {
				t.Errorf("the phase: %q instead of %q; the whole: %q instead of %q", phase, c.phase, whole, c.whole)
			}
		})
	}
}

// said is an expectation in minutes from noon, or why nothing is known.
func said(e timeline.Expectation) string {
	if e.Unknown != "" {
		return e.Unknown
	}
	return fmt.Sprintf("%.0f", e.At.Sub(noon).Minutes())
}

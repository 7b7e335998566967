package cluster_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/cluster"
)

var attentionNow = time.Date(2026, 11, 28, 22, 0, 0, 0, time.UTC)

// condition is one of a child, which began an hour ago.
func condition(kind string, status metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: message, LastTransitionTime: metav1.NewTime(attentionNow.Add(-time.Hour)),
	}
}

// standing is a cluster of three nodes in which all is well, and what change makes of it.
func standing(t *testing.T, change func(there map[cluster.Key]v1alpha1.Object, s *cluster.Standing)) cluster.Standing {
	t.Helper()
	c := sample(t, "seed")
	c.Namespace = "prod"
	children, err := cluster.Expand(c, cluster.Names{})
	if err != nil {
		t.Fatal(err)
	}
	s := cluster.Standing{Name: c.Name, Children: children, There: map[cluster.Key]v1alpha1.Object{}}
	for _, child := range children {
		*child.Object.StatusConditions() = []metav1.Condition{condition(v1alpha1.ReadyCondition, metav1.ConditionTrue, v1alpha1.ReasonIssued, "")}
		s.There[child.Key()] = child.Object
	}
	if change != nil {
		change(s.There, &s)
	}
	return s
}

func with(o v1alpha1.Object, conditions ...metav1.Condition) {
	*o.StatusConditions() = append(*o.StatusConditions(), conditions...)
}

func node(there map[cluster.Key]v1alpha1.Object, host string) *v1alpha1.NodeCredential {
	return there[cluster.Key{Kind: v1alpha1.KindNodeCredential, Name: cluster.CredentialName("k8s", host, "Host")}].(*v1alpha1.NodeCredential)
}

func authority(there map[cluster.Key]v1alpha1.Object, name string) *v1alpha1.ClusterCA {
	return there[cluster.Key{Kind: v1alpha1.KindClusterCA, Name: name}].(*v1alpha1.ClusterCA)
}

// brief is an item in one line, without what it has at length.
func brief(items []v1alpha1.ClusterAttention) []string {
	var out []string
	for _, i := range items {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s", i.Host, i.Reason, i.Since.UTC().Format("15:04"))))
	}
	return out
}

// TestAttention: what does not go on by itself is named, with what to write; what needs nothing but time is not.
func TestAttention(t *testing.T) {
	const expired, late = v1alpha1.ReasonLeaseExpired, "21:00"
	for name, c := range map[string]struct {
		change func(there map[cluster.Key]v1alpha1.Object, s *cluster.Standing)
		want   []string
		edit   string // is part of the first one's
		next   time.Time
	}{
		"all is well": {},
		"an agent is silent": {
			change: func(there map[cluster.Key]v1alpha1.Object, _ *cluster.Standing) {
				with(node(there, "k8s-node2"), condition(v1alpha1.TrustAcknowledgedCondition, metav1.ConditionFalse, expired, "it has not renewed its Lease"))
			},
			want: []string{"k8s-node2 LeaseExpired " + late}, edit: `start the agent on host "k8s-node2"`,
		},
		"an agent has not installed it yet": {
			change: func(there map[cluster.Key]v1alpha1.Object, _ *cluster.Standing) {
				with(node(there, "k8s-node2"), condition(v1alpha1.TrustAcknowledgedCondition, metav1.ConditionFalse, v1alpha1.ReasonNotInstalled, ""))
				with(node(there, "k8s-node3"), condition(v1alpha1.TrustAcknowledgedCondition, metav1.ConditionFalse, v1alpha1.ReasonNotInUse, ""))
			},
			next: attentionNow.Add(23 * time.Hour),
		},
		"nor after a day": {
			change: func(there map[cluster.Key]v1alpha1.Object, _ *cluster.Standing) {
				for host, reason := range map[string]string{"k8s-node2": v1alpha1.ReasonNotInstalled, "k8s-node3": v1alpha1.ReasonNotInUse} {
					c := condition(v1alpha1.TrustAcknowledgedCondition, metav1.ConditionFalse, reason, "")
					c.LastTransitionTime = metav1.NewTime(attentionNow.Add(-24 * time.Hour))
					with(node(there, host), c)
				}
			},
			want: []string{"k8s-node2 NotInstalled 22:00", "k8s-node3 NotInUse 22:00"}, edit: `see the log of the agent on host "k8s-node2"`,
		},
		"no agent was started": {
			change: notStarted(15 * time.Minute),
			want:   []string{"AgentNotStarted 21:15"}, edit: "install and start the agent on 4 hosts, where none has ever reported: k8s-master, k8s-node1, k8s-node2 and 1 more",
		},
		"no agent was started yet": {change: notStarted(2 * time.Hour), next: attentionNow.Add(time.Hour)},
		"it is not Ready yet": {
			change: func(there map[cluster.Key]v1alpha1.Object, _ *cluster.Standing) {
				*node(there, "k8s-node2").StatusConditions() = []metav1.Condition{
					condition(v1alpha1.ReadyCondition, metav1.ConditionFalse, v1alpha1.ReasonIssuerNotReady, ""),
				}
			},
		},
		"the gravest first": {
			change: func(there map[cluster.Key]v1alpha1.Object, s *cluster.Standing) {
				with(node(there, "k8s-node1"), condition(v1alpha1.TrustAcknowledgedCondition, metav1.ConditionFalse, expired, ""))
				with(node(there, "k8s-node2"), condition(v1alpha1.StalledCondition, metav1.ConditionTrue, v1alpha1.ReasonWriteRefused, "a quota"))
				node(there, "k8s-node3").Status.Certificate.NotAfter = metav1.NewTime(attentionNow)
				s.Faults = []cluster.Fault{{Reason: v1alpha1.ReasonChildConflict, Message: "it is there", Since: attentionNow.Add(-time.Hour)}}
			},
			want: []string{"k8s-node3 Expired 22:00", "ChildConflict " + late, "k8s-node2 WriteRefused " + late, "k8s-node1 LeaseExpired " + late},
			edit: "see that the operator runs",
		},
		"one of a host and a reason, since the first of them": {
			change: func(there map[cluster.Key]v1alpha1.Object, _ *cluster.Standing) {
				silent := condition(v1alpha1.TrustAcknowledgedCondition, metav1.ConditionFalse, expired, "")
				for _, o := range there {
					if c, ok := o.(*v1alpha1.NodeCredential); ok && c.Spec.HostName == "k8s-master" {
						with(c, silent)
						silent.LastTransitionTime = metav1.NewTime(attentionNow.Add(-2 * time.Hour))
					}
				}
			},
			want: []string{"k8s-master LeaseExpired 20:00"},
		},
		"a second before it expires": {
			change: func(there map[cluster.Key]v1alpha1.Object, _ *cluster.Standing) {
				node(there, "k8s-node3").Status.Certificate.NotAfter = metav1.NewTime(attentionNow.Add(time.Second))
			},
			next: attentionNow.Add(time.Second),
		},
		"it was to be renewed": {
			change: func(there map[cluster.Key]v1alpha1.Object, _ *cluster.Standing) {
				c := &node(there, "k8s-node3").Status.Certificate
				c.RenewalTime, c.NotAfter = metav1.NewTime(attentionNow.Add(-time.Hour)), metav1.NewTime(attentionNow.Add(3*time.Hour))
			},
			want: []string{"k8s-node3 Overdue 22:00"}, edit: "was to be renewed at 2026-11-28T21:00:00Z", next: attentionNow.Add(3 * time.Hour),
		},
		"a person has to accept what is assumed": {
			change: func(there map[cluster.Key]v1alpha1.Object, _ *cluster.Standing) {
				ca := authority(there, "k8s-etcd-ca")
				with(ca, condition(v1alpha1.WithdrawalPendingCondition, metav1.ConditionTrue, v1alpha1.ReasonAssumed, ""))
				ca.Status.Rotation = v1alpha1.RotationStatus{Phase: v1alpha1.PhaseReissuing, ID: "k8s-etcd-ca/x.g2", Pending: []v1alpha1.PendingConsumer{
					{Kind: v1alpha1.KindNodeCredential, Name: "k8s-k8s-master-etcd-peer", Host: "k8s-master", Reason: v1alpha1.ReasonAssumed, Edit: "set it"},
				}}
			},
			want: []string{"WithdrawalPending " + late}, edit: `set spec.certificateAuthorities.etcd.rotation.approved.withdrawal to 'k8s-etcd-ca/x.g2'`,
		},
		"a rotation waits for a person at a host": {
			change: func(there map[cluster.Key]v1alpha1.Object, _ *cluster.Standing) {
				ca := authority(there, "k8s-ca")
				with(ca, condition(v1alpha1.RotationBlockedCondition, metav1.ConditionTrue, "Reissuing", ""))
				ca.Status.Rotation = v1alpha1.RotationStatus{Phase: v1alpha1.PhaseReissuing, Pending: []v1alpha1.PendingConsumer{
					{Kind: v1alpha1.KindNodeCredential, Name: node(there, "k8s-node1").Name, Host: "k8s-node1", Reason: v1alpha1.PendingAwaitingWave},
					{
						Kind: v1alpha1.KindNodeCredential, Name: node(there, "k8s-node2").Name, Host: "k8s-node2", Reason: v1alpha1.PendingNotAcknowledged,
						Since: metav1.NewTime(attentionNow.Add(-time.Hour)), Edit: "run 'clusterpki acknowledge'",
					},
				}}
			},
			want: []string{"k8s-node2 NotAcknowledged " + late}, edit: "run 'clusterpki acknowledge'",
		},
		"a rotation waits, and nobody says for whom": {
			change: func(there map[cluster.Key]v1alpha1.Object, _ *cluster.Standing) {
				ca := authority(there, "k8s-ca")
				with(ca, condition(v1alpha1.RotationBlockedCondition, metav1.ConditionTrue, "Reissuing", "it waits for 3"))
				ca.Status.Rotation.Phase = v1alpha1.PhaseReissuing
			},
			want: []string{"RotationBlocked " + late}, edit: "it waits for 3",
		},
		"an emergency has cut hosts off": {
			change: func(there map[cluster.Key]v1alpha1.Object, _ *cluster.Standing) {
				with(authority(there, "k8s-ca"), condition(v1alpha1.RedeliveryRequiredCondition, metav1.ConditionTrue, v1alpha1.ReasonEmergency, "node1"))
			},
			want: []string{"RedeliveryRequired " + late}, edit: "deliver to them what is issued now: node1",
		},
		"a service account key is kept for its time": {
			change: func(there map[cluster.Key]v1alpha1.Object, _ *cluster.Standing) {
				with(there[cluster.Key{Kind: v1alpha1.KindServiceAccountKey, Name: "k8s-sa"}],
					condition(v1alpha1.KeyRemovalDueCondition, metav1.ConditionTrue, v1alpha1.ReasonKeyRetained, ""))
			},
		},
		"tokens keep a service account key": {
			change: func(there map[cluster.Key]v1alpha1.Object, _ *cluster.Standing) {
				with(there[cluster.Key{Kind: v1alpha1.KindServiceAccountKey, Name: "k8s-sa"}],
					condition(v1alpha1.KeyRemovalDueCondition, metav1.ConditionTrue, v1alpha1.ReasonTokensLeft, "set acceptTokenLoss"))
			},
			want: []string{"TokensLeft " + late}, edit: "set acceptTokenLoss",
		},
		"an agent's token ends soon": {
			change: func(there map[cluster.Key]v1alpha1.Object, _ *cluster.Standing) {
				with(there[cluster.Key{Kind: v1alpha1.KindAPIServerCertificate, Name: "k8s-k8s-master-apiserver"}],
					condition(v1alpha1.AgentCredentialExpiringCondition, metav1.ConditionTrue, v1alpha1.ReasonCredentialNotRenewed, "granted for 1h0m0s"))
			},
			want: []string{"k8s-master AgentCredentialExpiring " + late}, edit: "`clusterpki agent install --token-only -n prod --host k8s-master`: granted for 1h0m0s",
		},
		"hosts have left": {
			change: func(_ map[cluster.Key]v1alpha1.Object, s *cluster.Standing) {
				s.Confirmed = []string{"gone"}
				s.Removals.Hosts = []cluster.Removal{
					{Host: "a", Since: attentionNow.Add(-time.Hour), Reason: v1alpha1.RemovalUnconfirmed},
					{Host: "b", Since: attentionNow.Add(-2 * time.Hour), Reason: v1alpha1.RemovalUnconfirmed},
					{Host: "c", Since: attentionNow.Add(-9 * time.Hour), Reason: v1alpha1.RemovalDelayed},
				}
			},
			want: []string{"ConfirmationRequired 20:00"}, edit: "`spec.removal.confirmed: [gone, a, b]`",
		},
		"an API server serves something else": {
			change: func(there map[cluster.Key]v1alpha1.Object, _ *cluster.Standing) {
				with(there[cluster.Key{Kind: v1alpha1.KindAPIServerCertificate, Name: "k8s-k8s-master-apiserver"}],
					condition(v1alpha1.ServingCondition, metav1.ConditionFalse, v1alpha1.ReasonWrongCertificate, "has the Secret reached it?"))
			},
			want: []string{"k8s-master WrongCertificate " + late}, edit: "has the Secret reached it?",
		},
	} {
		t.Run(name, func(t *testing.T) {
			items, next := cluster.Attention(standing(t, c.change), attentionNow)
			if diff := cmp.Diff(c.want, brief(items)); diff != "" {
				t.Error(diff)
			}
			if len(items) > 0 && !strings.Contains(items[0].Edit, c.edit) {
				t.Errorf("the edit is %q", items[0].Edit)
			}
			for _, i := range items {
				if i.Edit == "" {
					t.Errorf("%+v says nothing to do", i)
				}
			}
			if !next.Equal(c.next) {
				t.Errorf("time changes it at %v, and not at %v", next, c.next)
			}
		})
	}
}

// notStarted has no agent that ever reported, each with a Lease of such a length.
func notStarted(length time.Duration) func(map[cluster.Key]v1alpha1.Object, *cluster.Standing) {
	return func(there map[cluster.Key]v1alpha1.Object, _ *cluster.Standing) {
		for _, o := range there {
			switch c := o.(type) {
			case *v1alpha1.APIServerCertificate:
				c.Spec.Delivery.LeaseDuration.Duration = length
			case *v1alpha1.NodeCredential:
				c.Spec.Delivery.LeaseDuration.Duration = length
			default:
				continue
			}
			with(o, condition(v1alpha1.TrustAcknowledgedCondition, metav1.ConditionFalse, v1alpha1.ReasonAgentNotStarted, ""))
		}
	}
}

// TestAttentionStays: later, and with the conditions in another order, it is the same list: the status is not written for that.
func TestAttentionStays(t *testing.T) {
	s := standing(t, func(there map[cluster.Key]v1alpha1.Object, _ *cluster.Standing) {
		for _, o := range there {
			with(o, condition(v1alpha1.TrustAcknowledgedCondition, metav1.ConditionFalse, v1alpha1.ReasonLeaseExpired, ""),
				condition(v1alpha1.StalledCondition, metav1.ConditionFalse, "x", ""))
		}
	})
	was, _ := cluster.Attention(s, attentionNow)
	if len(was) < 4 {
		t.Fatalf("there are only %v", brief(was))
	}
	for n := range 20 {
		for _, o := range s.There { // as the conditions come, from another one on each time
			conditions := *o.StatusConditions()
			*o.StatusConditions() = slices.Concat(conditions[n%len(conditions):], conditions[:n%len(conditions)])
		}
		now, _ := cluster.Attention(s, attentionNow.Add(time.Duration(n)*50*time.Second))
		if !slices.Equal(brief(was), brief(now)) {
			t.Fatalf("%v has become %v", brief(was), brief(now))
		}
	}
}

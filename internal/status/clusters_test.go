package status_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/status"
)

// fleet are three clusters: one in which all is well, one that is rotated and needs somebody, and one that the operator has not seen.
func fleet() status.Objects {
	one := func(namespace, name string, mods ...func(*v1alpha1.ClusterPKI)) v1alpha1.ClusterPKI {
		c := v1alpha1.ClusterPKI{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: v1alpha1.ClusterPKISpec{
			Endpoint: "https://k8s-master:6443", ServiceCIDRs: []string{"10.96.0.0/12"},
			ControlPlane: v1alpha1.ControlPlaneSpec{
				Kubelet: new(false), Hosts: []v1alpha1.ControlPlaneHost{{Name: "k8s-master", Addresses: []string{"10.1.10.238"}}},
				Etcd: v1alpha1.EtcdSpec{Mode: v1alpha1.EtcdNone},
			},
			Nodes: v1alpha1.NodesSpec{Roles: []v1alpha1.NodeRole{"Kubelet"}, Hosts: []v1alpha1.NodeHost{{Name: "node1"}, {Name: "node2"}}},
		}}
		c.Status.Conditions = ready()
		c.Status.Hosts, c.Status.HostsBehind, c.Status.AttentionCount = new(int32(3)), new(int32(0)), new(int32(0))
		c.Status.NextExpiry = after(364 * day)
		for _, m := range mods {
			m(&c)
		}
		return c
	}
	kubelet := func(host string, conditions ...metav1.Condition) v1alpha1.NodeCredential {
		return credential("k8s-"+host+"-kubelet", "k8s-ca", "Kubelet", func(c *v1alpha1.NodeCredential) {
			c.Namespace, c.Status.Conditions = "edge", append(c.Status.Conditions, conditions...)
		})
	}
	silent := condition(v1alpha1.TrustAcknowledgedCondition, metav1.ConditionFalse, v1alpha1.ReasonLeaseExpired, "")
	silent.LastTransitionTime = after(-time.Hour)
	return status.Objects{
		Clusters: []v1alpha1.ClusterPKI{
			one("prod", "k8s"),
			one("edge", "k8s", func(c *v1alpha1.ClusterPKI) {
				c.Status.HostsBehind, c.Status.AttentionCount = new(int32(1)), new(int32(11))
				c.Status.Rotations = []v1alpha1.ClusterRotationStatus{
					{Name: "k8s-ca", Phase: "Reissuing", StartTime: after(-time.Hour), ExpectedTime: after(time.Hour)}, {Name: "k8s-etcd-ca", Phase: "Queued"},
				}
				c.Status.Attention = []v1alpha1.ClusterAttention{
					{Host: "node2", Reason: v1alpha1.ReasonLeaseExpired, Since: after(-time.Hour), Edit: "start the agent there"},
					{Object: "ClusterCA/k8s-ca", Reason: v1alpha1.WithdrawalPendingCondition, Edit: "approve it"},
				}
				c.Status.Removals = []v1alpha1.HostRemoval{{Host: "node9", Since: after(-day), Reason: v1alpha1.RemovalUnconfirmed}}
			}),
			one("edge", "new", func(c *v1alpha1.ClusterPKI) { c.Status = v1alpha1.ClusterPKIStatus{ObservedGeneration: -1} }),
		},
		Credentials: []v1alpha1.NodeCredential{kubelet("node1"), kubelet("node2", silent)},
	}
}

// TestFleet: the report begins with the clusters, in one line each, with what needs somebody.
func TestFleet(t *testing.T) {
	r := status.Build(now, fleet(), "")
	text := r.Text(status.Style{Namespaces: true})
	want := `CLUSTER                 STATE    ROTATION          BEHIND  NEXT EXPIRY  IN    ATTENTION
ClusterPKI/k8s in edge  Ready    Reissuing k8s-ca  1 of 3  2027-11-22   364d  LeaseExpired of node2, and 10 more
ClusterPKI/new in edge  Unknown
ClusterPKI/k8s in prod  Ready                              2027-11-22   364d
`
	if got, _, _ := strings.Cut(text, "\n\n"); got+"\n" != want {
		t.Error(cmp.Diff(want, got))
	}
	if r.Errors() == 0 || !strings.Contains(text, "ClusterPKI/new in edge Unknown: the operator has not reconciled it yet") {
		t.Error(text)
	}
}

// TestOneCluster shows its hosts, and all that needs somebody with what to do.
func TestOneCluster(t *testing.T) {
	objects := fleet().In("edge")
	r, ok := status.BuildCluster(now, objects, "k8s")
	if !ok || len(r.ClusterPKIs) != 1 {
		t.Fatalf("%+v", r)
	}
	want := []status.Host{
		{Name: "k8s-master", Reason: v1alpha1.ReasonChildrenPending, Object: "APIServerCertificate/k8s-k8s-master-apiserver"},
		{Name: "node1", UpToDate: true, Objects: 1, NextExpiry: now.Add(364 * day), NextRenewal: now.Add(242 * day)},
		{
			Name: "node2", Reason: v1alpha1.ReasonLeaseExpired, Object: "NodeCredential/k8s-node2-kubelet", Since: now.Add(-time.Hour),
			Objects: 1, NextExpiry: now.Add(364 * day), NextRenewal: now.Add(242 * day),
		},
	}
	if diff := cmp.Diff(want, r.ClusterPKIs[0].Hosts); diff != "" {
		t.Error(diff)
	}
	text := r.Text(status.Style{})
	for _, line := range []string{
		"node2 LeaseExpired for 1h: start the agent there", "ClusterCA/k8s-ca WithdrawalPending: approve it", "and 9 more",
		"k8s-ca: Reissuing, begun 1h ago, expected to have ended in 1h", "k8s-etcd-ca: Queued", "node9 (ConfirmationRequired), left 1d ago",
		"node1       UpToDate",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("%q is missing in\n%s", line, text)
		}
	}
	if _, ok := status.BuildCluster(now, objects, "gone"); ok {
		t.Error("there is none of that name")
	}
}

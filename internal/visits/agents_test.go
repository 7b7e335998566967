package visits

import (
	"slices"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/queue"
)

// noted is a queue that notes what is put into it, and hands nothing out.
type noted struct {
	*queue.Queue[reconcile.Request]
	hosts  []string
	latest time.Duration
}

func (n *noted) AddWithOpts(o priorityqueue.AddOpts, added ...reconcile.Request) {
	for _, r := range added {
		n.hosts = append(n.hosts, r.String())
	}
	n.latest = o.After
}

// unsealed seals nothing: who made something is not asked here.
type unsealed struct{}

func (unsealed) Of(...string) string         { return "" }
func (unsealed) Fits(string, ...string) bool { return true }

func claimed(version string, c consumers.Claim) client.Object {
	s := productOf("s", version)
	s.Annotations[v1alpha1.ClaimAnnotation] = c.Text(unsealed{}, "Secret", s.Namespace, s.Name)
	return s
}

// TestAgentHosts: which events have looked at what a host's agent may do.
func TestAgentHosts(t *testing.T) {
	all := scheme.Scheme
	if err := v1alpha1.AddToScheme(all); err != nil {
		t.Fatal(err)
	}
	onHost := func(host string, mode v1alpha1.DeliveryMode, generation int64) client.Object {
		return node("1", func(c *v1alpha1.NodeCredential) {
			c.Spec.HostName, c.Spec.Delivery.Mode, c.Generation = host, mode, generation
		})
	}
	role := func(version string, of string) client.Object {
		return &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{
			Namespace: "prod", Name: "r", ResourceVersion: version, Annotations: map[string]string{v1alpha1.AgentAnnotation: of},
		}}
	}
	agent := onHost("n1", v1alpha1.DeliveryAgent, 1)
	hosts := &AgentHosts{Cache: fake.NewClientBuilder().WithScheme(all).WithObjects(agent.DeepCopyObject().(client.Object)).Build()}
	for name, tc := range map[string]struct {
		handler  Handler
		was, now client.Object
		want     []string
	}{
		"another spec":         {hosts.Objects(), agent, onHost("n1", v1alpha1.DeliveryAgent, 2), []string{"prod/n1"}},
		"another status":       {hosts.Objects(), agent, onHost("n1", v1alpha1.DeliveryAgent, 1), nil},
		"another host":         {hosts.Objects(), agent, onHost("n2", v1alpha1.DeliveryAgent, 2), []string{"prod/n1", "prod/n2"}},
		"another mode":         {hosts.Objects(), agent, onHost("n1", v1alpha1.DeliveryMounted, 2), []string{"prod/n1"}},
		"no agent":             {hosts.Objects(), onHost("n1", v1alpha1.DeliveryMounted, 1), onHost("n2", v1alpha1.DeliveryMounted, 2), []string{"prod/n1", "prod/n2"}},
		"no host":              {hosts.Objects(), onHost("", v1alpha1.DeliveryMounted, 1), onHost("", v1alpha1.DeliveryMounted, 2), nil},
		"a renewal":            {hosts.Products(), claimed("1", consumers.Claim{UID: "1", Revision: 1}), claimed("2", consumers.Claim{UID: "1", Revision: 2}), nil},
		"another certificate":  {hosts.Products(), claimed("1", consumers.Claim{UID: "1", SpecHash: "a"}), claimed("2", consumers.Claim{UID: "1", SpecHash: "b"}), []string{"prod/n1"}},
		"another owner's":      {hosts.Products(), claimed("1", consumers.Claim{UID: "1"}), claimed("2", consumers.Claim{UID: "2"}), []string{"prod/n1"}},
		"a Role that changed":  {hosts.Grants(), role("1", "prod/n1"), role("2", "prod/n1"), []string{"prod/n1"}},
		"a Role of another's":  {hosts.Grants(), role("1", "prod/n1"), role("2", "prod/n3"), []string{"prod/n1", "prod/n3"}},
		"a Role that was read": {hosts.Grants(), role("1", "prod/n1"), role("1", "prod/n1"), nil},
	} {
		q := &noted{}
		tc.handler.Update(t.Context(), event.UpdateEvent{ObjectOld: tc.was, ObjectNew: tc.now}, q)
		slices.Sort(q.hosts)
		if !slices.Equal(q.hosts, tc.want) {
			t.Errorf("%s: the hosts are %v, not %v", name, q.hosts, tc.want)
		}
	}
	q := &noted{}
	for i := range 20 { // whoever changes a Role again and again is answered ever more slowly
		hosts.Grants().Update(t.Context(), event.UpdateEvent{ObjectOld: role("1", "prod/n5"), ObjectNew: role("2", "prod/n5")}, q)
		if i == 0 && q.latest != agentPace {
			t.Errorf("the first visit waits for %s", q.latest)
		}
	}
	if q.latest < paceEvery/2 {
		t.Errorf("the twentieth visit waits for %s", q.latest)
	}
}

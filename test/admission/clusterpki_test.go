package admission_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
)

const (
	cpki        = v1alpha1.KindClusterPKI
	newPKI      = "{spec: {endpoint: 'https://c2-master:6443', serviceCIDRs: [10.96.0.0/12], controlPlane: {hosts: [{name: c2-master}]}"
	cpkiImport  = "{import: {secretRef: {name: corporate}, certificateSHA256: '" + sha256 + "'}}"
	cpkiPolicy  = "clusterpki-clusterpkis"
	issuesC1    = right("issue on clusterpkis named c1")
	issuesNodes = right("issue on clusterpkis/nodes named c1")
	rotatesC1   = right("rotate on clusterpkis named c1")
	approvesC1  = right("approve on clusterpkis named c1")
)

// cpkiAsked are requests of a ClusterPKI, and the rights that each takes.
var cpkiAsked = []struct {
	name    string
	request request
	rights  []right
}{
	{"a cluster", creates(cpki, "c2", newPKI+"}}"), []right{"issue on clusterpkis named c2"}},
	{"a cluster with nodes", creates(cpki, "c2", newPKI+", nodes: {hosts: [{name: n1}]}}}"), []right{"issue on clusterpkis named c2"}},
	{
		"a cluster whose CAs are rotated when they are taken up", creates(cpki, "c2", newPKI+", rotation: {trigger: x, emergencyTrigger: x}}}"),
		[]right{"issue on clusterpkis named c2", "rotate on clusterpkis named c2"},
	},
	{
		"one of whose CAs is", creates(cpki, "c2", newPKI+", certificateAuthorities: {etcd: {rotation: {trigger: x}}}}}"),
		[]right{"issue on clusterpkis named c2", "rotate on clusterpkis named c2"},
	},
	{
		"a cluster whose key is", creates(cpki, "c2", newPKI+", serviceAccountKey: {rotation: {trigger: x}}}}"),
		[]right{"issue on clusterpkis named c2", "rotate on clusterpkis named c2"},
	},
	{
		"a cluster with a CA of others", creates(cpki, "c2", newPKI+", certificateAuthorities: {cluster: {source: "+cpkiImport+"}}}}"),
		[]right{"issue on clusterpkis named c2", "get on secrets named corporate"},
	},
	{
		"etcd's CA of others", edits(cpki, "c1", "{spec: {certificateAuthorities: {etcd: {source: "+cpkiImport+"}}}}"),
		[]right{issuesC1, rotatesC1, "get on secrets named corporate"},
	},
	{
		"the front proxy's CA of others", edits(cpki, "c1", "{spec: {certificateAuthorities: {frontProxy: {source: "+cpkiImport+"}}}}"),
		[]right{issuesC1, rotatesC1, "get on secrets named corporate"},
	},
	{
		"service account keys of others", edits(cpki, "c1", "{spec: {serviceAccountKey: {source: {import: {secretRef: {name: kubeadm-sa}, publicKeysSHA256: '"+sha256+"'}}}}}"),
		[]right{issuesC1, "get on secrets named kubeadm-sa"},
	},
	{
		"CAs below another one",
		edits(cpki, "c1", "{spec: {certificateAuthorities: {cluster: {source: {parent: {caRef: {name: k8s}}}}, etcd: {source: {parent: {caRef: {name: etcd}}}}}}}"),
		[]right{issuesC1, rotatesC1, "issue on clustercas/ca named k8s", "issue on clustercas/ca named etcd"},
	},
	{
		"a front proxy's CA below another one", edits(cpki, "c1", "{spec: {certificateAuthorities: {frontProxy: {source: {parent: {caRef: {name: k8s}}}}}}}"),
		[]right{issuesC1, rotatesC1, "issue on clustercas/ca named k8s"},
	},
	{"nodes", edits(cpki, "c1", "{spec: {nodes: {hosts: [{name: n1}, {name: n2}]}}}"), []right{issuesNodes}},
	{"no nodes", edits(cpki, "c1", "{spec: {nodes: {hosts: []}}}"), []right{issuesNodes}},
	{"roles of nodes", edits(cpki, "c1", "{spec: {nodes: {roles: [Kubelet]}}}"), []right{issuesNodes}},
	{"users of the hosts' names", edits(cpki, "c1", "{spec: {nodes: {roles: [Host]}}}"), []right{issuesC1}},
	{"a user of one host's name", edits(cpki, "c1", "{spec: {nodes: {hosts: [{name: jane, roles: [Host]}]}}}"), []right{issuesC1}},
	{"nodes and more", edits(cpki, "c1", "{spec: {clusterDomain: a.example, nodes: {hosts: []}}}"), []right{issuesC1}},
	{"which hosts may go", edits(cpki, "c1", "{spec: {removal: {confirmed: [n1]}}}"), []right{issuesC1}},
	{"an endpoint", edits(cpki, "c1", "{spec: {endpoint: 'https://c1.example:6443', controlPlane: {certSANs: [c1.example]}}}"), []right{issuesC1}},
	{"a master", edits(cpki, "c1", "{spec: {controlPlane: {hosts: [{name: c1-master}, {name: c1-master2}]}}}"), []right{issuesC1}},
	{"what may be issued", edits(cpki, "c1", "{spec: {certificateAuthorities: {cluster: {policy: {roles: [Kubelet]}}}}}"), []right{issuesC1}},
	{"a copy of a CA's key", edits(cpki, "c1", "{spec: {certificateAuthorities: {cluster: {secretName: pair}}}}"), []right{issuesC1}},
	{"Secrets for another program", edits(cpki, "c1", "{spec: {outputs: [{format: CAPI}]}}"), []right{issuesC1}},
	{"a rotation of all", edits(cpki, "c1", "{spec: {rotation: {trigger: x}}}"), []right{issuesC1, rotatesC1}},
	{"an emergency", edits(cpki, "c1", "{spec: {rotation: {trigger: x, emergencyTrigger: x}}}"), []right{issuesC1, rotatesC1}},
	{"a rotation of one", edits(cpki, "c1", "{spec: {certificateAuthorities: {etcd: {rotation: {trigger: x}}}}}"), []right{issuesC1, rotatesC1}},
	{"a CA's validity", edits(cpki, "c1", "{spec: {certificateAuthorities: {cluster: {validity: 8760h}}}}"), []right{issuesC1, rotatesC1}},
	{"a CA's key", edits(cpki, "c1", "{spec: {certificateAuthorities: {frontProxy: {privateKey: {algorithm: ECDSA, size: 384}}}}}"), []right{issuesC1, rotatesC1}},
	{"a rotation of the key", edits(cpki, "c1", "{spec: {serviceAccountKey: {rotation: {trigger: x}}}}"), []right{issuesC1, rotatesC1}},
	{"how often the key is changed", edits(cpki, "c1", "{spec: {serviceAccountKey: {rotateEvery: 8760h}}}"), []right{issuesC1, rotatesC1}},
	{"how long tokens live", edits(cpki, "c1", "{spec: {serviceAccountKey: {retainOldKeyFor: 4380h}}}"), []right{issuesC1, rotatesC1}},
	{"that tokens end", edits(cpki, "c1", "{spec: {serviceAccountKey: {acceptTokenLoss: [kube-system/a]}}}"), []right{issuesC1, approvesC1}},
	{
		"a go-ahead", edits(cpki, "c1", "{spec: {certificateAuthorities: {cluster: {rotation: {approved: {withdrawal: c1-ca/x.g2}}}}}}"),
		[]right{issuesC1, approvesC1},
	},
	{
		"that what is mounted is in use", edits(cpki, "c1", "{spec: {certificates: {delivery: {mode: Mounted, acceptAssumed: Always}}}}"),
		[]right{issuesC1, "acknowledge on clusterpkis named c1"},
	},
	{
		"that of one node", edits(cpki, "c1", "{spec: {nodes: {hosts: [{name: n1, delivery: {mode: Mounted, acceptAssumed: Always}}]}}}"),
		[]right{issuesNodes, "acknowledge on clusterpkis named c1"},
	},
	{
		"that of one node, by what all have", edits(cpki, "assumes", "{spec: {nodes: {hosts: [{name: n1}]}}}"),
		[]right{"issue on clusterpkis/nodes named assumes", "acknowledge on clusterpkis named assumes"},
	},
	{"that it was restored", edits(cpki, "c1", "{metadata: {annotations: {clusterpki.io/restored: 'true'}}}"), []right{issuesC1}},
	{"a label", edits(cpki, "c1", "{metadata: {labels: {a: b}, finalizers: [example.org/x]}}"), nil},
	{"its end", deletes(cpki, "c1"), nil},
}

// TestAskedOfAClusterPKI makes each request with exactly the rights that it takes, and without each of them.
func TestAskedOfAClusterPKI(t *testing.T) {
	existing := object(cpki, "c1")
	existing.Object["spec"] = map[string]any{
		"endpoint": "https://c1-master:6443", "serviceCIDRs": []any{"10.96.0.0/12"},
		"controlPlane": map[string]any{"hosts": []any{map[string]any{"name": "c1-master"}}},
		"nodes":        map[string]any{"hosts": []any{map[string]any{"name": "n1"}}},
	}
	if err := admin.Create(t.Context(), existing); err != nil {
		t.Fatal(err)
	}
	assumes := object(cpki, "assumes")
	assumes.Object["spec"] = map[string]any{
		"endpoint": "https://a-master:6443", "serviceCIDRs": []any{"10.96.0.0/12"},
		"certificates": map[string]any{"delivery": map[string]any{"mode": "Mounted", "acceptAssumed": "Always"}},
		"controlPlane": map[string]any{"hosts": []any{map[string]any{"name": "a-master"}}},
		"nodes":        map[string]any{"hosts": []any{map[string]any{"name": "n1", "delivery": map[string]any{"mode": "Agent"}}}},
	}
	if err := admin.Create(t.Context(), assumes); err != nil {
		t.Fatal(err)
	}
	for i, a := range cpkiAsked {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			user := fmt.Sprint("cpki-", i)
			c := somebody(t, prod, user, a.rights...)
			eventually(t, "with all rights it is allowed", func() error { return a.request(t.Context(), c) }, allowed)
			for j, missing := range a.rights {
				some := slices.DeleteFunc(slices.Clone(a.rights), func(r right) bool { return r == missing })
				c := somebody(t, prod, fmt.Sprint(user, "-without-", j), some...)
				eventually(t, "without "+string(missing)+" it is denied", func() error { return a.request(t.Context(), c) }, denies(cpkiPolicy, missing))
			}
		})
	}
}

// TestAThousandNodesAreAskedAbout stays within what an expression may cost.
func TestAThousandNodesAreAskedAbout(t *testing.T) {
	c := &v1alpha1.ClusterPKI{ObjectMeta: metav1.ObjectMeta{Namespace: prod, Name: "large"}, Spec: v1alpha1.ClusterPKISpec{
		Endpoint: "https://large-master:6443", ServiceCIDRs: []string{"10.96.0.0/12"},
		ControlPlane: v1alpha1.ControlPlaneSpec{Hosts: []v1alpha1.ControlPlaneHost{{Name: "large-master"}}},
	}}
	delivery := &v1alpha1.HostDelivery{Mode: v1alpha1.DeliveryMounted, AcceptAssumed: v1alpha1.AcceptAssumedAlways}
	for i := range 1000 {
		c.Spec.Nodes.Hosts = append(c.Spec.Nodes.Hosts, v1alpha1.NodeHost{Name: fmt.Sprintf("node-%04d.%s.example", i, strings.Repeat("x", 20)), Delivery: delivery})
	}
	who := somebody(t, prod, "large", "issue on clusterpkis named large", "acknowledge on clusterpkis named large")
	eventually(t, "it is allowed", func() error {
		return who.Create(t.Context(), c.DeepCopy(), client.DryRunAll)
	}, allowed)
}

package admission_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/agents"
	"clusterpki.io/operator/test/docs"
	"clusterpki.io/operator/test/golden"
	"clusterpki.io/operator/test/testenv"
)

// persona is somebody whose rights are those of a role that is shipped, or of Kubernetes', or one right alone.
type persona struct {
	name string // as docs/security.md calls it
	as   func(*testing.T) client.Client
}

// personas, in two tables: those with a whole role, and those with one right.
var personas = [][]persona{
	{
		{"viewer", clusterRole("view", prod)},
		{"editor of the namespace", clusterRole("edit", prod)},
		{"admin of the namespace", clusterRole("admin", prod)},
		{"node operator", clusterRole("clusterpki-node-operator", prod)},
		{"PKI admin", clusterRole("clusterpki-pki-admin", prod)},
		{"agent of k8s-node1", agentOf("k8s-node1")},
		{"admin of another namespace", clusterRole("admin", "other")},
		{"nobody", nobody},
	},
	{
		{"writes NodeCredentials", alone(v1alpha1.GroupVersion.Group, "nodecredentials")},
		{"… and acknowledges for one", alone(v1alpha1.GroupVersion.Group, "nodecredentials", "acknowledge on nodecredentials named "+kubelet)},
		{"nodes-of-staging", documented("nodes-of-staging")},
		{"writes ClusterCAs", alone(v1alpha1.GroupVersion.Group, "clustercas")},
		{"writes APIServerCertificates", alone(v1alpha1.GroupVersion.Group, "apiservercertificates")},
		{"… and issues from CA own", alone(v1alpha1.GroupVersion.Group, "apiservercertificates", "issue on clustercas/apiserver named own", "trust on clustercas named own")},
		{"writes ConfigMaps", alone("", "configmaps")},
		{"writes Secrets", alone("", "secrets")},
		{"writes Leases", alone(coordinationv1.GroupName, "leases")},
	},
}

// clusterRole binds one in a namespace.
func clusterRole(role, namespace string) func(*testing.T) client.Client {
	return func(t *testing.T) client.Client {
		t.Helper()
		return must(testenv.Bound(t.Context(), cfg, namespace, "persona-"+role, rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role}))(t)
	}
}

// alone lets somebody read and write objects of one kind in namespace prod, who has these rights besides.
func alone(group, resource string, rights ...right) func(*testing.T) client.Client {
	return func(t *testing.T) client.Client {
		t.Helper()
		rules := []rbacv1.PolicyRule{{
			APIGroups: []string{group}, Resources: []string{resource},
			Verbs: []string{"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"},
		}}
		for _, r := range rights {
			rules = append(rules, r.rule())
		}
		return must(testenv.Granted(t.Context(), cfg, prod, fmt.Sprintf("persona-%s-%d", resource, len(rights)), rules...))(t)
	}
}

// documented gives somebody a Role as docs/security.md shows it.
func documented(name string) func(*testing.T) client.Client {
	return func(t *testing.T) client.Client {
		t.Helper()
		page := must(docs.Read(testenv.Root(), filepath.Join("docs", "security.md")))(t)
		for _, fence := range page.Fences {
			text, _, _ := strings.Cut(fence.Text, "\n---\n")
			var role rbacv1.Role
			if err := yaml.Unmarshal([]byte(text), &role); err == nil && role.Kind == "Role" && role.Name == name {
				return must(testenv.Granted(t.Context(), cfg, prod, "persona-"+name, role.Rules...))(t)
			}
		}
		t.Fatalf("docs/security.md shows no Role %s", name)
		return nil
	}
}

// agentOf is the agent of a host, with what the operator lets it do.
func agentOf(host string) func(*testing.T) client.Client {
	return func(t *testing.T) client.Client {
		t.Helper()
		return must(testenv.Client(testenv.As(cfg, agents.DefaultNamespace, agents.AccountName(prod, host))))(t)
	}
}

func nobody(t *testing.T) client.Client {
	t.Helper()
	return must(testenv.Client(testenv.AsUser(cfg, "nobody")))(t)
}

func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// action is something that somebody tries in namespace prod, and who can.
type action struct {
	name    string
	request request
	who     []string
}

const (
	viewer, nodeOperator, pkiAdmin, hostAgent = "viewer", "node operator", "PKI admin", "agent of k8s-node1"
	namespaceEditor, namespaceAdmin           = "editor of the namespace", "admin of the namespace"
	nodeWriter, caWriter, serverWriter        = "writes NodeCredentials", "writes ClusterCAs", "writes APIServerCertificates"
	acknowledger, stagingTeam, serverOfOwn    = "… and acknowledges for one", "nodes-of-staging", "… and issues from CA own"
	mapWriter, secretWriter, leaseWriter      = "writes ConfigMaps", "writes Secrets", "writes Leases"

	ownServer  = "{spec: {caRef: {name: own}, hostName: m3, endpoint: 'https://m3:6443'"
	kubeletTLS = "k8s-node1-kubelet-tls"
)

var actions = []action{
	{"read the NodeCredentials", lists(&v1alpha1.NodeCredentialList{}), []string{viewer, namespaceEditor, namespaceAdmin, nodeOperator, pkiAdmin, nodeWriter, acknowledger, stagingTeam}},
	{"read the key of node1's kubelet", reads(prod, kubeletTLS), []string{namespaceEditor, namespaceAdmin, hostAgent, secretWriter}},
	{"read the key of node2's kubelet", reads(prod, "k8s-node2-kubelet-tls"), []string{namespaceEditor, namespaceAdmin, secretWriter}},
	{"read the key of a CA", reads("clusterpki-authority", "ca.prod.k8s"), nil},
	{"have a certificate of role `Kubelet` issued by CA k8s", creates(nodecred, "new", "{spec: {caRef: {name: k8s}, hostName: node9, role: Kubelet}}"), []string{nodeOperator, pkiAdmin}},
	{"… by CA staging", creates(nodecred, "new", "{spec: {caRef: {name: staging}, hostName: node9, role: Kubelet}}"), []string{pkiAdmin, stagingTeam}},
	{"… by etcd's CA", creates(nodecred, "new", "{spec: {caRef: {name: etcd}, hostName: node9, role: Kubelet}}"), []string{pkiAdmin}},
	{"… of role `SuperAdmin`", creates(nodecred, "new", "{spec: {caRef: {name: k8s}, hostName: h, role: SuperAdmin}}"), []string{pkiAdmin}},
	{"… of role `Host`", creates(nodecred, "new", "{spec: {caRef: {name: k8s}, hostName: jane, role: Host}}"), []string{pkiAdmin}},
	{"… of role `Custom`", creates(nodecred, "new", "{spec: {caRef: {name: k8s}, hostName: h, role: Custom, custom: {commonName: jane, usages: [ClientAuth]}}}"), []string{pkiAdmin}},
	{"make a kubelet's credential an `Admin`", edits(nodecred, kubelet, "{spec: {role: Admin}}"), []string{pkiAdmin}},
	{"make node1's kubelet one of CA staging and its API server", edits(nodecred, kubelet, "{spec: {caRef: {name: staging}, apiServerRef: {name: staging}}}"), []string{pkiAdmin}},
	{"have an API server's certificate issued", creates(asc, "new", newServer+"}}"), []string{pkiAdmin}},
	{"… by CA own", creates(asc, "new", ownServer+"}}"), []string{pkiAdmin, serverOfOwn}},
	{"… that shares k8s-master's service account key", creates(asc, "new", ownServer+", serviceAccountKeyRef: {name: k8s-sa}}}"), []string{pkiAdmin}},
	{"have CA own sign what the API server of CA k8s serves, and its clients", edits(asc, master, "{spec: {caRef: {name: own}}}"), []string{pkiAdmin}},
	{"have an API server accept another CA's clients", edits(asc, master, "{spec: {clientCARefs: [{name: k8s}, {name: etcd}]}}"), []string{pkiAdmin}},
	{"make a CA", creates(ca, "new", "{spec: {}}"), []string{pkiAdmin}},
	{"make a CA that CA k8s signs", creates(ca, "new", "{spec: {source: {parent: {caRef: {name: k8s}}}}}"), []string{pkiAdmin}},
	{"import a CA", creates(ca, "new", "{spec: {source: {import: {secretRef: {name: mine}, certificateSHA256: '"+sha256+"'}}}}"), nil},
	{"put one's own CA in the place of CA k8s", edits(ca, "k8s", "{spec: {source: {import: {secretRef: {name: mine}, certificateSHA256: '"+sha256+"'}}}}"), nil},
	{"have CA k8s's key copied (`secretName`)", edits(ca, "k8s", "{spec: {secretName: mine}}"), []string{pkiAdmin}},
	{"have CA k8s's key in another program's form (`outputs`)", edits(ca, "k8s", "{spec: {outputs: [{format: CAPI, clusterName: prod}]}}"), []string{pkiAdmin}},
	{"rotate CA k8s", edits(ca, "k8s", "{spec: {rotation: {trigger: x}}}"), []string{pkiAdmin}},
	{"distrust CA k8s at once (`emergencyTrigger`)", edits(ca, "k8s", "{spec: {rotation: {trigger: x, emergencyTrigger: x}}}"), []string{pkiAdmin}},
	{"let a phase of its rotation begin (`rotation.approved`)", edits(ca, "k8s", "{spec: {rotation: {approved: {withdrawal: k8s/x.g2}}}}"), []string{pkiAdmin}},
	{"change what CA k8s may sign (`policy`)", edits(ca, "k8s", "{spec: {policy: {roles: [Kubelet]}}}"), []string{pkiAdmin}},
	{"have CA k8s's keys destroyed with it (`deletionPolicy`)", edits(ca, "k8s", "{spec: {deletionPolicy: Delete}}"), []string{pkiAdmin}},
	{"delete CA k8s", deletes(ca, "k8s"), []string{pkiAdmin}},
	{"give CA k8s an owner, with which it goes", edits(ca, "k8s", owned), []string{pkiAdmin}},
	{"make a service account key", creates(sak, "new", "{spec: {}}"), []string{pkiAdmin}},
	{"import service account keys", creates(sak, "new", "{spec: {source: {import: {secretRef: {name: mine}, publicKeysSHA256: '"+sha256+"'}}}}"), nil},
	{"rotate service account key k8s-sa", edits(sak, "k8s-sa", "{spec: {rotation: {trigger: x}}}"), []string{pkiAdmin}},
	{"let tokens of an old one end (`acceptTokenLoss`)", edits(sak, "k8s-sa", "{spec: {acceptTokenLoss: ['*']}}"), []string{pkiAdmin}},
	{"delete service account key k8s-sa", deletes(sak, "k8s-sa"), []string{pkiAdmin}},
	{"make a ClusterPKI", creates(cpki, "c2", newPKI+"}}"), []string{pkiAdmin}},
	{"list another node in ClusterPKI k8s", edits(cpki, "k8s", "{spec: {nodes: {hosts: [{name: n1}, {name: n2}]}}}"), []string{nodeOperator, pkiAdmin}},
	{"… of role `Host`", edits(cpki, "k8s", "{spec: {nodes: {hosts: [{name: jane, roles: [Host]}]}}}"), []string{pkiAdmin}},
	{"… and another host of its control plane", edits(cpki, "k8s", "{spec: {controlPlane: {hosts: [{name: p-master}, {name: p2}]}}}"), []string{pkiAdmin}},
	{"have its nodes' files assumed to arrive", edits(cpki, "k8s", "{spec: {nodes: {hosts: [{name: n1, delivery: {mode: Mounted, acceptAssumed: Always}}]}}}"), []string{nodeOperator, pkiAdmin}},
	{"rotate all its CAs", edits(cpki, "k8s", "{spec: {rotation: {trigger: x}}}"), []string{pkiAdmin}},
	{"delete it, which leaves what it has made", deletes(cpki, "k8s"), []string{namespaceEditor, namespaceAdmin, pkiAdmin}},
	{"acknowledge for a NodeCredential", edits(nodecred, kubelet, "{spec: {delivery: {acknowledged: {serialNumber: '01'}}}}"), []string{nodeOperator, pkiAdmin, acknowledger}},
	{"… for the controller manager's", edits(nodecred, "k8s-master-controller-manager", "{spec: {delivery: {acknowledged: {serialNumber: '01'}}}}"), []string{nodeOperator, pkiAdmin}},
	{"have its arrival assumed (`acceptAssumed`)", edits(nodecred, kubelet, "{spec: {delivery: {acceptAssumed: Always}}}"), []string{nodeOperator, pkiAdmin, acknowledger}},
	{"acknowledge for an API server", edits(asc, master, "{spec: {delivery: {acknowledged: {serialNumber: '01'}}}}"), []string{pkiAdmin}},
	{"renew the certificate of a NodeCredential (`renewal.trigger`)", edits(nodecred, kubelet, "{spec: {renewal: {trigger: x}}}"), []string{nodeOperator, pkiAdmin}},
	{"… of an API server", edits(asc, master, "{spec: {renewal: {trigger: x}}}"), []string{pkiAdmin}},
	{"label a NodeCredential", edits(nodecred, kubelet, "{metadata: {labels: {a: b}}}"), []string{namespaceEditor, namespaceAdmin, nodeOperator, pkiAdmin, nodeWriter, acknowledger, stagingTeam}},
	{"delete the NodeCredential of node1's kubelet", deletes(nodecred, kubelet), []string{nodeOperator, pkiAdmin}},
	{"… and make one of its name by CA staging", replaces(nodecred, kubelet, "{spec: {caRef: {name: staging}, hostName: k8s-node1, role: Kubelet}}"), []string{pkiAdmin}},
	{"… of the controller manager", deletes(nodecred, "k8s-master-controller-manager"), []string{pkiAdmin}},
	{"give the NodeCredential of node1's kubelet an owner, with which it goes", edits(nodecred, kubelet, owned), []string{nodeOperator, pkiAdmin}},
	{"delete the APIServerCertificate of CA k8s", deletes(asc, master), []string{pkiAdmin}},
	{"… and make one of its name by CA own", replaces(asc, master, ownServer+"}}"), []string{pkiAdmin}},
	{"give the APIServerCertificate of CA k8s an owner, with which it goes", edits(asc, master, owned), []string{pkiAdmin}},
	{"write the Secret of node1's kubelet", updates(&corev1.Secret{}, kubeletTLS), []string{namespaceEditor, namespaceAdmin, secretWriter}},
	{"write the ConfigMap of CA k8s's trust bundle", updates(&corev1.ConfigMap{}, "k8s-trust"), []string{namespaceEditor, namespaceAdmin, mapWriter}},
	{"write the Lease of node1's kubelet", updates(&coordinationv1.Lease{}, kubeletTLS), []string{namespaceEditor, namespaceAdmin, hostAgent, leaseWriter}},
	{"make a token of k8s-node1's agent", tokens(agents.DefaultNamespace, agents.AccountName(prod, "k8s-node1")), []string{hostAgent}},
	{"… of another host's", tokens(agents.DefaultNamespace, agents.AccountName(prod, "k8s-node2")), nil},
	{"run a pod as k8s-node1's agent", podAs(agents.DefaultNamespace, agents.AccountName(prod, "k8s-node1")), nil},
	{"have k8s-node1's agent read another Secret (until its Role is made anew)", widensRole("k8s-node1"), []string{namespaceAdmin}},
	{"give oneself the ClusterRole clusterpki-pki-admin", grants("clusterpki-pki-admin"), nil},
}

// replaces deletes an object, and makes another one. Since nothing changes, that has a name which is free: the policies ask about none.
func replaces(kind, name, spec string) request {
	return func(ctx context.Context, c client.Client) error {
		if err := deletes(kind, name)(ctx, c); err != nil {
			return err
		}
		return creates(kind, name+"-again", spec)(ctx, c)
	}
}

func lists(l client.ObjectList) request {
	return func(ctx context.Context, c client.Client) error {
		return c.List(ctx, l.DeepCopyObject().(client.ObjectList), client.InNamespace(prod))
	}
}

func reads(namespace, secret string) request {
	return func(ctx context.Context, c client.Client) error {
		return c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: secret}, &corev1.Secret{})
	}
}

// updates writes an object that is there as it is.
func updates(o client.Object, name string) request {
	return func(ctx context.Context, c client.Client) error {
		o := o.DeepCopyObject().(client.Object)
		if err := admin.Get(ctx, client.ObjectKey{Namespace: prod, Name: name}, o); err != nil {
			return fmt.Errorf("as the administrator: %w", err)
		}
		return c.Update(ctx, o, client.DryRunAll)
	}
}

// tokens makes a token of a ServiceAccount.
func tokens(namespace, name string) request {
	return func(ctx context.Context, c client.Client) error {
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
		return c.SubResource("token").Create(ctx, account, &authenticationv1.TokenRequest{}, client.DryRunAll)
	}
}

// podAs runs a pod under a ServiceAccount.
func podAs(namespace, account string) request {
	return func(ctx context.Context, c client.Client) error {
		return c.Create(ctx, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "new"},
			Spec:       corev1.PodSpec{ServiceAccountName: account, Containers: []corev1.Container{{Name: "c", Image: "i"}}},
		}, client.DryRunAll)
	}
}

// widensRole lets the Role of a host's agent name another Secret.
func widensRole(host string) request {
	return func(ctx context.Context, c client.Client) error {
		var all rbacv1.RoleList
		if err := admin.List(ctx, &all, client.InNamespace(prod)); err != nil {
			return fmt.Errorf("as the administrator: %w", err)
		}
		for i := range all.Items {
			r := &all.Items[i]
			if of, ok := agents.HostOf(r.Annotations); ok && of.Name == host {
				r.Rules[0].ResourceNames = append(r.Rules[0].ResourceNames, "k8s-node2-kubelet-tls")
				return c.Update(ctx, r, client.DryRunAll)
			}
		}
		return fmt.Errorf("the agent of %s has no Role", host)
	}
}

// grants binds a ClusterRole in namespace prod.
func grants(role string) request {
	return func(ctx context.Context, c client.Client) error {
		return c.Create(ctx, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: prod, Name: "new"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "mallory"}},
		}, client.DryRunAll)
	}
}

// TestPersonas lets each persona try each action. Who can is said here, and the tables of docs/security.md are what the API server
// answered: `make personas` writes them.
func TestPersonas(t *testing.T) {
	aggregated(t)
	create(t, "", &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "other"}})
	cluster := object(cpki, "k8s")
	cluster.Object["spec"] = map[string]any{
		"endpoint": "https://p-master:6443", "serviceCIDRs": []any{"10.96.0.0/12"},
		"controlPlane": map[string]any{"hosts": []any{map[string]any{"name": "p-master"}}},
	}
	create(t, prod, cluster)
	var tables [][][]string
	cells := 0
	clients := map[string]client.Client{}
	for _, p := range slices.Concat(personas...) {
		clients[p.name] = p.as(t)
	}
	for _, group := range personas {
		rows := [][]string{{""}}
		for _, a := range actions {
			rows = append(rows, []string{a.name})
		}
		for _, p := range group {
			c := clients[p.name]
			rows[0] = append(rows[0], p.name)
			for i, a := range actions {
				want, cell := slices.Contains(a.who, p.name), ""
				eventually(t, fmt.Sprintf("%s: %s: allowed is %t", p.name, a.name, want), func() error { return a.request(t.Context(), c) },
					func(err error) bool {
						cell = answer(err)
						return cell != "" && (cell == "yes") == want
					})
				rows[i+1] = append(rows[i+1], cell)
				cells++
			}
		}
		tables = append(tables, rows)
	}
	if cells < 80 {
		t.Errorf("only %d cells", cells)
	}
	golden.Tables(t, filepath.Join(testenv.Root(), "docs", "security.md"), "personas", tables...)
}

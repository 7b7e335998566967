package e2e_test

import (
	"errors"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/internal/hostfiles"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/test/testenv"
)

// whoami asks the API server for the user and groups that it sees.
func whoami(t *testing.T, c client.Client) authenticationv1.UserInfo {
	t.Helper()
	var r authenticationv1.SelfSubjectReview
	if err := c.Create(t.Context(), &r); err != nil {
		t.Fatal(err)
	}
	return r.Status.UserInfo
}

// TestIdentities lets every exported kubeconfig say who it is.
func TestIdentities(t *testing.T) {
	for _, c := range []struct{ host, file, user, group string }{
		{"k8s-master", "controller-manager.conf", "system:kube-controller-manager", ""},
		{"k8s-master", "scheduler.conf", "system:kube-scheduler", ""},
		{"k8s-master", "admin.conf", "kubernetes-admin", "kubeadm:cluster-admins"},
		{"k8s-master", "super-admin.conf", "kubernetes-super-admin", "system:masters"},
		{"k8s-node1", "kubelet.conf", "system:node:k8s-node1", "system:nodes"},
		{"k8s-node2", "kubelet.embedded.conf", "system:node:k8s-node2", "system:nodes"},
		{"k8s-node3", "kube-proxy.conf", "system:kube-proxy", ""},
		{"k8s-node1", "seed-k8s-node1.conf", "k8s-node1", ""},
	} {
		t.Run(c.host+"/"+c.file, func(t *testing.T) {
			got := whoami(t, asExported(t, c.host, c.file))
			want := []string{"system:authenticated"}
			if c.group != "" {
				want = append(want, c.group)
			}
			slices.Sort(want)
			slices.Sort(got.Groups)
			if got.Username != c.user || !slices.Equal(got.Groups, want) {
				t.Errorf("it is %s in %v, not %s in %v", got.Username, got.Groups, c.user, want)
			}
		})
	}
}

// try is one request and whether it is allowed.
type try struct {
	what    string
	do      func(t *testing.T, c client.Client) error
	allowed bool
}

func createNode(name string) func(*testing.T, client.Client) error {
	return func(t *testing.T, c client.Client) error {
		return c.Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
}

func list(l client.ObjectList, opts ...client.ListOption) func(*testing.T, client.Client) error {
	return func(t *testing.T, c client.Client) error { return c.List(t.Context(), l, opts...) }
}

func createLease(name string) func(*testing.T, client.Client) error {
	return func(t *testing.T, c client.Client) error {
		return c.Create(t.Context(), &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: name}})
	}
}

func getSecret(t *testing.T, c client.Client) error {
	return c.Get(t.Context(), client.ObjectKey{Namespace: "kube-system", Name: "topsecret"}, &corev1.Secret{})
}

func ownPods(node string) func(*testing.T, client.Client) error {
	return list(&corev1.PodList{}, client.MatchingFields{"spec.nodeName": node})
}

var (
	listSlices   = list(&discoveryv1.EndpointSliceList{})
	listServices = list(&corev1.ServiceList{})
	listNodes    = list(&corev1.NodeList{})
	listPods     = list(&corev1.PodList{})
	listSpaces   = list(&corev1.NamespaceList{})
)

// TestAuthorization has the rows of what each identity may do with Node,RBAC and NodeRestriction.
func TestAuthorization(t *testing.T) {
	admin := asExported(t, "k8s-master", "admin.conf")
	if err := admin.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "topsecret"}}); err != nil {
		t.Fatal(err)
	}
	bind(t, admin, "user-with-node-role", "system:node", rbacv1.Subject{Kind: "User", Name: "k8s-node7"})
	bind(t, admin, "proxiers", "system:node-proxier", rbacv1.Subject{Kind: "Group", Name: "seed:node-proxiers"})
	for _, row := range []struct {
		name  string
		as    client.Client
		tries []try
	}{
		{"the seed's node: CN=k8s-node1", asExported(t, "k8s-node1", "seed-k8s-node1.conf"), []try{
			{"create its Node", createNode("k8s-node1"), false}, {"list services", listServices, false},
			{"list endpointslices", listSlices, false}, {"create a lease", createLease("seed"), false},
		}},
		{"the seed's master: CN=k8s-master", asExported(t, "k8s-master", "seed-k8s-master.conf"), []try{
			{"lead as a controller manager", createLease("kube-controller-manager"), false}, {"list namespaces", listSpaces, false},
			{"list pods as a scheduler", listPods, false},
		}},
		{"CN=system:node:k8s-node1 without O", identity(t, "system:node:k8s-node1"), []try{{"create its Node", createNode("k8s-node1"), false}}},
		{"CN=k8s-node1 with O=system:nodes", identity(t, "k8s-node1", "system:nodes"), []try{{"create its Node", createNode("k8s-node1"), false}}},
		{"role Kubelet", asExported(t, "k8s-node1", "kubelet.conf"), []try{
			{"create its Node", createNode("k8s-node1"), true}, {"create another Node", createNode("k8s-node2"), false},
			{"list nodes", listNodes, false}, {"list all pods", listPods, false}, {"list its own pods", ownPods("k8s-node1"), true},
			{"read a Secret", getSecret, false}, {"list endpointslices as a proxy", listSlices, false},
		}},
		{"a node with a second O for the proxy", identity(t, "system:node:k8s-node5", "system:nodes", "seed:node-proxiers"), []try{
			{"create its Node", createNode("k8s-node5"), true}, {"create another Node", createNode("k8s-node6"), false},
			{"list endpointslices", listSlices, true},
		}},
		{"the seed's node with system:node bound to it", identity(t, "k8s-node7"), []try{
			{"create its Node", createNode("k8s-node7"), true}, {"create another Node: NodeRestriction is bypassed", createNode("k8s-node8"), true},
			{"read a Secret", getSecret, true},
		}},
		{"role KubeProxy", asExported(t, "k8s-node1", "kube-proxy.conf"), []try{
			{"list endpointslices", listSlices, true}, {"list services", listServices, true}, {"read a Secret", getSecret, false},
		}},
		{"role ControllerManager", asExported(t, "k8s-master", "controller-manager.conf"), []try{
			{"lead", createLease("kube-controller-manager"), true}, {"list pods", listPods, true},
		}},
		{"role Scheduler", asExported(t, "k8s-master", "scheduler.conf"), []try{
			{"lead", createLease("kube-scheduler"), true}, {"list pods", listPods, true}, {"read a Secret", getSecret, false},
		}},
		{"role Admin", admin, []try{{"read a Secret", getSecret, true}, {"list nodes", listNodes, true}}},
		{"role SuperAdmin", asExported(t, "k8s-master", "super-admin.conf"), []try{{"read a Secret", getSecret, true}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			for _, try := range row.tries {
				var err error
				if try.allowed {
					err = allowed(t, row.as, try.do)
				} else {
					err = try.do(t, row.as)
				}
				if try.allowed && err != nil || !try.allowed && !apierrors.IsForbidden(err) {
					t.Errorf("%s: allowed should be %v: %v", try.what, try.allowed, err)
				}
			}
		})
	}
}

// allowed tries until the authorizer knows of the bindings that were just made.
func allowed(t *testing.T, as client.Client, do func(*testing.T, client.Client) error) error {
	t.Helper()
	return testenv.Wait(t.Context(), func() error { return do(t, as) })
}

func identity(t *testing.T, cn string, groups ...string) client.Client {
	t.Helper()
	return asIdentity(t, pki.CertificateSpec{Subject: pki.Subject{CommonName: cn, Organizations: groups}})
}

func bind(t *testing.T, c client.Client, name, role string, to rbacv1.Subject) {
	t.Helper()
	to.APIGroup = rbacv1.GroupName
	if err := c.Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Subjects: []rbacv1.Subject{to},
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
	}); err != nil {
		t.Fatal(err)
	}
}

// TestSeedBindings applies the RBAC of the seed's sample, with which its master's identity works.
func TestSeedBindings(t *testing.T) {
	admin := asExported(t, "k8s-master", "admin.conf")
	objects, err := decode("samples/seed/target-rbac.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects {
		if err := admin.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	master := asExported(t, "k8s-master", "seed-k8s-master.conf")
	node := asExported(t, "k8s-node1", "seed-k8s-node1.conf")
	if err := allowed(t, master, listPods); err != nil {
		t.Errorf("the seed's master cannot list pods: %v", err)
	}
	if err := allowed(t, node, listSlices); err != nil {
		t.Errorf("the seed's node cannot proxy: %v", err)
	}
	if err := allowed(t, master, createNamespace); err != nil {
		t.Errorf("kubectl cannot create a namespace as the seed's master: %v", err)
	}
	if err := createNamespace(t, node); !apierrors.IsForbidden(err) {
		t.Errorf("the seed's node creates a namespace: %v", err)
	}
	for _, o := range objects { // the other tests are about what these identities may not do by themselves
		if err := admin.Delete(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	if err := testenv.Wait(t.Context(), func() error {
		if !apierrors.IsForbidden(listPods(t, master)) || !apierrors.IsForbidden(listSlices(t, node)) {
			return errors.New("the bindings are gone, and still they work")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// createNamespace asks for one, and makes none.
func createNamespace(t *testing.T, c client.Client) error {
	t.Helper()
	return c.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "of-the-seed"}}, client.DryRunAll)
}

// TestWrongUsageIsRefused shows the serving certificate as a client's, as the seed does for kubectl.
func TestWrongUsageIsRefused(t *testing.T) {
	c := asIdentity(t, pki.CertificateSpec{
		Subject: pki.Subject{CommonName: "k8s-master"}, Usages: []pki.Usage{pki.ServerAuth},
	})
	err := c.List(t.Context(), &corev1.NamespaceList{})
	if !apierrors.IsUnauthorized(err) {
		t.Errorf("a certificate for servers alone must not authenticate a client: %v", err)
	}
}

// TestServerNames verifies the serving certificate under each name and refuses one that no SAN covers.
func TestServerNames(t *testing.T) {
	ca := signingPair(t)
	for _, c := range []struct {
		name string
		ok   bool
	}{
		{"k8s-master", true}, {"centos-master", true}, {"kubernetes.default.svc.cluster.local", true},
		{"10.96.0.1", true}, {"10.1.10.238", true}, {"::1", true}, {"k8s-node1", false}, {"10.96.0.2", false},
	} {
		err := handshake(ca.Cert, strings.TrimPrefix(shared.endpoint, "https://"), c.name)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// withFiles connects with an exported certificate that has no kubeconfig.
func withFiles(t *testing.T, role string, headers map[string]string) client.Client {
	t.Helper()
	dir := shared.hosts["k8s-master"].Directory
	at := hostfiles.ForRole(role, "").Below(dir)
	cfg := &rest.Config{Host: shared.endpoint, TLSClientConfig: rest.TLSClientConfig{
		CAFile: filepath.Join(dir, hostfiles.CA), CertFile: at.Certificate, KeyFile: at.Key,
	}}
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return withHeaders{next, headers} })
	c, err := client.New(cfg, client.Options{Scheme: controller.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

type withHeaders struct {
	next    http.RoundTripper
	headers map[string]string
}

func (w withHeaders) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for name, value := range w.headers {
		r.Header.Set(name, value)
	}
	return w.next.RoundTrip(r)
}

// TestAPIServerKubeletClient asks whether the API server's own client may do what kubelets are asked for:
// it is in no group, so it lives by the binding that config/rbac/target ships.
func TestAPIServerKubeletClient(t *testing.T) {
	c := withFiles(t, "APIServerKubeletClient", nil)
	if got := whoami(t, c); got.Username != "kube-apiserver-kubelet-client" || len(got.Groups) != 1 {
		t.Errorf("it is %s in %v", got.Username, got.Groups)
	}
	if err := testenv.Wait(t.Context(), func() error {
		r := authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: "get", Resource: "nodes", Subresource: "proxy"},
		}}
		if err := c.Create(t.Context(), &r); err != nil {
			return err
		}
		if !r.Status.Allowed {
			return errors.New("it may not get nodes/proxy: " + r.Status.Reason)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// TestFrontProxyClient lets the aggregator's certificate name another user. Nobody else's may.
func TestFrontProxyClient(t *testing.T) {
	headers := map[string]string{"X-Remote-User": "jane", "X-Remote-Group": "dev"}
	if got := whoami(t, withFiles(t, "FrontProxyClient", headers)); got.Username != "jane" || !slices.Contains(got.Groups, "dev") {
		t.Errorf("through the front proxy it is %s in %v", got.Username, got.Groups)
	}
	if got := whoami(t, withFiles(t, "APIServerKubeletClient", headers)); got.Username == "jane" {
		t.Error("a certificate that is not the front proxy's may name another user")
	}
}

// Package install_test installs the operator's manifests on a real API server, and runs the operator with
// exactly the permissions that they give it.
package install_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/test/testenv"
)

const (
	system   = testenv.System
	home     = "clusterpki-authority"
	operator = "system:serviceaccount:" + system + ":clusterpki"
)

// pool has the control planes that each test finds empty.
var pool = &testenv.Pool{}

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(testenv.Run(m, pool))
}

// cluster is a control plane without anything of clusterpki.
type cluster struct {
	*testenv.Plane
	t          *testing.T
	api        client.Client
	kubectlBin string
	kubeconfig string
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	plane := pool.Borrow(t)
	api, err := testenv.Client(plane.Config)
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := plane.KubeconfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return &cluster{Plane: plane, t: t, api: api, kubectlBin: filepath.Join(plane.BinaryAssetsDirectory, "kubectl"), kubeconfig: kubeconfig}
}

// kubectl runs kubectl in the repository's root and returns what it said.
func (c *cluster) kubectl(args ...string) string {
	c.t.Helper()
	out, warning, err := c.Kubectl(c.t.Context(), args...)
	if err != nil {
		c.t.Fatal(err)
	}
	if warning != "" && !strings.Contains(warning, "'clusterpki-rotates-") { // of the API server, such as of a deprecated field
		c.t.Errorf("kubectl %s warns: %s", strings.Join(args, " "), warning)
	}
	return out
}

// allowed asks the API server whether a user may do something.
func (c *cluster) allowed(user, verb, group, resource, namespace string) bool {
	c.t.Helper()
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User:   user,
		Groups: []string{"system:serviceaccounts", "system:authenticated"},
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: verb, Group: group, Resource: resource, Namespace: namespace,
		},
	}}
	if err := c.api.Create(c.t.Context(), review); err != nil {
		c.t.Fatal(err)
	}
	return review.Status.Allowed
}

// run runs the operator as the service account that the manifests made, elected leader, until it is stopped or the test ends.
func (c *cluster) run(o controller.Options) (stop func()) {
	c.t.Helper()
	o.OwnNamespace, o.LeaderElect, o.LeaderElectionNamespace = system, true, system
	_, stop = testenv.RunOperator(c.t, c.Installed().Config, o)
	return stop
}

// ready waits until every object of clusterpki in a namespace is Ready, and returns how many there are. What is stalled is looked at
// again after a minute.
func (c *cluster) ready(namespace string) (n int) {
	c.t.Helper()
	testenv.Eventually(c.t, "all is Ready in "+namespace, func() (err error) {
		n, err = testenv.AllReady(c.t.Context(), c.api, namespace)
		return err
	})
	return n
}

func (c *cluster) namespace(name string) {
	c.t.Helper()
	if err := c.api.Create(c.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
		c.t.Fatal(err)
	}
}

// established waits until the API server serves the kinds.
func (c *cluster) established() {
	c.t.Helper()
	c.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd",
		"clustercas.clusterpki.io", "apiservercertificates.clusterpki.io", "nodecredentials.clusterpki.io", "serviceaccountkeys.clusterpki.io")
}

// permission is a question and its answer.
type permission struct {
	verb, group, resource, namespace string
	want                             bool
}

func (c *cluster) check(user string, permissions []permission) {
	c.t.Helper()
	for _, p := range permissions {
		if got := c.allowed(user, p.verb, p.group, p.resource, p.namespace); got != p.want {
			c.t.Errorf("%s may %s %s in %q: %t, want %t", user, p.verb, p.resource, p.namespace, got, p.want)
		}
	}
}

// TestDefault installs config/default.
func TestDefault(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.kubectl("apply", "-k", "config/default")
	c.established()
	c.kubectl("diff", "-k", "config/default") // fails where applying the same again changes something
	c.check(operator, []permission{
		{"create", "", "secrets", "prod", true},
		{"update", "", "configmaps", "prod", true},
		{"patch", "clusterpki.io", "clustercas/status", "prod", true},
		{"create", "events.k8s.io", "events", "prod", true},
		{"delete", "", "secrets", "prod", false}, // in no namespace
		{"delete", "", "secrets", home, false},
		{"patch", "", "secrets", "prod", true},
		{"list", "rbac.authorization.k8s.io", "rolebindings", home, true},     // to see who else may read keys
		{"create", "rbac.authorization.k8s.io", "rolebindings", "prod", true}, // for agents: of what it may do itself, since
		{"bind", "rbac.authorization.k8s.io", "roles", "prod", false},
		{"escalate", "rbac.authorization.k8s.io", "roles", "prod", false},
		{"update", "rbac.authorization.k8s.io", "roles", "prod", false},
		{"create", "", "serviceaccounts", "clusterpki-agents", true},
		{"create", "", "serviceaccounts/token", "clusterpki-agents", true},
		{"create", "", "serviceaccounts", "prod", false},
		{"create", "", "serviceaccounts/token", "prod", false},
		{"create", "", "serviceaccounts/token", "", false},
		{"get", "", "namespaces", "", true},
		{"list", "", "namespaces", "", false},
		{"create", "", "namespaces", "", false}, // but of one name
		{"delete", "", "namespaces", "", false},
		{"delete", "", "configmaps", "prod", false},
		{"update", "clusterpki.io", "nodecredentials", "prod", false},
		{"update", "coordination.k8s.io", "leases", "prod", true}, // in which agents acknowledge
		{"delete", "coordination.k8s.io", "leases", "prod", true},
		{"patch", "coordination.k8s.io", "leases", "prod", true},
		{"get", "", "pods", "prod", false},
		{"create", "authentication.k8s.io", "tokenreviews", "", true}, // of who reads metrics
		{"create", "authorization.k8s.io", "subjectaccessreviews", "", true},
		{"create", "rbac.authorization.k8s.io", "clusterrolebindings", "", false},
	})
	c.checkPeople()
	c.checkPod()
	c.checkMetricsReader()
	c.checkRefusals()

	// The samples become Ready with these permissions, and nobody is in anybody's way.
	c.namespace("prod")
	c.kubectl("apply", "--namespace=prod", "-k", "config/samples")
	c.namespace("seed")
	c.kubectl("apply", "--namespace=seed", "-k", "config/samples/seed")
	c.namespace("ha")
	c.kubectl("apply", "--namespace=ha", "-k", "config/samples/three-masters")
	c.run(controller.Options{})
	for _, namespace := range []string{"prod", "seed", "ha"} {
		if n := c.ready(namespace); n == 0 {
			t.Errorf("namespace %s has no credentials", namespace)
		}
	}
	c.byAgent("prod")
}

// TestInstaller applies what `make build-installer` writes, for an image.
func TestInstaller(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	const image = "registry.example/clusterpki:v1"
	path := filepath.Join(t.TempDir(), "install.yaml")
	build := exec.CommandContext(t.Context(), "make", "build-installer", "IMG="+image, "INSTALLER="+path)
	build.Dir = testenv.Root()
	build.Env = append(os.Environ(), "KUBEBUILDER_ASSETS="+filepath.Dir(c.kubectlBin))
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c.kubectl("apply", "-f", path)
	c.established()
	var d appsv1.Deployment
	if err := c.api.Get(t.Context(), client.ObjectKey{Namespace: system, Name: "clusterpki"}, &d); err != nil {
		t.Fatal(err)
	}
	if got := d.Spec.Template.Spec.Containers[0].Image; got != image {
		t.Errorf("the image is %s, want %s", got, image)
	}
	c.kubectl("diff", "-f", path) // fails where applying the same again changes something
}

// TestNamespaced installs config/namespaced, which serves one namespace and reads the Secrets of no other, but for its authority
// namespace: without that it waits, and says for what.
func TestNamespaced(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.namespace("prod")
	c.kubectl("apply", "-k", "config/namespaced")
	c.established()
	c.kubectl("diff", "-k", "config/namespaced")
	c.check(operator, []permission{
		{"list", "", "secrets", "prod", true},
		{"delete", "", "secrets", "prod", false},
		{"list", "", "secrets", system, false},
		{"list", "", "secrets", "default", false},
		{"list", "", "secrets", "", false},
		{"get", "", "namespaces", "prod", true},
		{"get", "", "namespaces", "default", false},
		{"create", "", "configmaps", system, true},
		{"list", "", "configmaps", system, false},
		{"delete", "coordination.k8s.io", "leases", "prod", true},
		{"list", "coordination.k8s.io", "leases", "default", false},
		{"create", "authentication.k8s.io", "tokenreviews", "", true},
		{"create", "authorization.k8s.io", "subjectaccessreviews", "", true},
	})
	c.kubectl("apply", "--namespace=prod", "-k", "config/samples")
	r := c.replica(controller.Options{Namespace: "prod"})
	r.says("create it and its Role by `kubectl apply -k config/authority`")
	c.kubectl("apply", "-k", "config/authority")
	c.kubectl("diff", "-k", "config/authority")
	c.check(operator, []permission{
		{"list", "", "secrets", system + "-authority", true},
		{"delete", "", "secrets", system + "-authority", false},
		{"create", "", "serviceaccounts/token", system + "-agents", true},
		{"create", "", "serviceaccounts/token", "prod", false},
	})
	r.ready()
	if n := c.ready("prod"); n == 0 {
		t.Error("there are no credentials")
	}
	c.byAgent("prod")
	r.stop()
}

// byAgent lets an agent deliver a credential, and something else again: its Lease comes and goes.
func (c *cluster) byAgent(namespace string) {
	c.t.Helper()
	const credential, name = "k8s-node1-kubelet", "k8s-node1-kubelet-tls"
	mode := func(mode string) {
		c.kubectl("patch", "nodecredential", credential, "--namespace="+namespace, "--type=merge", "-p", `{"spec":{"delivery":{"mode":"`+mode+`"}}}`)
	}
	mode("Agent")
	c.kubectl("wait", "--namespace="+namespace, "--for=create", "--timeout=30s", "lease/"+name)
	mode("Mounted")
	c.kubectl("wait", "--namespace="+namespace, "--for=delete", "--timeout=30s", "lease/"+name)
}

// checkPeople tries the roles for people, and that they join Kubernetes' own.
func (c *cluster) checkPeople() {
	c.t.Helper()
	for role, joins := range map[string][]string{"clusterpki-editor": {"admin", "edit"}, "clusterpki-viewer": {"view"}} {
		var r rbacv1.ClusterRole
		if err := c.api.Get(c.t.Context(), client.ObjectKey{Name: role}, &r); err != nil {
			c.t.Fatal(err)
		}
		for _, name := range joins {
			if r.Labels["rbac.authorization.k8s.io/aggregate-to-"+name] != "true" {
				c.t.Errorf("role %s does not join %s", role, name)
			}
		}
		c.kubectl("create", "rolebinding", role, "--namespace=default", "--clusterrole="+role, "--user="+role)
	}
	c.check("clusterpki-editor", []permission{
		{"create", "clusterpki.io", "clustercas", "default", true},
		{"delete", "clusterpki.io", "nodecredentials", "default", true},
		{"patch", "clusterpki.io", "nodecredentials/status", "default", false},
	})
	c.check("clusterpki-viewer", []permission{
		{"watch", "clusterpki.io", "apiservercertificates", "default", true},
		{"create", "clusterpki.io", "clustercas", "default", false},
		{"get", "", "secrets", "default", false},
	})
}

// checkMetricsReader binds the role for Prometheus: nobody reads metrics without it.
func (c *cluster) checkMetricsReader() {
	c.t.Helper()
	c.kubectl("create", "clusterrolebinding", "prometheus", "--clusterrole=clusterpki-metrics-reader", "--user=prometheus")
	for user, want := range map[string]bool{"prometheus": true, "somebody": false, operator: false} {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User: user, NonResourceAttributes: &authorizationv1.NonResourceAttributes{Verb: "get", Path: "/metrics"},
		}}
		if err := c.api.Create(c.t.Context(), review); err != nil {
			c.t.Fatal(err)
		}
		if got := review.Status.Allowed; got != want {
			c.t.Errorf("%s may read metrics: %t, want %t", user, got, want)
		}
	}
}

// checkPod tries the Deployment's pod on the namespace's Pod Security Standard.
func (c *cluster) checkPod() {
	c.t.Helper()
	var d appsv1.Deployment
	if err := c.api.Get(c.t.Context(), client.ObjectKey{Namespace: system, Name: "clusterpki"}, &d); err != nil {
		c.t.Fatal(err)
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "manager", Namespace: system}, Spec: d.Spec.Template.Spec}
	if err := c.api.Create(c.t.Context(), pod.DeepCopy(), client.DryRunAll); err != nil {
		c.t.Error(err)
	}
	pod.Spec.SecurityContext.RunAsNonRoot = nil
	if err := c.api.Create(c.t.Context(), pod, client.DryRunAll); err == nil {
		c.t.Error("a pod that may run as root is accepted: the namespace enforces nothing")
	}
}

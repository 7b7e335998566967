package admission_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/cli"
	"clusterpki.io/operator/test/given"
	"clusterpki.io/operator/test/testenv"
)

// command runs `clusterpki` in a namespace, as somebody.
func command(t *testing.T, ns, as string, args ...string) error {
	t.Helper()
	kubeconfig, err := plane.KubeconfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c := cli.New()
	c.SetArgs(append(args, "-n", ns, "--kubeconfig", kubeconfig, "--as", as+"@"+ns))
	var out bytes.Buffer
	c.SetOut(&out)
	c.SetErr(&out)
	return c.ExecuteContext(t.Context())
}

// TestCommand has `clusterpki rotate` denied: what the policy says is all that it says, and no advice that does not help follows.
func TestCommand(t *testing.T) {
	somebody(t, prod, "rotator")
	const want = "you need the verb rotate on clustercas named k8s, in namespace prod: ClusterRole clusterpki-pki-admin has it"
	eventually(t, "it is denied", func() error {
		return command(t, prod, "rotator", "rotate", "k8s", "--apply")
	}, func(err error) bool { return err != nil && strings.HasSuffix(err.Error(), want) })
}

// TestAgentConfigCommand needs a right in the authority namespace: nobody is sent there for the role view, which reads more than he needs.
func TestAgentConfigCommand(t *testing.T) {
	const role = "clusterpki-node-operator"
	bound(t, prod, role)
	eventually(t, "it is said who may", func() error {
		return command(t, prod, role, "agent", "config", "--host", "k8s-node1")
	}, func(err error) bool {
		return err != nil && strings.HasSuffix(err.Error(), "have whoever administers the operator run this, or ask for a Role there with get on this ConfigMap and nothing else")
	})
}

// bound gives somebody of a role's name that role in a namespace.
func bound(t *testing.T, ns, role string) {
	t.Helper()
	if _, err := testenv.Bound(t.Context(), cfg, ns, role, rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role}); err != nil {
		t.Fatal(err)
	}
}

// TestAcknowledgeCommand runs `clusterpki acknowledge` with a shipped role and no other: what is on the host is stated, what is not is refused,
// and it is said who may where that role may not.
func TestAcknowledgeCommand(t *testing.T) {
	t.Parallel()
	byHand := v1alpha1.DeliverySpec{Mode: v1alpha1.DeliveryManual}
	node := given.Kubelet("node1", func(c *v1alpha1.NodeCredential) { c.Spec.Delivery = byHand })
	server := given.Server(master, func(c *v1alpha1.APIServerCertificate) { c.Spec.Delivery = byHand })
	ns := testenv.Namespace(t, admin, "carried-")
	create(t, ns, given.CA("k8s"), server, node)
	testenv.Ready(t, admin, server)
	testenv.Ready(t, admin, node)
	at := carried(t, ns, master+"-tls", "node1-tls", "node1-kubeconfig")
	ofNode := []string{
		"acknowledge", "nodecred/node1", "--tls-crt", at("node1-tls", "tls.crt"), "--ca-crt", at("node1-tls", "ca.crt"),
		"--installed-kubeconfig", at("node1-kubeconfig", "value"),
	}
	ofServer := []string{
		"acknowledge", "asc/" + master, "--tls-crt", at(master+"-tls", "tls.crt"), "--ca-crt", at(master+"-tls", "ca.crt"),
		"--client-ca-crt", at(master+"-tls", "client-ca.crt"),
	}
	other := append(append([]string{}, ofNode...), "--ca-crt", at("node1-tls", "tls.crt")) // the last one counts
	has := func(text string) func(error) bool {
		return func(err error) bool { return err != nil && strings.Contains(err.Error(), text) }
	}
	done := func(err error) bool { return err == nil }
	for _, role := range []string{"clusterpki-node-operator", "clusterpki-pki-admin"} {
		bound(t, ns, role)
		eventually(t, role+" acknowledges", func() error { return command(t, ns, role, ofNode...) }, done)
		eventually(t, role+" is told", func() error { return command(t, ns, role, other...) }, has("does not hold the bundle"))
	}
	eventually(t, "an API server", func() error { return command(t, ns, "clusterpki-node-operator", ofServer...) },
		has("does not allow to patch apiservercertificates: ask for the ClusterRole clusterpki-pki-admin"))
	eventually(t, "an API server", func() error { return command(t, ns, "clusterpki-pki-admin", ofServer...) }, done)
	if err := admin.Get(t.Context(), client.ObjectKeyFromObject(server), server); err != nil || server.Spec.Delivery.Acknowledged == nil {
		t.Errorf("acknowledged is %+v: %v", server.Spec.Delivery.Acknowledged, err)
	}
}

// carried writes what Secrets hold to files, and says where.
func carried(t *testing.T, ns string, secrets ...string) func(secret, key string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range secrets {
		var s corev1.Secret
		if err := admin.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: name}, &s); err != nil {
			t.Fatal(err)
		}
		for key, value := range s.Data {
			if err := os.WriteFile(filepath.Join(dir, name+"."+key), value, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return func(secret, key string) string { return filepath.Join(dir, secret+"."+key) }
}

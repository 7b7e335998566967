package cli

import (
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/agent"
	"clusterpki.io/operator/internal/agents"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/delivery"
	"clusterpki.io/operator/test/given"
	"clusterpki.io/operator/test/testenv"
)

// withHost is a fixture in which there is a credential of a host, issued by nobody.
func withHost(t *testing.T, mode v1alpha1.DeliveryMode) *fixture {
	t.Helper()
	w := newFixture(t)
	c := &v1alpha1.NodeCredential{ObjectMeta: metav1.ObjectMeta{Name: "k8s-node1-kubelet-serving"}}
	c.Spec.CARef.Name, c.Spec.HostName, c.Spec.Role = "k8s", "k8s-node1", "KubeletServing"
	c.Spec.Delivery.Mode = mode
	w.create(c)
	c.Status.ObservedGeneration = c.Generation
	c.Status.Conditions = []metav1.Condition{{
		Type: v1alpha1.ReadyCondition, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonIssued, LastTransitionTime: metav1.Now(),
	}}
	if err := w.api.Status().Update(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := delivery.EncodePublic(public)
	if err != nil {
		t.Fatal(err)
	}
	w.create(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: authority.DeliveryName(w.ns)}, Data: map[string]string{authority.DeliveryPublicKey: string(text)},
	})
	return w
}

// hostConfig is what `agent config` prints, for directories and a kubeconfig of this test.
func (w *fixture) hostConfig(kubeconfig string) string { return w.hostConfigFrom(w.ns, kubeconfig) }

// hostConfigFrom is that for another authority namespace.
func (w *fixture) hostConfigFrom(home, kubeconfig string) string {
	w.t.Helper()
	out, err := w.run("agent", "config", "--host", "k8s-node1", "--authority-namespace", home)
	if err != nil {
		w.t.Fatal(err)
	}
	out = regexp.MustCompile(`(?m)^note: .*\n`).ReplaceAllString(out, "")
	dir := w.t.TempDir()
	out = strings.ReplaceAll(out, agent.KubeconfigFile, kubeconfig) + "directory: " + dir + "/kubernetes\nstateDirectory: " + dir + "/state\n"
	return w.file("agent.yaml", out)
}

func (w *fixture) file(name, text string) string {
	w.t.Helper()
	path := filepath.Join(w.t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// identity lets a ServiceAccount do what the operator lets the agent of the host do, and is a kubeconfig with a token of it.
func (w *fixture) identity() string {
	w.t.Helper()
	meta := metav1.ObjectMeta{Namespace: w.ns, Name: "agent"}
	names := []string{"k8s-node1-kubelet-serving-tls"}
	account := &corev1.ServiceAccount{ObjectMeta: meta}
	w.create(account)
	w.create(&rbacv1.Role{ObjectMeta: meta, Rules: agents.Access{Secrets: names, Leases: names}.Rules()})
	w.create(&rbacv1.RoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: meta.Namespace, Name: meta.Name}},
	})
	token := &authenticationv1.TokenRequest{}
	if err := w.api.SubResource("token").Create(w.t.Context(), account, token); err != nil {
		w.t.Fatal(err)
	}
	k, err := clientcmd.LoadFromFile(w.kubeconfig)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, u := range k.AuthInfos {
		u.ClientCertificateData, u.ClientKeyData, u.Token = nil, nil, token.Status.Token
	}
	text, err := clientcmd.Write(*k)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.file("kubeconfig", string(text))
}

// TestAgentMistakes makes the mistakes that people make before an agent runs, and reads what it says.
func TestAgentMistakes(t *testing.T) {
	t.Parallel()
	w := withHost(t, v1alpha1.DeliveryAgent)
	good, err := os.ReadFile(w.hostConfig("/nonexistent"))
	if err != nil {
		t.Fatal(err)
	}
	config := string(good)
	for name, test := range map[string]struct {
		args []string
		says []string
	}{
		"another authority namespace": {
			args: []string{"agent", "config", "--host", "k8s-node1", "--kubeconfig", w.kubeconfig, "-n", w.ns, "--authority-namespace", "default"},
			says: []string{"delivery.mode: Agent", `ConfigMap "delivery.` + w.ns + `" of the authority namespace "default"`},
		},
		"no configuration": {
			args: []string{"agent"},
			says: []string{`required flag(s) "config" not set`},
		},
		"no such file": {
			args: []string{"agent", "--config", "/nonexistent/agent.yaml"},
			says: []string{"/nonexistent/agent.yaml", "no such file", "clusterpki agent config"},
		},
		"a misspelt field": {
			args: []string{"agent", "--config", w.file("misspelt.yaml", config+"kubeconfg: /x\n")},
			says: []string{"misspelt.yaml", `unknown field "kubeconfg"`},
		},
		"not a configuration": {
			args: []string{"agent", "--config", w.kubeconfig},
			says: []string{"kubeconfig: "},
		},
		"another kind": {
			args: []string{"agent", "--config", w.file("kind.yaml", strings.Replace(config, agent.ConfigKind, "Config", 1))},
			says: []string{"kind.yaml", "kind: AgentConfiguration"},
		},
		"several problems at once": {
			args: []string{"agent", "--config", w.file("several.yaml", strings.Replace(config, "host: k8s-node1", "owner: nobody-has-this-name", 1))},
			says: []string{"host must be set", `there is no user "nobody-has-this-name"`},
		},
		"another host": {
			args: []string{"agent", "config", "--host", "k8s-node2", "--kubeconfig", w.kubeconfig, "-n", w.ns},
			says: []string{`is for host "k8s-node2"`, "its hosts are k8s-node1"},
		},
		"another namespace": {
			args: []string{"agent", "config", "--host", "k8s-node1", "--kubeconfig", w.kubeconfig, "-n", "kube-public"},
			says: []string{`in namespace "kube-public"`, "is the namespace right?"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := start(t, test.args...).end()
			if err == nil {
				t.Fatal("it ends without an error")
			}
			for _, want := range test.says {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("it says %q, and not %q", err, want)
				}
			}
		})
	}
}

// TestAgentWithoutKubeconfig starts the agent before its kubeconfig is there: it says so, waits, and takes it.
func TestAgentWithoutKubeconfig(t *testing.T) {
	t.Parallel()
	w := withHost(t, v1alpha1.DeliveryAgent)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	c := start(t, "agent", "--config", w.hostConfig(kubeconfig))
	c.prints("Could not connect to the management cluster")
	c.prints(kubeconfig)
	c.prints("First contact")
	text, err := os.ReadFile(w.identity())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(kubeconfig, text, 0o600); err != nil {
		t.Fatal(err)
	}
	c.prints("has the operator issued it?")
	c.stop()
	if err := c.end(); err != nil {
		t.Fatal(err)
	}
}

// TestAgentWithoutRole starts the agent with an identity that may do nothing.
func TestAgentWithoutRole(t *testing.T) {
	t.Parallel()
	w := withHost(t, v1alpha1.DeliveryAgent)
	c := start(t, "agent", "--config", w.hostConfig(w.kubeconfig))
	c.prints(`the Secret \"k8s-node1-kubelet-serving-tls\" was not read: it may not be read by this host: the operator allows it`)
	c.prints(`Lease \"k8s-node1-kubelet-serving-tls\" may not be written by this host: the operator makes the Role`)
}

// TestAgentRefused: nothing is printed for what no agent delivers, or what holds a CA's key.
func TestAgentRefused(t *testing.T) {
	t.Parallel()
	w := withHost(t, v1alpha1.DeliveryMounted)
	holder := &v1alpha1.ClusterCA{ObjectMeta: metav1.ObjectMeta{Name: "k8s"}}
	holder.Spec.SecretName = "k8s-node1-kubelet-serving-tls"
	holder.Spec.Subject.CommonName = "k8s"
	w.create(holder)
	out, err := w.run("agent", "config", "--host", "k8s-node1")
	for _, want := range []string{"delivery.mode is 'Agent'", "NodeCredential k8s-node1-kubelet-serving", `the key of ClusterCA "k8s"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, and it prints\n%s", err, out)
		}
	}
}

// TestAgentNotAsked starts the agent of a host for which there is no Lease.
func TestAgentNotAsked(t *testing.T) {
	t.Parallel()
	w := withHost(t, v1alpha1.DeliveryAgent)
	c := start(t, "agent", "--config", w.hostConfig(w.identity()))
	c.prints(`does not exist, so nobody learns what is in use here: set delivery.mode: Agent on NodeCredential/k8s-node1-kubelet-serving`)
	if err := w.api.Create(t.Context(), &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "k8s-node1-kubelet-serving-tls"}}); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, "report", func() error {
		var l coordinationv1.Lease
		if err := w.api.Get(t.Context(), client.ObjectKey{Namespace: w.ns, Name: "k8s-node1-kubelet-serving-tls"}, &l); err != nil {
			return err
		}
		if text := l.Annotations[v1alpha1.ReportAnnotation]; !strings.Contains(text, "has the operator issued it?") {
			return fmt.Errorf("the Lease says %q", text)
		}
		return nil
	})
}

// TestAgentOfAControlPlane: the host of an API server reads the Secret of the ServiceAccountKey that this names, once there is one.
func TestAgentOfAControlPlane(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	w.operate(0)
	w.create(given.CA("k8s"))
	w.create(given.Server("k8s-master", func(c *v1alpha1.APIServerCertificate) {
		c.Spec.ServiceAccountKeyRef, c.Spec.Delivery.Mode, c.Spec.Delivery.AcceptAssumed = &v1alpha1.KeyReference{Name: "k8s"}, v1alpha1.DeliveryAgent, ""
	}))
	admin := adminKubeconfig(t, cfg.Host)
	if out, err := w.as(admin, "agent", "config", "--host", "k8s-master"); err == nil || !strings.Contains(err.Error(), `names ServiceAccountKey "k8s", which does not exist`) {
		t.Errorf("error %v, and it prints\n%s", err, out)
	}
	w.create(&v1alpha1.ServiceAccountKey{ObjectMeta: metav1.ObjectMeta{Name: "k8s"}, Spec: v1alpha1.ServiceAccountKeySpec{SecretName: "k8s-accounts"}})
	w.ready(&v1alpha1.ServiceAccountKey{}, "k8s")
	w.ready(&v1alpha1.APIServerCertificate{}, "k8s-master")
	out, err := w.as(admin, "agent", "config", "--host", "k8s-master", "--authority-namespace", w.ns+"-authority")
	if err != nil || !strings.Contains(out, "  serviceAccountSecretName: k8s-accounts\n") {
		t.Errorf("error %v, and it prints\n%s", err, out)
	}
}

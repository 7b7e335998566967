package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/api/v1alpha1"
	unit "clusterpki.io/operator/config/agent"
	"clusterpki.io/operator/internal/agent"
	"clusterpki.io/operator/internal/agents"
	"clusterpki.io/operator/test/testenv"
)

// withAccount is a host whose agent has a ServiceAccount, in the namespace of the test, and what the operator lets it do: no more.
func withAccount(t *testing.T) *fixture {
	t.Helper()
	w := withHost(t, v1alpha1.DeliveryAgent)
	name := agents.AccountName(w.ns, "k8s-node1")
	w.create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}})
	w.create(&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{"k8s-node1-kubelet-serving-tls"}, Verbs: []string{"get", "watch"}},
		{APIGroups: []string{"coordination.k8s.io"}, Resources: []string{"leases"}, ResourceNames: []string{"k8s-node1-kubelet-serving-tls"}, Verbs: []string{"get", "update"}},
		{APIGroups: []string{""}, Resources: []string{"serviceaccounts/token"}, ResourceNames: []string{name}, Verbs: []string{"create"}},
	}})
	w.create(&rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: w.ns, Name: name}},
	})
	return w
}

// install runs `agent install` as the administrator of the cluster.
func (w *fixture) install(args ...string) (string, error) {
	w.t.Helper()
	return w.as(adminKubeconfig(w.t, cfg.Host), append([]string{"agent", "install", "--authority-namespace", w.ns, "--agents-namespace", w.ns}, args...)...)
}

// checkHost says that the files of a host's agent lie below a directory, and can be used.
func (w *fixture) checkHost(root string) {
	w.t.Helper()
	c, err := agent.ReadConfig(filepath.Join(root, agentConfigFile))
	if err != nil {
		w.t.Fatal(err)
	}
	if c.Host != "k8s-node1" || len(c.DeliveryKeys) != 1 || len(c.ManagementClusters) != 1 || c.ManagementClusters[0].Kubeconfig != agent.KubeconfigFile {
		w.t.Errorf("the configuration is %+v", c)
	}
	file := filepath.Join(root, agent.KubeconfigFile)
	k, err := clientcmd.LoadFromFile(file)
	if err != nil {
		w.t.Fatal(err)
	}
	user, cluster := k.AuthInfos["agent"], k.Clusters["management"]
	if user == nil || user.Token == "" || len(user.ClientKeyData) > 0 || cluster == nil || cluster.Server != cfg.Host || string(cluster.CertificateAuthorityData) != string(cfg.CAData) {
		w.t.Errorf("the first credential leads to %+v", cluster)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		w.t.Errorf("%v, %v", info, err)
	}
	text, err := os.ReadFile(filepath.Join(root, agentUnitFile))
	if err != nil || string(text) != string(unit.Unit) {
		w.t.Errorf("the unit is another one: %v", err)
	}
}

// TestAgentInstall prints what a shell writes to a host, writes the same files, and prints them for cloud-init.
func TestAgentInstall(t *testing.T) {
	t.Parallel()
	w := withAccount(t)
	script, err := w.install("--host", "k8s-node1")
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	onHost(t, root, script)
	w.checkHost(root)
	for _, dir := range []string{"etc", "etc/clusterpki", "etc/systemd/system"} {
		if info, err := os.Stat(filepath.Join(root, dir)); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("%s: %v, %v", dir, info, err)
		}
	}

	out := filepath.Join(t.TempDir(), "one")
	if text, err := w.install("--host", "k8s-node1", "--out", out); err != nil || strings.Contains(text, "kind: Config") {
		t.Errorf("%v\n%s", err, text)
	}
	w.checkHost(out)
	all := filepath.Join(t.TempDir(), "all")
	if text, err := w.install("--all", "--out", all); err != nil {
		t.Errorf("%v\n%s", err, text)
	}
	w.checkHost(filepath.Join(all, "k8s-node1"))

	text, err := w.install("--host", "k8s-node1", "--format", "cloud-init", "--management-server", "https://pki.example:6443")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ = strings.Cut(text, "#cloud-config\n")
	var data cloudInit
	if err := yaml.UnmarshalStrict([]byte(text), &data); err != nil {
		t.Fatal(err)
	}
	if len(data.WriteFiles) != 3 || data.WriteFiles[1].Permissions != "0600" || !strings.Contains(data.WriteFiles[1].Content, "server: https://pki.example:6443") {
		t.Errorf("cloud-init is to write %d files, the second of them\n%s", len(data.WriteFiles), data.WriteFiles[1].Content)
	}
}

// onHost runs what `agent install` prints, as on a host.
func onHost(t *testing.T, root, printed string) string {
	t.Helper()
	_, script, _ := strings.Cut(printed, "#!/bin/sh") // after the notes
	sh := exec.CommandContext(t.Context(), "sh")
	sh.Stdin, sh.Env = strings.NewReader(script), append(os.Environ(), "DESTDIR="+root)
	out, err := sh.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// TestAgentInstallAgain leaves a configuration alone that a person has edited, and brings a credential alone where that is asked for.
func TestAgentInstallAgain(t *testing.T) {
	t.Parallel()
	w := withAccount(t)
	printed := func(args ...string) string {
		text, err := w.install(append([]string{"--host", "k8s-node1"}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	read := func(file string) string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	root := t.TempDir()
	config, kubeconfig := filepath.Join(root, agentConfigFile), filepath.Join(root, agent.KubeconfigFile)
	if said := onHost(t, root, printed()) + onHost(t, root, printed()); said != "" {
		t.Errorf("what is as it should be is not to be mentioned:\n%s", said)
	}
	if _, err := os.Stat(config + ".new"); !os.IsNotExist(err) {
		t.Errorf("a second configuration lies there: %v", err)
	}

	first, edited := read(config), read(config)+"quiet: 2s\n"
	if err := os.WriteFile(config, []byte(edited), 0o644); err != nil {
		t.Fatal(err)
	}
	before := read(kubeconfig)
	if said := onHost(t, root, printed()); !strings.Contains(said, agentConfigFile+".new") {
		t.Errorf("it says %q", said)
	}
	if read(config) != edited || read(config+".new") != first || read(kubeconfig) == before {
		t.Errorf("the configuration is now\n%s", read(config))
	}

	other := printed("--token-only", "--cluster-name", "west")
	if !strings.Contains(other, "- {name: west, kubeconfig: /etc/clusterpki/west.kubeconfig}") || strings.Contains(other, "systemctl") {
		t.Errorf("it prints\n%s", other)
	}
	root = t.TempDir()
	onHost(t, root, other)
	files, err := os.ReadDir(filepath.Join(root, "etc", "clusterpki"))
	if err != nil || len(files) != 1 || files[0].Name() != "west.kubeconfig" {
		t.Errorf("there are %v, %v", files, err)
	}
	if k, err := clientcmd.LoadFromFile(filepath.Join(root, "etc", "clusterpki", "west.kubeconfig")); err != nil || k.Clusters["west"] == nil || k.AuthInfos["agent"].Token == "" {
		t.Errorf("it leads nowhere: %v", err)
	}
	onHost(t, root, printed("--cluster-name", "west"))
	if c, err := agent.ReadConfig(filepath.Join(root, agentConfigFile)); err != nil || c.ManagementClusters[0] != agent.ClusterNamed("west") {
		t.Errorf("the configuration of a new host is %+v, %v", c, err)
	}
}

// TestAgentInstallMistakes says what to change.
func TestAgentInstallMistakes(t *testing.T) {
	t.Parallel()
	w := withHost(t, v1alpha1.DeliveryAgent)
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"no host":           {nil, "say which host with --host, or --all"},
		"both":              {[]string{"--host", "a", "--all", "--out", "b"}, "say which host with --host, or --all"},
		"nowhere":           {[]string{"--all"}, "--all needs --out"},
		"another form":      {[]string{"--host", "k8s-node1", "--format", "ignition"}, `--format must be 'script' or 'cloud-init', not "ignition"`},
		"files to print":    {[]string{"--host", "k8s-node1", "--format", "cloud-init", "--out", "a"}, "--out writes files, and --format is for what is printed"},
		"a token to start":  {[]string{"--host", "k8s-node1", "--format", "cloud-init", "--token-only"}, "--token-only is for a host whose agent is there"},
		"a name with dots":  {[]string{"--host", "k8s-node1", "--cluster-name", "../a"}, "--cluster-name: "},
		"too short":         {[]string{"--host", "k8s-node1", "--token-duration", "1m"}, "--token-duration must be 10m0s at least"},
		"a plain URL":       {[]string{"--host", "k8s-node1", "--management-server", "http://a"}, `an https URL, not "http://a"`},
		"another host":      {[]string{"--host", "k8s-node2"}, "its hosts are k8s-node1"},
		"no ServiceAccount": {[]string{"--host", "k8s-node1"}, "ServiceAccount " + w.ns + "/k8s-node1." + w.ns + " does not exist: the operator makes it"},
		"of all":            {[]string{"--all", "--out", t.TempDir()}, `host "k8s-node1": ServiceAccount `},
	} {
		if out, err := w.install(c.args...); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: error %v, and it prints\n%s", name, err, out)
		}
	}
	w.create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: agents.AccountName(w.ns, "k8s-node1")}})
	out, err := w.run("agent", "install", "--host", "k8s-node1", "--authority-namespace", w.ns, "--agents-namespace", w.ns)
	if err == nil || !strings.Contains(err.Error(), "resources: [serviceaccounts/token], resourceNames: [k8s-node1."+w.ns+"], verbs: [create]") {
		t.Errorf("without the right: error %v, and it prints\n%s", err, out)
	}
	if mounted := withHost(t, v1alpha1.DeliveryMounted); true {
		if out, err := mounted.install("--host", "k8s-node1"); err == nil || !strings.Contains(err.Error(), "before delivery.mode is 'Agent'") {
			t.Errorf("not delivered by an agent: error %v, and it prints\n%s", err, out)
		}
		if out, err := mounted.install("--all", "--out", t.TempDir()); err == nil || !strings.Contains(err.Error(), "has delivery.mode: Agent") {
			t.Errorf("no host has an agent: error %v, and it prints\n%s", err, out)
		}
	}
}

// TestAgentRenewsItsToken: what `agent install` brings is enough; the agent gets a token of its own with the rights that it has, and works with that alone.
func TestAgentRenewsItsToken(t *testing.T) {
	t.Parallel()
	w := withAccount(t)
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "k8s-node1-kubelet-serving-tls"}}
	w.create(lease)
	root := t.TempDir()
	if out, err := w.install("--host", "k8s-node1", "--out", root, "--token-duration", "10m"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(root, agentConfigFile))
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := filepath.Join(root, agent.KubeconfigFile)
	own := strings.Replace(string(text), agent.KubeconfigFile, kubeconfig, 1) + "directory: " + root + "/kubernetes\nstateDirectory: " + root + "/state\n"
	file := w.file("agent.yaml", own)
	c := start(t, "agent", "--config", file)
	c.prints("Renewed the agent's token")
	w.reported(lease)
	c.stop()
	if err := c.end(); err != nil {
		t.Fatal(err)
	}
	stored, err := os.ReadFile(filepath.Join(root, "state", "credentials", "management.json"))
	if err != nil {
		t.Fatal(err)
	}
	var renewed struct{ Token string }
	if err := json.Unmarshal(stored, &renewed); err != nil || renewed.Token == "" || strings.Contains(c.out.String(), renewed.Token) {
		t.Fatalf("%v: it printed\n%s", err, c.out.String())
	}
	// From now on the first token is worth nothing.
	k, err := clientcmd.LoadFromFile(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	k.AuthInfos["agent"].Token = "worth-nothing"
	if err := clientcmd.WriteToFile(*k, kubeconfig); err != nil {
		t.Fatal(err)
	}
	if err := w.api.Get(t.Context(), client.ObjectKeyFromObject(lease), lease); err != nil {
		t.Fatal(err)
	}
	lease.Annotations = nil
	if err := w.api.Update(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	again := start(t, "agent", "--config", file)
	w.reported(lease)
	if strings.Contains(again.out.String(), "Lost the management cluster") {
		t.Errorf("it printed\n%s", again.out.String())
	}
}

// reported waits until the agent has reported in a Lease.
func (w *fixture) reported(lease *coordinationv1.Lease) {
	w.t.Helper()
	testenv.Eventually(w.t, "report", func() error {
		if err := w.api.Get(w.t.Context(), client.ObjectKeyFromObject(lease), lease); err != nil {
			return err
		}
		if text := lease.Annotations[v1alpha1.ReportAnnotation]; !strings.Contains(text, "has the operator issued it?") {
			return fmt.Errorf("the Lease says %q", text)
		}
		return nil
	})
}

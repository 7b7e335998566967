package install_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/agent"
	"clusterpki.io/operator/internal/agents"
	"clusterpki.io/operator/internal/controller"
	"clusterpki.io/operator/test/testenv"
)

// TestAgent installs config/agent, and then follows docs/agent.md word for word until a host acknowledges.
func TestAgent(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.kubectl("apply", "-k", "config/agent")
	c.kubectl("apply", "-k", "config/default")
	c.checkAgentPod()
	c.established()
	c.namespace("prod")
	c.kubectl("apply", "--namespace=prod", "-k", "config/samples")
	c.run(controller.Options{})
	c.ready("prod")
	h := newHost(t, c)
	h.checkExamples()
	h.firstContact()
	h.acknowledges()
	h.checkPermissions()
}

// checkAgentPod tries the DaemonSet's pod on its namespace's Pod Security Standard, and on a stricter one.
func (c *cluster) checkAgentPod() {
	c.t.Helper()
	var d appsv1.DaemonSet
	if err := c.api.Get(c.t.Context(), client.ObjectKey{Namespace: "clusterpki-agent-pods", Name: "clusterpki-agent"}, &d); err != nil {
		c.t.Fatal(err)
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "agent", Namespace: "clusterpki-agent-pods"}, Spec: d.Spec.Template.Spec}
	pod.Spec.ServiceAccountName = "default"
	c.account("clusterpki-agent-pods")
	if err := c.api.Create(c.t.Context(), pod, client.DryRunAll); err != nil {
		c.t.Error(err)
	}
	if mounts := pod.Spec.AutomountServiceAccountToken; mounts == nil || *mounts { // which envtest's API server would not do
		c.t.Error("the pod gets a token of its ServiceAccount")
	}
	pod.Namespace, pod.ResourceVersion, pod.UID = system, "", ""
	if err := c.api.Create(c.t.Context(), pod, client.DryRunAll); err == nil || !strings.Contains(err.Error(), "hostPath") {
		c.t.Errorf("in a namespace that is restricted: %v", err)
	}
}

// account makes the ServiceAccount that kube-controller-manager would.
func (c *cluster) account(namespace string) {
	c.t.Helper()
	err := c.api.Create(c.t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "default"}})
	if err != nil {
		c.t.Fatal(err)
	}
}

// host is k8s-node1: a directory that stands for its file system, and somebody's machine next to it.
type host struct {
	*cluster
	workDir string // where the person works
	root    string // the host's files
	bin     string
}

// newHost builds clusterpki, and has ssh and scp lead to the host's directory.
func newHost(t *testing.T, c *cluster) *host {
	t.Helper()
	h := &host{cluster: c, workDir: t.TempDir(), root: t.TempDir(), bin: t.TempDir()}
	for name, of := range map[string]string{"clusterpki": "./cmd", "clusterpki-agent": "./cmd/agent"} {
		build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(h.bin, name), of)
		build.Dir = testenv.Root()
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", name, err, out)
		}
	}
	h.program("kubectl", `exec `+c.kubectlBin+` "$@"`)
	h.program("ssh", `[ "$1" = root@k8s-node1 ] || exit 1; shift
		[ "$*" = sh ] && DESTDIR="$ROOT" exec sh`)
	h.program("scp", `to=${@: -1}; [ "${to%%:*}" = root@k8s-node1 ] || exit 1
		mkdir -p "$(dirname "$ROOT${to#*:}")"; exec cp -p "$2" "$ROOT${to#*:}"`)
	for _, link := range []struct{ to, name string }{
		{h.bin, "bin"}, {filepath.Join(testenv.Root(), "config"), "config"},
	} {
		if err := os.Symlink(link.to, filepath.Join(h.workDir, link.name)); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func (h *host) program(name, script string) {
	h.t.Helper()
	if err := os.WriteFile(filepath.Join(h.bin, name), []byte("#!/bin/bash\n"+script+"\n"), 0o700); err != nil {
		h.t.Fatal(err)
	}
}

// bash runs commands in the working directory.
func (h *host) bash(script string) string {
	h.t.Helper()
	cmd := exec.CommandContext(h.t.Context(), "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = h.workDir
	cmd.Env = append(os.Environ(), "PATH="+h.bin+":"+os.Getenv("PATH"), "KUBECONFIG="+h.kubeconfig, "ROOT="+h.root)
	out, err := cmd.CombinedOutput()
	if err != nil {
		h.t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// checkExamples compares the examples in config/agent with what is printed for the samples. They have comments of their own too.
func (h *host) checkExamples() {
	h.t.Helper()
	h.deliveredBy(v1alpha1.DeliveryAgent)
	defer h.deliveredBy(v1alpha1.DeliveryMounted)
	ownKey := regexp.MustCompile(`MCow[A-Za-z0-9+/]{55}=`)
	for name, of := range map[string]string{"agent.yaml": "k8s-node1", "agent-master.yaml": "k8s-master"} {
		path := filepath.Join(testenv.Root(), "config", "agent", name)
		if _, err := agent.ReadConfig(path); err != nil {
			h.t.Error(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			h.t.Fatal(err)
		}
		want := h.bash("clusterpki agent config -n prod --host " + of + " 2>/dev/null")
		want = ownKey.ReplaceAllString(want, "KEY")
		comments := regexp.MustCompile(`(?m)^#.*\n`)
		for _, line := range comments.FindAllString(want, -1) {
			if !strings.Contains(string(text), line) {
				h.t.Errorf("%s lacks what is printed: %s", name, line)
			}
		}
		got := ownKey.ReplaceAllString(comments.ReplaceAllString(string(text), ""), "KEY")
		if want = comments.ReplaceAllString(want, ""); got != want {
			h.t.Errorf("%s is\n%s\nand not, as is printed,\n%s", name, got, want)
		}
	}
}

// deliveredBy changes how what is issued reaches its hosts, and waits until the operator has acted on it.
func (h *host) deliveredBy(mode v1alpha1.DeliveryMode) {
	h.t.Helper()
	for _, kind := range []string{"apiservercertificates", "nodecredentials"} {
		for name := range strings.FieldsSeq(h.bash("kubectl get " + kind + " -n prod -o name")) {
			h.bash("kubectl patch " + name + ` -n prod --type merge -p '{"spec":{"delivery":{"mode":"` + string(mode) + `"}}}'`)
		}
		h.bash("kubectl wait " + kind + " --all -n prod --for=condition=Ready --timeout=2m")
	}
}

// firstContact runs the commands of docs/agent.md, and starts what systemd would.
func (h *host) firstContact() {
	h.t.Helper()
	commands := h.shown("### A host with systemd", "sh")
	// The one thing that is other here: the host's files lie in a directory of the test.
	h.elsewhere("k8s-node1-kubelet", "k8s-node1-kube-proxy")
	h.bash(commands)
	unit, err := os.ReadFile(filepath.Join(h.root, "etc/systemd/system/clusterpki-agent.service"))
	if err != nil {
		h.t.Fatal(err)
	}
	start := regexp.MustCompile(`(?m)^ExecStart=(.*)$`).FindStringSubmatch(string(unit))
	if start == nil {
		h.t.Fatal("the unit starts nothing")
	}
	argv := strings.Fields(start[1])
	h.start(append([]string{h.root + argv[0]}, argv[1:]...))
}

// shown is the first block of a language below a heading of docs/agent.md.
func (h *host) shown(heading, language string) string {
	h.t.Helper()
	page, err := os.ReadFile(filepath.Join(testenv.Root(), "docs", "agent.md"))
	if err != nil {
		h.t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(page), heading+"\n")
	block := regexp.MustCompile("(?s)```" + language + "\n(.*?)```").FindStringSubmatch(section)
	if !ok || block == nil {
		h.t.Fatalf("docs/agent.md shows no %s below %q", language, heading)
	}
	return block[1]
}

// elsewhere has the files of credentials lie in the host's directory here.
func (h *host) elsewhere(names ...string) {
	h.t.Helper()
	for _, name := range names {
		h.kubectl("patch", "nodecredential", name, "--namespace=prod", "--type=merge",
			`--patch={"spec":{"kubeconfig":{"directory":"`+filepath.Join(h.root, "etc/kubernetes")+`"}}}`)
	}
}

// start runs the agent until the test ends, on the host's configuration.
func (h *host) start(argv []string) {
	h.t.Helper()
	config := filepath.Join(h.root, "etc/clusterpki/agent.yaml")
	text, err := os.ReadFile(config)
	if err != nil {
		h.t.Fatal(err)
	}
	here := strings.Replace(string(text), "kubeconfig: /etc", "kubeconfig: "+h.root+"/etc", 1) +
		"stateDirectory: " + filepath.Join(h.root, "var/lib/clusterpki") + "\n"
	if err := os.WriteFile(config, []byte(here), 0o600); err != nil {
		h.t.Fatal(err)
	}
	argv[slices.Index(argv, "/etc/clusterpki/agent.yaml")] = config
	cmd := exec.CommandContext(h.t.Context(), argv[0], argv[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	log, err := os.Create(filepath.Join(h.t.TempDir(), "log"))
	if err != nil {
		h.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		_ = cmd.Wait()
		_ = log.Close()
		if text, err := os.ReadFile(log.Name()); err == nil && h.t.Failed() {
			h.t.Logf("the agent's log:\n%s", text)
		}
	})
}

// acknowledges waits until the host says what it can: its kubelet's server is in use; the others cannot be, since nobody
// answers at https://k8s-master:6443, and it says that.
func (h *host) acknowledges() {
	h.t.Helper()
	want := map[string]string{
		"k8s-node1-kubelet-serving": v1alpha1.ReasonInUse,
		"k8s-node1-kubelet":         v1alpha1.ReasonAgentProblem,
		"k8s-node1-kube-proxy":      v1alpha1.ReasonAgentProblem,
		"k8s-node2-kubelet":         "", // nobody has asked for an agent there
	}
	testenv.Eventually(h.t, "the host acknowledges what it can", func() error {
		got, said := map[string]string{}, map[string]string{}
		for name := range want {
			var n v1alpha1.NodeCredential
			if err := h.api.Get(h.t.Context(), client.ObjectKey{Namespace: "prod", Name: name}, &n); err != nil {
				return err
			}
			got[name] = ""
			if c := meta.FindStatusCondition(n.Status.Conditions, v1alpha1.TrustAcknowledgedCondition); c != nil {
				got[name], said[name] = c.Reason, c.Message
			}
		}
		if !maps.Equal(got, want) || !strings.Contains(said["k8s-node1-kubelet"], "the API server cannot be reached") {
			return fmt.Errorf("TrustAcknowledged has the reasons %v, want %v: %v", got, want, said)
		}
		return nil
	})
}

// checkPermissions tries what the operator lets the agent do, and what it doesn't.
func (h *host) checkPermissions() {
	h.t.Helper()
	h.check("system:serviceaccount:"+agents.DefaultNamespace+":"+agents.AccountName("prod", "k8s-node1"), []permission{
		{"get", "", "secrets", "prod", false}, // of any name
		{"list", "", "secrets", "prod", false},
		{"watch", "", "secrets", "prod", false},
		{"create", "coordination.k8s.io", "leases", "prod", false},
		{"update", "coordination.k8s.io", "leases", "prod", false},
		{"get", "clusterpki.io", "nodecredentials", "prod", false},
		{"create", "", "serviceaccounts/token", "prod", false},
	})
}

package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/test/given"
	"clusterpki.io/operator/test/testenv"
)

// kubectl is the real one, with the plugin installed as `make install-plugin` does it.
type kubectl struct {
	t    *testing.T
	path string
	env  []string
}

func newKubectl(t *testing.T, kubeconfig string) *kubectl {
	t.Helper()
	dir, err := testenv.Binaries()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	install := exec.Command("make", "--no-print-directory", "install-plugin", "BINDIR="+bin)
	install.Dir = testenv.Root()
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return &kubectl{t: t, path: filepath.Join(dir, "kubectl"), env: append(os.Environ(),
		"PATH="+bin+string(os.PathListSeparator)+"/usr/bin"+string(os.PathListSeparator)+"/bin", "KUBECONFIG="+kubeconfig)}
}

// run runs kubectl, and returns what it printed and its exit code.
func (k *kubectl) run(args ...string) (stdout, stderr string, code int) {
	k.t.Helper()
	c := exec.Command(k.path, args...)
	var out, err strings.Builder
	c.Stdout, c.Stderr, c.Env = &out, &err, k.env
	if e := c.Run(); c.ProcessState == nil {
		k.t.Fatal(e)
	}
	return out.String(), err.String(), c.ProcessState.ExitCode()
}

// TestKubectl uses the plugin through the real kubectl, as people do.
func TestKubectl(t *testing.T) {
	t.Parallel()
	w := steady(t)
	node := &v1alpha1.NodeCredential{ObjectMeta: metav1.ObjectMeta{Name: "node1"}}
	node.Spec.CARef.Name, node.Spec.HostName, node.Spec.Role = "k8s", "k8s-node1", "Kubelet"
	k := newKubectl(t, adminKubeconfig(t, cfg.Host))

	if out, errs, code := k.run("plugin", "list"); code != 0 || !strings.Contains(out, "kubectl-clusterpki") || strings.Contains(out+errs, "warning") {
		t.Errorf("%d\n%s\n%s", code, out, errs)
	}
	for name, c := range map[string]struct {
		args   []string
		code   int
		stdout string
		stderr string
	}{
		"status":       {[]string{"status", "-n", w.ns}, 0, "ClusterCA/k8s  Ready", ""},
		"status, wide": {[]string{"status", "-n", w.ns, "-o", "wide"}, 0, "SECRET", ""},
		"inspect":      {[]string{"inspect", "cca/k8s", "-n", w.ns}, 0, "ClusterCA/k8s in " + w.ns, ""},
		"rotate":       {[]string{"rotate", "k8s", "-n", w.ns, "--context", "admin"}, 0, "To rotate it", ""},
		"version":      {[]string{"version"}, 0, "built by", ""},
		"help":         {[]string{"status", "--help"}, 0, "kubectl clusterpki status [CA | cpki/NAME] [flags]", ""},
		"no such CA":   {[]string{"status", "k8", "-n", w.ns}, 1, "", "kubectl clusterpki: status: there is no ClusterCA \"k8\""},
		"no such flag": {[]string{"status", "--gone"}, 1, "", "kubectl clusterpki: unknown flag: --gone"},
		"no command":   {[]string{"stats"}, 1, "", "Did you mean this?\n\tstatus"},
		"as a nobody":  {[]string{"status", "-n", w.ns, "--as", "nobody"}, 1, "", "ask for the ClusterRole view"},
		"completion":   {[]string{"completion", "bash"}, 0, "kubectl-clusterpki", ""},
		"time":         {[]string{"rotate", "k8s", "-n", w.ns, "--watch", "--timeout", "1s"}, 3, "", "not completed after 1s"},
	} {
		t.Run(name, func(t *testing.T) {
			out, errs, code := k.run(append([]string{"clusterpki"}, c.args...)...)
			if code != c.code || !strings.Contains(out, c.stdout) || !strings.Contains(errs, c.stderr) {
				t.Errorf("%d\n%s\n%s", code, out, errs)
			}
		})
	}
	w.create(node)
	if out, _, code := k.run("clusterpki", "status", "-n", w.ns); code != 2 {
		t.Errorf("bad news: %d\n%s", code, out)
	}
	k.completes(w)
}

// completes asks kubectl what the Tab key would show.
func (k *kubectl) completes(w *fixture) {
	k.t.Helper()
	for typed, want := range map[string]string{
		"sta":                               "status",
		"status -n " + w.ns + " k":          "k8s\n",
		"rotate -n " + w.ns + " ":           "k8s\n",
		"inspect node":                      "nodecredential/\n",
		"inspect -n " + w.ns + " nodecred/": "nodecred/node1\n",
		"inspect -n " + w.ns + " asc ":      ":4",
		"inspect -n " + w.ns + " secret/":   "secret/node1-tls\n",
		"status -n " + w.ns:                 w.ns + "\n",
		"status --context ":                 "admin\nstranger\n",
		"status --user s":                   "stranger\n",
		"status --cluster ":                 "test\n",
		"status -o ":                        "text\nwide\njson\nyaml\n",
		"export -n " + w.ns + " --host ":    "k8s-node1\n",
		"completion ":                       "fish",
	} {
		args := append([]string{"__complete", "clusterpki"}, strings.Split(typed, " ")...)
		if out, errs, code := k.run(args...); code != 0 || !strings.Contains(out, want) {
			k.t.Errorf("%q: %d\n%s\n%s", typed, code, out, errs)
		}
	}
}

// TestCompletionScripts lets each shell that is here read its script.
func TestCompletionScripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		c := startAs(t, "kubectl-clusterpki", "completion", shell)
		if err := c.end(); err != nil || !strings.Contains(c.out.String(), "kubectl-clusterpki") {
			t.Errorf("%s: %v", shell, err)
			continue
		}
		if shell == "bash" {
			check := exec.Command("bash", "-n")
			check.Stdin = strings.NewReader(c.out.String())
			if out, err := check.CombinedOutput(); err != nil {
				t.Error(fmt.Errorf("%s: %w: %s", shell, err, out))
			}
		}
	}
}

// TestNoKeyIsPrinted gives a private key, as it is pasted by mistake, in place of a request, before one and behind one. What kubectl
// prints, and GitOps tools store, is the API server's answer: it says what is wrong, and quotes none of it.
func TestNoKeyIsPrinted(t *testing.T) {
	t.Parallel()
	w := newFixture(t)
	k := newKubectl(t, adminKubeconfig(t, cfg.Host))
	private, err := pki.GenerateKey(pki.KeySpec{Algorithm: pki.RSA, Size: 2048})
	if err != nil {
		t.Fatal(err)
	}
	key, err := private.Reveal()
	if err != nil {
		t.Fatal(err)
	}
	const request = "-----BEGIN CERTIFICATE REQUEST-----\nMIH=\n-----END CERTIFICATE REQUEST-----\n"
	for name, text := range map[string]string{"alone": string(key), "before": string(key) + request, "behind": request + string(key)} {
		o := given.Kubelet("pasted", func(c *v1alpha1.NodeCredential) {
			c.TypeMeta = metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "NodeCredential"}
			c.Namespace, c.Spec.KeySource, c.Spec.Request = w.ns, v1alpha1.KeySourceHost, text
		})
		manifest, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "pasted.json")
		if err := os.WriteFile(file, manifest, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, how := range [][]string{{"apply", "-f", file}, {"apply", "--server-side", "-f", file}, {"create", "-f", file}} {
			out, errs, code := k.run(how...)
			if code == 0 || !strings.Contains(errs, "request holds a private key") {
				t.Errorf("%s, %v: %d\n%.300s%.300s", name, how, code, out, errs)
			}
			for line := range strings.FieldsSeq(string(key)) {
				if len(line) > 20 && strings.Contains(out+errs, line) {
					t.Fatalf("%s, %v: the key is printed", name, how)
				}
			}
		}
	}
}

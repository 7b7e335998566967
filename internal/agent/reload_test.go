package agent

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/internal/hostfiles"
)

// TestEffects says what has to follow when files change on a host that runs everything, with nothing configured.
func TestEffects(t *testing.T) {
	roles := []string{
		"EtcdServer", "EtcdPeer", "EtcdClient", "FrontProxyClient", "APIServerKubeletClient", "ControllerManager", "Scheduler",
		"Kubelet", "KubeletServing", "KubeProxy",
	}
	full := func(components ...Component) *Config {
		c := &Config{APIServer: &APIServer{}, Components: components}
		for _, r := range roles {
			c.Credentials = append(c.Credentials, Credential{Role: r})
		}
		c.complete()
		return c
	}
	command := []string{"true"}
	every := func(when When) *Config {
		var cs []Component
		for _, k := range hostfiles.Components() {
			cs = append(cs, Component{Name: k.Name, Command: command, When: when})
		}
		slices.Reverse(cs) // the order is the configuration's
		return full(cs...)
	}
	node := &Config{Credentials: []Credential{{Role: "Kubelet"}, {Role: "KubeProxy"}}}
	for name, c := range map[string]struct {
		config  *Config
		changed []string
		want    effects
	}{
		"nothing":                            {full(), nil, effects{}},
		"a leaf that is reloaded":            {full(), []string{"pki/kubelet-client.crt", "pki/kubelet-client.key"}, effects{waits: true}},
		"the API server's leaf":              {full(), []string{hostfiles.APIServerCert, hostfiles.APIServerKey}, effects{waits: true}},
		"the bundle, that one reads once":    {full(), []string{hostfiles.CA}, effects{waits: true, needsRestart: []string{"kube-controller-manager"}}},
		"the bundle, on a node":              {node, []string{hostfiles.CA}, effects{waits: true}},
		"etcd's bundle":                      {full(), []string{hostfiles.EtcdCA}, effects{needsRestart: []string{"etcd", "kube-apiserver"}}},
		"etcd's leaf":                        {full(), []string{"pki/etcd/server.crt"}, effects{waits: true}},
		"service account keys":               {full(), []string{hostfiles.ServiceAccKey}, effects{needsRestart: []string{"kube-apiserver", "kube-controller-manager"}}},
		"a kubeconfig":                       {full(), []string{"kubelet.conf"}, effects{needsRestart: []string{"kubelet"}}},
		"an embedded kubeconfig":             {full(), []string{"kubelet.embedded.conf"}, effects{}},
		"a file that no component has":       {node, []string{hostfiles.EtcdCA, hostfiles.APIServerCert}, effects{waits: true}}, // whatever reads it
		"what is embedded":                   {node, []string{"kubelet.embedded.conf"}, effects{}},
		"an identity for everything":         {&Config{Credentials: []Credential{{Role: "Host"}}}, []string{"pki/k8s-node1.crt", hostfiles.CA}, effects{waits: true}},
		"configured, read once":              {every(Once), []string{hostfiles.EtcdCA}, effects{reload: []string{"kube-apiserver", "etcd"}}},
		"configured, reloaded by themselves": {every(Once), []string{hostfiles.ClientCA}, effects{waits: true}},
		"configured, always":                 {every(Always), []string{"pki/kube-proxy.crt", "pki/kubelet.key"}, effects{reload: []string{"kube-proxy", "kubelet"}}},
		"always, and what another one waits for": {full(Component{Name: "kubelet", Command: command, When: Always}), []string{hostfiles.CA},
			effects{reload: []string{"kubelet"}, waits: true, needsRestart: []string{"kube-controller-manager"}}},
		"one of ours":              {full(Component{Name: "nginx", Files: []string{"pki/web.crt"}, Command: command}), []string{"pki/web.crt"}, effects{reload: []string{"nginx"}}},
		"one of ours, by a folder": {full(Component{Name: "nginx", Files: []string{"pki/"}, Command: command}), []string{"pki/etcd/peer.crt"}, effects{reload: []string{"nginx"}, waits: true}},
		"one of ours, otherwise":   {full(Component{Name: "nginx", Files: []string{"pki/web"}, Command: command}), []string{"pki/web.crt"}, effects{waits: true}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, c.config.effects(c.changed), cmp.AllowUnexported(effects{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestComponentsKnowAllFiles: whatever an agent lays out for a role is read by some component, but for kubeconfigs with
// everything in them, and what people use.
func TestComponentsKnowAllFiles(t *testing.T) {
	read := map[string]bool{}
	for _, k := range hostfiles.Components() {
		for _, f := range append(slices.Clone(k.Reloads), k.Once...) {
			read[f] = true
		}
		if both := slices.DeleteFunc(slices.Clone(k.Reloads), func(f string) bool { return !slices.Contains(k.Once, f) }); len(both) > 0 {
			t.Errorf("%s reads %v once, and reloads them", k.Name, both)
		}
	}
	for _, role := range []string{
		"Kubelet", "KubeProxy", "ControllerManager", "Scheduler", "APIServerKubeletClient", "FrontProxyClient", "EtcdServer", "EtcdPeer", "EtcdClient", "KubeletServing",
	} {
		f := hostfiles.ForRole(role, "")
		for _, name := range []string{f.Certificate, f.Key, f.CA, f.Kubeconfig} {
			if name != "" && !read[name] {
				t.Errorf("nobody reads %s of role %s", name, role)
			}
		}
	}
}

func reloadWith(t *testing.T, timeout time.Duration, argv ...string) error {
	t.Helper()
	return Component{Name: "kubelet", Command: argv, Timeout: metav1.Duration{Duration: timeout}}.do(t.Context(), run)
}

// TestReload runs real programs.
func TestReload(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "mark")
	says(t, reloadWith(t, time.Minute, "touch", mark))
	if _, err := os.Stat(mark); err != nil {
		t.Error(err)
	}
	says(t, reloadWith(t, time.Minute, "sh", "-c", "echo no such unit; echo really >&2; exit 4"), "reload kubelet", "exit status 4", "no such unit\nreally")
	says(t, reloadWith(t, time.Minute, filepath.Join(t.TempDir(), "none")), "reload kubelet", "no such file")
	err := reloadWith(t, time.Minute, "sh", "-c", "head -c 5000 /dev/zero | tr '\\0' x; echo the end; exit 1")
	says(t, err, "...x", "the end")
	if len(err.Error()) > maxOutput+200 {
		t.Errorf("it tells %d bytes", len(err.Error()))
	}
}

// TestReloadTimeout ends a program that does not end, whatever it has started.
func TestReloadTimeout(t *testing.T) {
	says(t, reloadWith(t, 50*time.Millisecond, "sleep", "3600"), "sleep did not end within 50ms")
	says(t, reloadWith(t, 50*time.Millisecond, "sh", "-c", "sleep 5 & wait"), "sh did not end within 50ms")
}

// TestReloadTellsNoKey: what a program prints ends up in a Lease.
func TestReloadTellsNoKey(t *testing.T) {
	_, key := issue(t, at(), kubeletRequest(), newCA(t, at(), "k8s-ca"))
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, key, 0o600); err != nil {
		t.Fatal(err)
	}
	err := reloadWith(t, time.Minute, "sh", "-c", "cat "+file+"; exit 1")
	says(t, err, "exit status 1", "it printed a private key")
	holdsNoKey(t, err, key)
}

// TestSystemd asks systemctl for one unit.
func TestSystemd(t *testing.T) {
	var ran [][]string
	note := func(_ context.Context, argv []string) (string, error) { ran = append(ran, argv); return "", nil }
	for _, action := range []string{"restart", "reload"} {
		says(t, Component{Name: "kubelet", Systemd: &Systemd{Unit: "kubelet.service", Action: action}, Timeout: metav1.Duration{Duration: time.Minute}}.do(t.Context(), note))
	}
	if got := strings.Join(slices.Concat(ran...), " "); got != "systemctl restart kubelet.service systemctl reload kubelet.service" {
		t.Errorf("it ran %q", got)
	}
}

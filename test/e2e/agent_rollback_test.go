package e2e_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"clusterpki.io/operator/internal/agent"
	"clusterpki.io/operator/test/testenv"
)

// reloadsWith has the kubelet reloaded by a script, after a line that says with which certificate. isBad asks for one.
func (h *host) reloadsWith(bad issued, script string) {
	h.t.Helper()
	file := filepath.Join(filepath.Dir(h.config.Directory), "bad.crt")
	if err := os.WriteFile(file, bad.pair.CertPEM(), 0o600); err != nil {
		h.t.Fatal(err)
	}
	h.config.Components[0] = agent.Component{Name: "kubelet", When: agent.Always, Command: []string{"sh", "-c", fmt.Sprintf(
		"openssl x509 -noout -serial -in %[1]s >> %[2]s; isBad() { cmp -s %[1]s %[3]s; }; %[4]s", h.at("pki/kubelet-client.crt"), h.reloads(), file, script)}}
}

// reloadedWith waits until a host's reloads have been with some certificates there, in this order.
func (h *host) reloadedWith(want ...issued) {
	h.t.Helper()
	var lines string
	for _, i := range want {
		lines += "serial=" + i.serial + "\n"
	}
	testenv.Eventually(h.t, "reloads", func() error {
		text, err := os.ReadFile(h.reloads())
		if err == nil && string(text) != lines {
			err = fmt.Errorf("they were with %q, and should be with %q", text, lines)
		}
		return err
	})
}

// TestAgentTakesAFailedReloadBack: a component that does not take the new files gets its old ones back, and others that it
// does take as soon as they are there.
func TestAgentTakesAFailedReloadBack(t *testing.T) {
	t.Parallel()
	h := byHand(t)
	first, second, third := good(t), good(t), good(t)
	h.reloadsWith(second, "if isBad; then echo cannot read it; exit 7; fi")
	h.put(first)
	h.run(agent.Options{})
	h.has(first)
	before := h.tree()
	h.put(second)
	h.complains(handLease, "it was installed and rolled back", "reload kubelet", "exit status 7", "cannot read it")
	if !maps.Equal(before, h.tree()) {
		t.Error("the files are not those of before")
	}
	h.shows(first)
	if r := h.report(handLease); r.Installed == nil || r.Installed.SerialNumber != first.serial || r.Verified == nil || r.Verified.SerialNumber != first.serial {
		t.Errorf("the Lease says %+v", r)
	}
	h.reloadedWith(second, first)
	h.put(third)
	h.has(third)
	h.reloadedWith(second, first, third)
}

// TestAgentTakesBackWhatDoesNotWork: after the reload what worked before does not trust the API server any more, so the
// files of before come back.
func TestAgentTakesBackWhatDoesNotWork(t *testing.T) {
	t.Parallel()
	h := byHand(t)
	server, other := hostPort(t, shared.endpoint), hostPort(t, kubeconfigServer(t, h.config.ManagementClusters[0].Kubeconfig)) // of another cluster
	way := newProxy(t, server)
	broken := filepath.Join(filepath.Dir(h.config.Directory), "broken")
	way.set(func() string {
		if _, err := os.Stat(broken); err == nil {
			return other
		}
		return server
	})
	first, second, third := good(t).through(way), good(t).through(way), good(t).through(way)
	h.reloadsWith(second, "if isBad; then touch "+broken+"; else rm -f "+broken+"; fi")
	h.put(first)
	h.run(agent.Options{})
	h.has(first)
	h.put(second)
	h.complains(handLease, "it was installed and rolled back", "what worked before them does not", "NodeCredential/kubelet", "the TLS handshake with the API server")
	h.shows(first)
	h.reloadedWith(second, first)
	whoami(t, h.as("kubelet.conf"))
	h.put(third)
	h.has(third)
	h.reloadedWith(second, first, third)
}

package inspect

import (
	"strings"
	"testing"
)

// TestServerOf: what stands before an '@' may be a password, also where a '/' in it ends the host.
func TestServerOf(t *testing.T) {
	for _, server := range []string{"https://u:/secret@k8s:6443/", "https://u:se/cret@k8s:6443/", "https://u:secret@k8s:6443/", "https://secret@k8s:6443/a"} {
		if got := serverOf(server); strings.Contains(got, "secret") || strings.Contains(got, "cret@") {
			t.Errorf("%s is shown as %s", server, got)
		}
	}
	if got := serverOf("https://k8s:6443/clusters/a"); got != "https://k8s:6443/clusters/a" {
		t.Errorf("a server is shown as %s", got)
	}
}

package docs

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// kubeadmFiles puts the files of a control plane that kubeadm has made onto the host k8s-master.
const kubeadmFiles = `true
`

// certManagerCRDs is the folder of cert-manager's custom resource definitions, from the module that test/docs/crds pins.
func certManagerCRDs(t *testing.T) string {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/cert-manager/cert-manager")
	list.Dir = filepath.Join(root, "test", "docs", "crds")
	dir, err := list.Output()
	if err != nil {
		t.Fatalf("find cert-manager's module: %v", err)
	}
	return filepath.Join(strings.TrimSpace(string(dir)), "deploy", "crds")
}

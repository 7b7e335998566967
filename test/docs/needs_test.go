package docs

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// kubeadmFiles puts the files of a control plane that kubeadm has made onto the host k8s-master.
func kubeadmFiles(t *testing.T) string {
	t.Helper()
	build := exec.CommandContext(t.Context(), filepath.Join(root, "hack", "kubernetes", "build.sh"), "kubeadm")
	dir, err := build.Output()
	if err != nil {
		t.Fatalf("build kubeadm: %v", err)
	}
	return strings.ReplaceAll(`
		kubeadm init phase certs all --cert-dir "$HOSTS/k8s-master/etc/kubernetes/pki" --kubernetes-version v1.37.2 \
		  --apiserver-advertise-address 10.1.10.238
		kubeadm init phase kubeconfig all --cert-dir "$HOSTS/k8s-master/etc/kubernetes/pki" --kubernetes-version v1.37.2 \
		  --apiserver-advertise-address 10.1.10.238 --kubeconfig-dir "$HOSTS/k8s-master/etc/kubernetes" --node-name k8s-master
		`, "kubeadm init", strings.TrimSpace(string(dir))+"/kubeadm init")
}

// certManagerCRDs is the folder of cert-manager's custom resource definitions, from the module that test/docs/crds pins.
func certManagerCRDs(t *testing.T) string {
	t.Helper()
	pins := filepath.Join(root, "test", "docs", "crds")
	module := "github.com/cert-manager/cert-manager"
	download := exec.CommandContext(t.Context(), "go", "mod", "download", module)
	download.Dir = pins
	if out, err := download.CombinedOutput(); err != nil {
		t.Fatalf("download %s: %v\n%s", module, err, out)
	}
	list := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", module)
	list.Dir = pins
	dir, err := list.Output()
	if err != nil {
		t.Fatalf("find %s: %v", module, err)
	}
	return filepath.Join(strings.TrimSpace(string(dir)), "deploy", "crds")
}

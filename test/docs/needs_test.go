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

// certManager has the API server know cert-manager's kinds, and makes what its controllers would: the Secret of a CA that
// a Certificate with isCA has asked for.
func certManager(t *testing.T) string {
	t.Helper()
	return `for f in ` + certManagerCRDs(t) + `/*cert-manager.io_*.yaml; do kubectl apply --server-side -f "$f"; done
		kubectl create namespace cert-manager
		openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=cluster-ca -keyout cm.key -out cm.crt \
		  -addext keyUsage=critical,digitalSignature,keyEncipherment,keyCertSign
		kubectl create secret tls cluster-ca -n cert-manager --cert=cm.crt --key=cm.key
		kubectl patch secret cluster-ca -n cert-manager -p "{\"data\":{\"ca.crt\":\"$(base64 -w0 < cm.crt)\"}}"
		kubectl label secret cluster-ca -n cert-manager controller.cert-manager.io/fao=true
		kubectl annotate secret cluster-ca -n cert-manager cert-manager.io/certificate-name=cluster-ca cert-manager.io/issuer-kind=ClusterIssuer
		rm cm.key cm.crt
		`
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

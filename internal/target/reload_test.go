package target

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestNeedRestart(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "args"), 0o750); err != nil {
		t.Fatal(err)
	}
	for component, flags := range map[string][]string{
		"kube-apiserver":          {"--client-ca-file=/k/pki/client-ca.crt", "--tls-cert-file=/k/pki/apiserver.crt", "--etcd-cafile=/k/pki/etcd/ca.crt"},
		"kube-controller-manager": {"--client-ca-file=/k/pki/client-ca.crt", "--root-ca-file=/k/pki/ca.crt", "--kubeconfig=/k/controller-manager.conf"},
		"kubelet":                 {"--kubeconfig=/k/kubelet.conf"},
	} {
		if err := os.WriteFile(filepath.Join(dir, "args", component), []byte(strings.Join(flags, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	h := Host{Name: "k8s-master", Directory: dir}
	for _, tc := range []struct{ changed, want []string }{
		{[]string{"/k/pki/client-ca.crt", "/k/pki/apiserver.crt", "/k/controller-manager.conf", "/k/kubelet.conf"}, nil},
		{[]string{"/k/pki/ca.crt"}, []string{"kube-controller-manager"}},
		{[]string{"/k/pki/etcd/ca.crt", "/k/pki/ca.crt"}, []string{"kube-apiserver", "kube-controller-manager"}},
		{nil, nil},
	} {
		if got, err := h.NeedRestart(tc.changed); err != nil || !slices.Equal(got, tc.want) {
			t.Errorf("for %v: %v (%v), want %v", tc.changed, got, err, tc.want)
		}
	}
}

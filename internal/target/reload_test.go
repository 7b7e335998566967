package target

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStale(t *testing.T) {
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
	for _, tc := range []struct {
		changed []string
		want    []Stale
	}{
		{[]string{"/k/pki/client-ca.crt", "/k/pki/apiserver.crt", "/k/controller-manager.conf", "/k/kubelet.conf"}, nil},
		{[]string{"/k/pki/ca.crt"}, []Stale{{"kube-controller-manager", []string{"root-ca-file"}}}},
		{[]string{"/k/pki/etcd/ca.crt", "/k/pki/ca.crt"}, []Stale{
			{"kube-apiserver", []string{"etcd-cafile"}}, {"kube-controller-manager", []string{"root-ca-file"}},
		}},
		{nil, nil},
	} {
		got, err := h.Stale(tc.changed)
		if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
			t.Errorf("for %v: %v\n%s", tc.changed, err, diff)
		}
	}
}

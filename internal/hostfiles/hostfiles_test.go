package hostfiles_test

import (
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"clusterpki.io/operator/internal/hostfiles"
	"clusterpki.io/operator/internal/pki"
)

func TestForRole(t *testing.T) {
	files := func(pair, ca, conf string) hostfiles.Files {
		f := hostfiles.Files{Certificate: "pki/" + pair + ".crt", Key: "pki/" + pair + ".key", CA: ca}
		if conf != "" {
			f.Kubeconfig, f.Embedded = conf+".conf", conf+".embedded.conf"
		}
		return f
	}
	want := map[string]hostfiles.Files{ // kubeadm's names, wherever it has one
		"Kubelet":                files("kubelet-client", "pki/ca.crt", "kubelet"),
		"KubeProxy":              files("kube-proxy", "pki/ca.crt", "kube-proxy"),
		"ControllerManager":      files("controller-manager", "pki/ca.crt", "controller-manager"),
		"Scheduler":              files("scheduler", "pki/ca.crt", "scheduler"),
		"Admin":                  files("admin", "pki/ca.crt", "admin"),
		"SuperAdmin":             files("super-admin", "pki/ca.crt", "super-admin"),
		"APIServerKubeletClient": files("apiserver-kubelet-client", "pki/ca.crt", ""),
		"FrontProxyClient":       files("front-proxy-client", "pki/front-proxy-ca.crt", ""),
		"EtcdServer":             files("etcd/server", "pki/etcd/ca.crt", ""),
		"EtcdPeer":               files("etcd/peer", "pki/etcd/ca.crt", ""),
		"EtcdClient":             files("apiserver-etcd-client", "pki/etcd/ca.crt", ""),
		"EtcdHealthcheckClient":  files("etcd/healthcheck-client", "pki/etcd/ca.crt", ""),
		"KubeletServing":         files("kubelet", "pki/ca.crt", ""),
		"Host":                   files("backup", "pki/ca.crt", "backup"),
	}
	for _, r := range pki.Roles() {
		if diff := cmp.Diff(want[r.Name], hostfiles.ForRole(r.Name, "backup")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", r.Name, diff)
		}
	}
	if diff := cmp.Diff(want["Host"], hostfiles.ForRole("Custom", "backup")); diff != "" {
		t.Errorf("Custom (-want +got):\n%s", diff)
	}
	below := hostfiles.ForRole("EtcdPeer", "").Below("/srv/k8s/")
	if diff := cmp.Diff(hostfiles.Files{
		Certificate: "/srv/k8s/pki/etcd/peer.crt", Key: "/srv/k8s/pki/etcd/peer.key", CA: "/srv/k8s/pki/etcd/ca.crt",
	}, below); diff != "" {
		t.Errorf("below /srv/k8s (-want +got):\n%s", diff)
	}
	if got := hostfiles.ForRole("Admin", "").Below(hostfiles.DefaultBaseDir).Kubeconfig; got != "/etc/kubernetes/admin.conf" {
		t.Errorf("the administrator's kubeconfig is %s", got)
	}
}

// The manual procedure that this operator replaces made eighteen mistakes; two of them are about files.
// (See TestSeedMistakes in internal/pki.)
func TestSeedMistakes(t *testing.T) {
	t.Run("09 the API server's TLS key signs service account tokens", func(t *testing.T) {
		if hostfiles.ServiceAccKey == hostfiles.APIServerKey || hostfiles.ServiceAccPub == hostfiles.APIServerCert {
			t.Error("the two pairs share a file")
		}
	})
	t.Run("14 flags that name other files than were written", everyFileHasItsPlace)
}

func everyFileHasItsPlace(t *testing.T) {
	owner := map[string]string{}
	claim := func(who, file string) {
		switch other := owner[file]; {
		case other != "":
			t.Errorf("%s and %s both lie at %s", other, who, file)
		case path.IsAbs(file) || path.Clean(file) != file || strings.ContainsAny(file, " \\") || file != strings.ToLower(file):
			t.Errorf("%s lies at %q", who, file)
		case path.Ext(file) != ".crt" && path.Ext(file) != ".key" && path.Ext(file) != ".pub" && path.Ext(file) != ".conf":
			t.Errorf("%s has the extension of %q", who, file)
		}
		owner[file] = who
	}
	for who, file := range map[string]string{
		"CA": hostfiles.CA, "client CA": hostfiles.ClientCA, "front proxy CA": hostfiles.FrontProxyCA, "etcd CA": hostfiles.EtcdCA,
		"API server": hostfiles.APIServerCert, "API server's key": hostfiles.APIServerKey,
		"service account key": hostfiles.ServiceAccKey, "service account public key": hostfiles.ServiceAccPub,
	} {
		claim(who, file)
	}
	for _, r := range pki.Roles() {
		f := hostfiles.ForRole(r.Name, "k8s-node1")
		claim(r.Name+"'s certificate", f.Certificate)
		claim(r.Name+"'s key", f.Key)
		if strings.TrimSuffix(f.Certificate, ".crt") != strings.TrimSuffix(f.Key, ".key") {
			t.Errorf("%s: %s does not lie beside %s", r.Name, f.Key, f.Certificate)
		}
		if f.Kubeconfig != "" {
			claim(r.Name+"'s kubeconfig", f.Kubeconfig)
			claim(r.Name+"'s embedded kubeconfig", f.Embedded)
		}
		if owner[f.CA] == "" {
			t.Errorf("%s is verified with %s, which nobody writes", r.Name, f.CA)
		}
	}
}

// TestBringsClientCA: what verifies the clients of a kubelet is of its own credential's CA, or of the one CA of all that it may use.
func TestBringsClientCA(t *testing.T) {
	kubelet, proxy := hostfiles.User{Role: "Kubelet", Kubeconfig: true, CAs: []string{"k8s"}}, hostfiles.User{Role: "KubeProxy", Kubeconfig: true, CAs: []string{"etcd"}}
	host, other := hostfiles.User{Role: "Host", Kubeconfig: true, CAs: []string{"k8s"}}, hostfiles.User{Role: "Host", Kubeconfig: true, CAs: []string{"etcd"}}
	none := other
	none.Kubeconfig = false
	for name, c := range map[string]struct {
		of     hostfiles.User
		beside []hostfiles.User
		want   bool
	}{
		"a kubelet's":                      {kubelet, []hostfiles.User{proxy}, true},
		"a kubelet's, and a host's":        {kubelet, []hostfiles.User{other}, true},
		"a host's":                         {host, []hostfiles.User{proxy}, true},
		"a host's beside a kubelet's":      {host, []hostfiles.User{kubelet}, false},
		"two of a host, of one CA":         {host, []hostfiles.User{host}, true},
		"two of a host, of two CAs":        {host, []hostfiles.User{other}, false},
		"the other one of these":           {other, []hostfiles.User{host}, false},
		"one without a kubeconfig":         {none, nil, false},
		"beside one without a kubeconfig":  {host, []hostfiles.User{none}, true},
		"of a component that takes no one": {proxy, nil, false},
	} {
		if got := hostfiles.BringsClientCA(c.of, append(c.beside, c.of)); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

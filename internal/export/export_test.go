package export

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/clientreader"
	"clusterpki.io/operator/internal/hostfiles"
	"clusterpki.io/operator/test/golden"
)

// TestGolden compares the flags of every component, the kubelet's configuration and a kubeconfig of the path form.
func TestGolden(t *testing.T) {
	w := cluster(t)
	for _, host := range []string{"k8s-master", "k8s-node1"} {
		files, notes := w.lay(host, "")
		if len(notes) > 0 {
			t.Errorf("%s: unexpected notes %q", host, notes)
		}
		for _, name := range slices.Sorted(maps.Keys(files)) {
			flags, kind := strings.HasPrefix(name, "args/"), filepath.Ext(name)
			if flags || kind == ".yaml" || kind == ".conf" && !strings.HasSuffix(name, ".embedded.conf") {
				golden.Check(t, filepath.Join("testdata", host, name), files[name].Data)
			}
		}
	}
}

func TestFilesOfEachHost(t *testing.T) {
	w := cluster(t)
	for host, want := range map[string]string{
		"k8s-master": `admin.conf admin.embedded.conf
			args/etcd args/kube-apiserver args/kube-controller-manager args/kube-scheduler
			controller-manager.conf controller-manager.embedded.conf
			pki/admin.crt pki/admin.key pki/apiserver-etcd-client.crt pki/apiserver-etcd-client.key
			pki/apiserver-kubelet-client.crt pki/apiserver-kubelet-client.key pki/apiserver.crt pki/apiserver.key
			pki/ca.crt pki/client-ca.crt pki/controller-manager.crt pki/controller-manager.key pki/etcd/ca.crt
			pki/etcd/healthcheck-client.crt pki/etcd/healthcheck-client.key pki/etcd/peer.crt pki/etcd/peer.key
			pki/etcd/server.crt pki/etcd/server.key pki/front-proxy-ca.crt pki/front-proxy-client.crt
			pki/front-proxy-client.key pki/kubelet-ca.crt pki/sa.key pki/sa.pub pki/scheduler.crt pki/scheduler.key
			scheduler.conf scheduler.embedded.conf`,
		"k8s-node1": `args/kube-proxy args/kubelet kube-proxy.conf kube-proxy.embedded.conf kubelet-config.yaml
			kubelet.conf kubelet.embedded.conf pki/ca.crt pki/client-ca.crt pki/kube-proxy.crt pki/kube-proxy.key
			pki/kubelet-client.crt pki/kubelet-client.key pki/kubelet.crt pki/kubelet.key`,
	} {
		files, _ := w.lay(host, "")
		if diff := cmp.Diff(strings.Fields(want), slices.Sorted(maps.Keys(files))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", host, diff)
		}
	}
}

// TestEveryPathNamedIsThere: flags and kubeconfigs name only files that were exported, and below the
// directory that was asked for.
func TestEveryPathNamedIsThere(t *testing.T) {
	const dir = "/srv/k8s"
	w := cluster(t)
	for _, host := range []string{"k8s-master", "k8s-node1"} {
		files, _ := w.lay(host, dir)
		for name, f := range files {
			if strings.HasSuffix(name, ".embedded.conf") {
				continue
			}
			if strings.Contains(string(f.Data), "/etc/kubernetes") {
				t.Errorf("%s/%s names /etc/kubernetes, not %s", host, name, dir)
			}
			for word := range strings.FieldsFuncSeq(string(f.Data), func(r rune) bool { return strings.ContainsRune("=, \n\"", r) }) {
				if rel, ok := strings.CutPrefix(word, dir+"/"); ok && files[rel].Path == "" {
					t.Errorf("%s/%s names %s, which was not exported", host, name, word)
				}
			}
		}
	}
}

func TestEmbeddedKubeconfigHoldsNoPath(t *testing.T) {
	files, _ := cluster(t).lay("k8s-master", "/srv/k8s")
	config, err := clientcmd.Load(files["admin.embedded.conf"].Data)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range config.AuthInfos {
		if u.ClientCertificate != "" || u.ClientKey != "" || len(u.ClientKeyData) == 0 {
			t.Error("the embedded form names files")
		}
	}
}

func TestFlagsFollowTheCredentials(t *testing.T) {
	w := newFixture(t)
	w.server(func(s *v1alpha1.APIServerCertificate) {
		s.Spec.ServiceCIDRs = []string{"fd00:10:96::/112", "10.96.0.0/12"}
		s.Spec.IPAddresses = []string{"127.1.1.1", "10.1.10.238", "fd00::238"}
		s.Spec.Endpoint = "https://lb.example.org"
		s.Spec.ServiceAccountKeyRef = nil
	})
	w.credential("k8s-master", "APIServerKubeletClient", "k8s")
	w.credential("k8s-master", "ControllerManager", "k8s")
	files, notes := w.lay("k8s-master", "")
	flags := string(files["args/kube-apiserver"].Data)
	for _, want := range []string{
		"--secure-port=443", "--advertise-address=fd00::238", "--service-cluster-ip-range=fd00:10:96::/112,10.96.0.0/12",
	} {
		hasFlag(t, files["args/kube-apiserver"], want)
	}
	// Without serving certificates on the kubelets there is nothing to verify them with.
	for _, never := range []string{
		"--etcd-", "--requestheader-", "--proxy-client-", "--kubelet-certificate-authority", "--service-account-key-file",
	} {
		if strings.Contains(flags, never) {
			t.Errorf("%s in\n%s", never, flags)
		}
	}
	if len(notes) != 2 || !strings.Contains(notes[0], "--service-account-key-file") || !strings.Contains(notes[1], "--etcd-servers") {
		t.Errorf("notes = %q", notes)
	}
	if strings.Contains(string(files["args/kube-controller-manager"].Data), "cluster-signing") {
		t.Error("the controller manager is told to sign, and the CA's key is not on the host")
	}
}

func TestEtcdOfSeveralHosts(t *testing.T) {
	w := newFixture(t)
	w.server()
	w.credential("k8s-master", "EtcdClient", "etcd")
	for host, address := range map[string]string{"etcd1": "10.1.10.11", "etcd2": ""} {
		var mods []func(*v1alpha1.NodeCredential)
		if address != "" {
			mods = append(mods, serves(address))
		}
		w.credential(host, "EtcdServer", "etcd", mods...)
		w.credential(host, "EtcdPeer", "etcd", mods...)
	}
	master, _ := w.lay("k8s-master", "")
	hasFlag(t, master["args/kube-apiserver"], "--etcd-servers=https://10.1.10.11:2379,https://etcd2:2379")
	etcd1, _ := w.lay("etcd1", "")
	hasFlag(t, etcd1["args/etcd"], "--initial-cluster=etcd1=https://10.1.10.11:2380,etcd2=https://etcd2:2380")
}

func hasFlag(t *testing.T, f File, want string) {
	t.Helper()
	if !slices.Contains(strings.Split(string(f.Data), "\n"), want) {
		t.Errorf("%s has no %s:\n%s", f.Path, want, f.Data)
	}
}

// TestHostIdentity: one identity CN=HOST serves every component of its host.
func TestHostIdentity(t *testing.T) {
	w := newFixture(t)
	w.server()
	w.credential("k8s-master", "Host", "k8s")
	w.credential("k8s-node1", "Host", "k8s")
	master, _ := w.lay("k8s-master", "")
	for _, component := range []string{"kube-controller-manager", "kube-scheduler"} {
		hasFlag(t, master["args/"+component], "--kubeconfig=/etc/kubernetes/k8s-master-Host.conf")
	}
	if _, ok := master["args/kubelet"]; ok {
		t.Error("the master is told to run a kubelet")
	}
	node, _ := w.lay("k8s-node1", "")
	for _, component := range []string{"kubelet", "kube-proxy"} {
		hasFlag(t, node["args/"+component], "--kubeconfig=/etc/kubernetes/k8s-node1-Host.conf")
	}
	if _, ok := node[hostfiles.ClientCA]; !ok {
		t.Error("the kubelet has nothing to verify its clients with")
	}
}

func TestRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		host, dir string
		at        time.Time
		change    func(*fixture)
		want      []string
	}{
		"unknown host": {host: "k8s-node9", want: []string{`"k8s-node9"`, "k8s-master, k8s-node1"}},
		"not ready, and not looked at": {host: "k8s-node1", change: func(w *fixture) {
			w.credential("k8s-node1", "Host", "k8s", func(c *v1alpha1.NodeCredential) {
				c.Status.Conditions = []metav1.Condition{{
					Type: "Ready", Status: metav1.ConditionFalse, Reason: "IssuerNotFound", Message: `ClusterCA "k8s" does not exist`,
				}}
			})
			w.credential("k8s-node1", "Admin", "k8s", func(c *v1alpha1.NodeCredential) { c.Status.Conditions = nil })
		}, want: []string{
			`NodeCredential "k8s-node1-Host" is not Ready: IssuerNotFound: ClusterCA "k8s" does not exist`,
			`NodeCredential "k8s-node1-Admin" has no status yet: is the operator running?`,
		}},
		"changed since": {host: "k8s-node1", change: func(w *fixture) {
			w.credential("k8s-node1", "Host", "k8s", func(c *v1alpha1.NodeCredential) { c.Generation = 2 })
		}, want: []string{`NodeCredential "k8s-node1-Host" was changed, and the operator has not acted on it yet`}},
		"Secret gone": {host: "k8s-node1", change: func(w *fixture) {
			for i, o := range w.objects {
				if o.GetName() == "k8s-node1-Kubelet-kubeconfig" {
					w.objects = slices.Delete(w.objects, i, i+1)
					return
				}
			}
		}, want: []string{`Secret "k8s-node1-Kubelet-kubeconfig" does not exist`}},
		"two of one role": {host: "k8s-node1", change: func(w *fixture) {
			w.credential("k8s-node1", "Kubelet", "k8s", func(c *v1alpha1.NodeCredential) { c.Name = "another" })
		}, want: []string{
			`NodeCredential "another" (role Kubelet)`, `NodeCredential "k8s-node1-Kubelet" (role Kubelet)`,
			"both belong at pki/kubelet-client.crt",
		}},
		"two API servers": {host: "k8s-master", change: func(w *fixture) {
			w.server(func(s *v1alpha1.APIServerCertificate) { s.Name = "second"; s.Spec.ServiceAccountKeyRef = nil })
		}, want: []string{`"k8s-master"`, `"second"`, "change hostName"}},
		"two directories": {host: "k8s-node1", change: func(w *fixture) {
			w.credential("k8s-node1", "Admin", "k8s", func(c *v1alpha1.NodeCredential) { c.Spec.Kubeconfig.Directory = "/srv" })
		}, want: []string{"/srv", "/etc/kubernetes", "--directory"}},
		"relative directory": {host: "k8s-node1", dir: "etc", want: []string{`"etc" must be an absolute path`}},
		"expired":            {host: "k8s-node1", at: now.Add(2 * time.Hour), want: []string{"expired at 2026-06-01T13:00:00Z"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := cluster(t)
			if test.change != nil {
				test.change(w)
			}
			at := now
			if !test.at.IsZero() {
				at = test.at
			}
			h, err := Gather(t.Context(), clientreader.Reader{Client: w.client()}, namespace, test.host)
			if err == nil {
				_, _, err = Layout(h, test.dir, at)
			}
			if err == nil {
				t.Fatal("it was exported")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error lacks %q: %v", want, err)
				}
			}
			if strings.Contains(err.Error(), "PRIVATE KEY") {
				t.Error("the error holds a key")
			}
		})
	}
}

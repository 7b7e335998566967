package kubeconfig_test

import (
	"bytes"
	"encoding/base64"
	"os"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/internal/kubeconfig"
)

func pem(kind, body string) []byte {
	return []byte("-----BEGIN " + kind + "-----\n" + base64.StdEncoding.EncodeToString([]byte(body)) + "\n-----END " + kind + "-----\n")
}

var (
	caPEM, certPEM, keyPEM = pem("CERTIFICATE", "ca"), pem("CERTIFICATE", "cert"), pem("EC PRIVATE KEY", "key")
)

// embedded are the contents of a kubeconfig that holds everything, with every default of these tests.
func embedded(mods ...func(*kubeconfig.Params)) kubeconfig.Params {
	p := kubeconfig.Params{
		Server: "https://k8s-master:6443", ClusterName: "k8s-cluster", ContextName: "default-system", UserName: "default-admin",
		CA: kubeconfig.Material{PEM: caPEM}, Certificate: kubeconfig.Material{PEM: certPEM}, Key: kubeconfig.Material{PEM: keyPEM},
	}
	for _, mod := range mods {
		mod(&p)
	}
	return p
}

// naming is the same kubeconfig in the form that names files.
func naming(mods ...func(*kubeconfig.Params)) kubeconfig.Params {
	return embedded(append([]func(*kubeconfig.Params){func(p *kubeconfig.Params) {
		p.CA = kubeconfig.Material{Path: "/etc/kubernetes/pki/ca.crt"}
		p.Certificate = kubeconfig.Material{Path: "/etc/kubernetes/pki/kubelet-client.crt"}
		p.Key = kubeconfig.Material{Path: "/etc/kubernetes/pki/kubelet-client.key"}
	}}, mods...)...)
}

func render(t testing.TB, p kubeconfig.Params) []byte {
	t.Helper()
	text, err := kubeconfig.Render(p)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func load(t testing.TB, text []byte) *clientcmdapi.Config {
	t.Helper()
	config, err := clientcmd.Load(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return config
}

func config(namespace string, cluster clientcmdapi.Cluster, user clientcmdapi.AuthInfo) *clientcmdapi.Config {
	c := clientcmdapi.NewConfig()
	c.CurrentContext = "default-system"
	c.Clusters["k8s-cluster"], c.AuthInfos["default-admin"] = &cluster, &user
	c.Contexts["default-system"] = &clientcmdapi.Context{Cluster: "k8s-cluster", AuthInfo: "default-admin", Namespace: namespace}
	return c
}

func TestRenderGolden(t *testing.T) {
	for file, tc := range map[string]struct {
		params kubeconfig.Params
		want   *clientcmdapi.Config
	}{
		"embedded.conf": {
			embedded(),
			config("", clientcmdapi.Cluster{Server: "https://k8s-master:6443", CertificateAuthorityData: caPEM},
				clientcmdapi.AuthInfo{ClientCertificateData: certPEM, ClientKeyData: keyPEM}),
		},
		"files.conf": {
			naming(func(p *kubeconfig.Params) { p.Server, p.Namespace = "https://[fd00::1]:6443", "kube-system" }),
			config("kube-system", clientcmdapi.Cluster{Server: "https://[fd00::1]:6443", CertificateAuthority: "/etc/kubernetes/pki/ca.crt"},
				clientcmdapi.AuthInfo{
					ClientCertificate: "/etc/kubernetes/pki/kubelet-client.crt", ClientKey: "/etc/kubernetes/pki/kubelet-client.key",
				}),
		},
		"path.conf": {
			embedded(func(p *kubeconfig.Params) {
				p.Server, p.TLSServerName = "https://203.0.113.7/clusters/root:org", "kubernetes.default"
			}),
			config("", clientcmdapi.Cluster{
				Server: "https://203.0.113.7/clusters/root:org", TLSServerName: "kubernetes.default", CertificateAuthorityData: caPEM,
			}, clientcmdapi.AuthInfo{ClientCertificateData: certPEM, ClientKeyData: keyPEM}),
		},
		"windows.conf": {
			naming(func(p *kubeconfig.Params) {
				p.CA.Path, p.Certificate.Path, p.Key.Path = "C:/Program Files/k/ca.crt", "C:/k/tls.crt", "C:/k/tls.key"
			}),
			config("", clientcmdapi.Cluster{Server: "https://k8s-master:6443", CertificateAuthority: "C:/Program Files/k/ca.crt"},
				clientcmdapi.AuthInfo{ClientCertificate: "C:/k/tls.crt", ClientKey: "C:/k/tls.key"}),
		},
	} {
		want, err := os.ReadFile("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(render(t, tc.params))); diff != "" {
			t.Errorf("%s (-want +got): every kubeconfig of this form would be written again\n%s", file, diff)
		}
		if diff := cmp.Diff(tc.want, load(t, want), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("client-go reads something else from %s (-want +got):\n%s", file, diff)
		}
	}
}

func TestRenderIsStable(t *testing.T) {
	for range 20 {
		a, b := render(t, embedded()), render(t, embedded(func(p *kubeconfig.Params) { p.Key.PEM = bytes.Clone(p.Key.PEM) }))
		if !bytes.Equal(a, b) {
			t.Fatalf("equal contents give\n%s\nand\n%s", a, b)
		}
	}
}

func TestRenderRefuses(t *testing.T) {
	for name, mod := range map[string]func(*kubeconfig.Params){
		"no server":           func(p *kubeconfig.Params) { p.Server = "" },
		"no scheme":           func(p *kubeconfig.Params) { p.Server = "k8s-master:6443" },
		"plain HTTP":          func(p *kubeconfig.Params) { p.Server = "http://k8s-master:6443" },
		"no host":             func(p *kubeconfig.Params) { p.Server = "https://:6443" },
		"a password":          func(p *kubeconfig.Params) { p.Server = "https://admin:hunter2@k8s-master:6443" },
		"no UTF-8":            func(p *kubeconfig.Params) { p.ClusterName = "a\xffb" },
		"a broken address":    func(p *kubeconfig.Params) { p.Server = "https://admin:hunter2@[fd00::1:6443" },
		"no CA":               func(p *kubeconfig.Params) { p.CA = kubeconfig.Material{} },
		"no certificate":      func(p *kubeconfig.Params) { p.Certificate = kubeconfig.Material{} },
		"no key":              func(p *kubeconfig.Params) { p.Key.PEM = nil },
		"CA in both forms":    func(p *kubeconfig.Params) { p.CA.Path = "ca.crt" },
		"key in both forms":   func(p *kubeconfig.Params) { p.Key.Path = "tls.key" },
		"certificate in both": func(p *kubeconfig.Params) { p.Certificate.Path = "tls.crt" },
	} {
		text, err := kubeconfig.Render(embedded(mod))
		if err == nil || len(text) > 0 {
			t.Errorf("%s: rendered\n%s", name, text)
		} else if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "PRIVATE KEY") {
			t.Errorf("%s: the error quotes a secret: %v", name, err)
		}
	}
}

// Whatever the names are, client-go reads the same again: YAML has its own opinion of 'yes', '1e3' and '#'.
func TestClientsReadTheSame(t *testing.T) {
	name := rapid.OneOf(rapid.SampledFrom([]string{"yes", "null", "1e3", "0x10", "a: b", "# a", "- a", "'", "\"", "中国", " a ", "~", "a\nb", "a:", "a\x7fb", "a\u0085b", "\ufeff", "On", "TRUE",
		"NULL", "y", ".inf", ".5", "=", "a[b]", "[a]", "/", "a\x01\a\v\"\\"}),
		rapid.StringOfN(rapid.RuneFrom(nil, unicode.L, unicode.N, unicode.P, unicode.S, unicode.Zs), 1, 20, -1))
	rapid.Check(t, func(rt *rapid.T) {
		p := embedded(func(p *kubeconfig.Params) {
			p.ClusterName, p.ContextName, p.UserName = name.Draw(rt, "cluster"), name.Draw(rt, "context"), name.Draw(rt, "user")
			p.Namespace = name.Draw(rt, "namespace")
			p.Key.PEM = rapid.SliceOfN(rapid.Byte(), 1, 100).Draw(rt, "key")
		})
		got, err := clientcmd.Load(render(t, p))
		if err != nil {
			rt.Fatal(err)
		}
		context := got.Contexts[p.ContextName]
		if got.CurrentContext != p.ContextName || context == nil || context.Cluster != p.ClusterName || context.AuthInfo != p.UserName ||
			context.Namespace != p.Namespace {
			rt.Fatalf("the context comes back as %+v", context)
		}
		if user := got.AuthInfos[p.UserName]; user == nil || !bytes.Equal(user.ClientKeyData, p.Key.PEM) {
			rt.Fatal("the key does not come back")
		}
		if cluster := got.Clusters[p.ClusterName]; cluster == nil || cluster.Server != p.Server {
			rt.Fatal("the server does not come back")
		}
	})
}

// The manual procedure that this operator replaces made eighteen mistakes; four of them are about kubeconfigs.
// (See TestSeedMistakes in internal/pki.)
func TestSeedMistakes(t *testing.T) {
	for name, test := range map[string]func(*testing.T, []byte){
		"10 a user name and a password":                          noPassword,
		"11 dead clusters and contexts of unrelated entries":     oneOfEach,
		"12 'kubectl config view' writes DATA+OMITTED":           nothingOmitted,
		"13 the CA among the user's fields, where none reads it": caOfTheCluster,
	} {
		t.Run(name, func(t *testing.T) {
			for _, p := range []kubeconfig.Params{embedded(), naming()} {
				test(t, render(t, p))
			}
		})
	}
}

func noPassword(t *testing.T, text []byte) {
	t.Helper()
	var file map[string]any
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			for field, e := range v {
				switch field {
				case "username", "password", "token", "tokenFile", "auth-provider", "exec", "insecure-skip-tls-verify", "proxy-url":
					t.Errorf("it has a field %s", field)
				}
				walk(e)
			}
		}
	}
	walk(file)
	for name, user := range load(t, text).AuthInfos {
		if user.Username+user.Password+user.Token+user.TokenFile != "" || user.Exec != nil || user.AuthProvider != nil {
			t.Errorf("user %s authenticates with more than a certificate", name)
		}
	}
}

func oneOfEach(t *testing.T, text []byte) {
	t.Helper()
	c := load(t, text)
	if len(c.Clusters) != 1 || len(c.Contexts) != 1 || len(c.AuthInfos) != 1 {
		t.Fatalf("%d clusters, %d contexts, %d users", len(c.Clusters), len(c.Contexts), len(c.AuthInfos))
	}
	current := c.Contexts[c.CurrentContext]
	if current == nil || c.Clusters[current.Cluster] == nil || c.AuthInfos[current.AuthInfo] == nil || current.Namespace != "" {
		t.Errorf("the current context is %+v", current)
	}
}

func nothingOmitted(t *testing.T, text []byte) {
	t.Helper()
	for _, placeholder := range []string{"OMITTED", "REDACTED"} {
		if bytes.Contains(text, []byte(placeholder)) {
			t.Errorf("it holds %s instead of data:\n%s", placeholder, text)
		}
	}
	user := load(t, text).AuthInfos["default-admin"]
	if !bytes.Equal(user.ClientKeyData, keyPEM) && user.ClientKey != "/etc/kubernetes/pki/kubelet-client.key" {
		t.Errorf("the key is neither in it nor named by it:\n%s", text)
	}
}

func caOfTheCluster(t *testing.T, text []byte) {
	t.Helper()
	c := load(t, text).Clusters["k8s-cluster"]
	if !bytes.Equal(c.CertificateAuthorityData, caPEM) && c.CertificateAuthority != "/etc/kubernetes/pki/ca.crt" || c.InsecureSkipTLSVerify {
		t.Errorf("the cluster is verified with %+v", c)
	}
}

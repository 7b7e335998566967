package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"clusterpki.io/operator/test/testenv"
)

// adminKubeconfig is of somebody who may do anything, and has two contexts: admin, and one of a user that is not known.
func adminKubeconfig(t *testing.T, server string) string {
	t.Helper()
	k := api.NewConfig()
	k.Clusters["test"] = &api.Cluster{Server: server, CertificateAuthorityData: cfg.CAData}
	k.AuthInfos["admin"] = &api.AuthInfo{ClientCertificateData: cfg.CertData, ClientKeyData: cfg.KeyData}
	k.AuthInfos["stranger"] = &api.AuthInfo{Token: "of-nobody"}
	k.Contexts["admin"] = &api.Context{Cluster: "test", AuthInfo: "admin"}
	k.Contexts["stranger"] = &api.Context{Cluster: "test", AuthInfo: "stranger"}
	k.CurrentContext = "admin"
	path := filepath.Join(t.TempDir(), "admin.conf")
	if err := clientcmd.WriteToFile(*k, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestConnectionFlags uses each of kubectl's flags where it makes a difference.
func TestConnectionFlags(t *testing.T) {
	w := steady(t)
	admin := adminKubeconfig(t, cfg.Host)
	ca := w.file("ca.crt", string(cfg.CAData))
	crt, key := w.file("admin.crt", string(cfg.CertData)), w.file("admin.key", string(cfg.KeyData))
	for name, c := range map[string]struct {
		args []string
		want string // in what is printed, or in the error
	}{
		"namespace":          {[]string{"-n", w.ns}, "ClusterCA/k8s"},
		"namespace, kubectl": {[]string{"--namespace=ns/" + w.ns}, "ClusterCA/k8s"},
		"everywhere":         {[]string{"-A"}, "ClusterCA/k8s in " + w.ns},
		"as":                 {[]string{"-n", w.ns, "--as", "jane"}, "ClusterCA/k8s"},
		"as a nobody":        {[]string{"-n", w.ns, "--as", "nobody"}, `User "nobody" cannot list resource`},
		"as a group":         {[]string{"-n", w.ns, "--as", "nobody", "--as-group", "system:masters"}, "ClusterCA/k8s"},
		"context":            {[]string{"-n", w.ns, "--context", "stranger"}, "the API server does not know you"},
		"user":               {[]string{"-n", w.ns, "--user", "stranger"}, "the API server does not know you"},
		"cluster":            {[]string{"-n", w.ns, "--cluster", "gone"}, `cluster "gone" does not exist`},
		"token":              {[]string{"-n", w.ns, "--context", "stranger", "--token", "x"}, "the API server does not know you"},
		"certificate": {[]string{"-n", w.ns, "--context", "stranger", "--client-certificate", crt, "--client-key", key, "--certificate-authority", ca,
			"--server", cfg.Host, "--request-timeout", "30s"}, "ClusterCA/k8s"},
		"another context":  {[]string{"--context", "admn"}, `has no context "admn"; it has admin, stranger`},
		"timeout":          {[]string{"--request-timeout", "soon"}, "timeout"},
		"a TLS name":       {[]string{"--tls-server-name", "elsewhere.example"}, "is --context right?"},
		"another CA":       {[]string{"--certificate-authority", w.file("other.crt", otherCA)}, "the kubeconfig holds another CA than that of the API server"},
		"no such file":     {[]string{"--kubeconfig", "/does/not/exist"}, "/does/not/exist"},
		"no such format":   {[]string{"-o", "xml"}, "it may be text, wide, json, yaml"},
		"another CA, near": {[]string{"k8ss", "-n", w.ns}, `no ClusterCA "k8ss" in namespace "` + w.ns + `"; did you mean k8s?`},
		"another CA, far":  {[]string{"production", "-n", w.ns}, `"; there is k8s`},
		"nothing there":    {[]string{"k8s", "-n", "default"}, "there is none at all: is --namespace right?"},
	} {
		t.Run(name, func(t *testing.T) {
			command := start(t, append([]string{"status", "--kubeconfig", admin}, c.args...)...)
			err := command.end()
			if got := command.out.String() + fmt.Sprint(err); !strings.Contains(got, c.want) {
				t.Error(got)
			}
			if err != nil && ExitCode(err) != 1 && ExitCode(err) != 2 { // 2: other tests' objects
				t.Error(ExitCode(err))
			}
		})
	}
}

// TestForbidden names the right that is missing, by what was to be done.
func TestForbidden(t *testing.T) {
	w := steady(t)
	for want, args := range map[string][]string{
		"ask for the ClusterRole view in that namespace":                                   {"status", "--as", "nobody"},
		"does not allow to patch clustercas: ask for the ClusterRole clusterpki-pki-admin": {"rotate", "k8s", "--apply", "--as", "viewer", "--as-group", "viewers"},
		"cannot get resource \"secrets\"":                                                  {"backup", "--out", "-", "--as", "viewer", "--as-group", "viewers"},
	} {
		out, err := w.as(adminKubeconfig(t, cfg.Host), args...)
		if ExitCode(err) != 1 || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
	}
}

// otherCA is a certificate that signed nothing here.
const otherCA = `-----BEGIN CERTIFICATE-----
MIIBeDCCAR2gAwIBAgIUGvfcsldfAaCj1Q1CaBmKjEUGd5IwCgYIKoZIzj0EAwIw
EDEOMAwGA1UEAwwFb3RoZXIwIBcNMjYxMTI1MTgzODUzWhgPMjEyNjExMDExODM4
NTNaMBAxDjAMBgNVBAMMBW90aGVyMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
AqwHHtfzQquBbsB5v6mS9Ckkr2UH1gxVddexsxJfZCoYgdWrVf8iiC5s+G7/E+WE
jgGrZTvL8X71GPh0qYzZYqNTMFEwHQYDVR0OBBYEFKrFe0MGpQMjksEUlcksC3H5
Vd1zMB8GA1UdIwQYMBaAFKrFe0MGpQMjksEUlcksC3H5Vd1zMA8GA1UdEwEB/wQF
MAMBAf8wCgYIKoZIzj0EAwIDSQAwRgIhAJDLCoRryUbgKKDNaI8HbNOikzvdz7Zk
gWFGC4hnxa34AiEA7DOJakFTmbr+bllYH/PqsxPddOxvX0LZyYPdtzWQ8e8=
-----END CERTIFICATE-----
`

// TestServerAway asks one that is gone.
func TestServerAway(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	c := start(t, "status", "--kubeconfig", adminKubeconfig(t, "https://"+address))
	if err := c.end(); ExitCode(err) != 1 || !strings.Contains(err.Error(), "the API server at "+address+" does not answer") {
		t.Error(err)
	}
}

// TestInterrupted ends with the code of Ctrl-C.
func TestInterrupted(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // which never answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	c := start(t, "status", "--kubeconfig", adminKubeconfig(t, "https://"+l.Addr().String()))
	if _, err := l.Accept(); err != nil {
		t.Fatal(err)
	}
	c.stop()
	if err := c.end(); ExitCode(err) != 130 || !errors.Is(err, context.Canceled) {
		t.Error(ExitCode(err), err)
	}
}

// TestNoKubeconfig is somebody's first try.
func TestNoKubeconfig(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	t.Setenv("KUBECONFIG", none)
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	c := start(t, "status")
	if err := c.end(); ExitCode(err) != 1 || !strings.Contains(err.Error(), "at "+none+" as $KUBECONFIG says") {
		t.Error(err)
	}
	c = start(t, "manager")
	if err := c.end(); ExitCode(err) != 1 || !strings.Contains(err.Error(), "name one in $KUBECONFIG") || c.out.String() != "" {
		t.Error(err, c.out.String())
	}
	t.Setenv("KUBECONFIG", adminKubeconfig(t, cfg.Host))
	k, err := clientcmd.LoadFromFile(os.Getenv("KUBECONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	k.CurrentContext = ""
	if err := clientcmd.WriteToFile(*k, os.Getenv("KUBECONFIG")); err != nil {
		t.Fatal(err)
	}
	c = start(t, "status")
	if err := c.end(); ExitCode(err) != 1 || !strings.Contains(err.Error(), "choose one with --context; it has admin, stranger") {
		t.Error(err)
	}
}

// TestNotInstalled asks a cluster that has no custom resources of clusterpki.
func TestNotInstalled(t *testing.T) {
	t.Parallel()
	env, err := testenv.StartEmpty()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := env.Stop(); err != nil {
			t.Error(err)
		}
	})
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, env.KubeConfig, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"status"}, {"rotate", "k8s"}, {"export", "--host", "h", "--out", t.TempDir()}, {"agent", "config", "--host", "h"}} {
		c := start(t, append(args, "--kubeconfig", file)...)
		if err := c.end(); ExitCode(err) != 1 || !strings.Contains(err.Error(), "custom resources are not installed in this cluster") {
			t.Errorf("%q: %v", args, err)
		}
	}
}

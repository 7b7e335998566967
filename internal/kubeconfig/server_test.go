package kubeconfig_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"clusterpki.io/operator/internal/kubeconfig"
	"clusterpki.io/operator/internal/pki"
)

// cluster is a CA and a server that admits only its clients, and answers with the name and the groups that
// an API server would see.
type cluster struct {
	ca  pki.CA
	url string
}

func start(t *testing.T) cluster {
	t.Helper()
	ca := must(pki.SelfSign(time.Now(), pki.CertificateSpec{
		Subject: pki.Subject{CommonName: "kubernetes"}, Key: pki.KeySpec{Algorithm: pki.ECDSA, Size: 256}, Validity: time.Hour,
	}))
	sans := must(pki.APIServerSANs(pki.APIServerInput{
		HostName: "k8s-master", ClusterDomain: "cluster.local", ServiceCIDRs: []string{"10.96.0.0/12"},
	}))
	serving := must(pki.Issue(time.Now(), pki.CertificateSpec{
		Subject: pki.Subject{CommonName: "k8s-master"}, SANs: sans, Usages: []pki.Usage{pki.ServerAuth},
		Key: pki.KeySpec{Algorithm: pki.Ed25519}, Validity: time.Hour,
	}, ca))
	clients := x509.NewCertPool()
	clients.AddCert(ca.Cert)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(r.TLS.PeerCertificates[0].Subject.ToRDNSequence().String())
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // refused clients are part of the test
	server.TLS = &tls.Config{
		Certificates: []tls.Certificate{must(tls.X509KeyPair(serving.CertPEM(), must(serving.Key.Reveal())))},
		ClientCAs:    clients, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12,
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	return cluster{ca, server.URL}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// credential issues a client and returns the contents of its kubeconfig.
func (c cluster) credential(role string, key pki.KeySpec) kubeconfig.Params {
	r, _ := pki.LookupRole(role)
	pair := must(pki.Issue(time.Now(), pki.CertificateSpec{
		Subject: pki.Subject{CommonName: r.CommonNameFor("k8s-node1"), Organizations: r.Organizations}, Usages: r.Usages,
		Key: key, Validity: time.Hour,
	}, c.ca))
	return embedded(func(p *kubeconfig.Params) {
		p.Server = c.url
		p.CA.PEM, p.Certificate.PEM, p.Key.PEM = must(pki.Bundle([]*x509.Certificate{c.ca.Cert})), pair.CertPEM(), must(pair.Key.Reveal())
	})
}

// onDisk writes the files of a kubeconfig and returns the form that names them.
func onDisk(t *testing.T, p kubeconfig.Params) kubeconfig.Params {
	t.Helper()
	dir := t.TempDir()
	for name, m := range map[string]*kubeconfig.Material{"ca.crt": &p.CA, "tls.crt": &p.Certificate, "tls.key": &p.Key} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, m.PEM, 0o600); err != nil {
			t.Fatal(err)
		}
		*m = kubeconfig.Material{Path: file}
	}
	return p
}

// whoAmI asks the server with what client-go makes of a kubeconfig on disk.
func whoAmI(t *testing.T, p kubeconfig.Params) (string, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubelet.conf")
	if err := os.WriteFile(file, render(t, p), 0o600); err != nil {
		t.Fatal(err)
	}
	client, err := rest.HTTPClientFor(must(clientcmd.BuildConfigFromFlags("", file)))
	if err != nil {
		return "", err
	}
	defer client.CloseIdleConnections()
	request := must(http.NewRequestWithContext(t.Context(), http.MethodGet, p.Server, nil))
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	var name string
	return name, json.NewDecoder(response.Body).Decode(&name)
}

func TestBothFormsWorkOnAServer(t *testing.T) {
	c := start(t)
	for role, want := range map[string]string{
		"Kubelet": "CN=system:node:k8s-node1,O=system:nodes", "Scheduler": "CN=system:kube-scheduler",
		"Admin": "CN=kubernetes-admin,O=kubeadm:cluster-admins",
	} {
		for _, key := range []pki.KeySpec{{Algorithm: pki.ECDSA, Size: 384}, {Algorithm: pki.Ed25519}} {
			p := c.credential(role, key)
			for form, p := range map[string]kubeconfig.Params{"embedded": p, "files": onDisk(t, p)} {
				got, err := whoAmI(t, p)
				if diff := cmp.Diff(want, got); err != nil || diff != "" {
					t.Errorf("%s with %v, %s: %v\n%s", role, key, form, err, diff)
				}
			}
		}
	}
}

// TestServerName: client-go verifies the server by the name that the kubeconfig gives, whatever the host is called (rest.TLSClientConfig.ServerName).
func TestServerName(t *testing.T) {
	c := start(t)
	p := c.credential("Admin", pki.KeySpec{Algorithm: pki.Ed25519})
	p.Server, p.TLSServerName = p.Server+"/clusters/root:org", "k8s-master2"
	if _, err := whoAmI(t, p); err == nil || !strings.Contains(err.Error(), "k8s-master2") {
		t.Errorf("a server of another name is accepted: %v", err)
	}
	p.TLSServerName = "kubernetes.default"
	if got, err := whoAmI(t, p); err != nil || got == "" {
		t.Errorf("by a name of its certificate: %q, %v", got, err)
	}
	current, err := kubeconfig.ParseCurrent(render(t, p))
	if err != nil || current.Server != p.Server || current.TLSServerName != p.TLSServerName {
		t.Errorf("what is read back is %+v, %v", current, err)
	}
}

func TestTheServerAndItsClientsVerifyEachOther(t *testing.T) {
	ours, theirs := start(t), start(t) // two clusters whose CAs have one name
	good := ours.credential("Kubelet", pki.KeySpec{Algorithm: pki.Ed25519})
	foreign := theirs.credential("Kubelet", pki.KeySpec{Algorithm: pki.Ed25519})
	for name, mod := range map[string]func(*kubeconfig.Params){
		"another CA's client":   func(p *kubeconfig.Params) { p.Certificate, p.Key = foreign.Certificate, foreign.Key },
		"another CA's bundle":   func(p *kubeconfig.Params) { p.CA = foreign.CA },
		"another server":        func(p *kubeconfig.Params) { p.Server = foreign.Server },
		"a key of another pair": func(p *kubeconfig.Params) { p.Key = foreign.Key },
	} {
		for form, p := range map[string]func(kubeconfig.Params) kubeconfig.Params{
			"embedded": func(p kubeconfig.Params) kubeconfig.Params { return p },
			"files":    func(p kubeconfig.Params) kubeconfig.Params { return onDisk(t, p) },
		} {
			bad := good
			mod(&bad)
			if got, err := whoAmI(t, p(bad)); err == nil {
				t.Errorf("%s, %s: admitted as %s", name, form, got)
			}
		}
	}
}

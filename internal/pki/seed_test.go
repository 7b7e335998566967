package pki_test

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"go/parser"
	"go/token"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"clusterpki.io/operator/internal/pki"
)

// The manual procedure that this operator replaces made eighteen mistakes. Each has a subtest by its number
// that shows we don't make it: here, in internal/hostfiles (9, 14) and in internal/kubeconfig (10 to 13).
func TestSeedMistakes(t *testing.T) {
	for name, test := range map[string]func(*testing.T){
		"01 a shell loop that does not parse":               noShell,
		"02 one request signed for every client":            everyClientHasItsOwn,
		"03 version 1 certificates without extensions":      everyClientHasExtensions,
		"04 the CA named like its leaf":                     leafNeverNamedLikeItsCA,
		"05 leaves that outlive their CA":                   leafNeverOutlivesItsCA,
		"06 a server name that no SAN covers":               endpointMustBeCovered,
		"07 a first service IP that cannot be one":          firstServiceIPIsComputed,
		"08 the server's certificate as a client's":         serverIsNoClient,
		"15 RSA 2048 alone, one key for several hosts":      algorithmIsAChoice,
		"16 one identity for several components":            componentsHaveTheirOwnIdentity,
		"17 no etcd, front proxy or kubelet certificates":   everyComponentHasARole,
		"18 SANs read again from another file when signing": sansAreCompared,
	} {
		t.Run(name, test)
	}
}

var seedHosts = []string{"k8s-master", "k8s-node1", "k8s-node2", "k8s-node3"}

// seedClients issues the certificates of the seed's hosts, with the identities that it gave them.
func seedClients(t *testing.T) (ca pki.CA, clients map[string]pki.Leaf) {
	t.Helper()
	role, _ := pki.LookupRole("Host")
	ca, clients = selfSign(t, caRequest()), map[string]pki.Leaf{}
	for _, host := range seedHosts {
		clients[host] = issue(t, leafRequest(func(r *pki.CertificateSpec) {
			r.Subject, r.Usages, r.SANs = pki.Subject{CommonName: role.CommonNameFor(host)}, role.Usages, pki.SANs{}
		}), ca)
	}
	return ca, clients
}

func noShell(t *testing.T) {
	files, err := filepath.Glob("../*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, must(filepath.Glob("plan/*.go"))...) {
		dir := filepath.Base(filepath.Dir(must(filepath.Abs(file))))
		if strings.HasSuffix(file, "_test.go") || !slices.Contains([]string{"pki", "plan", "kubeconfig", "hostfiles", "controller"}, dir) {
			continue
		}
		source, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range source.Imports {
			if i.Path.Value == `"os/exec"` {
				t.Errorf("%s runs programs", file)
			}
		}
	}
}

func everyClientHasItsOwn(t *testing.T) {
	_, clients := seedClients(t)
	for host, pair := range clients {
		if pair.Cert.Subject.CommonName != host {
			t.Errorf("%s got the certificate of %s", host, pair.Cert.Subject.CommonName)
		}
		for other, another := range clients {
			_, err := pki.ParseLeaf(pair.CertPEM(), reveal(t, another.Key))
			if (err == nil) != (host == other) {
				t.Errorf("the certificate of %s with the key of %s: %v", host, other, err)
			}
		}
	}
}

func everyClientHasExtensions(t *testing.T) {
	ca, clients := seedClients(t)
	for host, pair := range clients {
		c := pair.Cert
		if c.Version != 3 || len(c.ExtKeyUsage) == 0 || c.KeyUsage == 0 ||
			len(c.AuthorityKeyId) == 0 || !bytes.Equal(c.AuthorityKeyId, ca.Cert.SubjectKeyId) {
			t.Errorf("%s: version %d, usages %v %v, AKI %x", host, c.Version, c.ExtKeyUsage, c.KeyUsage, c.AuthorityKeyId)
		}
	}
}

func leafNeverNamedLikeItsCA(t *testing.T) {
	ca := selfSign(t, caRequest(func(r *pki.CertificateSpec) { r.Subject.CommonName = "k8s-master" }))
	if _, err := pki.Issue(now, leafRequest(), ca); err == nil {
		t.Error("issued a leaf that OpenSSL takes for self-signed")
	}
	if _, err := pki.Issue(now, leafRequest(), selfSign(t, caRequest())); err != nil {
		t.Errorf("the CA need not be named like the server: %v", err)
	}
}

func leafNeverOutlivesItsCA(t *testing.T) {
	ca := selfSign(t, caRequest(func(r *pki.CertificateSpec) { r.Validity = 365 * day }))
	leaf := issue(t, leafRequest(func(r *pki.CertificateSpec) { r.Validity = 9000 * day }), ca)
	if leaf.Cert.NotAfter.After(ca.Cert.NotAfter) {
		t.Errorf("the leaf says %v, its CA ends at %v", leaf.Cert.NotAfter, ca.Cert.NotAfter)
	}
	if err := leaf.Verify(leaf.Cert.NotAfter, []*x509.Certificate{ca.Cert}); err != nil {
		t.Errorf("the leaf cannot be used to its last second: %v", err)
	}
}

func endpointMustBeCovered(t *testing.T) {
	host := must(pki.EndpointHost("https://k8s-master:6443"))
	if sans("centos-master", "10.1.10.251", "10.1.10.238").Covers(host) {
		t.Error("the seed's SANs do not name k8s-master")
	}
	ours := serving(t, "10.254.0.0/16")
	cert := issue(t, leafRequest(func(r *pki.CertificateSpec) { r.SANs = ours }), selfSign(t, caRequest())).Cert
	if !ours.Covers(host) || cert.VerifyHostname(host) != nil {
		t.Errorf("our SANs %s do not cover %s", ours, host)
	}
}

func serving(t *testing.T, network string) pki.SANs {
	t.Helper()
	return must(pki.APIServerSANs(pki.APIServerInput{
		HostName: "k8s-master", ClusterDomain: "cluster.local", ServiceCIDRs: []string{network},
	}))
}

func firstServiceIPIsComputed(t *testing.T) {
	seeds := netip.MustParseAddr("10.1.10.251")
	for bits := range 33 {
		if got, err := pki.FirstServiceIP(netip.PrefixFrom(seeds, bits).String()); err == nil && got == seeds {
			t.Errorf("%v is the first of a /%d", seeds, bits)
		}
	}
	ours := serving(t, "10.1.10.248/29")
	if !ours.Covers("10.1.10.249") || ours.Covers("10.1.10.251") {
		t.Errorf("pods do not reach the API server at the addresses of %s", ours)
	}
}

func serverIsNoClient(t *testing.T) {
	ca := selfSign(t, caRequest())
	roots := x509.NewCertPool()
	roots.AddCert(ca.Cert)
	_, err := issue(t, leafRequest(), ca).Cert.Verify(x509.VerifyOptions{
		Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err == nil {
		t.Error("the API server's certificate authenticates as a client")
	}
	for _, r := range pki.Roles() {
		if both := len(r.Usages) == 2; both != (r.Name == "EtcdServer" || r.Name == "EtcdPeer") {
			t.Errorf("%s has the usages %v; only etcd's members are clients of themselves", r.Name, r.Usages)
		}
	}
}

func algorithmIsAChoice(t *testing.T) {
	ca := selfSign(t, caRequest())
	for _, spec := range []pki.KeySpec{ecdsa256, ecdsa384, ecdsa521, ed25519k} {
		if got := pki.SpecOf(issue(t, leafRequest(func(r *pki.CertificateSpec) { r.Key = spec }), ca).Cert.PublicKey); got != spec {
			t.Errorf("asked for %v, got %v", spec, got)
		}
	}
	_, clients := seedClients(t)
	seen := map[string]string{}
	for host, pair := range clients {
		key := fmt.Sprintf("%x", pair.Cert.RawSubjectPublicKeyInfo)
		if other, ok := seen[key]; ok {
			t.Errorf("%s and %s share a key", host, other)
		}
		seen[key] = host
	}
}

func componentsHaveTheirOwnIdentity(t *testing.T) {
	seen := map[string]string{}
	for _, r := range pki.Roles() {
		s := pki.Subject{CommonName: r.CommonNameFor("k8s-node1"), Organizations: r.Organizations}.String()
		if !slices.Contains(r.Usages, pki.ClientAuth) || r.Name == "EtcdServer" || r.Name == "EtcdPeer" {
			continue // servers; etcd's members are clients of themselves alone, below a CA of their own
		}
		if other, ok := seen[s]; ok {
			t.Errorf("%s and %s are both %s", r.Name, other, s)
		}
		seen[s] = r.Name
	}
}

func everyComponentHasARole(t *testing.T) {
	for _, name := range []string{
		"EtcdServer", "EtcdPeer", "EtcdClient", "EtcdHealthcheckClient", "FrontProxyClient", "APIServerKubeletClient", "KubeletServing",
		"Kubelet", "KubeProxy", "ControllerManager", "Scheduler", "Admin", "SuperAdmin",
	} {
		if _, ok := pki.LookupRole(name); !ok {
			t.Errorf("there is no role %s", name)
		}
	}
}

func sansAreCompared(t *testing.T) {
	asked := leafRequest(func(r *pki.CertificateSpec) { r.SANs = sans("k8s-master", "10.96.0.1") })
	signed := leafRequest(func(r *pki.CertificateSpec) { r.SANs = sans("centos-master", "10.96.0.1") })
	if diff := asked.Difference(issue(t, signed, selfSign(t, caRequest())).Cert); !strings.Contains(diff, "SANs") {
		t.Errorf("a certificate with other SANs than asked for is taken for good: %q", diff)
	}
}

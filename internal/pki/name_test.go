package pki_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"clusterpki.io/operator/internal/pki"
)

// TestNames has what RFC 4518 section 2 maps away, or Unicode Technical Standard 39 takes for something else. kube-apiserver 1.37.2
// compares bytes, and takes each of these as a user of its own.
func TestNames(t *testing.T) {
	for _, name := range []string{"jane", "Jane Doe", "jane@example.org", "ops:viewers", "Zoë Müller", "Łódź, Inc.", "~!#$%", "Ž", "À", "ÿ"} {
		if err := pki.CheckName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for name, want := range map[string]string{
		"": "is empty", "jane\n": "begins or ends with a blank", "\tjane": "begins or ends", " jane": "begins or ends", "jane\u00a0": "begins or ends",
		"jane  doe": "two blanks in a row", "jane\x00x": "U+0000", "jane\tx": "U+0009", "jane\u200b": "U+200B", "jane\ufeffx": "U+FEFF", "jane\x7f": "U+007F",
		"j\u0430ne": "U+0430", "jane\u202ex": "U+202E", "jane\u00adx": "U+00AD", "jane\u0301": "U+0301", "ﬁ": "U+FB01", "ſam": "U+017F", "ı": "U+0131",
		"front‐proxy": "U+2010", "ｊane": "U+FF4A", "日本": "U+65E5", "ĳ": "U+0133", "×": "U+00D7", "÷": "U+00F7", "Ð": "U+00D0", "jane\xff": "not UTF-8",
	} {
		if err := pki.CheckName(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", name, err, want)
		}
	}
}

// TestNoIdentityByTheBackDoor has every identity of the table, and what is taken for one.
func TestNoIdentityByTheBackDoor(t *testing.T) {
	names := []string{
		"aggregator", "kubelet-bootstrap", "system:masters", "System:masters", "SYSTEM:node:x", "system;masters", "sÿstem:masters", "kubeadm:cluster-admins", "clusterpki:agents",
		"fr0nt-proxy-client", "front-proxy-c1ient", "front-proxy-cl1ent", "Front-Proxy-Client", "front_proxy_client", "front proxy client", "fŕont-proxy-client", "kubemetes-admin",
		"kube-apiserver-kube1et-client", "kubernetes-super-adrnin", "kuberńetes-admin",
	}
	for _, r := range pki.Roles() {
		if !r.PerHost || strings.Contains(r.CommonName, ":") {
			names = append(names, r.CommonNameFor("n1"))
		}
		names = append(names, r.Organizations...)
	}
	for _, name := range names {
		if err := pki.CheckOwnName(name); err == nil {
			t.Errorf("%q may be given to anybody", name)
		}
		if _, err := pki.CustomRole(name, nil, []pki.Usage{pki.ClientAuth}); err == nil {
			t.Errorf("role Custom has the user %q", name)
		}
		if _, err := pki.CustomRole("x", []string{"y", name}, []pki.Usage{pki.ClientAuth}); err == nil {
			t.Errorf("role Custom has the group %q", name)
		}
	}
	for _, name := range []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
		"*.default", "*.default.svc", "*.default.svc.cluster.local"} {
		if err := pki.CheckCredentialName(name); err == nil {
			t.Errorf("%q is a credential's", name)
		}
	}
	for _, name := range []string{"jane", "k8s-node1", "front-proxy", "kubernetes-ca", "kubernetes.example.org", "etcd", "proxy-client", "systems", "admin"} {
		if err := pki.CheckCredentialName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestHostNames: a Node's name is any RFC 1123 subdomain (k8s.io/apimachinery, validation.IsDNS1123Subdomain), so also an IPv4 address.
func TestHostNames(t *testing.T) {
	for host, want := range map[string]string{
		"k8s-node1": "k8s-node1", "10.0.10.2": "10.0.10.2", "cn-hangzhou.192.168.0.12": "cn-hangzhou.192.168.0.12", "node.1": "node.1", "7": "7",
	} {
		got, err := pki.SANs{}.WithHost(host)
		if err != nil || got.String() != want || (len(got.IPAddresses) > 0) != (host == "10.0.10.2") || !got.Covers(host) {
			t.Errorf("%s: %v, %v", host, got, err)
		}
	}
	for _, host := range []string{"", "K8s", "fd00::1", "a..b", "-a", "k8s\n", "010.0.0.1", "10.0.0.256", "10.96.1", "front-proxy-client", strings.Repeat("a", 64)} {
		if got, err := (pki.SANs{}).WithHost(host); err == nil {
			t.Errorf("%q becomes %v", host, got)
		}
	}
	was := sans("a", "10.0.0.1")
	if _, err := was.WithHost("b"); err != nil || !slices.Equal(was.DNSNames, []string{"a"}) {
		t.Errorf("WithHost changes what it adds to: %v, %v", was, err)
	}
}

// TestNamesOfCertificates: nothing is issued for a name that is none.
func TestNamesOfCertificates(t *testing.T) {
	for i, r := range []pki.CertificateSpec{
		leafRequest(func(r *pki.CertificateSpec) { r.Subject.CommonName = "jane\n" }),
		leafRequest(func(r *pki.CertificateSpec) { r.Subject.Organizations = []string{"ops\n"} }),
	} {
		if err := r.Validate(); err == nil || !strings.Contains(err.Error(), `\n`) {
			t.Errorf("%s: %v", fmt.Sprint(i), err)
		}
	}
	long := leafRequest(func(r *pki.CertificateSpec) { r.Subject.CommonName = "system:node:" + strings.Repeat("n", 53) })
	if err := long.Validate(); err == nil || !strings.Contains(err.Error(), "--hostname-override") {
		t.Errorf("a long name of a Node: %v", err)
	}
}

package pki_test

import (
	"crypto/x509"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"clusterpki.io/operator/internal/pki"
)

var long = strings.Repeat("a", 63)

func TestDNSNames(t *testing.T) {
	longest := strings.Join([]string{long, long, long, strings.Repeat("b", 61)}, ".") // 253 bytes
	for _, name := range []string{
		"k8s-master", "localhost", "a.b", "1password.example", "node1", "1", "k8s--1", "*.example.com", "*.k8s",
		"xn--fiq228c.example.com", long, longest,
	} {
		if got, err := pki.NewSANs([]string{name}, nil); err != nil || !slices.Equal(got.DNSNames, []string{name}) {
			t.Errorf("%q becomes %v, %v", name, got, err)
		}
	}
	if got := sans("k8s-master.example.", "k8s-master.example"); !slices.Equal(got.DNSNames, []string{"k8s-master.example"}) {
		t.Errorf("a trailing dot makes a difference: %v", got)
	}
	for name, want := range map[string]string{
		"": "not a DNS name", ".": "not a DNS name", "a..b": "not a DNS name", ".a": "not a DNS name", "a..": "not a DNS name",
		"K8s-master": "lower-case", "k8s_master": "not a DNS name", "-a": "not a DNS name", "a-": "not a DNS name", "a.-b": "not a DNS name",
		"münchen.example": "A-label (xn--…)", "中国.example": "A-label (xn--…)",
		"k8s-master:6443": "not a DNS name", "https://a": "not a DNS name",
		"a b": "not a DNS name", "a\n": "not a DNS name", "a\x00b": "not a DNS name", "[::1]": "not a DNS name",
		long + "a": "not a DNS name", longest + "b": "not a DNS name",
		"*": "not a DNS name", "*.": "not a DNS name", "*.*.example.com": "not a DNS name", "a.*.example.com": "not a DNS name",
		"w*.example.com": "not a DNS name", "**.example.com": "not a DNS name",
		"10.96.0.1": "move it to the IP addresses", "::1": "move it to the IP addresses", "fe80::1%eth0": "move it to the IP addresses",
		"10.96.0.1.": "move it to the IP addresses", "010.0.0.1": "move it to the IP addresses", "10.0.0.256": "move it to the IP addresses",
		"10.96.1": "move it to the IP addresses", "*.0.0.1": "move it to the IP addresses", "k8s.1": "move it to the IP addresses",
	} {
		if got, err := pki.NewSANs([]string{"ok", name}, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q becomes %v, %v; want an error with %q", name, got, err, want)
		}
	}
}

func TestIPAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"10.96.0.1": "10.96.0.1", "::1": "::1", "::ffff:10.96.0.1": "10.96.0.1", "::FFFF:A60:1": "10.96.0.1",
		"FD00:10:96:0:0:0:0:1": "fd00:10:96::1", "fd00:0010:96::1": "fd00:10:96::1",
	} {
		if got, err := pki.ParseIP(text); err != nil || got.String() != want {
			t.Errorf("%q becomes %v, %v; want %s", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"": "not an IP address", "k8s-master": "not an IP address", "010.0.0.1": "no leading zeros", "10.0.0.01": "no leading zeros",
		"10.0.0.256": "not an IP address", "10.0.0": "not an IP address", "10.0.0.1/24": "prefix length", "10.0.0.1:6443": "port",
		"[::1]": "not an IP address", "fe80::1%eth0": `remove "%eth0"`, "::ffff:10.0.0.1%1": "zone", " 10.0.0.1": "not an IP address",
	} {
		_, direct := pki.ParseIP(text)
		_, among := pki.NewSANs([]string{"ok"}, []string{"10.0.0.1", text})
		for _, err := range []error{direct, among} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q: error %v, want one with %q", text, err, want)
			}
		}
	}
}

func TestSANsHaveOneSpelling(t *testing.T) {
	a := sans("b.example", "a", "b.example.", "::ffff:10.0.0.9", "10.0.0.10", "fd00::1", "a")
	b := sans("10.0.0.10", "FD00:0::1", "10.0.0.9", "a", "b.example", "10.0.0.10")
	if diff := cmp.Diff(a, b, cmp.Comparer(func(x, y netip.Addr) bool { return x == y })); diff != "" {
		t.Errorf("order, duplicates or spelling make a difference:\n%s", diff)
	}
	if got, want := a.String(), "a, b.example, 10.0.0.9, 10.0.0.10, fd00::1"; got != want {
		t.Errorf("the SANs read %q, want %q", got, want)
	}
	names := []string{"b", "a"}
	if sans(names...); !slices.Equal(names, []string{"b", "a"}) {
		t.Error("NewSANs reorders its argument")
	}
}

func TestCovers(t *testing.T) {
	s := sans("k8s-master", "*.example.com", "10.96.0.1", "fd00::1")
	for host, want := range map[string]bool{
		"k8s-master": true, "K8S-Master": true, "k8s-master.": true, "k8s-master.example.com": true, "k8s-master.other.com": false,
		"example.com": false, "a.b.example.com": false, ".example.com": false, "": false, ".": false,
		"10.96.0.1": true, "::ffff:10.96.0.1": true, "10.96.0.2": false, "fd00:0::0001": true, "fd00::1%eth0": false, "fd00::2": false,
	} {
		if got := s.Covers(host); got != want {
			t.Errorf("Covers(%q) = %v", host, got)
		}
	}
	if (pki.SANs{DNSNames: []string{"*.0.0.1", "10.0.0.1"}}).Covers("10.0.0.1") {
		t.Error("a DNS name covers an IP address")
	}
}

// Covers must agree with the verifier of every Kubernetes component.
func TestCoversAgreesWithGo(t *testing.T) {
	label := rapid.SampledFrom([]string{"a", "b", "k8s-1", "xn--fiq228c", "10", "A", ""})
	labels := rapid.SliceOfN(label, 1, 4)
	rapid.Check(t, func(t *rapid.T) {
		var names, addresses []string
		for range rapid.IntRange(0, 4).Draw(t, "names") {
			name := strings.ToLower(strings.Join(labels.Draw(t, "name"), "."))
			if rapid.Bool().Draw(t, "wildcard") {
				name = "*." + name
			}
			if _, err := pki.NewSANs([]string{name}, nil); err == nil {
				names = append(names, name)
			}
		}
		ips := rapid.SampledFrom([]string{"10.0.0.1", "10.0.0.2", "::1", "fd00::1", "::ffff:10.0.0.1"})
		for range rapid.IntRange(0, 2).Draw(t, "addresses") {
			addresses = append(addresses, ips.Draw(t, "address"))
		}
		s := must(pki.NewSANs(names, addresses))
		cert := &x509.Certificate{DNSNames: s.DNSNames}
		for _, a := range s.IPAddresses {
			cert.IPAddresses = append(cert.IPAddresses, a.AsSlice())
		}
		host := strings.Join(labels.Draw(t, "host"), ".")
		if rapid.Bool().Draw(t, "hostIsIP") {
			host = ips.Draw(t, "ip")
		}
		if got, err := s.Covers(host), cert.VerifyHostname(host); got != (err == nil) {
			t.Fatalf("[%s].Covers(%q) = %v, crypto/x509 says %v", s, host, got, err)
		}
	})
}

func TestEndpointHost(t *testing.T) {
	for endpoint, want := range map[string]string{
		"https://k8s-master:6443": "k8s-master", "https://k8s-master": "k8s-master", "https://10.0.0.1:6443": "10.0.0.1",
		"https://[fd00::1]:6443": "fd00::1", "https://[fd00::1]": "fd00::1", "https://k8s-master/": "k8s-master",
	} {
		if got, err := pki.EndpointHost(endpoint); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", endpoint, got, err, want)
		}
	}
	for _, endpoint := range []string{
		"", "k8s-master:6443", "http://k8s-master:6443", "https://", "https://:6443", "https:k8s-master", "https://[::1", "https://a:port",
		"://",
	} {
		if got, err := pki.EndpointHost(endpoint); err == nil || !strings.Contains(err.Error(), "such as https://k8s-master:6443") {
			t.Errorf("%q: %q, %v", endpoint, got, err)
		}
	}
	if _, err := pki.EndpointHost("https://admin:hunter2@k8s-master"); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a URL with a password: %v", err)
	}
}

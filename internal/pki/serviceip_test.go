package pki_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	netutils "k8s.io/utils/net"
	"pgregory.net/rapid"

	"clusterpki.io/operator/internal/pki"
)

func TestFirstServiceIP(t *testing.T) {
	for cidr, want := range map[string]string{
		"10.96.0.0/12": "10.96.0.1", "10.96.5.7/16": "10.96.0.1", "10.1.10.248/29": "10.1.10.249", "10.1.10.250/29": "10.1.10.249",
		"10.254.0.0/16": "10.254.0.1", "0.0.0.0/0": "0.0.0.1", "255.255.255.255/29": "255.255.255.249", "10.0.0.255/24": "10.0.0.1",
		"fd00:10:96::/112": "fd00:10:96::1", "FD00:10:96::ffff/112": "fd00:10:96::1", "fd00::/64": "fd00::1", "fd00::8/125": "fd00::9", "::/64": "::1",
	} {
		if got, err := pki.FirstServiceIP(cidr); err != nil || got.String() != want {
			t.Errorf("%s: %v, %v; want %s", cidr, got, err, want)
		}
	}
	for cidr, want := range map[string]string{
		"10.96.0.0/30": "fewer than 8", "10.1.10.250/31": "fewer than 8", "10.96.0.0/32": "fewer than 8",
		"fd00::/126": "fewer than 8", "fd00::/128": "fewer than 8",
		"": "not a network", "10.96.0.0": "not a network", "10.96.0.0/33": "not a network", "10.96.0.0/-1": "not a network",
		"10.96.0/16":    "not a network",
		"010.96.0.0/12": "not a network", "10.96.0.0/012": "not a network", "fd00::/129": "not a network", "fe80::%eth0/64": "not a network",
		"::ffff:10.96.0.0/112": "IPv4 network written as IPv6", "10.96.0.0/12,fd00::/112": "not a network",
	} {
		if got, err := pki.FirstServiceIP(cidr); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want an error with %q", cidr, got, err, want)
		}
	}
}

// kube-apiserver computes the address with this function of k8s.io/utils.
func TestFirstServiceIPAgreesWithKubernetes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size, least := 4, 29
		if rapid.Bool().Draw(t, "IPv6") {
			size, least = 16, 125
		}
		addr, _ := netip.AddrFromSlice(rapid.SliceOfN(rapid.Byte(), size, size).Draw(t, "address"))
		prefix := netip.PrefixFrom(addr, rapid.IntRange(0, least).Draw(t, "bits"))
		got, err := pki.FirstServiceIP(prefix.String())
		if err != nil {
			if addr.Is4In6() {
				return
			}
			t.Fatal(err)
		}
		_, network, err := netutils.ParseCIDRSloppy(prefix.String())
		if err != nil {
			t.Fatal(err)
		}
		want, err := netutils.GetIndexedIP(network, 1)
		if err != nil || got.String() != want.String() {
			t.Fatalf("%v: %v, Kubernetes says %v, %v", prefix, got, want, err)
		}
		if !prefix.Contains(got) {
			t.Fatalf("%v lies outside %v", got, prefix)
		}
	})
}

func TestAPIServerSANs(t *testing.T) {
	always := []string{"k8s-master", "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
		"kubernetes.default.svc.cluster.local", "127.0.0.1", "::1"}
	in := func(mod func(*pki.APIServerInput)) pki.APIServerInput {
		i := pki.APIServerInput{HostName: "k8s-master", ClusterDomain: "cluster.local", ServiceCIDRs: []string{"10.96.5.7/16"}}
		mod(&i)
		return i
	}
	for name, tc := range map[string]struct {
		mod  func(*pki.APIServerInput)
		more []string
	}{
		"defaults":        {func(*pki.APIServerInput) {}, []string{"10.96.0.1"}},
		"IPv6 alone":      {func(i *pki.APIServerInput) { i.ServiceCIDRs = []string{"fd00:10:96::/112"} }, []string{"fd00:10:96::1"}},
		"dual stack":      {func(i *pki.APIServerInput) { i.ServiceCIDRs = []string{"10.1.10.248/29", "fd00::/112"} }, []string{"10.1.10.249", "fd00::1"}},
		"the other order": {func(i *pki.APIServerInput) { i.ServiceCIDRs = []string{"fd00::/112", "10.1.10.248/29"} }, []string{"10.1.10.249", "fd00::1"}},
		"repetitions":     {func(i *pki.APIServerInput) { i.DNSNames, i.IPAddresses = always[:3], []string{"::1"} }, []string{"10.96.0.1"}},
		"more": {func(i *pki.APIServerInput) {
			i.DNSNames, i.IPAddresses = []string{"*.example.com"}, []string{"10.1.10.238"}
		}, []string{"10.96.0.1", "*.example.com", "10.1.10.238"}},
	} {
		got, err := pki.APIServerSANs(in(tc.mod))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(sans(append(tc.more, always...)...).String(), got.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if got, err := pki.APIServerSANs(in(func(i *pki.APIServerInput) { i.HostName = "10.0.0.1" })); err != nil || !got.Covers("10.0.0.1") || got.Covers("k8s-master") {
		t.Errorf("known by its address alone: %v, %v", got, err)
	}
	for want, mod := range map[string]func(*pki.APIServerInput){
		"one IP family":      func(i *pki.APIServerInput) { i.ServiceCIDRs = []string{"10.96.0.0/12", "10.112.0.0/12"} },
		"of one IP family":   func(i *pki.APIServerInput) { i.ServiceCIDRs = []string{"fd00::/112", "fd01::/112"} },
		"fewer than 8":       func(i *pki.APIServerInput) { i.ServiceCIDRs = []string{"10.96.0.0/30"} },
		`"" is not a host`:   func(i *pki.APIServerInput) { i.HostName = "" },
		`"K8S" is not a DNS`: func(i *pki.APIServerInput) { i.DNSNames = []string{"K8S"} },
		"Cluster.Local":      func(i *pki.APIServerInput) { i.ClusterDomain = "Cluster.Local" },
		"has a zone":         func(i *pki.APIServerInput) { i.IPAddresses = []string{"fe80::1%eth0"} },
	} {
		if got, err := pki.APIServerSANs(in(mod)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, %v; want an error with %q", got, err, want)
		}
	}
}

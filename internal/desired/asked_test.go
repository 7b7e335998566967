package desired

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/policy"
	"clusterpki.io/operator/test/given"
)

// TestAllNamesAreAsked: policies see every name and address that is to be certified, but for those that are the same whatever the spec says, and
// the names of the Service "kubernetes", which only an API server has.
func TestAllNamesAreAsked(t *testing.T) {
	server := given.Server("k8s-master", func(c *v1alpha1.APIServerCertificate) {
		c.Spec.DNSNames, c.Spec.IPAddresses = []string{"*.example.org"}, []string{"10.1.10.238"}
		c.Spec.ServiceCIDRs, c.Spec.ClusterDomain = []string{"192.168.7.8/29", "fd00:7::/112"}, "example.net"
		c.Spec.Validity.Duration, c.Spec.PrivateKey = time.Hour, v1alpha1.PrivateKeySpec{Algorithm: v1alpha1.Ed25519}
	})
	d, err := APIServer(server)
	if err != nil {
		t.Fatal(err)
	}
	asked := AskedByServer(server, d)
	if got := []netip.Addr{netip.MustParseAddr("192.168.7.9"), netip.MustParseAddr("fd00:7::1")}; !slices.Equal(asked.Services, got) {
		t.Errorf("the service addresses are %v", asked.Services)
	}
	allAsked(t, d.Spec.SANs, asked, "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.example.net")
	for _, role := range []v1alpha1.Role{"EtcdServer", "EtcdPeer", "KubeletServing"} {
		for _, host := range []string{"k8s-node1", "10.1.10.7"} {
			c := given.Kubelet("node1", func(c *v1alpha1.NodeCredential) {
				c.Spec.Role, c.Spec.HostName, c.Spec.DNSNames, c.Spec.IPAddresses = role, host, []string{"a.example.org"}, []string{"10.1.10.8", "fd00::7"}
				c.Spec.Validity.Duration, c.Spec.PrivateKey = time.Hour, v1alpha1.PrivateKeySpec{Algorithm: v1alpha1.Ed25519}
			})
			d, err := Credential(c)
			if err != nil {
				t.Fatal(err)
			}
			allAsked(t, d.Spec.SANs, AskedByCredential(c, d))
		}
	}
}

// allAsked says which names are certified without being asked for.
func allAsked(t *testing.T, sans pki.SANs, a policy.Asked, fixed ...string) {
	t.Helper()
	for _, name := range sans.DNSNames {
		if name != "localhost" && name != a.HostName && !slices.Contains(a.DNSNames, name) && !slices.Contains(fixed, name) {
			t.Errorf("%s: no policy sees %q", a.Role, name)
		}
	}
	for _, addr := range sans.IPAddresses {
		if !addr.IsLoopback() && addr.String() != a.HostName && !slices.Contains(a.Addresses, addr) && !slices.Contains(a.Services, addr) {
			t.Errorf("%s: no policy sees %s", a.Role, addr)
		}
	}
}

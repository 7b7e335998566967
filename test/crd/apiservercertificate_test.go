package crd

import (
	"fmt"
	"strings"
	"testing"
)

const validServer = `
apiVersion: clusterpki.io/v1alpha1
kind: APIServerCertificate
metadata: {name: k8s-master, namespace: prod}
spec:
  caRef: {name: k8s}
  hostName: k8s-master
  endpoint: https://k8s-master:6443
`

const (
	ipNotName   = "must be a DNS name: an IP address belongs in ipAddresses"
	badHost     = "must be a lower-case DNS name of letters, digits, '-' and '.', or an IPv4 address, as the name of a Node is"
	identity    = "must not be the name of an identity that something in a cluster trusts"
	badName     = "must be a lower-case DNS name of letters, digits, '-' and '.'; write an internationalised name as its A-label"
	badIP       = "must be an IPv4 or IPv6 address without leading zeros, zone, port or prefix length"
	badCIDR     = "must be an IPv4 or IPv6 network such as '10.96.0.0/12'"
	smallCIDR   = "must hold at least 8 addresses"
	badProbe    = "must be a host and a port from 1 to 65535, such as '10.1.10.238:6443' or '[2001:db8::7]:6443'"
	badEndpoint = "must be an https URL of a lower-case host, a port from 1 to 65535, and a path of letters, digits and '-._~:' or none"
	notCovered  = "spec.endpoint: no SAN covers the host of endpoint, so every client would refuse the server: add the host"
)

// localEndpoint is covered whatever the host is called.
var localEndpoint = []edit{{"spec.endpoint", "https://localhost:6443"}}

func TestAPIServerCertificate(t *testing.T) {
	k := load(t, "apiservercertificates")
	runCases(t, k, validServer, map[string]testCase{
		"nothing more than required": {},
		"dual stack":                 accepted("spec.serviceCIDRs", list("10.96.0.0/12", "fd00:10:96::/112")),
		"dual stack, IPv6 first":     accepted("spec.serviceCIDRs", list("fd00:10:96::/112", "10.96.0.0/12")),
		"smallest networks":          accepted("spec.serviceCIDRs", list("10.96.0.0/29", "fd00::/125")),
		"IPv6 alone":                 accepted("spec.serviceCIDRs", list("fd00:10:96::/108")),
		"names": accepted("spec.dnsNames", list("centos-master", "*.example.org", "xn--mnchen-3ya.example",
			"a.b.c.d.example", "1.example", "1a", strings.Repeat("x", 63)+".example")),
		"empty lists":     {edits: []edit{{"spec.dnsNames", []any{}}, {"spec.ipAddresses", []any{}}}},
		"addresses":       accepted("spec.ipAddresses", list("10.1.10.238", "2001:db8::1", "::")),
		"host with dots":  {edits: []edit{{"spec.hostName", "api.xn--mnchen-3ya.example"}, {"spec.endpoint", "https://localhost"}}},
		"numeric host":    {edits: []edit{{"spec.hostName", "7"}, {"spec.endpoint", "https://localhost"}}},
		"several clients": accepted("spec.clientCARefs", []any{map[string]any{"name": "a"}, map[string]any{"name": "b"}}),
		"own Secrets":     {edits: []edit{{"spec.secretName", "tls.prod"}, {"spec.serviceAccountKeyRef.name", "sa"}}},

		"a front proxy": accepted("spec.requestHeaderCARef.name", "front-proxy"),
		"a front proxy's CA for every client": {
			edits: set("spec.requestHeaderCARef.name", "k8s"),
			want:  "spec.requestHeaderCARef: must not be one of the CAs that sign ordinary clients",
		},
		"a front proxy's CA among the clients'": {
			edits: []edit{{"spec.clientCARefs", []any{map[string]any{"name": "a"}, map[string]any{"name": "b"}}}, {"spec.requestHeaderCARef.name", "b"}},
			want:  "spec.requestHeaderCARef: must not be one of the CAs that sign ordinary clients",
		},
		"probed":                          accepted("spec.probe.addresses", list("10.1.10.238:6443", "[2001:db8::7]:6443", "k8s-master.example:443", "localhost:1")),
		"probed nowhere":                  refused("spec.probe.addresses", []any{}, "spec.probe.addresses in body should have at least 1 items"),
		"probed without a port":           refusedItem("spec.probe.addresses", badProbe, "10.1.10.238"),
		"probed at port 0":                refusedItem("spec.probe.addresses", badProbe, "10.1.10.238:0"),
		"probed at a port too high":       refusedItem("spec.probe.addresses", badProbe, "10.1.10.238:65536"),
		"probed by URL":                   refusedItem("spec.probe.addresses", badProbe, "https://10.1.10.238:6443"),
		"probed at IPv6 without brackets": refusedItem("spec.probe.addresses", badProbe, "2001:db8::7:6443"),
		"probed too often": {
			edits: []edit{{"spec.probe.addresses", list("localhost:1")}, {"spec.probe.interval", "500ms"}},
			want:  "spec.probe.interval: must be between 1 second and 24 hours",
		},

		"no caRef":         {edits: set("spec.caRef", nil), want: "spec.caRef: "},
		"empty caRef":      refused("spec.caRef.name", "", "spec.caRef.name in body should be at least 1 chars long"),
		"no host":          refusedWith(localEndpoint, "spec.hostName", "", "spec.hostName in body should be at least 1 chars long"),
		"twice one client": refused("spec.clientCARefs", []any{}, "spec.clientCARefs in body should have at least 1 items"),

		"malformed network":         refusedItem("spec.serviceCIDRs", badCIDR, "10.96.0.0"),
		"network out of range":      refusedItem("spec.serviceCIDRs", badCIDR, "10.96.0.0/33"),
		"network, leading zero":     refusedItem("spec.serviceCIDRs", badCIDR, "10.096.0.0/12"),
		"too small, IPv4":           refusedItem("spec.serviceCIDRs", smallCIDR, "10.96.0.0/30"),
		"too small, IPv6":           refusedItem("spec.serviceCIDRs", smallCIDR, "fd00::/126"),
		"same family":               refused("spec.serviceCIDRs", list("10.96.0.0/12", "10.112.0.0/12"), "must not hold two networks of the same IP family"),
		"same family, IPv6":         refused("spec.serviceCIDRs", list("fd00::/112", "fd01::/112"), "must not hold two networks of the same IP family"),
		"three networks":            refused("spec.serviceCIDRs", list("10.96.0.0/12", "fd00::/112", "10.0.0.0/12"), "must have at most 2 items"),
		"no network":                refused("spec.serviceCIDRs", []any{}, "spec.serviceCIDRs in body should have at least 1 items"),
		"host by a service address": refusedWith(localEndpoint, "spec.hostName", "10.96.0.1", "no address of a host may lie within serviceCIDRs"),
		"host in service network":   refused("spec.ipAddresses", list("10.96.0.1"), "no address of a host may lie within serviceCIDRs"),
		"bad cluster domain":        refused("spec.clusterDomain", "Cluster.Local", "must be a lower-case DNS domain such as 'cluster.local'"),
		"cluster domain, last dot":  refused("spec.clusterDomain", "cluster.local.", "must be a lower-case DNS domain such as 'cluster.local'"),
		"bad Secret name":           refused("spec.secretName", "TLS", "must be a valid Secret name"),
		"bad service account name":  refused("spec.serviceAccountKeyRef.name", "sa_keys", "must be a valid name of an object"),
		"no service account name":   refused("spec.serviceAccountKeyRef.name", "", "spec.serviceAccountKeyRef.name in body should be at least 1 chars long"),
		"keys, acknowledged by hand": {edits: append(set("spec.serviceAccountKeyRef.name", "k8s-sa"),
			edit{"spec.delivery", map[string]any{"mode": "Manual", "acknowledged": map[string]any{"publicKeysSHA256": digest}}})},
		"keys, acknowledged as -fingerprint does": {
			edits: set("spec.delivery", map[string]any{"mode": "Manual", "acknowledged": map[string]any{"publicKeysSHA256": fingerprint}}),
			want:  "spec.delivery.acknowledged.publicKeysSHA256: must be 64 lower-case hexadecimal digits without colons",
		},
		"very long name": {
			edits: set("metadata.name", strings.Repeat("x", 201)),
			want:  "metadata: metadata.name must be 200 characters or fewer",
		},
	})
	runCases(t, k, validServer, hostCases(t, k, localEndpoint))
	runCases(t, k, validServer, nameCases(nil))
	runCases(t, k, validServer, durationCases())
	runCases(t, k, validServer, keyCases())
	runCases(t, k, validServer, endpointCases())
	runCases(t, k, validServer, deliveryCases())
}

// refusedWith is refused after other edits.
func refusedWith(others []edit, path string, value any, message string) testCase {
	c := refused(path, value, message)
	c.edits = append(c.edits, others...)
	return c
}

// refusedItem says that a list of this one item is refused.
func refusedItem(path, message, item string) testCase {
	return testCase{edits: set(path, list(item)), want: path + "[0]: " + message}
}

// hostCases are those of spec.hostName.
func hostCases(t *testing.T, k kind, with []edit) map[string]testCase {
	t.Helper()
	cases := map[string]testCase{}
	for _, bad := range []string{
		"K8s-Master", "k8s_master", "-k8s", "k8s-", "k8s..master", "münchen", "k8s-master.", "*.example.org", "k8s master", "k8s-master:6443", "2001:db8::1",
		"k8s-master\n", " k8s-master", "k8s\u200bmaster", "k8s\u0430",
	} {
		cases[fmt.Sprintf("hostName %q", bad)] = refusedWith(with, "spec.hostName", bad, badHost)
	}
	for _, taken := range k.identities(t) {
		cases["hostName "+taken] = refusedWith(with, "spec.hostName", taken, identity)
	}
	for _, good := range []string{"10.0.10.2", "cn-hangzhou.192.168.0.12", "node.1", "10.1.10.999", "7"} {
		cases["hostName "+good] = testCase{edits: append(set("spec.hostName", good), with...)}
	}
	cases["hostName of 65 bytes"] = refusedWith(with, "spec.hostName", strings.Repeat("x", 32)+"."+strings.Repeat("x", 32), "may not be more than 64 bytes")
	return cases
}

// identities are the names that the rule of hostName refuses. A test of internal/pki compares them with what the operator refuses.
func (k kind) identities(t *testing.T) []string {
	t.Helper()
	spec := k.structural.Properties["spec"]
	for _, v := range spec.Properties["hostName"].XValidations {
		if list, ok := strings.CutPrefix(v.Rule, "!(self in ["); ok {
			list = strings.TrimSuffix(list, "])")
			return strings.Split(strings.NewReplacer("'", "", " ", "").Replace(list), ",")
		}
	}
	t.Fatal("hostName may be any identity")
	return nil
}

// nameCases are those of spec.dnsNames and spec.ipAddresses.
func nameCases(with []edit) map[string]testCase {
	cases := map[string]testCase{
		"a name twice":     {edits: append(set("spec.dnsNames", list("a", "a")), with...), want: "spec.dnsNames[1]: "},
		"an address twice": {edits: append(set("spec.ipAddresses", list("::1", "::1")), with...), want: "spec.ipAddresses[1]: "},
	}
	for bad, message := range map[string]string{
		"Example.org": badName, "a_b.example.org": badName, "münchen.example": badName, "*": badName, "*.": badName, "a.*.example": badName,
		"*.*.example": badName, "ex*.example": badName, "example.org.": badName, "https://example.org": badName,
		strings.Repeat("x", 64) + ".example": badName,
		"10.1.10.238":                        ipNotName, "2001:db8::1": ipNotName, "10.01.1.1": ipNotName,
	} {
		c := refusedItem("spec.dnsNames", message, bad)
		c.edits = append(c.edits, with...)
		cases["DNS name "+bad] = c
	}
	for _, bad := range []string{"10.1.10", "010.1.1.1", "fe80::1%eth0", "10.1.10.238/24", "[::1]", "k8s-master", "10.1.1.1:6443", "256.1.1.1"} {
		c := refusedItem("spec.ipAddresses", badIP, bad)
		c.edits = append(c.edits, with...)
		cases["address "+bad] = c
	}
	return cases
}

func endpointCases() map[string]testCase {
	cases := map[string]testCase{
		"by name":     {edits: []edit{{"spec.dnsNames", list("lb.example.org")}, {"spec.endpoint", "https://lb.example.org:6443"}}},
		"by wildcard": {edits: []edit{{"spec.dnsNames", list("*.example.org")}, {"spec.endpoint", "https://lb.example.org"}}},
		"by address":  {edits: []edit{{"spec.ipAddresses", list("10.1.10.238")}, {"spec.endpoint", "https://10.1.10.238:6443"}}},
		"by IPv6 address": {edits: []edit{
			{"spec.ipAddresses", list("2001:db8:0:0::1")}, {"spec.endpoint", "https://[2001:db8::1]:6443"},
		}},
		"IPv6 loopback":          accepted("spec.endpoint", "https://[::1]:6443"),
		"loopback":               accepted("spec.endpoint", "https://127.0.0.1:6443/"),
		"the service by name":    accepted("spec.endpoint", "https://kubernetes.default.svc.cluster.local"),
		"the service by address": accepted("spec.endpoint", "https://10.96.0.1:443"),

		"a path, as Rancher has it":  accepted("spec.endpoint", "https://k8s-master/k8s/clusters/c-x"),
		"a path, as kcp has it":      accepted("spec.endpoint", "https://k8s-master:6443/clusters/root:org"),
		"behind NAT":                 {edits: []edit{{"spec.endpoint", "https://203.0.113.7:6443"}, {"spec.tlsServerName", "kubernetes"}}},
		"behind NAT, by address":     {edits: []edit{{"spec.endpoint", "https://lb.example.org"}, {"spec.tlsServerName", "127.0.0.1"}}},
		"a name that is not covered": {edits: set("spec.tlsServerName", "lb.example.org"), want: notCovered},
		"a wildcard to ask for": {
			edits: []edit{{"spec.dnsNames", list("*.example.org")}, {"spec.tlsServerName", "*.example.org"}}, want: "spec.tlsServerName: must be a lower-case DNS name without a wildcard",
		},

		"another host":     {edits: set("spec.endpoint", "https://centos-master:6443"), want: notCovered},
		"another address":  {edits: set("spec.endpoint", "https://10.1.10.238:6443"), want: notCovered},
		"another IPv6":     {edits: set("spec.endpoint", "https://[2001:db8::1]"), want: notCovered},
		"zone":             {edits: set("spec.endpoint", "https://[fe80::1%25eth0]"), want: notCovered},
		"another loopback": {edits: set("spec.endpoint", "https://127.0.0.2:6443"), want: notCovered},
		"below a wildcard": {
			edits: []edit{{"spec.dnsNames", list("*.example.org")}, {"spec.endpoint", "https://a.b.example.org"}}, want: notCovered,
		},
		"beside a wildcard": {
			edits: []edit{{"spec.dnsNames", list("*.example.org")}, {"spec.endpoint", "https://example.org"}}, want: notCovered,
		},
	}
	for _, bad := range []string{
		"k8s-master:6443", "k8s-master", "http://k8s-master:6443", "https://", "https://:6443", "https:///", "https://K8S-master:6443",
		"https://k8s-master:6443/a//b", "https://k8s-master:6443/a/../b", "https://k8s-master:6443/.", "https://k8s-master:6443/a%20b", "https://k8s-master:6443?x=1", "https://k8s-master:6443#x", "https://admin:admin@k8s-master:6443",
		"https://k8s-master:0", "https://k8s-master:65536", "https://k8s-master:port", "https://k8s-master:99999999999", "ftp://x",
	} {
		cases["endpoint "+bad] = refused("spec.endpoint", bad, badEndpoint)
	}
	return cases
}

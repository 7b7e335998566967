package policy_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/policy"
	"clusterpki.io/operator/internal/stall"
)

// full is a policy in which everything is said.
func full() *v1alpha1.CAPolicy {
	return &v1alpha1.CAPolicy{
		Roles: []v1alpha1.PolicyRole{"Kubelet", "Custom", "CA"}, Hosts: []string{"*.prod.example", "k8s-*", strings.Repeat("*a", 126)}, Addresses: []string{"10.1.10.0/24", "fd00::/64"},
		MaxValidity: &metav1.Duration{Duration: 24 * time.Hour}, CustomGroups: []string{"ops:viewers"},
		PrivateKeys: []v1alpha1.PrivateKeyRule{{Algorithm: v1alpha1.RSA, MinSize: 3072}, {Algorithm: v1alpha1.Ed25519}},
	}
}

// asked is allowed by it.
func asked(mods ...func(*policy.Asked)) policy.Asked {
	a := policy.Asked{
		Role: "Custom", HostName: "k8s-node1", DNSNames: []string{"a.prod.example", "*.prod.example"},
		Addresses: []netip.Addr{netip.MustParseAddr("10.1.10.7"), netip.MustParseAddr("fd00::7")}, Groups: []string{"ops:viewers"},
		Spec: pki.CertificateSpec{Key: pki.KeySpec{Algorithm: pki.RSA, Size: 3072}, Validity: 24 * time.Hour},
	}
	for _, mod := range mods {
		mod(&a)
	}
	return a
}

func TestDenied(t *testing.T) {
	for name, tc := range map[string]struct {
		mod  func(*policy.Asked)
		want string // "" where it is allowed
	}{
		"as allowed":            {func(*policy.Asked) {}, ""},
		"a host by its address": {func(a *policy.Asked) { a.HostName = "10.1.10.9" }, ""},
		"another key":           {func(a *policy.Asked) { a.Spec.Key = pki.KeySpec{Algorithm: pki.Ed25519} }, ""},
		"a larger key":          {func(a *policy.Asked) { a.Spec.Key.Size = 4096 }, ""},
		"a subordinate CA":      {func(a *policy.Asked) { *a = policy.Asked{Role: "CA", Spec: a.Spec}; a.Spec.Validity *= 99 }, ""},

		"role":               {func(a *policy.Asked) { a.Role = "Admin" }, `spec.role "Admin" is not what ClusterCA "k8s" allows: spec.policy.roles there is [Kubelet, Custom, CA]`},
		"API server":         {func(a *policy.Asked) { a.Role = "APIServer" }, `the kind of certificate "APIServer"`},
		"host":               {func(a *policy.Asked) { a.HostName = "master" }, `spec.hostName "master" is not what ClusterCA "k8s" allows: spec.policy.hosts there is [*.prod.example, k8s-*, *a`},
		"host one below":     {func(a *policy.Asked) { a.HostName = "a.b.prod.example" }, "spec.policy.hosts"},
		"host without a '*'": {func(a *policy.Asked) { a.HostName = "prod.example" }, "spec.policy.hosts"},
		"host, empty '*'":    {func(a *policy.Asked) { a.HostName = "k8s-" }, "spec.policy.hosts"},
		"host by address":    {func(a *policy.Asked) { a.HostName = "10.1.11.9" }, `spec.hostName "10.1.11.9"`},
		"name":               {func(a *policy.Asked) { a.DNSNames = []string{"k8s-1", "b.example"} }, `spec.dnsNames "b.example"`},
		"many a '*'":         {func(a *policy.Asked) { a.HostName = "k" + strings.Repeat("a", 62) }, "spec.policy.hosts"},
		"wildcard":           {func(a *policy.Asked) { a.DNSNames = []string{"*.example"} }, `spec.dnsNames "*.example"`},
		"address":            {func(a *policy.Asked) { a.Addresses = []netip.Addr{netip.MustParseAddr("10.1.11.7")} }, `spec.ipAddresses "10.1.11.7" is not what ClusterCA "k8s" allows: spec.policy.addresses there is [10.1.10.0/24, fd00::/64]`},
		"service address": {func(a *policy.Asked) {
			a.Services = []netip.Addr{netip.MustParseAddr("fd00::1"), netip.MustParseAddr("10.1.11.1")}
		},
			`spec.serviceCIDRs, whose first address is "10.1.11.1" is not what ClusterCA "k8s" allows: spec.policy.addresses there is [10.1.10.0/24, fd00::/64]`},
		"a second too long": {func(a *policy.Asked) { a.Spec.Validity += time.Second }, `spec.validity 24h0m1s is not what ClusterCA "k8s" allows: spec.policy.maxValidity there is 24h0m0s`},
		"small key":         {func(a *policy.Asked) { a.Spec.Key.Size = 2048 }, `spec.privateKey "RSA-2048" is not what ClusterCA "k8s" allows: spec.policy.privateKeys there is [RSA from 3072 bits, Ed25519]`},
		"kind of key":       {func(a *policy.Asked) { a.Spec.Key = pki.KeySpec{Algorithm: pki.ECDSA, Size: 521} }, "spec.privateKey"},
		"a CA's small key":  {func(a *policy.Asked) { *a = policy.Asked{Role: "CA", Spec: a.Spec}; a.Spec.Key.Size = 2048 }, "spec.privateKey"},
		"group":             {func(a *policy.Asked) { a.Groups = []string{"ops:viewers", "ops:admins"} }, `spec.custom.organizations "ops:admins" is not what ClusterCA "k8s" allows: spec.policy.customGroups there is [ops:viewers]`},
	} {
		err := policy.Denied([]policy.Authority{{Name: "k8s", Policy: full()}}, asked(tc.mod))
		if tc.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if st, ok := stall.Of(err); !ok || st.Reason != v1alpha1.ReasonPolicyDenied || !strings.Contains(st.Message, tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
		if err := policy.Denied([]policy.Authority{{Name: "k8s", Policy: &v1alpha1.CAPolicy{CustomGroups: []string{"ops:viewers", "ops:admins"}}}}, asked(tc.mod)); err != nil {
			t.Errorf("%s: a policy that says nothing of it denies it: %v", name, err)
		}
	}
}

// TestDeniedAbove: what a CA allows goes for every CA below it.
func TestDeniedAbove(t *testing.T) {
	for name, tc := range map[string]struct {
		own, above *v1alpha1.CAPolicy
		allowed    bool
		by         string
	}{
		"none at all":        {nil, nil, false, `"k8s" allows: spec.policy.customGroups there is empty`},
		"an empty one":       {&v1alpha1.CAPolicy{}, nil, false, `"k8s"`},
		"none above":         {full(), nil, true, ""},
		"both":               {full(), full(), true, ""},
		"the one above":      {full(), &v1alpha1.CAPolicy{Roles: []v1alpha1.PolicyRole{"CA"}}, false, `ClusterCA "root" allows: spec.policy.roles`},
		"only the one above": {nil, full(), false, `"k8s"`},
		"no group above":     {full(), &v1alpha1.CAPolicy{}, false, `ClusterCA "root" allows: spec.policy.customGroups`},
	} {
		err := policy.Denied([]policy.Authority{{Name: "k8s", Policy: tc.own}, {Name: "root", Policy: tc.above}}, asked())
		if tc.allowed != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.by) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestImitates: a client that looks for an API server must not be satisfied by the certificate of another host (RFC 6125 section 6, RFC 5280 section 4.2.1.6).
func TestImitates(t *testing.T) {
	sans := func(names ...string) pki.SANs {
		var s pki.SANs
		for _, name := range names {
			if addr, err := netip.ParseAddr(name); err == nil {
				s.IPAddresses = append(s.IPAddresses, addr)
			} else {
				s.DNSNames = append(s.DNSNames, name)
			}
		}
		return s
	}
	server := policy.Server{
		Name: "k8s-master", HostName: "k8s-master", Own: []netip.Addr{netip.MustParseAddr("10.1.10.238")}, Serves: true, Endpoints: []string{"api.prod.example", ""},
		SANs: sans("k8s-master", "vip.prod.example", "*.lb.example", "localhost", "kubernetes", "10.1.10.238", "10.96.0.1", "127.0.0.1", "::1"),
	}
	serving := func(host string, names ...string) policy.Serving {
		return policy.Serving{Role: "KubeletServing", HostName: host, SANs: sans(append(names, host)...)}
	}
	shared := &v1alpha1.CAPolicy{SharedHosts: []string{"k8s-master"}}
	for name, tc := range map[string]struct {
		p    *v1alpha1.CAPolicy
		s    policy.Serving
		want string
	}{
		"a node":                     {nil, serving("k8s-node1", "10.1.10.239", "localhost", "127.0.0.1", "::1"), ""},
		"a name like the endpoint's": {nil, serving("k8s-node1", "api2.prod.example", "lb.example", "a.b.lb.example"), ""},
		"its own host, shared":       {shared, serving("k8s-master", "10.1.10.238", "127.0.0.1"), ""},

		"its own host":            {nil, serving("k8s-master"), "list it in spec.policy.sharedHosts"},
		"its own host's address":  {nil, serving("k8s-node1", "10.1.10.238"), "spec.ipAddresses"},
		"another host, shared":    {shared, serving("k8s-node1", "10.1.10.238"), `know by "10.1.10.238"`},
		"endpoint":                {nil, serving("k8s-node1", "api.prod.example"), `know by "api.prod.example"`},
		"endpoint, as a wildcard": {nil, serving("k8s-node1", "*.prod.example"), "spec.dnsNames"},
		"endpoint, shared":        {shared, serving("k8s-master", "api.prod.example"), "Remove the name or address"},
		"balancer, shared":        {shared, serving("k8s-master", "vip.prod.example"), "Remove the name or address"},
		"the wildcard":            {nil, serving("k8s-node1", "*.lb.example"), `know by "*.lb.example"`},
		"below the wildcard":      {nil, serving("k8s-node1", "a.lb.example"), `know by "*.lb.example". Remove the name, use another CA, or list the names`},
		"a host below it":         {nil, serving("a.lb.example"), "spec.hostName: the certificate would do for"},
		"below it, shared":        {shared, serving("k8s-master", "a.lb.example"), `know by "*.lb.example"`},
		"service":                 {nil, serving("k8s-node1", "kubernetes"), `know by "kubernetes"`},
		"service address":         {nil, serving("k8s-node1", "10.96.0.1"), `know by "10.96.0.1"`},
		"service address, shared": {shared, serving("k8s-master", "10.96.0.1"), `know by "10.96.0.1"`},
	} {
		err := policy.Imitates([]policy.Authority{{Name: "k8s", Policy: tc.p}}, []policy.Server{server}, tc.s)
		if (tc.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
		apart := server
		apart.Serves = false
		if err := policy.Imitates([]policy.Authority{{Name: "k8s", Policy: tc.p}}, []policy.Server{apart}, tc.s); err != nil {
			t.Errorf("%s, under another CA: %v", name, err)
		}
	}
}

// TestHostsAreNoUsers: the certificate of an etcd member, whose common name is the host's, is that user to an API server that takes clients of the CA.
func TestHostsAreNoUsers(t *testing.T) {
	etcd := policy.Serving{Role: "EtcdServer", HostName: "jane", Client: true, Named: true}
	for name, tc := range map[string]struct {
		server  policy.Server
		p       *v1alpha1.CAPolicy
		s       policy.Serving
		allowed bool
	}{
		"a CA of its own":   {policy.Server{}, nil, etcd, true},
		"the clients' CA":   {policy.Server{Authenticates: true}, nil, etcd, false},
		"said to be so":     {policy.Server{Authenticates: true}, &v1alpha1.CAPolicy{Roles: []v1alpha1.PolicyRole{"EtcdServer"}}, etcd, true},
		"said of others":    {policy.Server{Authenticates: true}, &v1alpha1.CAPolicy{Hosts: []string{"*"}}, etcd, false},
		"a kubelet, served": {policy.Server{Authenticates: true}, nil, policy.Serving{Role: "KubeletServing", HostName: "n"}, true},
	} {
		err := policy.Imitates([]policy.Authority{{Name: "k8s", Policy: tc.p}}, []policy.Server{tc.server}, tc.s)
		if tc.allowed != (err == nil) || err != nil && !strings.Contains(err.Error(), "spec.policy.roles") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

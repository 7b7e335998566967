package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/stall"
)

// Server is an API server whose clients, or whose own clients' certificates, a CA has to do with.
type Server struct {
	Name     string // of the APIServerCertificate
	HostName string
	Own      []netip.Addr // addresses of its host
	SANs     pki.SANs
	// Endpoints are the hosts by which clients reach it, and the names by which they verify it; "" is none.
	Endpoints []string
	// Serves says that the CA, or one that is trusted with it, signs what the API server serves; Authenticates, that it takes its clients.
	Serves, Authenticates bool
}

// Serving is a certificate under whose names a host that is no API server serves.
type Serving struct {
	Role     v1alpha1.Role
	HostName string
	SANs     pki.SANs
	Client   bool // it is good for a client too
	Named    bool // the user that it is is called as its host is, and nothing else
}

// Imitates says why a certificate may not be issued by the first of some CAs: it would do for an API server, or would let a host be
// whatever user is called like it.
func Imitates(chain []Authority, servers []Server, s Serving) error {
	p := &v1alpha1.CAPolicy{}
	if chain[0].Policy != nil {
		p = chain[0].Policy
	}
	for _, server := range servers {
		if server.Authenticates && s.Client && s.Named && !slices.Contains(p.Roles, v1alpha1.PolicyRole(s.Role)) {
			return stall.Because(v1alpha1.ReasonPolicyDenied, "spec.role '%s' makes the host %q a user of that name, and APIServerCertificate %q takes "+
				"clients of ClusterCA %q: use a CA of etcd's own, or have whoever may change that policy list the role in spec.policy.roles, and the "+
				"hosts in spec.policy.hosts, of the ClusterCA",
				s.Role, s.HostName, server.Name, chain[0].Name)
		}
		if !server.Serves {
			continue
		}
		for _, known := range server.names() {
			name := doesFor(s.SANs, known)
			if name == "" || loopback(known) || server.shares(p, s, name) {
				continue
			}
			return stall.Because(v1alpha1.ReasonPolicyDenied,
				"%s: the certificate would do for the API server of APIServerCertificate %q, which clients of ClusterCA %q know by %q. %s",
				fieldOf(s, name), server.Name, chain[0].Name, known, server.wayOut(s, name, known))
		}
	}
	return nil
}

// doesFor is the name by which a certificate does for what clients know by another one: that itself, or one that a wildcard stands for, so that
// clients may ask for it and mean the API server. "" where it does not.
func doesFor(sans pki.SANs, known string) string {
	if sans.Covers(known) {
		return known
	}
	api := pki.SANs{DNSNames: []string{known}}
	if i := slices.IndexFunc(sans.DNSNames, api.Covers); i >= 0 {
		return sans.DNSNames[i]
	}
	return ""
}

// names are all by which clients know the API server.
func (s Server) names() []string {
	out := slices.Clone(s.SANs.DNSNames)
	for _, addr := range s.SANs.IPAddresses {
		out = append(out, addr.String())
	}
	return append(out, s.Endpoints...)
}

func loopback(name string) bool {
	addr, err := netip.ParseAddr(name)
	return name == "localhost" || err == nil && addr.IsLoopback()
}

// hasHost says whether a name or an address is that of the host on which the API server runs.
func (s Server) hasHost(name string) bool {
	addr, err := netip.ParseAddr(name)
	return name == s.HostName || err == nil && slices.Contains(s.Own, addr)
}

// shares says whether a certificate may have the name because it is of the API server's own host, and the policy knows that.
func (s Server) shares(p *v1alpha1.CAPolicy, c Serving, name string) bool {
	return c.HostName == s.HostName && s.hasHost(name) && slices.Contains(p.SharedHosts, s.HostName)
}

func (s Server) wayOut(c Serving, name, known string) string {
	if c.HostName == s.HostName && s.hasHost(name) {
		return fmt.Sprintf("If both run on host %q, have whoever may change that policy list it in spec.policy.sharedHosts of the ClusterCA; "+
			"or use another CA", s.HostName)
	}
	if strings.HasPrefix(known, "*.") {
		return fmt.Sprintf("Remove the name, use another CA, or list the names of the API server one by one in the place of %q", known)
	}
	return "Remove the name or address, or use another CA"
}

// fieldOf is the field that a name comes from.
func fieldOf(s Serving, name string) string {
	if _, err := netip.ParseAddr(name); err == nil && name != s.HostName {
		return "spec.ipAddresses"
	}
	if name == s.HostName {
		return "spec.hostName"
	}
	return "spec.dnsNames"
}

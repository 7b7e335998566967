// Package policy says what may be issued, as a pure function of specs: spec.policy of the CA and of those above it, and that nothing
// but an API server's own certificate would do for that API server. Whatever admission did, the operator asks here before it issues.
// An error is a stall that names the field, its value, the rule, and what to change.
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

// Authority is a CA, and what its spec allows.
type Authority struct {
	Name   string
	Policy *v1alpha1.CAPolicy
	// Missing says that nobody knows what it allows: there is no such ClusterCA any more.
	Missing bool
}

// Asked is a certificate that is asked of a CA, as far as policies speak of it. Names and addresses that every certificate of its role has are
// left out: those of loopback, and the names of the Service "kubernetes".
type Asked struct {
	Role      v1alpha1.PolicyRole
	Across    bool // a CA that has no parent, and is signed by the one whose place it takes
	HostName  string
	DNSNames  []string
	Addresses []netip.Addr
	Services  []netip.Addr // of the Service "kubernetes", which the spec chooses by a network
	Groups    []string     // that role 'Custom' names
	Spec      pki.CertificateSpec
}

// Denied says why a certificate may not be issued by the first of some CAs, which are one and those above it. A CA above that has no
// policy says nothing of what is issued below it; one that is missing allows nothing.
func Denied(chain []Authority, a Asked) error {
	for i, ca := range chain {
		if ca.Missing {
			return stall.Because(v1alpha1.ReasonPolicyDenied, "ClusterCA %q does not exist any more, what is asked for would verify below it, and nobody "+
				"knows what its spec.policy allows. Create it again under that name, or rotate to a CA that is not below it", ca.Name)
		}
		p := ca.Policy
		if p == nil {
			if i > 0 {
				continue
			}
			p = &v1alpha1.CAPolicy{}
		}
		for _, rule := range rules {
			if d, ok := rule(p, a); !ok {
				return stall.Because(v1alpha1.ReasonPolicyDenied, "%s %s is not what ClusterCA %q allows: spec.policy.%s there is %s. Change it here, or have "+
					"whoever may change that policy allow it", d.field, d.value, ca.Name, d.rule, d.allowed)
			}
		}
	}
	return nil
}

// denial is a field with its value, and the rule against it with what that allows.
type denial struct{ field, value, rule, allowed string }

// rules of a policy. The first that is against it is told.
var rules = []func(*v1alpha1.CAPolicy, Asked) (denial, bool){ofRole, ofHost, ofNames, ofAddresses, ofValidity, ofKey, ofGroups}

func ofRole(p *v1alpha1.CAPolicy, a Asked) (denial, bool) {
	field := "spec.role"
	switch a.Role {
	case v1alpha1.PolicyRoleAPIServer:
		field = "the kind of certificate"
	case v1alpha1.PolicyRoleCA:
		field = "spec.source.parent, which is of the kind"
		if a.Across {
			field = "spec.rotation.crossSigning, which is of the kind"
		}
	}
	return denial{field, quoted(string(a.Role)), "roles", list(p.Roles)}, len(p.Roles) == 0 || slices.Contains(p.Roles, a.Role)
}

// ofHost is about the host's name, which may be an address.
func ofHost(p *v1alpha1.CAPolicy, a Asked) (denial, bool) {
	if a.HostName == "" {
		return denial{}, true
	}
	d := denial{"spec.hostName", quoted(a.HostName), "hosts", list(p.Hosts)}
	if addr, err := netip.ParseAddr(a.HostName); err == nil {
		if len(p.Hosts) == 0 {
			d.rule, d.allowed = "addresses", list(p.Addresses)
		}
		return d, len(p.Hosts) == 0 && len(p.Addresses) == 0 || matches(p.Hosts, a.HostName) || within(p.Addresses, addr)
	}
	return d, len(p.Hosts) == 0 || matches(p.Hosts, a.HostName)
}

func ofNames(p *v1alpha1.CAPolicy, a Asked) (denial, bool) {
	for _, name := range a.DNSNames {
		if len(p.Hosts) > 0 && !matches(p.Hosts, name) {
			return denial{"spec.dnsNames", quoted(name), "hosts", list(p.Hosts)}, false
		}
	}
	return denial{}, true
}

func ofAddresses(p *v1alpha1.CAPolicy, a Asked) (denial, bool) {
	if len(p.Addresses) == 0 {
		return denial{}, true
	}
	for _, of := range []struct {
		field string
		all   []netip.Addr
	}{{"spec.ipAddresses", a.Addresses}, {"spec.serviceCIDRs, whose first address is", a.Services}} {
		for _, addr := range of.all {
			if !within(p.Addresses, addr) {
				return denial{of.field, quoted(addr.String()), "addresses", list(p.Addresses)}, false
			}
		}
	}
	return denial{}, true
}

func ofValidity(p *v1alpha1.CAPolicy, a Asked) (denial, bool) {
	if p.MaxValidity == nil || a.Role == v1alpha1.PolicyRoleCA {
		return denial{}, true
	}
	return denial{"spec.validity", a.Spec.Validity.String(), "maxValidity", p.MaxValidity.Duration.String()}, a.Spec.Validity <= p.MaxValidity.Duration
}

func ofKey(p *v1alpha1.CAPolicy, a Asked) (denial, bool) {
	var allowed []string
	ok := len(p.PrivateKeys) == 0
	for _, rule := range p.PrivateKeys {
		text := string(rule.Algorithm)
		if rule.MinSize > 0 {
			text += fmt.Sprintf(" from %d bits", rule.MinSize)
		}
		allowed = append(allowed, text)
		ok = ok || string(rule.Algorithm) == string(a.Spec.Key.Algorithm) && a.Spec.Key.Size >= int(rule.MinSize)
	}
	return denial{"spec.privateKey", quoted(a.Spec.Key.String()), "privateKeys", list(allowed)}, ok
}

func ofGroups(p *v1alpha1.CAPolicy, a Asked) (denial, bool) {
	for _, group := range a.Groups {
		if !slices.Contains(p.CustomGroups, group) {
			return denial{"spec.custom.organizations", quoted(group), "customGroups", list(p.CustomGroups)}, false
		}
	}
	return denial{}, true
}

func quoted(text string) string { return fmt.Sprintf("%q", text) }

func list[E ~string](all []E) string {
	if len(all) == 0 {
		return "empty"
	}
	texts := make([]string, 0, len(all))
	for _, e := range all {
		texts = append(texts, string(e))
	}
	return "[" + strings.Join(texts, ", ") + "]"
}

// matches says whether one of some patterns stands for a name.
func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return match(p, name) })
}

// match lets a '*' stand for one or more characters other than '.'. A wildcard of a SAN is such a character, so only a pattern that allows all that
// it stands for allows it.
func match(pattern, name string) bool {
	so := make([]bool, len(name)+1) // whether what was read of the pattern stands for the first so many bytes of the name
	so[0] = true
	for p := range len(pattern) {
		next := make([]bool, len(name)+1)
		for i := range len(name) {
			if pattern[p] == '*' {
				next[i+1] = name[i] != '.' && (so[i] || next[i])
			} else {
				next[i+1] = name[i] == pattern[p] && so[i]
			}
		}
		so = next
	}
	return so[len(name)]
}

func within(networks []string, addr netip.Addr) bool {
	return slices.ContainsFunc(networks, func(text string) bool {
		network, err := netip.ParsePrefix(text)
		return err == nil && network.Contains(addr)
	})
}

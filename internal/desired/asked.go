package desired

import (
	"net/netip"
	"slices"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/internal/policy"
)

// AskedByCredential is what a NodeCredential asks of a CA, as policies see it. d is what Credential made of it.
func AskedByCredential(c *v1alpha1.NodeCredential, d plan.Desired) policy.Asked {
	a := policy.Asked{
		Role: v1alpha1.PolicyRole(c.Spec.Role), HostName: c.Spec.HostName, DNSNames: c.Spec.DNSNames, Addresses: addresses(c.Spec.IPAddresses), Spec: d.Spec,
	}
	if c.Spec.Role == v1alpha1.RoleCustom && c.Spec.Custom != nil {
		a.Groups = c.Spec.Custom.Organizations
	}
	return a
}

// AskedByServer is what an APIServerCertificate asks of a CA, as policies see it.
func AskedByServer(c *v1alpha1.APIServerCertificate, d plan.Desired) policy.Asked {
	return policy.Asked{
		Role: v1alpha1.PolicyRoleAPIServer, HostName: c.Spec.HostName, DNSNames: c.Spec.DNSNames, Addresses: addresses(c.Spec.IPAddresses),
		Services: serviceAddresses(c.Spec.ServiceCIDRs), Spec: d.Spec,
	}
}

// AskedByCA is what a subordinate CA asks of its parent, as policies see it.
func AskedByCA(d plan.DesiredCA) policy.Asked {
	return policy.Asked{Role: v1alpha1.PolicyRoleCA, Spec: d.Spec}
}

// ServingCredential is a NodeCredential under whose names its host serves; false where it does not.
func ServingCredential(c *v1alpha1.NodeCredential, d plan.Desired) (policy.Serving, bool) {
	s := policy.Serving{
		Role: c.Spec.Role, HostName: c.Spec.HostName, SANs: d.Spec.SANs,
		Client: slices.Contains(d.Spec.Usages, pki.ClientAuth), Named: d.Spec.Subject.CommonName == c.Spec.HostName && c.Spec.Role != v1alpha1.RoleCustom,
	}
	return s, slices.Contains(d.Spec.Usages, pki.ServerAuth)
}

// Serves says whether the host of a NodeCredential serves under its names, as ServingCredential does, without a look at all of it.
func Serves(c *v1alpha1.NodeCredential) bool {
	role, err := roleOf(c)
	return err == nil && slices.Contains(role.Usages, pki.ServerAuth)
}

// ServerOf is an API server as policies see it.
func ServerOf(c *v1alpha1.APIServerCertificate) (policy.Server, error) {
	sans, err := apiServerSANs(c)
	if err != nil {
		return policy.Server{}, err
	}
	host, err := pki.EndpointHost(c.Spec.Endpoint)
	if err != nil {
		return policy.Server{}, err
	}
	local := ""
	if c.Spec.LocalEndpoint != "" {
		local, err = pki.EndpointHost(c.Spec.LocalEndpoint)
	}
	return policy.Server{
		Name: c.Name, HostName: c.Spec.HostName, Own: addresses(append(slices.Clone(c.Spec.IPAddresses), c.Spec.HostName)), SANs: sans,
		Endpoints: []string{host, c.Spec.TLSServerName, local},
	}, err
}

// serviceAddresses are those of the Service "kubernetes" in some networks.
func serviceAddresses(networks []string) []netip.Addr {
	var out []netip.Addr
	for _, network := range networks {
		if addr, err := pki.FirstServiceIP(network); err == nil {
			out = append(out, addr)
		}
	}
	return out
}

// addresses are those texts that are addresses.
func addresses(texts []string) []netip.Addr {
	var out []netip.Addr
	for _, text := range texts {
		if addr, err := pki.ParseIP(text); err == nil {
			out = append(out, addr)
		}
	}
	return out
}

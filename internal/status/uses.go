package status

import (
	"slices"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/pki"
)

// In is the part of the objects that is in one namespace: references never leave it.
func (o Objects) In(namespace string) Objects {
	var out Objects
	for i := range o.Clusters {
		if o.Clusters[i].Namespace == namespace {
			out.Clusters = append(out.Clusters, o.Clusters[i])
		}
	}
	for i := range o.CAs {
		if o.CAs[i].Namespace == namespace {
			out.CAs = append(out.CAs, o.CAs[i])
		}
	}
	for i := range o.Keys {
		if o.Keys[i].Namespace == namespace {
			out.Keys = append(out.Keys, o.Keys[i])
		}
	}
	for i := range o.Servers {
		if o.Servers[i].Namespace == namespace {
			out.Servers = append(out.Servers, o.Servers[i])
		}
	}
	for i := range o.Credentials {
		if o.Credentials[i].Namespace == namespace {
			out.Credentials = append(out.Credentials, o.Credentials[i])
		}
	}
	return out
}

// identityOf is the common name of a credential.
func identityOf(c *v1alpha1.NodeCredential) string {
	if c.Spec.Role == v1alpha1.RoleCustom && c.Spec.Custom != nil {
		return c.Spec.Custom.CommonName
	}
	if role, ok := pki.LookupRole(string(c.Spec.Role)); ok {
		return role.CommonNameFor(c.Spec.HostName)
	}
	return string(c.Spec.Role)
}

// relyingPartiesOf are those that trust a CA without a certificate of it, of the objects of one namespace.
func (o Objects) relyingPartiesOf(ca string) []RelyingParty {
	var out []RelyingParty
	for i := range o.Servers {
		c := &o.Servers[i]
		for _, by := range trustedOnly(consumers.UsesOfServer(c), ca) {
			out = append(out, RelyingParty{c.Kind(), c.Name, by, ""})
		}
	}
	servedBy := o.Specs().ServedBy()
	for i := range o.Credentials {
		c := &o.Credentials[i]
		for _, by := range trustedOnly(consumers.UsesOfCredential(c, servedBy), ca) {
			out = append(out, RelyingParty{c.Kind(), c.Name, by, c.Spec.APIServerRef.Name})
		}
	}
	return out
}

// trustedOnly is how the bundle of a CA is used where no certificate of it is.
func trustedOnly(uses []consumers.Use, ca string) []string {
	var by []string
	for _, u := range uses {
		switch {
		case !slices.Contains(u.CAs, ca):
		case u.By == consumers.ByCARef:
			return nil
		default:
			by = append(by, u.By)
		}
	}
	return by
}

// Specs are the objects that say who depends on which CA.
func (o Objects) Specs() consumers.Specs {
	return consumers.Specs{CAs: o.CAs, Servers: o.Servers, Credentials: o.Credentials}
}

// ConsumersOf are the consumers of a CA, of the objects of one namespace.
func (o Objects) ConsumersOf(ca string) []consumers.Dependent { return o.Specs().Of(ca) }

// descendants are a CA and all that it signs, directly or not.
func (o Objects) descendants(ca string) map[string]bool {
	out := map[string]bool{ca: true}
	for grown := true; grown; {
		grown = false
		for i := range o.CAs {
			if c := &o.CAs[i]; !out[c.Name] && out[c.ParentName()] {
				out[c.Name], grown = true, true
			}
		}
	}
	return out
}

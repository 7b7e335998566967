package status

import (
	"slices"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/timeline"
)

// In is the part of the objects that is in one namespace: references never leave it.
func (o Objects) In(namespace string) Objects {
	var out Objects
	for i := range o.CAs {
		if o.CAs[i].Namespace == namespace {
			out.CAs = append(out.CAs, o.CAs[i])
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

// ParentOf is the ClusterCA that signs another one, "" for none.
func ParentOf(c *v1alpha1.ClusterCA) string {
	if c.Spec.Source == nil || c.Spec.Source.Parent == nil {
		return ""
	}
	return c.Spec.Source.Parent.CARef.Name
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

// trustersOf are those that trust a CA without a certificate of it, of the objects of one namespace.
func (o Objects) trustersOf(ca string) []Truster {
	var out []Truster
	serves := map[string]bool{} // API servers whose certificates the CA signs
	for i := range o.Servers {
		c := &o.Servers[i]
		if c.Spec.CARef.Name == ca {
			serves[c.Name] = true
			continue
		}
		if slices.Contains(c.ClientCANames(), ca) {
			out = append(out, Truster{KindAPIServerCertificate, c.Name, "clientCARefs", ""})
		}
		if r := c.Spec.RequestHeaderCARef; r != nil && r.Name == ca {
			out = append(out, Truster{KindAPIServerCertificate, c.Name, "requestHeaderCARef", ""})
		}
	}
	for i := range o.Credentials {
		c := &o.Credentials[i]
		if through := apiServerOf(c); c.Spec.CARef.Name != ca && serves[through] {
			out = append(out, Truster{KindNodeCredential, c.Name, "kubeconfig", through})
		}
	}
	return out
}

// apiServerOf is the APIServerCertificate whose bundle is in a credential's kubeconfig, "" for none.
func apiServerOf(c *v1alpha1.NodeCredential) string {
	if c.Spec.Kubeconfig == nil || c.Spec.APIServerRef == nil {
		return ""
	}
	return c.Spec.APIServerRef.Name
}

// ConsumersOf are the consumers of a CA, of the objects of one namespace. The bundle of a CA is part of the bundles of
// those that it signs.
func (o Objects) ConsumersOf(ca string) []timeline.Consumer {
	under := o.under(ca)
	var out []timeline.Consumer
	add := func(c timeline.Consumer) {
		if c.Trusts || c.HasCertificate {
			out = append(out, c)
		}
	}
	servedBy := map[string]string{}
	for i := range o.Servers {
		s := &o.Servers[i]
		servedBy[s.Name] = s.Spec.CARef.Name
		trusts := under[s.Spec.CARef.Name] || slices.ContainsFunc(s.ClientCANames(), func(n string) bool { return under[n] })
		if r := s.Spec.RequestHeaderCARef; r != nil {
			trusts = trusts || under[r.Name]
		}
		add(timeline.Consumer{
			Kind: KindAPIServerCertificate, Name: s.Name, Trusts: trusts, HasCertificate: s.Spec.CARef.Name == ca, Delivery: s.Spec.Delivery,
			Probed: s.Spec.Probe != nil,
		})
	}
	for i := range o.Credentials {
		c := &o.Credentials[i]
		trusts := under[c.Spec.CARef.Name] || under[servedBy[apiServerOf(c)]]
		add(timeline.Consumer{
			Kind: KindNodeCredential, Name: c.Name, Trusts: trusts, HasCertificate: c.Spec.CARef.Name == ca, Delivery: c.Spec.Delivery,
		})
	}
	for i := range o.CAs {
		c := &o.CAs[i]
		add(timeline.Consumer{Kind: KindClusterCA, Name: c.Name, HasCertificate: ParentOf(c) == ca})
		if c.Name == ca && c.Spec.SecretName != "" {
			add(timeline.Consumer{Kind: "Secret", Name: c.Spec.SecretName, HasCertificate: true, Delivery: c.Spec.Delivery})
		}
	}
	return out
}

// under are a CA and all that it signs, directly or not.
func (o Objects) under(ca string) map[string]bool {
	out := map[string]bool{ca: true}
	for grown := true; grown; {
		grown = false
		for i := range o.CAs {
			if c := &o.CAs[i]; !out[c.Name] && out[ParentOf(c)] {
				out[c.Name], grown = true, true
			}
		}
	}
	return out
}

package export

import (
	"crypto/x509"
	"slices"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
)

// cluster finds the API server that the host belongs to, and the other hosts that its flags name.
func (g *gatherer) cluster(h Host) Cluster {
	var c Cluster
	if h.APIServer != nil {
		c.APIServer = h.APIServer.Object
	}
	for _, cred := range h.Credentials {
		if c.APIServer == nil {
			c.APIServer = g.server(cred.Object)
		}
	}
	for _, cred := range g.all.Credentials {
		if cred.Spec.Role == "EtcdServer" {
			c.EtcdServers = append(c.EtcdServers, cred)
		}
		if cred.Spec.Role == "EtcdPeer" {
			c.EtcdPeers = append(c.EtcdPeers, cred)
		}
	}
	if h.APIServer != nil && h.has("APIServerKubeletClient") {
		c.KubeletCA = g.kubeletCA(c.APIServer.Name)
	}
	return c
}

// kubeletCA joins the trust bundles of the CAs that sign the serving certificates of an API server's
// kubelets; nil where no kubelet has one, because nothing but this would then verify it.
func (g *gatherer) kubeletCA(server string) []byte {
	cas, notes := g.all.KubeletCAs(server)
	g.notes = append(g.notes, notes...)
	if len(cas) == 0 {
		return nil
	}
	var certs []*x509.Certificate
	for _, name := range cas { // the Secrets of this host have them all
		certs = append(certs, g.bundles[name]...)
	}
	bundle, err := pki.Bundle(certs)
	if err != nil {
		g.problem("the trust bundles that verify kubelets: %v", err)
	}
	return bundle
}

// find returns the host's credential of a role, nil for none.
func (h Host) find(role v1alpha1.Role) *Credential {
	i := slices.IndexFunc(h.Credentials, func(c Credential) bool { return c.Object.Spec.Role == role })
	if i < 0 {
		return nil
	}
	return &h.Credentials[i]
}

func (h Host) has(role v1alpha1.Role) bool { return h.find(role) != nil }

// user returns the credential with which a component of this host uses the API server: the one of its
// own role or, where the host has the one identity CN=HOST for everything, that one. nil for none.
func (h Host) user(role v1alpha1.Role) *Credential {
	c := h.find(role)
	if c == nil {
		c = h.find(v1alpha1.RoleHost)
	}
	if c == nil || c.Kubeconfig == nil {
		return nil
	}
	return c
}

package export

import (
	"bytes"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

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
		if ref := cred.Object.Spec.APIServerRef; ref != nil && c.APIServer == nil {
			i := slices.IndexFunc(g.servers, func(s v1alpha1.APIServerCertificate) bool { return s.Name == ref.Name })
			if i >= 0 {
				c.APIServer = &g.servers[i]
			}
		}
	}
	for _, cred := range g.credentials {
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
	hosts := map[string]bool{}
	for _, c := range g.credentials {
		if c.Spec.APIServerRef != nil && c.Spec.APIServerRef.Name == server {
			hosts[c.Spec.HostName] = true
		}
	}
	var names []string
	for _, c := range g.credentials {
		if c.Spec.Role == "KubeletServing" && hosts[c.Spec.HostName] {
			names = append(names, c.Spec.CARef.Name)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) == 0 {
		return nil
	}
	var text bytes.Buffer
	for _, name := range names {
		text.Write(g.trust(name))
	}
	certs, err := pki.ParseCertificates(text.Bytes())
	if err != nil {
		g.problem("the trust bundles of %v: %v", names, err)
		return nil
	}
	bundle, err := pki.Bundle(certs)
	if err != nil {
		g.problem("the trust bundles of %v: %v", names, err)
	}
	return bundle
}

// trust reads a ClusterCA's published bundle.
func (g *gatherer) trust(ca string) []byte {
	var m corev1.ConfigMap
	name := v1alpha1.TrustConfigMapName(ca)
	if err := g.from.Get(g.ctx, client.ObjectKey{Namespace: g.namespace, Name: name}, &m); err != nil {
		g.problem("ConfigMap %q, the trust bundle of ClusterCA %q, cannot be read: %v", name, ca, err)
	}
	return []byte(m.Data[caKey])
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

package export

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"clusterpki.io/operator/api/v1alpha1"
)

// KubeletCAs are the ClusterCAs that sign the serving certificates of an API server's kubelets, as far as that API server has to do with them
// itself: one that signs for it, for its clients, or for it as the kubelets' client. Anybody may say of a credential of his that it is for that API
// server. Notes say which were left out.
func (o Objects) KubeletCAs(server string) (cas, notes []string) {
	known, found := o.knownTo(server), map[string]bool{}
	for _, c := range o.servingFor(server) {
		ca := c.Spec.CARef.Name
		if known[ca] {
			found[ca] = true
			continue
		}
		notes = append(notes, fmt.Sprintf("pki/kubelet-ca.crt does not trust ClusterCA %q, which %s of host %q is of, "+
			"because nothing of APIServerCertificate %q is: its known CAs are %s",
			ca, called(&c), c.Spec.HostName, server, strings.Join(slices.Sorted(maps.Keys(known)), ", ")))
	}
	return slices.Sorted(maps.Keys(found)), notes
}

// servingFor are the credentials of role 'KubeletServing' on the hosts of an API server's clients.
func (o Objects) servingFor(server string) []v1alpha1.NodeCredential {
	hosts := map[string]bool{}
	for i := range o.Credentials {
		if ref := o.Credentials[i].Spec.APIServerRef; ref != nil && ref.Name == server {
			hosts[o.Credentials[i].Spec.HostName] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(o.Credentials), func(c v1alpha1.NodeCredential) bool {
		return c.Spec.Role != "KubeletServing" || !hosts[c.Spec.HostName]
	})
}

// knownTo are the ClusterCAs of an API server's own: that of its certificate, those of its clients, and that of its credential for kubelets.
func (o Objects) knownTo(server string) map[string]bool {
	known := map[string]bool{}
	for i := range o.Servers {
		s := &o.Servers[i]
		if s.Name != server {
			continue
		}
		known[s.Spec.CARef.Name] = true
		for _, name := range s.ClientCANames() {
			known[name] = true
		}
		for _, c := range o.Of(s.Spec.HostName).Credentials {
			if c.Spec.Role == "APIServerKubeletClient" {
				known[c.Spec.CARef.Name] = true
			}
		}
	}
	return known
}

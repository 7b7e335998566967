package consumers

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki/plan"
)

// Specs are the objects of one namespace. They alone say who should depend on a CA, for plans and displays, which read
// neither Secrets nor ledgers. Gates ask Inputs, which add what is in use.
type Specs struct {
	CAs         []v1alpha1.ClusterCA
	Servers     []v1alpha1.APIServerCertificate
	Credentials []v1alpha1.NodeCredential
}

// Dependent is a consumer of a CA as the specs say it. Nothing is known of what it uses.
type Dependent struct {
	plan.Consumer
	// Manual: a person states what it uses.
	Manual bool
	// Probed: what the API server serves is looked at too.
	Probed bool
}

// How an object uses what its Secrets hold.
const (
	ByCARef         = "caRef"
	ByClientCARefs  = "clientCARefs"
	ByRequestHeader = "requestHeaderCARef"
	ByKubeconfig    = "kubeconfig"
)

// Use is a bundle, of the CAs that are named, or a certificate, of one, that an object should have in a Secret.
type Use struct {
	Secret, Key string
	CAs         []string
	By          string
	// Beside: the Secret stands beside what the agent of a host installs, and repeats it for other tools. Nobody acknowledges it.
	Beside bool
}

// presents says whether a use is of a certificate of the CA.
func (u Use) presents(ca string) bool {
	return u.Key == corev1.TLSCertKey && slices.Contains(u.CAs, ca)
}

// trusts is which of the CAs whose bundles a use is of relies on another one; negative for none.
func (u Use) trusts(relies func(on string) bool) int {
	if u.Key == corev1.TLSCertKey {
		return -1
	}
	return slices.IndexFunc(u.CAs, relies)
}

// UsesOfServer are those of an APIServerCertificate.
func UsesOfServer(c *v1alpha1.APIServerCertificate) []Use {
	tls, ca := c.TLSSecretName(), []string{c.Spec.CARef.Name}
	uses := []Use{
		{tls, corev1.TLSCertKey, ca, ByCARef, false}, {tls, BundleKey, ca, ByCARef, false}, {tls, ClientBundleKey, c.ClientCANames(), ByClientCARefs, false},
	}
	if c.Spec.RequestHeaderCARef != nil {
		uses = append(uses, Use{tls, HeaderBundleKey, []string{c.Spec.RequestHeaderCARef.Name}, ByRequestHeader, false})
	}
	return uses
}

// UsesOfCredential are those of a NodeCredential; servedBy are the CAs of API servers, by the APIServerCertificate.
func UsesOfCredential(c *v1alpha1.NodeCredential, servedBy map[string]string) []Use {
	tls, ca := c.TLSSecretName(), []string{c.Spec.CARef.Name}
	uses := []Use{{tls, corev1.TLSCertKey, ca, ByCARef, false}, {tls, BundleKey, ca, ByCARef, false}}
	kubeconfig := c.KubeconfigSecretName()
	if kubeconfig == "" {
		return uses
	}
	byAgent := c.Spec.Delivery.Mode == v1alpha1.DeliveryAgent
	uses = append(uses, Use{kubeconfig, corev1.TLSCertKey, ca, ByCARef, byAgent})
	if c.Spec.APIServerRef != nil && servedBy[c.Spec.APIServerRef.Name] != "" {
		server := []string{servedBy[c.Spec.APIServerRef.Name]}
		uses = append(uses, Use{kubeconfig, BundleKey, server, ByKubeconfig, byAgent})
		if byAgent {
			uses = append(uses, Use{tls, ServerBundleKey, server, ByKubeconfig, false})
		}
	}
	return uses
}

// ServedBy are the CAs that sign for API servers, by the APIServerCertificate.
func (s Specs) ServedBy() map[string]string {
	out := map[string]string{}
	for i := range s.Servers {
		out[s.Servers[i].Name] = s.Servers[i].Spec.CARef.Name
	}
	return out
}

// Of are the consumers of a CA.
func (s Specs) Of(ca string) []Dependent {
	var out []Dependent
	relies := s.relies(ca)
	add := func(c plan.Consumer, d v1alpha1.DeliverySpec, probed bool, uses []Use) {
		reported := AcknowledgmentOf(d, Reported{}, c.Host, time.Time{})
		c.Mounted, c.Delay, c.AcceptsAssumed, c.Proved = reported.Mounted, reported.Delay, reported.AcceptsAssumed, probed
		for _, u := range uses {
			c.HasLeaf = c.HasLeaf || u.presents(ca)
			c.RelyingParty = c.RelyingParty || u.trusts(relies) >= 0
		}
		if c.HasLeaf || c.RelyingParty {
			out = append(out, Dependent{Consumer: c, Manual: reported.Manual != nil, Probed: probed})
		}
	}
	for i := range s.Servers {
		c := &s.Servers[i]
		add(plan.Consumer{Kind: c.Kind(), Name: c.Name, Host: c.Spec.HostName}, c.Spec.Delivery, c.Spec.Probe != nil, UsesOfServer(c))
	}
	servedBy := s.ServedBy()
	for i := range s.Credentials {
		c := &s.Credentials[i]
		add(plan.Consumer{Kind: c.Kind(), Name: c.Name, Host: c.Spec.HostName}, c.Spec.Delivery, false, UsesOfCredential(c, servedBy))
	}
	for i := range s.CAs {
		c := &s.CAs[i]
		if c.ParentName() == ca {
			out = append(out, Dependent{Consumer: plan.Consumer{Kind: c.Kind(), Name: c.Name, HasLeaf: true}})
		}
		if c.Name == ca && c.Spec.SecretName != "" {
			add(plan.Consumer{Kind: kindSecret, Name: c.Spec.SecretName, HasLeaf: true}, c.Spec.Delivery, false, nil)
		}
	}
	return out
}

// relies says, of a CA, whether who trusts it trusts another one: that is the same, or a parent, by what the specs say. It
// is Authorities.Relies for those who read no ledger.
func (s Specs) relies(root string) func(on string) bool {
	parents := map[string]string{}
	for i := range s.CAs {
		parents[s.CAs[i].Name] = s.CAs[i].ParentName()
	}
	return func(on string) bool {
		for depth := maxDepth; on != root && on != "" && depth > 0; depth-- {
			on = parents[on]
		}
		return on == root
	}
}

// Asked are those that a phase waits for. An emergency asks everybody at once.
func Asked(phase v1alpha1.Phase, emergency bool, all []Dependent) []Dependent {
	var out []Dependent
	for _, c := range all {
		if plan.Phase(phase).Asks(c.Consumer, emergency) {
			out = append(out, c)
		}
	}
	return out
}

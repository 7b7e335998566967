package cluster

import (
	"cmp"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
)

// Names are by which names kubeconfigs and pods reach the API servers, to be recorded. One that has left the spec stays in the certificates while
// somebody may use it; one that comes is used once every API server serves it.
type Names struct {
	Endpoint string            `json:"endpoint,omitempty"` // the URL that kubeconfigs name
	Local    map[string]string `json:"local,omitempty"`    // the local endpoint of each control plane host
	Others   []string          `json:"others,omitempty"`   // by which pods and users reach the API servers, as nobody can see
	Left     []LeftName        `json:"left,omitempty"`
}

// LeftName is a name or an address that the API servers were reached by.
type LeftName struct {
	Name   string    `json:"name"`
	Host   string    `json:"host,omitempty"`   // whose API server it was; "": of all
	Unseen bool      `json:"unseen,omitempty"` // nobody can see who uses it
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until"` // by then every certificate has expired that was issued before
}

// maxLeft bounds the names that are kept.
const maxLeft = 16

// Reach is how the API servers of a cluster are reached.
type Reach struct {
	Names
	Retained []v1alpha1.RetainedSAN
	// Unproved is the first control plane host whose API server does not serve the endpoint of the spec yet, while kubeconfigs name another one, and
	// Reason why; "" where the endpoint is in use.
	Unproved, Reason string
	Next             time.Time // when time alone lets a name go; zero: never
}

// Reach says by which names the API servers are reached from now on. n is what was recorded, and there are the children that there are, and other
// NodeCredentials of the namespace.
func (n Names) Reach(c *v1alpha1.ClusterPKI, there map[Key]v1alpha1.Object, now time.Time) Reach {
	e := newExpansion(c, Names{})
	r := reaching{expansion: e, credentials: e.clients(there), now: now.UTC().Truncate(time.Second)}
	r.Names = Names{
		Endpoint: c.Spec.Endpoint, Local: map[string]string{}, Others: unique(append(e.serviceAddresses(), e.endpointHosts()...)), Left: slices.Clone(n.Left),
	}
	if n.Endpoint != "" && n.Endpoint != c.Spec.Endpoint {
		if r.Unproved, r.Reason = e.unproved(there); r.Unproved != "" {
			r.Endpoint = n.Endpoint
		} else {
			r.left(LeftName{Name: endpointOf(n.Endpoint).host})
		}
	}
	e.endpoint = endpointOf(r.Endpoint)
	for _, h := range e.controlPlane {
		local := e.ownEndpoint(host{name: h.Name, addresses: h.Addresses})
		if was := n.Local[h.Name]; was != "" && was != local {
			r.left(LeftName{Name: endpointOf(was).host, Host: h.Name})
		}
		if local != "" {
			r.Local[h.Name] = local
		}
	}
	for _, name := range n.Others {
		if !slices.Contains(r.Others, name) {
			r.left(LeftName{Name: name, Unseen: true})
		}
	}
	r.settle()
	return r.Reach
}

// reaching is a Reach on its way.
type reaching struct {
	Reach
	*expansion
	credentials []*v1alpha1.NodeCredential // whose kubeconfigs lead to the API servers
	now         time.Time
}

// clients are the credentials whose kubeconfigs lead to the API servers, by their names.
func (e *expansion) clients(there map[Key]v1alpha1.Object) (out []*v1alpha1.NodeCredential) {
	servers := map[string]bool{}
	for _, h := range e.controlPlane {
		servers[ServerName(e.Name, h.Name)] = true
	}
	for _, o := range there {
		if c, ok := o.(*v1alpha1.NodeCredential); ok && c.Spec.Kubeconfig != nil && c.Spec.APIServerRef != nil && servers[c.Spec.APIServerRef.Name] {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b *v1alpha1.NodeCredential) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// left notes a name that has left. It stays at most until everything has expired that was issued while it was in use. Of too many the oldest goes that
// nobody is seen to use, else the oldest.
func (r *reaching) left(l LeftName) {
	l.Since = r.now
	for _, c := range r.credentials {
		if end := c.Status.Certificate.NotAfter.Time; end.After(l.Until) {
			l.Until = end.UTC()
		}
	}
	if validity := r.now.Add(cmp.Or(r.Spec.Certificates.Validity.Duration, defaultValidity)); (l.Unseen || l.Until.IsZero()) && validity.After(l.Until) {
		l.Until = validity
	}
	r.Left = append(slices.DeleteFunc(r.Left, func(o LeftName) bool { return o.Name == l.Name && o.Host == l.Host }), l)
	if len(r.Left) > maxLeft {
		oldest := max(0, slices.IndexFunc(r.Left, func(o LeftName) bool { return o.Unseen }))
		r.Left = slices.Delete(r.Left, oldest, oldest+1)
	}
}

// lookAgain is how often it is looked who uses a name that has left: what is no child brings no visit.
const lookAgain = 10 * time.Minute

// settle lets go the names that are used again, or by nobody any more.
func (r *reaching) settle() {
	var kept []LeftName
	for _, l := range r.Left {
		used := r.users(l)
		if r.names(l) || !r.now.Before(l.Until) || len(used) == 0 && !l.Unseen {
			continue
		}
		kept = append(kept, l)
		r.Next = r.now.Add(lookAgain)
		out := v1alpha1.RetainedSAN{Name: l.Name, Host: l.Host, Since: metav1.NewTime(l.Since), EndTime: metav1.NewTime(l.Until)}
		out.UsedByCount = new(int32(len(used))) //nolint:gosec // there are no more objects than a cache holds
		out.UsedBy = used[:min(len(used), maxUsers)]
		r.Retained = append(r.Retained, out)
	}
	r.Left = kept
}

// maxUsers is how many kubeconfigs are named of those that use a name.
const maxUsers = 3

// names says whether something that is reached now has the name.
func (r *Reach) names(l LeftName) bool {
	for of, url := range r.Local {
		if endpointOf(url).host == l.Name && (l.Host == "" || l.Host == of) {
			return true
		}
	}
	return l.Name == endpointOf(r.Endpoint).host || slices.Contains(r.Others, l.Name)
}

// users are the kubeconfigs that may use a name, sorted; none where nobody can see who does.
func (r *reaching) users(l LeftName) (used []string) {
	for _, c := range r.credentials {
		if !l.Unseen && (l.Host == "" || l.Host == c.Spec.HostName) && l.usedBy(c) {
			used = append(used, c.Kind()+"/"+c.Name)
		}
	}
	return used
}

// defaultValidity is that of a certificate whose spec says nothing.
const defaultValidity = 8760 * time.Hour

// usedBy says whether the kubeconfig of a credential may name a host still that was left.
func (l LeftName) usedBy(c *v1alpha1.NodeCredential) bool {
	cert, seen := c.Status.Certificate, c.Status.Endpoint
	switch {
	case cert.SerialNumber == "" || c.CreationTimestamp.After(l.Since):
		return false
	case seen != "":
		return endpointOf(seen).host == l.Name
	default: // nobody has seen which one it names
		return c.Status.Delivery != v1alpha1.ReasonInUse || !cert.NotBefore.After(l.Since)
	}
}

// unproved is the first control plane host whose API server does not serve the endpoint of the spec, and why; "" where all do.
func (e *expansion) unproved(there map[Key]v1alpha1.Object) (host, reason string) {
	name := endpointOf(e.Spec.Endpoint).host
	for _, h := range e.controlPlane {
		o := there[Key{v1alpha1.KindAPIServerCertificate, ServerName(e.Name, h.Name)}]
		s, ok := o.(*v1alpha1.APIServerCertificate)
		if !ok {
			return h.Name, v1alpha1.ReasonChildrenPending
		}
		sans, err := pki.APIServerSANs(pki.APIServerInput{
			HostName: s.Spec.HostName, ClusterDomain: s.Spec.ClusterDomain, ServiceCIDRs: s.Spec.ServiceCIDRs,
			DNSNames: s.Spec.DNSNames, IPAddresses: s.Spec.IPAddresses,
		})
		if err != nil || !sans.Covers(name) {
			return h.Name, v1alpha1.ReasonChildrenPending
		}
		if reason, _ := Lags(s); reason != "" {
			return h.Name, reason
		}
	}
	return "", ""
}

// serviceAddresses are the first addresses of the service networks.
func (e *expansion) serviceAddresses() []string {
	var out []string
	for _, cidr := range e.Spec.ServiceCIDRs {
		if addr, err := pki.FirstServiceIP(cidr); err == nil {
			out = append(out, addr.String())
		}
	}
	return unique(out)
}

// retained are the names that have left the spec, and that an API server keeps.
func (n Names) retained(host string) []string {
	var out []string
	for _, l := range n.Left {
		if l.Host == "" || l.Host == host {
			out = append(out, l.Name)
		}
	}
	return out
}

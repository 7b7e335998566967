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
}

// maxLeft bounds the names that are kept: the oldest go.
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

// Reach says by which names the API servers are reached from now on. n is what was recorded, and there are the children that there are.
func (n Names) Reach(c *v1alpha1.ClusterPKI, there map[Key]v1alpha1.Object, now time.Time) Reach {
	e := newExpansion(c, Names{})
	r := Reach{Names: Names{Endpoint: c.Spec.Endpoint, Local: map[string]string{}, Others: unique(append(e.serviceAddresses(), e.endpointHosts()...)), Left: slices.Clone(n.Left)}}
	now = now.UTC().Truncate(time.Second)
	if n.Endpoint != "" && n.Endpoint != c.Spec.Endpoint {
		if r.Unproved, r.Reason = e.unproved(there); r.Unproved != "" {
			r.Endpoint = n.Endpoint
		} else {
			r.left(LeftName{Name: endpointOf(n.Endpoint).host, Since: now})
		}
	}
	e.endpoint = endpointOf(r.Endpoint)
	for _, h := range e.controlPlane {
		local := e.ownEndpoint(host{name: h.Name, addresses: h.Addresses})
		if was := n.Local[h.Name]; was != "" && was != local {
			r.left(LeftName{Name: endpointOf(was).host, Host: h.Name, Since: now})
		}
		if local != "" {
			r.Local[h.Name] = local
		}
	}
	for _, name := range n.Others {
		if !slices.Contains(r.Others, name) {
			r.left(LeftName{Name: name, Unseen: true, Since: now})
		}
	}
	r.settle(e, there, now)
	return r
}

func (r *Reach) left(l LeftName) {
	r.Left = append(slices.DeleteFunc(r.Left, func(o LeftName) bool { return o.Name == l.Name && o.Host == l.Host }), l)
	r.Left = r.Left[max(0, len(r.Left)-maxLeft):]
}

// settle lets go the names that are used again, or by nobody any more.
func (r *Reach) settle(e *expansion, there map[Key]v1alpha1.Object, now time.Time) {
	var kept []LeftName
	for _, l := range r.Left {
		used, until := l.users(e, there, now)
		if r.names(l) || len(used) == 0 && !now.Before(until) {
			continue
		}
		kept = append(kept, l)
		if r.Next.IsZero() || until.Before(r.Next) {
			r.Next = until
		}
		out := v1alpha1.RetainedSAN{Name: l.Name, Host: l.Host, Since: metav1.NewTime(l.Since), Until: metav1.NewTime(until)}
		out.UsedByCount = new(int32(len(used))) //nolint:gosec // there are no more children than are recorded
		out.UsedBy = used[:min(len(used), maxUsers)]
		r.Retained = append(r.Retained, out)
	}
	r.Left = kept
}

// maxUsers is how many kubeconfigs are named of those that use a name.
const maxUsers = 5

// names says whether something that is reached now has the name.
func (r *Reach) names(l LeftName) bool {
	for of, url := range r.Local {
		if endpointOf(url).host == l.Name && (l.Host == "" || l.Host == of) {
			return true
		}
	}
	return l.Name == endpointOf(r.Endpoint).host || slices.Contains(r.Others, l.Name)
}

// users are the kubeconfigs that may use a name, sorted, and until when they may at most. Who uses a service address or one of
// spec.endpoints can be seen by nobody: until certificates of that time have all ended.
func (l LeftName) users(e *expansion, there map[Key]v1alpha1.Object, now time.Time) (used []string, until time.Time) {
	if l.Unseen {
		return nil, l.Since.Add(cmp.Or(e.Spec.Certificates.Validity.Duration, defaultValidity))
	}
	for _, o := range there {
		c, ok := o.(*v1alpha1.NodeCredential)
		if !ok || c.Spec.Kubeconfig == nil || l.Host != "" && l.Host != c.Spec.HostName {
			continue
		}
		if end := l.Since.Add(cmp.Or(c.Spec.Validity.Duration, defaultValidity)); l.usedBy(c, end, now) {
			used = append(used, c.Kind()+"/"+c.Name)
			if end.After(until) {
				until = end
			}
		}
	}
	slices.Sort(used)
	return used, until
}

// defaultValidity is that of a certificate whose spec says nothing.
const defaultValidity = 8760 * time.Hour

// usedBy says whether the kubeconfig of a credential may name a host still, that was left when it had a certificate which ends by a time.
func (l LeftName) usedBy(c *v1alpha1.NodeCredential, end, now time.Time) bool {
	cert, seen := c.Status.Certificate, c.Status.Endpoint
	switch {
	case cert.SerialNumber == "" || c.CreationTimestamp.After(l.Since) || !now.Before(end):
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

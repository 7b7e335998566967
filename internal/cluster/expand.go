package cluster

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
)

// defaultPort is that of a URL without one.
const defaultPort = "443"

// kubeconfigRoles are the roles that are users of the API server.
var kubeconfigRoles = []v1alpha1.Role{"Kubelet", "KubeProxy", "ControllerManager", "Scheduler", "Admin", "Host"}

// etcdMemberRoles are what a member of etcd needs.
var etcdMemberRoles = []v1alpha1.Role{etcdServer, etcdPeer, "EtcdHealthcheckClient"}

// servingRoles are those whose certificates hold the addresses of the host.
var servingRoles = []v1alpha1.Role{etcdServer, etcdPeer, "KubeletServing"}

// expansion is a ClusterPKI on its way to its children.
type expansion struct {
	*v1alpha1.ClusterPKI
	controlPlane []v1alpha1.ControlPlaneHost
	etcd         []v1alpha1.EtcdHost
	nodes        []v1alpha1.NodeHost
	reached      Names
	endpoint     endpoint // that kubeconfigs name
	children     Children
}

func newExpansion(c *v1alpha1.ClusterPKI, reached Names) *expansion {
	if reached.Endpoint == "" {
		reached.Endpoint = c.Spec.Endpoint
	}
	e := &expansion{
		ClusterPKI:   c,
		reached:      reached,
		controlPlane: byName(c.Spec.ControlPlane.Hosts, func(h v1alpha1.ControlPlaneHost) string { return h.Name }),
		nodes:        byName(c.Spec.Nodes.Hosts, func(h v1alpha1.NodeHost) string { return h.Name }),
		endpoint:     endpointOf(reached.Endpoint),
	}
	if e.etcdMode() == v1alpha1.EtcdExternal {
		e.etcd = byName(c.Spec.ControlPlane.Etcd.Hosts, func(h v1alpha1.EtcdHost) string { return h.Name })
	}
	return e
}

func (e *expansion) etcdMode() v1alpha1.EtcdMode { return etcdMode(e.ClusterPKI) }

func etcdMode(c *v1alpha1.ClusterPKI) v1alpha1.EtcdMode {
	if c.Spec.ControlPlane.Etcd.Mode == "" {
		return v1alpha1.EtcdStacked
	}
	return c.Spec.ControlPlane.Etcd.Mode
}

func (e *expansion) port() string {
	if e.Spec.ControlPlane.Port == 0 {
		return "6443"
	}
	return strconv.Itoa(int(e.Spec.ControlPlane.Port))
}

func (e *expansion) hosted() bool { return e.Spec.ControlPlane.Type == v1alpha1.ControlPlaneHosted }

func (e *expansion) kubelets() bool {
	return !e.hosted() && ptr.Deref(e.Spec.ControlPlane.Kubelet, true)
}

func (e *expansion) nodeRoles() []v1alpha1.NodeRole {
	if len(e.Spec.Nodes.Roles) == 0 {
		return []v1alpha1.NodeRole{"Kubelet", "KubeletServing", "KubeProxy"}
	}
	return e.Spec.Nodes.Roles
}

func (e *expansion) add(o v1alpha1.Object, host string) {
	e.children = append(e.children, Child{Object: o, Host: host})
}

// named is the head of a child.
func (e *expansion) named(kind, name string) (metav1.TypeMeta, metav1.ObjectMeta) {
	return metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: kind}, metav1.ObjectMeta{Namespace: e.Namespace, Name: name}
}

// host is a host on the way to its children.
type host struct {
	name      string
	addresses []string
	delivery  *v1alpha1.HostDelivery
	validity  *metav1.Duration
	server    string // the APIServerCertificate that its clients name
	pods      bool   // it is no host: pods mount what is issued
}

func (e *expansion) delivery(h host) v1alpha1.DeliverySpec {
	if h.delivery != nil {
		return h.delivery.Spec()
	}
	d := e.Spec.Certificates.Delivery.Spec()
	if d.Mode == "" {
		d.Mode = v1alpha1.DeliveryAgent
	}
	if h.pods {
		d.Mode = v1alpha1.DeliveryMounted
	}
	return d
}

func (e *expansion) validity(h host) metav1.Duration {
	if h.validity != nil {
		return *h.validity
	}
	return e.Spec.Certificates.Validity
}

// controlPlaneHost makes what an API server and its neighbours need.
func (e *expansion) controlPlaneHost(c v1alpha1.ControlPlaneHost) {
	h := host{name: c.Name, addresses: c.Addresses, delivery: c.Delivery, validity: c.Validity, server: ServerName(e.Name, c.Name), pods: e.hosted()}
	e.add(e.apiServer(h), h.name)
	for _, role := range []v1alpha1.Role{"ControllerManager", "Scheduler", "Admin", "APIServerKubeletClient", "FrontProxyClient"} {
		e.credential(h, role)
	}
	if e.etcdMode() != v1alpha1.EtcdNone {
		e.credential(h, "EtcdClient")
	}
	if e.etcdMode() == v1alpha1.EtcdStacked {
		e.etcdMember(h)
	}
	if e.kubelets() {
		e.node(h, e.nodeRoles())
	}
}

func (e *expansion) etcdMember(h host) {
	h.server = ""
	for _, role := range etcdMemberRoles {
		e.credential(h, role)
	}
}

func (e *expansion) node(h host, roles []v1alpha1.NodeRole) {
	if len(roles) == 0 {
		roles = e.nodeRoles()
	}
	for _, role := range slices.Sorted(slices.Values(roles)) {
		e.credential(h, v1alpha1.Role(role))
	}
}

// credential makes one identity of a host.
func (e *expansion) credential(h host, role v1alpha1.Role) {
	c := &v1alpha1.NodeCredential{Spec: v1alpha1.NodeCredentialSpec{
		CARef: v1alpha1.CAReference{Name: e.signer(role)}, HostName: h.name, Role: role,
		Validity: e.validity(h), PrivateKey: e.Spec.Certificates.PrivateKey, SecretTemplate: e.Spec.SecretTemplate.DeepCopy(), Delivery: e.delivery(h),
	}}
	c.TypeMeta, c.ObjectMeta = e.named(v1alpha1.KindNodeCredential, CredentialName(e.Name, h.name, role))
	if h.server != "" && c.Spec.CARef.Name != EtcdCAName(e.Name) {
		c.Spec.APIServerRef = &v1alpha1.APIServerReference{Name: h.server}
	}
	if slices.Contains(servingRoles, role) {
		c.Spec.IPAddresses = slices.Clone(h.addresses)
	}
	if slices.Contains(kubeconfigRoles, role) {
		identity, _ := pki.LookupRole(string(role))
		c.Spec.Kubeconfig = &v1alpha1.KubeconfigSpec{ClusterName: e.Name, ContextName: e.Name, UserName: identity.CommonNameFor(h.name)}
	}
	e.add(c, h.name)
}

// signer is the CA that signs for a role.
func (e *expansion) signer(role v1alpha1.Role) string {
	switch role {
	case "FrontProxyClient":
		return FrontProxyCAName(e.Name)
	case etcdServer, etcdPeer, "EtcdClient", "EtcdHealthcheckClient":
		return EtcdCAName(e.Name)
	default:
		return CAName(e.Name)
	}
}

// apiServer is what the API server of a host serves.
func (e *expansion) apiServer(h host) *v1alpha1.APIServerCertificate {
	names, addresses := e.serverNames(h)
	s := &v1alpha1.APIServerCertificate{Spec: v1alpha1.APIServerCertificateSpec{
		CARef: v1alpha1.CAReference{Name: CAName(e.Name)}, RequestHeaderCARef: &v1alpha1.CAReference{Name: FrontProxyCAName(e.Name)},
		HostName: h.name, ClusterDomain: e.Spec.ClusterDomain, ServiceCIDRs: slices.Clone(e.Spec.ServiceCIDRs), DNSNames: names, IPAddresses: addresses,
		Endpoint: e.reached.Endpoint, ServiceAccountKeyRef: &v1alpha1.KeyReference{Name: KeyName(e.Name)},
		Validity: e.validity(h), PrivateKey: e.Spec.Certificates.PrivateKey, SecretTemplate: e.Spec.SecretTemplate.DeepCopy(), Delivery: e.delivery(h),
	}}
	s.TypeMeta, s.ObjectMeta = e.named(v1alpha1.KindAPIServerCertificate, h.server)
	s.Spec.LocalEndpoint = e.ownEndpoint(h)
	if h.pods {
		s.Spec.Probe = &v1alpha1.ProbeSpec{}
		for _, address := range h.addresses {
			s.Spec.Probe.Addresses = append(s.Spec.Probe.Addresses, net.JoinHostPort(address, e.port()))
		}
	}
	return s
}

// serverNames are the SANs of the API server of a host, beside those that every one has.
func (e *expansion) serverNames(h host) (names, addresses []string) {
	own, _ := pki.APIServerSANs( //nolint:errcheck // what is wrong with the networks was said before
		pki.APIServerInput{HostName: h.name, ClusterDomain: e.clusterDomain(), ServiceCIDRs: e.Spec.ServiceCIDRs})
	ends := append(e.endpointHosts(), endpointOf(e.Spec.Endpoint).host, e.endpoint.host)
	for _, name := range slices.Concat(h.addresses, ends, e.Spec.ControlPlane.CertSANs, e.reached.retained(h.name)) {
		switch addr, err := pki.ParseIP(name); {
		case name == "" || own.Covers(name):
		case err == nil:
			addresses = append(addresses, addr.String())
		default:
			names = append(names, name)
		}
	}
	return unique(names), unique(addresses)
}

// endpointHosts are the hosts of spec.endpoints.
func (e *expansion) endpointHosts() []string {
	var out []string
	for _, n := range e.Spec.Endpoints {
		out = append(out, endpointOf(n.URL).host)
	}
	return out
}

func (e *expansion) clusterDomain() string {
	if e.Spec.ClusterDomain == "" {
		return "cluster.local"
	}
	return e.Spec.ClusterDomain
}

// ownEndpoint is the URL of the API server on a host, by the first of its addresses or by its name; "" where that is the endpoint, or is not to be
// used.
func (e *expansion) ownEndpoint(h host) string {
	if !ptr.Deref(e.Spec.ControlPlane.LocalEndpoint, true) || e.endpoint.isOf(h, e.port()) {
		return ""
	}
	at := h.name
	if len(h.addresses) > 0 {
		at = h.addresses[0]
	}
	return "https://" + net.JoinHostPort(at, e.port())
}

// endpoint is the URL of a cluster, in parts.
type endpoint struct{ host, port string }

func endpointOf(text string) endpoint {
	u, err := url.Parse(text)
	if err != nil {
		return endpoint{}
	}
	port := u.Port()
	if port == "" {
		port = defaultPort
	}
	return endpoint{u.Hostname(), port}
}

// isOf says whether the endpoint is the API server of a host, and no load balancer.
func (e endpoint) isOf(h host, port string) bool {
	addr, err := netip.ParseAddr(e.host)
	return e.port == port && (e.host == h.name || err == nil && slices.ContainsFunc(h.addresses, func(text string) bool {
		own, err := netip.ParseAddr(text)
		return err == nil && own == addr
	}))
}

// unique are texts, sorted, each once.
func unique(texts []string) []string { return slices.Compact(slices.Sorted(slices.Values(texts))) }

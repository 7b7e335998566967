package export

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/hostfiles"
	"clusterpki.io/operator/internal/pki"
)

// The ports of etcd.
const (
	etcdClientPort = "2379"
	etcdPeerPort   = "2380"
)

// apiServerFlags are kube-apiserver's. Those of etcd, the kubelets' client and the aggregator are there
// only where the host has the credentials for them.
func (l *layout) apiServerFlags(h Host) []string {
	s := h.APIServer.Object.Spec
	flags := []string{
		"--allow-privileged=true",
		"--authorization-mode=Node,RBAC",
		"--client-ca-file=" + l.at(hostfiles.ClientCA),
		"--enable-admission-plugins=NodeRestriction",
		"--secure-port=" + port(s.Endpoint),
		"--service-account-issuer=https://kubernetes.default.svc." + s.ClusterDomain,
		"--service-cluster-ip-range=" + strings.Join(s.ServiceCIDRs, ","),
		"--tls-cert-file=" + l.at(hostfiles.APIServerCert),
		"--tls-private-key-file=" + l.at(hostfiles.APIServerKey),
	}
	if address := advertised(s); address != "" {
		flags = append(flags, "--advertise-address="+address)
	}
	if h.APIServer.ServiceAccounts != nil {
		flags = append(flags,
			"--service-account-key-file="+l.at(hostfiles.ServiceAccPub),
			"--service-account-signing-key-file="+l.at(hostfiles.ServiceAccKey))
	}
	if h.has("EtcdClient") {
		f := l.of("EtcdClient")
		flags = append(flags,
			"--etcd-cafile="+f.CA, "--etcd-certfile="+f.Certificate, "--etcd-keyfile="+f.Key)
		if urls := etcdEndpoints(h); len(urls) > 0 { // else an etcd that is not ours
			flags = append(flags, "--etcd-servers="+strings.Join(urls, ","))
		}
	}
	if h.has("APIServerKubeletClient") {
		f := l.of("APIServerKubeletClient")
		flags = append(flags,
			"--kubelet-client-certificate="+f.Certificate, "--kubelet-client-key="+f.Key,
			"--kubelet-preferred-address-types=InternalIP,ExternalIP,Hostname")
		if h.Cluster.KubeletCA != nil {
			flags = append(flags, "--kubelet-certificate-authority="+l.at(hostfiles.KubeletCA))
		}
	}
	if h.has("FrontProxyClient") {
		f := l.of("FrontProxyClient")
		flags = append(flags,
			"--proxy-client-cert-file="+f.Certificate, "--proxy-client-key-file="+f.Key,
			"--requestheader-allowed-names=front-proxy-client",
			"--requestheader-client-ca-file="+l.at(hostfiles.FrontProxyCA),
			"--requestheader-extra-headers-prefix=X-Remote-Extra-",
			"--requestheader-group-headers=X-Remote-Group",
			"--requestheader-username-headers=X-Remote-User")
	}
	slices.Sort(flags)
	return flags
}

// controllerManager has no flags for signing: the CA's key is not on the host, so kube-controller-manager
// signs no certificate signing requests.
func (l *layout) controllerManager(h Host, c Credential) []string {
	kubeconfig := l.kubeconfigOf(c)
	flags := []string{
		"--authentication-kubeconfig=" + kubeconfig,
		"--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=127.0.0.1",
		"--client-ca-file=" + l.at(hostfiles.ClientCA),
		"--kubeconfig=" + kubeconfig,
		"--root-ca-file=" + l.at(hostfiles.CA),
		"--use-service-account-credentials=true",
	}
	if h.has("FrontProxyClient") {
		flags = append(flags, "--requestheader-client-ca-file="+l.at(hostfiles.FrontProxyCA))
	}
	if h.APIServer.ServiceAccounts != nil {
		flags = append(flags, "--service-account-private-key-file="+l.at(hostfiles.ServiceAccKey))
	}
	slices.Sort(flags)
	return flags
}

// scheduler has a file of the CAs whose clients it authenticates: left to itself it takes them from ConfigMap
// kube-system/extension-apiserver-authentication, to which the API server adds a new CA, and from which it never
// removes an old one before that expires.
func (l *layout) scheduler(c Credential) []string {
	kubeconfig := l.kubeconfigOf(c)
	return []string{
		"--authentication-kubeconfig=" + kubeconfig,
		"--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=127.0.0.1",
		"--client-ca-file=" + l.at(hostfiles.ClientCA),
		"--kubeconfig=" + kubeconfig,
	}
}

// etcd listens where its certificates say that it is: at the first address of each, else on loopback.
func (l *layout) etcd(h Host) []string {
	server, peer := l.of("EtcdServer"), l.of("EtcdPeer")
	client := "https://" + net.JoinHostPort(addressOf(*h.find("EtcdServer").Object, "127.0.0.1"), etcdClientPort)
	self := h.find("EtcdPeer").Object
	between := "https://" + net.JoinHostPort(addressOf(*self, "127.0.0.1"), etcdPeerPort)
	var members []string
	for _, p := range h.Cluster.EtcdPeers {
		if p.Spec.CARef != self.Spec.CARef {
			continue // another cluster's
		}
		at := between
		if p.Name != self.Name {
			at = "https://" + net.JoinHostPort(addressOf(p, p.Spec.HostName), etcdPeerPort)
		}
		members = append(members, p.Spec.HostName+"="+at)
	}
	return []string{
		"--advertise-client-urls=" + client,
		"--cert-file=" + server.Certificate,
		"--client-cert-auth=true",
		"--data-dir=/var/lib/etcd",
		"--initial-advertise-peer-urls=" + between,
		"--initial-cluster=" + strings.Join(members, ","),
		"--key-file=" + server.Key,
		"--listen-client-urls=" + client,
		"--listen-peer-urls=" + between,
		"--name=" + h.Name,
		"--peer-cert-file=" + peer.Certificate,
		"--peer-client-cert-auth=true",
		"--peer-key-file=" + peer.Key,
		"--peer-trusted-ca-file=" + peer.CA,
		"--trusted-ca-file=" + server.CA,
	}
}

// etcdEndpoints is the etcd of this host or, where it has none, those of the same CA on other hosts.
func etcdEndpoints(h Host) []string {
	if own := h.find("EtcdServer"); own != nil {
		return []string{"https://" + net.JoinHostPort(addressOf(*own.Object, "127.0.0.1"), etcdClientPort)}
	}
	var urls []string
	for _, s := range h.Cluster.EtcdServers {
		if s.Spec.CARef == h.find("EtcdClient").Object.Spec.CARef {
			urls = append(urls, "https://"+net.JoinHostPort(addressOf(s, s.Spec.HostName), etcdClientPort))
		}
	}
	return urls
}

// addressOf is the first address of a serving credential.
func addressOf(c v1alpha1.NodeCredential, otherwise string) string {
	if len(c.Spec.IPAddresses) > 0 {
		return c.Spec.IPAddresses[0]
	}
	return otherwise
}

// advertised is the address that the Service "kubernetes" leads to: the first one of the primary service
// network's IP family that other hosts can reach. "" leaves the choice to kube-apiserver.
func advertised(s v1alpha1.APIServerCertificateSpec) string {
	if len(s.ServiceCIDRs) == 0 {
		return ""
	}
	primary, err := netip.ParsePrefix(s.ServiceCIDRs[0])
	if err != nil {
		return ""
	}
	for _, text := range s.IPAddresses {
		addr, err := pki.ParseIP(text)
		if err == nil && addr.Is4() == primary.Addr().Is4() && !addr.IsLoopback() {
			return addr.String()
		}
	}
	return ""
}

// port is the port of an endpoint, which admission has checked to be an https URL.
func port(endpoint string) string {
	if u, err := url.Parse(endpoint); err == nil && u.Port() != "" {
		return u.Port()
	}
	return "443"
}

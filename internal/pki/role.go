package pki

import (
	"fmt"
	"slices"
)

// Usage is an extended key usage (RFC 5280 §4.2.1.12).
type Usage string

// The usages of TLS.
const (
	ClientAuth Usage = "ClientAuth"
	ServerAuth Usage = "ServerAuth"
)

// Role is a row of the table of identities that a Kubernetes cluster needs.
type Role struct {
	Name          string
	CommonName    string // with PerHost, what stands before the host's name
	PerHost       bool
	Organizations []string
	Usages        []Usage
	HostSAN       bool // the certificate serves under the host's name
	LoopbackSANs  bool // and under localhost, 127.0.0.1 and ::1
	Warning       string
}

// hostWarning is the price of the identity CN=HOST without a group.
const hostWarning = "CN=HOST without the group system:nodes is not a node to the Node authorizer and NodeRestriction: " +
	"it needs RBAC of its own, and with that RBAC it can act for every other node; use roles Kubelet and KubeProxy"

var (
	client = []Usage{ClientAuth}
	server = []Usage{ServerAuth}
	both   = []Usage{ClientAuth, ServerAuth}
)

// roles is the one place where identities are written down. Sources: kubeadm's certificate list and
// kubeconfig phases, and the RBAC that kube-apiserver bootstraps, as of Kubernetes 1.37.
var roles = []Role{
	{Name: "Kubelet", CommonName: "system:node:", PerHost: true, Organizations: []string{"system:nodes"}, Usages: client},
	{Name: "KubeProxy", CommonName: "system:kube-proxy", Usages: client},
	{Name: "ControllerManager", CommonName: "system:kube-controller-manager", Usages: client},
	{Name: "Scheduler", CommonName: "system:kube-scheduler", Usages: client},
	{Name: "Admin", CommonName: "kubernetes-admin", Organizations: []string{"kubeadm:cluster-admins"}, Usages: client},
	{Name: "SuperAdmin", CommonName: "kubernetes-super-admin", Organizations: []string{"system:masters"}, Usages: client},
	// No group: the binding to system:kubelet-api-admin names the user (kubernetes#138957).
	{Name: "APIServerKubeletClient", CommonName: "kube-apiserver-kubelet-client", Usages: client},
	{Name: "FrontProxyClient", CommonName: "front-proxy-client", Usages: client},
	// etcd connects to itself with its serving certificate, hence both usages (etcd#9785).
	{Name: "EtcdServer", PerHost: true, Usages: both, HostSAN: true, LoopbackSANs: true},
	{Name: "EtcdPeer", PerHost: true, Usages: both, HostSAN: true, LoopbackSANs: true},
	{Name: "EtcdClient", CommonName: "kube-apiserver-etcd-client", Usages: client},
	{Name: "EtcdHealthcheckClient", CommonName: "kube-etcd-healthcheck-client", Usages: client},
	{Name: "KubeletServing", CommonName: "system:node:", PerHost: true, Organizations: []string{"system:nodes"}, Usages: server, HostSAN: true},
	{Name: "Host", PerHost: true, Usages: client, Warning: hostWarning},
}

// Roles returns the table of roles in its order.
func Roles() []Role { return slices.Clone(roles) }

// LookupRole finds a row of the table by name.
func LookupRole(name string) (Role, bool) {
	i := slices.IndexFunc(roles, func(r Role) bool { return r.Name == name })
	if i < 0 {
		return Role{}, false
	}
	return roles[i], true
}

// CommonNameFor returns the common name for a host.
func (r Role) CommonNameFor(host string) string {
	if r.PerHost {
		return r.CommonName + host
	}
	return r.CommonName
}

// CustomRole is an identity that is no row of the table. It cannot be one of Kubernetes' own, nor look like one.
func CustomRole(commonName string, organizations []string, usages []Usage) (Role, error) {
	if err := CheckCredentialName(commonName); err != nil {
		return Role{}, fmt.Errorf("commonName: %w", err)
	}
	for _, name := range organizations {
		if err := CheckOwnName(name); err != nil {
			return Role{}, fmt.Errorf("organizations: %w", err)
		}
	}
	return Role{Name: "Custom", CommonName: commonName, Organizations: organizations, Usages: usages}, nil
}

// Package cluster says what a ClusterPKI makes, as a pure function of its spec: which objects, which of them go once a host has left, and
// which trigger each CA has. It reads nothing and writes nothing. An error is a stall that says what to change; nothing is changed then.
package cluster

import (
	"slices"
	"strings"

	"clusterpki.io/operator/api/v1alpha1"
)

// Child is an object that a ClusterPKI makes. What its spec leaves out takes the default of its kind.
type Child struct {
	Object v1alpha1.Object
	Host   string // the host that it is for; "" for what is the whole cluster's
}

// Key is a child by kind and name.
type Key struct{ Kind, Name string }

func (k Key) String() string { return k.Kind + "/" + k.Name }

// Key is that of a child.
func (c Child) Key() Key { return Key{c.Object.Kind(), c.Object.GetName()} }

// Children are what a ClusterPKI makes, in the order in which they depend on one another: CAs, the service account key, then host by host, control plane
// first. The order follows from names, and not from that of the lists of the spec.
type Children []Child

// ByKey orders children by kind and name.
func ByKey(a, b Child) int { return strings.Compare(a.Key().String(), b.Key().String()) }

// Find is the child of a kind and name.
func (cs Children) Find(k Key) (Child, bool) {
	i := slices.IndexFunc(cs, func(c Child) bool { return c.Key() == k })
	if i < 0 {
		return Child{}, false
	}
	return cs[i], true
}

// Hosts are those that children are for, in their order.
func (cs Children) Hosts() []string {
	var out []string
	for _, c := range cs {
		if c.Host != "" && (len(out) == 0 || out[len(out)-1] != c.Host) {
			out = append(out, c.Host)
		}
	}
	return out
}

// The names of what is the whole cluster's.

// CAName is the ClusterCA that signs API servers and their clients.
func CAName(cluster string) string { return cluster + "-ca" }

// EtcdCAName is the ClusterCA that signs etcd's members and clients.
func EtcdCAName(cluster string) string { return cluster + "-etcd-ca" }

// FrontProxyCAName is the ClusterCA that signs the client certificate of the aggregation layer.
func FrontProxyCAName(cluster string) string { return cluster + "-front-proxy-ca" }

// KeyName is the ServiceAccountKey.
func KeyName(cluster string) string { return cluster + "-sa" }

// KeySecretName is the Secret of the ServiceAccountKey. It is not that of its name, which Cluster API reads in a form of its own.
func KeySecretName(cluster string) string { return KeyName(cluster) + "-keys" }

// ServerName is the APIServerCertificate of a control plane host.
func ServerName(cluster, host string) string { return cluster + "-" + host + "-apiserver" }

// CredentialName is the NodeCredential of a role on a host.
func CredentialName(cluster, host string, role v1alpha1.Role) string {
	return cluster + "-" + host + "-" + slugs[role]
}

// slugs are how roles are written in names. None is the end of another one behind a hyphen, so that no two hosts have one name between them.
var slugs = map[v1alpha1.Role]string{
	"ControllerManager": "controller-manager", "Scheduler": "scheduler", "Admin": "admin", "APIServerKubeletClient": "apiserver-kubelet-client",
	"FrontProxyClient": "front-proxy-client", etcdServer: "etcd-server", etcdPeer: "etcd-peer", "EtcdClient": "etcd-client",
	"EtcdHealthcheckClient": "etcd-healthcheck-client", "Kubelet": "kubelet", "KubeletServing": "kubelet-serving", "KubeProxy": "kube-proxy", "Host": "host",
}

// Expand is everything that a ClusterPKI makes, whose API servers are reached by some names: see Reach. Without any they are those of the spec. CAs
// have the triggers of their own there: see Rotations.
func Expand(c *v1alpha1.ClusterPKI, reached Names) (Children, error) {
	e := newExpansion(c, reached)
	if err := e.check(); err != nil {
		return nil, err
	}
	e.authorities()
	e.serviceAccountKey()
	for _, h := range e.controlPlane {
		e.controlPlaneHost(h)
	}
	for _, h := range e.etcd {
		e.etcdMember(host{name: h.Name, addresses: h.Addresses, delivery: h.Delivery})
	}
	for _, h := range e.nodes {
		server := ServerName(c.Name, e.controlPlane[0].Name)
		e.node(host{name: h.Name, addresses: h.Addresses, delivery: h.Delivery, validity: h.Validity, server: server}, h.Roles)
	}
	e.outputs()
	return e.children, nil
}

// byName sorts a list of hosts.
func byName[T any](hosts []T, name func(T) string) []T {
	out := slices.Clone(hosts)
	slices.SortFunc(out, func(a, b T) int { return strings.Compare(name(a), name(b)) })
	return out
}

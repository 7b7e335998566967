package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// EtcdMode says where a control plane's etcd runs, and so who needs certificates of it.
// +kubebuilder:validation:Enum=Stacked;External;None
type EtcdMode string

const (
	// EtcdStacked is of a member on each control plane host.
	EtcdStacked EtcdMode = "Stacked"
	// EtcdExternal is of members on hosts of their own, whose certificates are issued here.
	EtcdExternal EtcdMode = "External"
	// EtcdNone is of no etcd: none is issued for. The API servers have a datastore of yours.
	EtcdNone EtcdMode = "None"
)

// ControlPlaneType says where a control plane runs.
// +kubebuilder:validation:Enum=Hosts;Hosted
type ControlPlaneType string

const (
	// ControlPlaneHosts is one on hosts.
	ControlPlaneHosts ControlPlaneType = "Hosts"
	// ControlPlaneHosted is one in pods, which mount their Secrets.
	ControlPlaneHosted ControlPlaneType = "Hosted"
)

// HostDelivery says how what is issued for a host reaches it: DeliverySpec, without what a person acknowledges of one object.
type HostDelivery struct {
	// mode is 'Mounted', 'Agent' or 'Manual'. Default: Agent. Changing it from 'Mounted' to 'Agent' re-issues the certificate: an agent
	// signs by its key, which has to be recorded before it is published. Any other change re-issues nothing. Changing it from 'Agent' takes from the
	// host's agent at once what it may read, and seven days after the host's last object is gone its ServiceAccount.
	// +optional
	// +kubebuilder:default=Agent
	Mode DeliveryMode `json:"mode,omitempty"`

	// propagationDelay is how long after its Secrets were seen to hold it a mounted change is in use everywhere. Default: 10m:
	// a projected Secret takes up to two minutes, and client-go's reload from files five more.
	// +optional
	// +kubebuilder:default="10m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,6}([.][0-9]+)?h)?([0-9]{1,7}([.][0-9]+)?m)?([0-9]{1,9}([.][0-9]+)?s)?$') && duration(self) >= duration('1s') && duration(self) <= duration('876000h')",message="must be between 1 second and 100 years, in hours, minutes and seconds, such as '10m'",reason=FieldValueForbidden
	PropagationDelay metav1.Duration `json:"propagationDelay,omitempty,omitzero"`

	// acceptAssumed is 'Never' or 'Always', for mode 'Mounted'. Default: Never. After propagationDelay it is assumed that what
	// is mounted is in use; nobody has seen it. Where nothing but that is missing, a rotation stops before the old CA is
	// withdrawn, while both are trusted: with 'Never' until rotation.approved of that CA in certificateAuthorities
	// names it. 'Always' is for processes that are known to read their files anew.
	// +optional
	// +kubebuilder:default=Never
	AcceptAssumed AcceptAssumed `json:"acceptAssumed,omitempty"`

	// leaseDuration is, for mode 'Agent', how old what the agent has signed may be, by the time of the API server. After that nothing that
	// it has said counts, and its host is behind, with reason LeaseExpired. The agent renews three
	// times as often, and at least every five minutes. Default: 15m.
	// +optional
	// +kubebuilder:default="15m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,6}([.][0-9]+)?h)?([0-9]{1,7}([.][0-9]+)?m)?([0-9]{1,9}([.][0-9]+)?s)?$') && duration(self) >= duration('10s') && duration(self) <= duration('168h')",message="must be between 10 seconds and 168 hours, in hours, minutes and seconds, such as '15m'",reason=FieldValueForbidden
	LeaseDuration metav1.Duration `json:"leaseDuration,omitempty,omitzero"`
}

// Spec is that of an object of the host.
func (d HostDelivery) Spec() DeliverySpec {
	return DeliverySpec{Mode: d.Mode, PropagationDelay: d.PropagationDelay, AcceptAssumed: d.AcceptAssumed, LeaseDuration: d.LeaseDuration}
}

// ControlPlaneHost is a host that runs a kube-apiserver, a kube-controller-manager and a kube-scheduler.
type ControlPlaneHost struct {
	// name of the host: the common name of its API server's certificate and, where it is a node too, the Node's name. A host of another name is another
	// host.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=52
	// +kubebuilder:validation:XValidation:rule="self.matches('^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*)?$')",message="must be a lower-case DNS name of letters, digits, '-' and '.', or an IPv4 address, as the name of a Node is; write an internationalised name as its A-label ('xn--...')",reason=FieldValueForbidden
	// +kubebuilder:validation:XValidation:rule="!(self in ['aggregator', 'front-proxy-client', 'kube-apiserver-etcd-client', 'kube-apiserver-kubelet-client', 'kube-etcd-healthcheck-client', 'kubelet-bootstrap', 'kubernetes-admin', 'kubernetes-super-admin'])",message="must not be the name of an identity that something in a cluster trusts, such as 'front-proxy-client': the certificate would be that identity",reason=FieldValueForbidden
	Name string `json:"name,omitempty"`

	// addresses are the host's IP addresses: IP SANs of what serves there. The first one is that of localEndpoint. Changing them re-issues those
	// certificates.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=45
	// +kubebuilder:validation:items:XValidation:rule="isIP(self)",message="must be an IPv4 or IPv6 address without leading zeros, zone, port or prefix length",reason=FieldValueForbidden
	Addresses []string `json:"addresses,omitempty"`

	// delivery says how what is issued reaches this host. Absent: certificates.delivery. Changing its mode from 'Mounted' to 'Agent' re-issues.
	// +optional
	Delivery *HostDelivery `json:"delivery,omitempty"`

	// validity of this host's certificates. Absent: certificates.validity. Changing it re-issues them.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || (self.matches('^([0-9]{1,6}([.][0-9]+)?h)?([0-9]{1,7}([.][0-9]+)?m)?([0-9]{1,9}([.][0-9]+)?s)?$') && duration(self) >= duration('10m') && duration(self) <= duration('876000h'))",message="must be between 10 minutes and 100 years, in hours, minutes and seconds, such as '8760h' (one year) or '90m': there is no unit for days or years",reason=FieldValueForbidden
	Validity *metav1.Duration `json:"validity,omitempty"`
}

// EtcdHost is a host that runs an etcd member, and no control plane.
type EtcdHost struct {
	// name of the host: the common name and a DNS SAN of its certificates.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=52
	// +kubebuilder:validation:XValidation:rule="self.matches('^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*)?$')",message="must be a lower-case DNS name of letters, digits, '-' and '.', or an IPv4 address, as the name of a Node is; write an internationalised name as its A-label ('xn--...')",reason=FieldValueForbidden
	// +kubebuilder:validation:XValidation:rule="!(self in ['aggregator', 'front-proxy-client', 'kube-apiserver-etcd-client', 'kube-apiserver-kubelet-client', 'kube-etcd-healthcheck-client', 'kubelet-bootstrap', 'kubernetes-admin', 'kubernetes-super-admin'])",message="must not be the name of an identity that something in a cluster trusts, such as 'front-proxy-client': the certificate would be that identity",reason=FieldValueForbidden
	Name string `json:"name,omitempty"`

	// addresses are the host's IP addresses. Changing them re-issues its certificates.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=45
	// +kubebuilder:validation:items:XValidation:rule="isIP(self)",message="must be an IPv4 or IPv6 address without leading zeros, zone, port or prefix length",reason=FieldValueForbidden
	Addresses []string `json:"addresses,omitempty"`

	// delivery says how what is issued reaches this host. Absent: certificates.delivery. Changing its mode from 'Mounted' to 'Agent' re-issues.
	// +optional
	Delivery *HostDelivery `json:"delivery,omitempty"`
}

// EtcdSpec says where etcd runs.
//
// +kubebuilder:validation:XValidation:rule="(self.mode == 'External') == has(self.hosts)",message="hosts must be set for mode 'External', and only for it",fieldPath=".hosts"
type EtcdSpec struct {
	// mode is 'Stacked', 'External' or 'None'. Default: Stacked. Changing it issues what the other mode needs; what it does not need is removed as if its
	// hosts had left (spec.removal), and etcd's CA stays.
	// +optional
	// +kubebuilder:default=Stacked
	Mode EtcdMode `json:"mode,omitempty"`

	// hosts are those of mode 'External'. One that is added is issued for, and one that has left is removed once it is confirmed (spec.removal).
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=9
	Hosts []EtcdHost `json:"hosts,omitempty"`
}

// ControlPlaneSpec is the control plane of a cluster.
//
// +kubebuilder:validation:XValidation:rule="!has(self.type) || self.type != 'Hosted' || self.hosts.all(h, has(h.addresses) && size(h.addresses) > 0)",message="each entry must have addresses for type 'Hosted': only a look at them shows what its API server serves",fieldPath=".hosts"
type ControlPlaneSpec struct {
	// type is 'Hosts' or 'Hosted'. Default: Hosts. 'Hosted' is of a control plane that runs in pods: its Secrets are mounted (delivery.mode 'Mounted', unless
	// an entry of hosts says otherwise), the API server of each entry is probed at each of its addresses and the port, and none is a node. Changing it
	// re-issues what an agent is to acknowledge from then on.
	// +optional
	// +kubebuilder:default=Hosts
	Type ControlPlaneType `json:"type,omitempty"`

	// hosts run the control plane: one, or several behind the endpoint. Of type 'Hosted' each is one
	// API server, with the addresses of its replicas, and of nothing in front of them.
	// +required
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=9
	Hosts []ControlPlaneHost `json:"hosts,omitempty"`

	// port is that of each host's API server. Default: 6443. Changing it re-renders the kubeconfigs that lead to localEndpoint, and re-issues nothing.
	// +optional
	// +kubebuilder:default=6443
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port,omitempty"`

	// certSANs are further names and addresses by which the API servers are reached. Changing them re-issues the API servers' certificates.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:XValidation:rule="isIP(self) || self.matches('^(([*][.])?[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*)?$')",message="must be a lower-case DNS name, or an IP address",reason=FieldValueForbidden
	CertSANs []string `json:"certSANs,omitempty"`

	// localEndpoint lets controller manager, scheduler and kubelet of a control plane host use the API server of that same host, and
	// not the endpoint. Default: true. Changing it re-renders their kubeconfigs and re-issues nothing.
	// +optional
	// +kubebuilder:default=true
	LocalEndpoint *bool `json:"localEndpoint,omitempty"`

	// kubelet says that the control plane hosts are nodes too: they get the roles of nodes.roles. Default: true. Setting it to false removes these
	// credentials, as if their hosts had left (spec.removal); it re-issues nothing else.
	// +optional
	// +kubebuilder:default=true
	Kubelet *bool `json:"kubelet,omitempty"`

	// etcd says where etcd runs. Default: a member on each control plane host.
	// +optional
	// +kubebuilder:default={mode: Stacked}
	Etcd EtcdSpec `json:"etcd,omitempty,omitzero"`
}

// NodeHost is a node.
type NodeHost struct {
	// name of the host: the Node's name. A host of another name is another host.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=52
	// +kubebuilder:validation:XValidation:rule="self.matches('^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*)?$')",message="must be a lower-case DNS name of letters, digits, '-' and '.', or an IPv4 address, as the name of a Node is; write an internationalised name as its A-label ('xn--...')",reason=FieldValueForbidden
	// +kubebuilder:validation:XValidation:rule="!(self in ['aggregator', 'front-proxy-client', 'kube-apiserver-etcd-client', 'kube-apiserver-kubelet-client', 'kube-etcd-healthcheck-client', 'kubelet-bootstrap', 'kubernetes-admin', 'kubernetes-super-admin'])",message="must not be the name of an identity that something in a cluster trusts, such as 'front-proxy-client': the certificate would be that identity",reason=FieldValueForbidden
	Name string `json:"name,omitempty"`

	// addresses are the host's IP addresses: IP SANs of the kubelet's serving certificate. Changing them re-issues that one.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=4
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=45
	// +kubebuilder:validation:items:XValidation:rule="isIP(self)",message="must be an IPv4 or IPv6 address without leading zeros, zone, port or prefix length",reason=FieldValueForbidden
	Addresses []string `json:"addresses,omitempty"`

	// roles of this host. Absent: nodes.roles. Changing them issues and removes as nodes.roles does.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	Roles []NodeRole `json:"roles,omitempty"`

	// delivery says how what is issued reaches this host. Absent: certificates.delivery. Changing its mode from 'Mounted' to 'Agent' re-issues.
	// +optional
	Delivery *HostDelivery `json:"delivery,omitempty"`

	// validity of this host's certificates. Absent: certificates.validity. Changing it re-issues them.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || (self.matches('^([0-9]{1,6}([.][0-9]+)?h)?([0-9]{1,7}([.][0-9]+)?m)?([0-9]{1,9}([.][0-9]+)?s)?$') && duration(self) >= duration('10m') && duration(self) <= duration('876000h'))",message="must be between 10 minutes and 100 years, in hours, minutes and seconds, such as '8760h' (one year) or '90m': there is no unit for days or years",reason=FieldValueForbidden
	Validity *metav1.Duration `json:"validity,omitempty"`
}

// NodeRole is an identity that a node may have.
// +kubebuilder:validation:Enum=Kubelet;KubeletServing;KubeProxy;Host
type NodeRole string

// NodesSpec are the nodes of a cluster.
type NodesSpec struct {
	// roles are the identities of each node: 'Kubelet', 'KubeletServing', 'KubeProxy', or 'Host' for one identity with the host's plain name. Default:
	// Kubelet, KubeletServing and KubeProxy. Adding one issues its credentials; removing one removes them, as if their hosts had left. Neither re-issues.
	// +optional
	// +listType=set
	// +kubebuilder:default={Kubelet, KubeletServing, KubeProxy}
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	Roles []NodeRole `json:"roles,omitempty"`

	// hosts are the nodes, but for control plane hosts.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=1000
	Hosts []NodeHost `json:"hosts,omitempty"`
}

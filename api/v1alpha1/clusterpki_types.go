package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// EtcdMode says where a control plane's etcd runs, and so who needs certificates of it.
// +kubebuilder:validation:Enum=Stacked;External;None
type EtcdMode string

const (
	// EtcdStacked: a member on each control plane host.
	EtcdStacked EtcdMode = "Stacked"
	// EtcdExternal: members on hosts of their own, whose certificates are issued here.
	EtcdExternal EtcdMode = "External"
	// EtcdNone: no etcd is issued for. The API servers have a datastore of yours.
	EtcdNone EtcdMode = "None"
)

// HostDelivery says how what is issued for a host reaches it: DeliverySpec, without what a person acknowledges of one object.
type HostDelivery struct {
	// mode is 'Mounted', 'Agent' or 'Manual'. Default: Agent. Changing it from 'Mounted' to 'Agent' re-issues the certificate: an agent
	// signs by its key, which has to be recorded before it is published. Any other change re-issues nothing.
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
	// withdrawn, while both are trusted: with 'Never' until rotation.approved of the ClusterCA names it. 'Always' is for
	// processes that are known to read their files anew. An API server that spec.probe has seen needs neither.
	// +optional
	// +kubebuilder:default=Never
	AcceptAssumed AcceptAssumed `json:"acceptAssumed,omitempty"`

	// leaseDuration is, for mode 'Agent', how old what the agent has signed may be, by the time of the API server. After that nothing that
	// it has said counts, and condition TrustAcknowledged is False with reason LeaseExpired. The agent renews three
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

	// delivery says how what is issued reaches this host. Absent: certificates.delivery.
	// +optional
	Delivery *HostDelivery `json:"delivery,omitempty"`
}

// EtcdSpec says where etcd runs.
//
// +kubebuilder:validation:XValidation:rule="(self.mode == 'External') == has(self.hosts)",message="hosts must be set for mode 'External', and only for it",fieldPath=".hosts"
type EtcdSpec struct {
	// mode is 'Stacked', 'External' or 'None'. Default: Stacked.
	// +optional
	// +kubebuilder:default=Stacked
	Mode EtcdMode `json:"mode,omitempty"`

	// hosts are those of mode 'External'.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=9
	Hosts []EtcdHost `json:"hosts,omitempty"`
}

// ControlPlaneSpec is the control plane of a cluster.
type ControlPlaneSpec struct {
	// hosts run the control plane: one, or several behind the endpoint.
	// +required
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=9
	Hosts []ControlPlaneHost `json:"hosts,omitempty"`

	// port is that of each host's API server. Default: 6443.
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

	// kubelet says that the control plane hosts are nodes too: they get the roles of nodes.roles. Default: true.
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

	// roles of this host. Absent: nodes.roles.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	Roles []NodeRole `json:"roles,omitempty"`

	// delivery says how what is issued reaches this host. Absent: certificates.delivery.
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
	// Kubelet, KubeletServing and KubeProxy. Removing one removes its credentials, as if their hosts had left.
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

// CertificatesSpec is what all certificates of a cluster have in common, but for those of its CAs.
type CertificatesSpec struct {
	// validity is how long a certificate is valid. Default: 8760h (a year). Changing it re-issues all.
	// +optional
	// +kubebuilder:default="8760h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || (self.matches('^([0-9]{1,6}([.][0-9]+)?h)?([0-9]{1,7}([.][0-9]+)?m)?([0-9]{1,9}([.][0-9]+)?s)?$') && duration(self) >= duration('10m') && duration(self) <= duration('876000h'))",message="must be between 10 minutes and 100 years, in hours, minutes and seconds, such as '8760h' (one year) or '90m': there is no unit for days or years",reason=FieldValueForbidden
	Validity metav1.Duration `json:"validity,omitempty,omitzero"`

	// privateKey is the kind of key to generate. Changing it re-issues all.
	// +optional
	// +kubebuilder:default={algorithm: ECDSA, size: 256}
	PrivateKey PrivateKeySpec `json:"privateKey,omitempty,omitzero"`

	// delivery says how what is issued reaches the hosts. Default: by an agent on each.
	// +optional
	// +kubebuilder:default={mode: Agent}
	Delivery HostDelivery `json:"delivery,omitempty,omitzero"`
}

// ClusterPKICA is one CA of a cluster. Its fields are those of ClusterCA.
//
// +kubebuilder:validation:XValidation:rule="!has(self.secretName) || !has(self.source) || !has(self.source.import) || self.secretName != self.source.import.secretRef.name",message="must differ from source.import.secretRef.name: that Secret is read and never written, and what is in use is a copy",reason=FieldValueForbidden,fieldPath=".secretName"
// +kubebuilder:validation:XValidation:rule="!has(self.source) || has(self.source.selfSigned) || !has(self.rotation) || !has(self.rotation.keyPolicy) || self.rotation.keyPolicy != 'Reuse'",message="only a self-signed CA can keep its key: set keyPolicy to 'Replace'",fieldPath=".rotation.keyPolicy"
type ClusterPKICA struct {
	// validity is how long the CA's certificate is valid. Default: 87600h (10 years). Changing it rotates the CA.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || (self.matches('^([0-9]{1,6}([.][0-9]+)?h)?([0-9]{1,7}([.][0-9]+)?m)?([0-9]{1,9}([.][0-9]+)?s)?$') && duration(self) >= duration('10m') && duration(self) <= duration('876000h'))",message="must be between 10 minutes and 100 years, in hours, minutes and seconds, such as '8760h' (one year) or '90m': there is no unit for days or years",reason=FieldValueForbidden
	Validity *metav1.Duration `json:"validity,omitempty"`

	// privateKey is the kind of key to generate. Changing it asks for a rotation of the CA.
	// +optional
	PrivateKey *PrivateKeySpec `json:"privateKey,omitempty"`

	// source says where the CA comes from. Default: the operator makes a root CA.
	// +optional
	Source *CASource `json:"source,omitempty"`

	// policy says what may be issued from it.
	// +optional
	Policy *CAPolicy `json:"policy,omitempty"`

	// secretName asks for a Secret with a copy of the active certificate and key. Absent: none is made.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || !format.dns1123Subdomain().validate(self).hasValue()",message="must be a valid Secret name: lower-case letters, digits, '-' and '.'",reason=FieldValueForbidden
	SecretName string `json:"secretName,omitempty"`

	// rotation says when and how this CA is rotated, beside spec.rotation.
	// +optional
	Rotation *RotationSpec `json:"rotation,omitempty"`
}

// CertificateAuthoritiesSpec are the CAs of a cluster.
//
// +kubebuilder:validation:XValidation:rule="(!has(self.cluster) || !has(self.cluster.secretName) || !has(self.etcd) || !has(self.etcd.secretName) || self.cluster.secretName != self.etcd.secretName) && (!has(self.cluster) || !has(self.cluster.secretName) || !has(self.frontProxy) || !has(self.frontProxy.secretName) || self.cluster.secretName != self.frontProxy.secretName) && (!has(self.etcd) || !has(self.etcd.secretName) || !has(self.frontProxy) || !has(self.frontProxy.secretName) || self.etcd.secretName != self.frontProxy.secretName)",message="two CAs must not have their copies in one Secret: give each another secretName"
type CertificateAuthoritiesSpec struct {
	// cluster signs API servers and their clients.
	// +optional
	Cluster ClusterPKICA `json:"cluster,omitempty,omitzero"`

	// etcd signs etcd's members and clients.
	// +optional
	Etcd ClusterPKICA `json:"etcd,omitempty,omitzero"`

	// frontProxy signs the client certificate of the aggregation layer.
	// +optional
	FrontProxy ClusterPKICA `json:"frontProxy,omitempty,omitzero"`
}

// ClusterPKIServiceAccountKey is the service account key of a cluster. Its fields are those of ServiceAccountKey.
//
// +kubebuilder:validation:XValidation:rule="!has(self.privateKey) || self.privateKey.algorithm != 'Ed25519'",message="kube-apiserver refuses Ed25519 keys of service accounts: use 'RSA' or 'ECDSA'",reason=FieldValueForbidden,fieldPath=".privateKey"
type ClusterPKIServiceAccountKey struct {
	// rotateEvery is how long a key signs before the next one takes its place. Absent: only rotation.trigger rotates.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || (self.matches('^([0-9]{1,6}([.][0-9]+)?h)?([0-9]{1,7}([.][0-9]+)?m)?([0-9]{1,9}([.][0-9]+)?s)?$') && duration(self) >= duration('10m') && duration(self) <= duration('876000h'))",message="must be between 10 minutes and 100 years, in hours, minutes and seconds, such as '8760h' (one year) or '90m': there is no unit for days or years",reason=FieldValueForbidden
	RotateEvery *metav1.Duration `json:"rotateEvery,omitempty"`

	// retainOldKeyFor is how long a public key stays trusted after another key has begun to sign. Absent: 8760h (a year).
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || (self.matches('^([0-9]{1,6}([.][0-9]+)?h)?([0-9]{1,7}([.][0-9]+)?m)?([0-9]{1,9}([.][0-9]+)?s)?$') && duration(self) >= duration('1s') && duration(self) <= duration('876000h'))",message="must be between 1 second and 100 years, in hours, minutes and seconds, such as '8760h' (one year) or '90m': there is no unit for days or years",reason=FieldValueForbidden
	RetainOldKeyFor *metav1.Duration `json:"retainOldKeyFor,omitempty"`

	// privateKey is the kind of key that the next rotation makes. Absent: RSA of 2048 bits.
	// +optional
	PrivateKey *PrivateKeySpec `json:"privateKey,omitempty"`

	// source says where the first key comes from. Default: the operator makes it.
	// +optional
	Source *ServiceAccountKeySource `json:"source,omitempty"`

	// rotation says when the key is rotated, beside rotateEvery. spec.rotation says nothing of it.
	// +optional
	Rotation KeyRotationSpec `json:"rotation,omitempty,omitzero"`

	// acceptTokenLoss names Secrets whose tokens may end with the key that signed them.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=317
	// +kubebuilder:validation:items:XValidation:rule="self == '*' || self.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$')",message="must be 'namespace/name' of a Secret, or '*'",reason=FieldValueForbidden
	AcceptTokenLoss []string `json:"acceptTokenLoss,omitempty"`
}

// ClusterRotationSpec rotates all CAs of a cluster, one after the other.
type ClusterRotationSpec struct {
	// trigger is any text. A text that was not there before asks for a rotation of the cluster's CAs: the cluster CA, then etcd's, then the front
	// proxy's. The next one begins when the one before has ended. Of this and a CA's own trigger, the one that changed last counts. Removing it starts
	// nothing. Putting the former one back rolls back what can be.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || self.matches('^[^[:cntrl:][:space:]]([^[:cntrl:]]*[^[:cntrl:][:space:]])?$')",message="must not hold control characters, nor begin or end with a blank (in YAML, '|' and '>' add a line break: write '|-' and '>-')",reason=FieldValueForbidden
	Trigger string `json:"trigger,omitempty"`

	// emergencyTrigger makes an emergency of the rotations that a change of trigger to this same text started, for keys that are compromised: all CAs
	// are distrusted at once, without overlap, and none waits for another. By itself it rotates nothing.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || self.matches('^[^[:cntrl:][:space:]]([^[:cntrl:]]*[^[:cntrl:][:space:]])?$')",message="must not hold control characters, nor begin or end with a blank (in YAML, '|' and '>' add a line break: write '|-' and '>-')",reason=FieldValueForbidden
	EmergencyTrigger string `json:"emergencyTrigger,omitempty"`

	// maxUnavailable is how many certificates of a CA may be re-issued and not yet acknowledged at one time, as a number or as a percentage of all,
	// rounded up. Absent: 25%. A CA whose rotation is set has that of its own. Changing it counts at once.
	// +optional
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self >= 1 && self <= 1000000 : self.matches('^([1-9][0-9]?|100)%$')",message="must be a number from 1, or a percentage from '1%' to '100%'",reason=FieldValueForbidden
	MaxUnavailable *intstr.IntOrString `json:"maxUnavailable,omitempty"`
}

// RemovalPolicy says what becomes of a host's objects when the host has left the lists.
// +kubebuilder:validation:Enum=Keep;Delete
type RemovalPolicy string

const (
	// RemovalKeep leaves them.
	RemovalKeep RemovalPolicy = "Keep"
	// RemovalDelete deletes them, with their Secrets.
	RemovalDelete RemovalPolicy = "Delete"
)

// RemovalSpec says how hosts are removed.
type RemovalSpec struct {
	// policy is 'Keep' or 'Delete'. Default: Delete.
	// +optional
	// +kubebuilder:default=Delete
	Policy RemovalPolicy `json:"policy,omitempty"`

	// delay is how long a host must have left the lists before it is removed, named in confirmed or not. One that is back within it was never gone.
	// Default: 1h.
	// +optional
	// +kubebuilder:default="1h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,6}([.][0-9]+)?h)?([0-9]{1,7}([.][0-9]+)?m)?([0-9]{1,9}([.][0-9]+)?s)?$') && duration(self) >= duration('0s') && duration(self) <= duration('8760h')",message="must be between 0 seconds and a year, in hours, minutes and seconds, such as '1h'",reason=FieldValueForbidden
	Delay metav1.Duration `json:"delay,omitempty,omitzero"`

	// maxHosts is how many hosts may be removed at one time without being named in confirmed, as a number or as a percentage of all, rounded down,
	// and one at least; '0' and '0%' let none go. Default: 10%. Where more are to go, none goes. Hosts of the control plane and of etcd always have to
	// be named.
	// +optional
	// +kubebuilder:default="10%"
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self >= 0 && self <= 1000000 : self.matches('^([0-9]|[1-9][0-9]|100)%$')",message="must be a number, or a percentage from '0%' to '100%'",reason=FieldValueForbidden
	MaxHosts *intstr.IntOrString `json:"maxHosts,omitempty"`

	// confirmed names hosts that may be removed, however many they are.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1000
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	Confirmed []string `json:"confirmed,omitempty"`
}

// ClusterPKISpec is the PKI of a cluster.
//
// +kubebuilder:validation:XValidation:rule="!has(self.nodes) || !has(self.nodes.hosts) || self.controlPlane.hosts.all(h, !self.nodes.hosts.exists(n, n.name == h.name))",message="a host of controlPlane.hosts must not be among them too: remove it here. controlPlane.kubelet makes a node of it",fieldPath=".nodes.hosts"
// +kubebuilder:validation:XValidation:rule="!has(self.controlPlane.etcd) || !has(self.controlPlane.etcd.hosts) || self.controlPlane.etcd.hosts.all(e, self.controlPlane.hosts.all(h, h.name != e.name) && (!has(self.nodes) || !has(self.nodes.hosts) || !self.nodes.hosts.exists(n, n.name == e.name)))",message="must be hosts of their own: for members on the control plane hosts set mode to 'Stacked', and a host of etcd cannot be a node",fieldPath=".controlPlane.etcd.hosts"
// +kubebuilder:validation:XValidation:rule="self.controlPlane.hosts.all(h, !has(h.addresses) || h.addresses.all(a, !isIP(a) || self.serviceCIDRs.all(c, !isCIDR(c) || !cidr(c).containsIP(a))))",message="no address of a host may lie within serviceCIDRs: service addresses are virtual, and kube-proxy would capture the host's traffic",fieldPath=".controlPlane.hosts"
// +kubebuilder:validation:XValidation:rule="!has(self.nodes) || !has(self.nodes.hosts) || self.nodes.hosts.all(h, !has(h.addresses) || h.addresses.all(a, !isIP(a) || self.serviceCIDRs.all(c, !isCIDR(c) || !cidr(c).containsIP(a))))",message="no address of a host may lie within serviceCIDRs: service addresses are virtual, and kube-proxy would capture the host's traffic",fieldPath=".nodes.hosts"
// +kubebuilder:validation:XValidation:rule="!has(self.rotation) || !has(self.rotation.trigger) || !has(self.rotation.emergencyTrigger) || self.rotation.trigger != self.rotation.emergencyTrigger || !has(self.certificateAuthorities) || !((has(self.certificateAuthorities.cluster) && has(self.certificateAuthorities.cluster.rotation) && has(self.certificateAuthorities.cluster.rotation.keyPolicy) && self.certificateAuthorities.cluster.rotation.keyPolicy == 'Reuse') || (has(self.certificateAuthorities.etcd) && has(self.certificateAuthorities.etcd.rotation) && has(self.certificateAuthorities.etcd.rotation.keyPolicy) && self.certificateAuthorities.etcd.rotation.keyPolicy == 'Reuse') || (has(self.certificateAuthorities.frontProxy) && has(self.certificateAuthorities.frontProxy.rotation) && has(self.certificateAuthorities.frontProxy.rotation.keyPolicy) && self.certificateAuthorities.frontProxy.rotation.keyPolicy == 'Reuse'))",message="an emergency rotation is for keys that are compromised, and cannot keep them: set rotation.keyPolicy of each CA to 'Replace'",fieldPath=".certificateAuthorities"
type ClusterPKISpec struct {
	// endpoint is the https URL by which nodes and users reach the API servers: of the only one, or of the load balancer. Its host becomes a SAN
	// of each API server. Changing it re-issues their certificates and re-renders the kubeconfigs.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=300
	// +kubebuilder:validation:XValidation:rule="isURL(self) && self.matches('^https://[^/?#@A-Z]+(/[-A-Za-z0-9._~:]+)*/?$') && !self.matches('/[.][.]?(/|$)') && url(self).getHostname() != '' && (url(self).getPort() == '' || (size(url(self).getPort()) <= 5 && int(url(self).getPort()) >= 1 && int(url(self).getPort()) <= 65535))",message="must be an https URL of a lower-case host, a port from 1 to 65535, and a path of letters, digits and '-._~:' or none, such as 'https://k8s-master:6443'",reason=FieldValueForbidden
	Endpoint string `json:"endpoint,omitempty"`

	// serviceCIDRs are the service networks: one, or one of each IP family. The first address of each is a SAN of the API servers. Changing them
	// re-issues their certificates.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=2
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:XValidation:rule="isCIDR(self)",message="must be an IPv4 or IPv6 network such as '10.96.0.0/12' or 'fd00:10:96::/112'",reason=FieldValueForbidden
	// +kubebuilder:validation:items:XValidation:rule="!isCIDR(self) || cidr(self).prefixLength() <= (cidr(self).ip().family() == 4 ? 29 : 125)",message="must hold at least 8 addresses: the prefix length must be /29 or shorter for IPv4, /125 or shorter for IPv6",reason=FieldValueForbidden
	// +kubebuilder:validation:XValidation:rule="size(self) < 2 || !isCIDR(self[0]) || !isCIDR(self[1]) || cidr(self[0]).ip().family() != cidr(self[1]).ip().family()",message="must not hold two networks of the same IP family",reason=FieldValueForbidden
	ServiceCIDRs []string `json:"serviceCIDRs,omitempty"`

	// clusterDomain is the cluster's DNS domain. Default: cluster.local. Changing it re-issues the API servers' certificates.
	// +optional
	// +kubebuilder:default=cluster.local
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=200
	// +kubebuilder:validation:XValidation:rule="self.matches('^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*)?$')",message="must be a lower-case DNS domain such as 'cluster.local'",reason=FieldValueForbidden
	ClusterDomain string `json:"clusterDomain,omitempty"`

	// controlPlane is the cluster's control plane.
	// +required
	ControlPlane ControlPlaneSpec `json:"controlPlane,omitzero"`

	// nodes are the cluster's nodes.
	// +optional
	// +kubebuilder:default={roles: {Kubelet, KubeletServing, KubeProxy}}
	Nodes NodesSpec `json:"nodes,omitempty,omitzero"`

	// certificates is what all certificates have in common.
	// +optional
	// +kubebuilder:default={validity: "8760h"}
	Certificates CertificatesSpec `json:"certificates,omitempty,omitzero"`

	// certificateAuthorities are the cluster's CAs.
	// +optional
	CertificateAuthorities CertificateAuthoritiesSpec `json:"certificateAuthorities,omitempty,omitzero"`

	// serviceAccountKey signs the cluster's service account tokens.
	// +optional
	ServiceAccountKey ClusterPKIServiceAccountKey `json:"serviceAccountKey,omitempty,omitzero"`

	// rotation rotates all CAs, one after the other.
	// +optional
	Rotation ClusterRotationSpec `json:"rotation,omitempty,omitzero"`

	// removal says how hosts that have left the lists are removed.
	// +optional
	// +kubebuilder:default={policy: Delete}
	Removal RemovalSpec `json:"removal,omitempty,omitzero"`

	// secretTemplate says which labels and annotations the Secrets bear. Changing it re-issues nothing.
	// +optional
	SecretTemplate *SecretTemplate `json:"secretTemplate,omitempty"`
}

// HostBehind is a host that does not use what is issued for it.
type HostBehind struct {
	// host is its name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Host string `json:"host,omitempty"`

	// object is the object that is behind, as 'kind/name', the first of several.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=317
	Object string `json:"object,omitempty"`

	// reason is why, in one word.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Reason string `json:"reason,omitempty"`

	// since is when that began.
	// +optional
	Since metav1.Time `json:"since,omitempty,omitzero"`
}

// HostRemoval is a host that has left the lists.
type HostRemoval struct {
	// host is its name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Host string `json:"host,omitempty"`

	// since is when it left.
	// +optional
	Since metav1.Time `json:"since,omitempty,omitzero"`

	// reason is why its objects are still there: 'Delay', 'ConfirmationRequired' or 'Kept'.
	// +required
	Reason RemovalReason `json:"reason,omitempty"`
}

// RemovalReason says why the objects of a host that has left the lists are still there.
// +kubebuilder:validation:Enum=Delay;ConfirmationRequired;Kept
type RemovalReason string

const (
	// RemovalDelayed surfaces while removal.delay has not passed.
	RemovalDelayed RemovalReason = "Delay"
	// RemovalUnconfirmed surfaces when removal.confirmed must name the host: it is one of the control plane or of etcd, or more hosts have left than
	// removal.maxHosts lets go.
	RemovalUnconfirmed RemovalReason = "ConfirmationRequired"
	// RemovalKept surfaces with removal.policy 'Keep'.
	RemovalKept RemovalReason = "Kept"
)

// PhaseQueued is the phase of a rotation that waits for another CA of the same ClusterPKI.
const PhaseQueued = "Queued"

// ClusterRotationStatus is the rotation of one CA.
type ClusterRotationStatus struct {
	// name of the ClusterCA or ServiceAccountKey.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name,omitempty"`

	// phase is that of its rotation, or 'Queued' for one that waits for another CA.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Phase string `json:"phase,omitempty"`

	// startTime is when it began.
	// +optional
	StartTime metav1.Time `json:"startTime,omitempty,omitzero"`

	// pending are the first hosts that it waits for.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	Pending []PendingConsumer `json:"pending,omitempty"`
}

// ClusterPKIStatus is what the operator last observed of the ClusterPKI. Nothing is decided from it.
type ClusterPKIStatus struct {
	// conditions are Ready always, HostsUpToDate, Reconciling and Stalled only while True, and the others where they apply.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the generation of the spec that this status describes.
	// +optional
	// +kubebuilder:validation:Minimum=-1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// authority says where it is kept which objects are of the ClusterPKI's making.
	// +optional
	Authority AuthorityStatus `json:"authority,omitempty,omitzero"`

	// hosts is how many hosts there are.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Hosts *int32 `json:"hosts,omitempty"`

	// hostsUpToDate is how many of them use what is issued for them.
	// +optional
	// +kubebuilder:validation:Minimum=0
	HostsUpToDate *int32 `json:"hostsUpToDate,omitempty"`

	// hostsBehind is how many do not.
	// +optional
	// +kubebuilder:validation:Minimum=0
	HostsBehind *int32 `json:"hostsBehind,omitempty"`

	// behind are the first twenty of those.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	Behind []HostBehind `json:"behind,omitempty"`

	// certificates is how many certificates are in place, CAs among them.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Certificates *int32 `json:"certificates,omitempty"`

	// nextExpiry is when the first of them expires, unless it is renewed before.
	// +optional
	NextExpiry metav1.Time `json:"nextExpiry,omitempty,omitzero"`

	// rotations are those that are under way, or queued, in their order.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=4
	Rotations []ClusterRotationStatus `json:"rotations,omitempty"`

	// removals are the first twenty hosts that have left the lists, and whose objects are still there.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	Removals []HostRemoval `json:"removals,omitempty"`
}

// ClusterPKIList is a list of ClusterPKIs.
// +kubebuilder:object:root=true
type ClusterPKIList struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard list metadata.
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	// items are the ClusterPKIs.
	Items []ClusterPKI `json:"items"`
}

// ClusterPKI is the PKI of a whole cluster: it makes the ClusterCAs, the ServiceAccountKey, the APIServerCertificates and the NodeCredentials of its
// hosts.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=clusterpkis,shortName=cpki,categories=pki
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Rotation",type=string,JSONPath=`.status.rotations[0].phase`
// +kubebuilder:printcolumn:name="Hosts",type=integer,JSONPath=`.status.hosts`
// +kubebuilder:printcolumn:name="Behind",type=integer,JSONPath=`.status.hostsBehind`
// +kubebuilder:printcolumn:name="Next Expiry",type=string,JSONPath=`.status.nextExpiry`
// +kubebuilder:printcolumn:name="Endpoint",type=string,priority=1,JSONPath=`.spec.endpoint`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="!has(self.spec.serviceAccountKey) || !has(self.spec.serviceAccountKey.source) || !has(self.spec.serviceAccountKey.source.import) || self.spec.serviceAccountKey.source.import.secretRef.name != self.metadata.name + '-sa'",message="must not be '<name>-sa', the Secret that the keys are written to: the Secret that is imported is read and never written",fieldPath=".spec.serviceAccountKey.source.import.secretRef.name"
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 39",message="metadata.name must be 39 characters or fewer, so that the names of the objects made for it fit",fieldPath=".metadata"
type ClusterPKI struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`

	// spec is the desired state.
	// +required
	Spec ClusterPKISpec `json:"spec,omitzero"`

	// status is the observed state.
	// +optional
	// +kubebuilder:default:={"observedGeneration":-1}
	Status ClusterPKIStatus `json:"status,omitempty,omitzero"`
}

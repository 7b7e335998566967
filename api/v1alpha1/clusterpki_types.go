package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

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
	// policy is 'Keep' or 'Delete'. Default: Delete. With 'Delete' the objects of a host that has left go, and their Secrets and Leases with them; with
	// 'Keep' they stay, and are kept current. Changing it re-issues nothing, and counts at once for hosts that have left.
	// +optional
	// +kubebuilder:default=Delete
	Policy RemovalPolicy `json:"policy,omitempty"`

	// delay is how long a host must have left the lists before it is removed, named in confirmed or not. One that is back within it was never gone.
	// Default: 1h. Changing it re-issues nothing, and counts at once.
	// +optional
	// +kubebuilder:default="1h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,6}([.][0-9]+)?h)?([0-9]{1,7}([.][0-9]+)?m)?([0-9]{1,9}([.][0-9]+)?s)?$') && duration(self) >= duration('0s') && duration(self) <= duration('8760h')",message="must be between 0 seconds and a year, in hours, minutes and seconds, such as '1h'",reason=FieldValueForbidden
	Delay *metav1.Duration `json:"delay,omitempty"`

	// maxHosts is how many hosts may be removed within 24 hours (or delay, if that is longer) without being named in confirmed, as a number or as a
	// percentage of those that were there before, rounded down, and one at least; '0' and '0%' let none go. Default: 10%. Where more are to go, none
	// goes. Hosts of the control plane and of etcd always have to be named. Changing it re-issues nothing.
	// +optional
	// +kubebuilder:default="10%"
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self >= 0 && self <= 1000000 : self.matches('^([0-9]|[1-9][0-9]|100)%$')",message="must be a number, or a percentage from '0%' to '100%'",reason=FieldValueForbidden
	MaxHosts *intstr.IntOrString `json:"maxHosts,omitempty"`

	// confirmed names hosts that may be removed, however many they are. A name counts once: for a host that was listed again since, take it out and name
	// it anew. Changing it re-issues nothing.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=1000
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	Confirmed []string `json:"confirmed,omitempty"`
}

// ClusterPKISpec is the PKI of a cluster.
//
// +kubebuilder:validation:XValidation:rule="!has(self.nodes) || !has(self.nodes.hosts) || self.controlPlane.hosts.all(h, !self.nodes.hosts.exists(n, n.name == h.name))",message="a host is in controlPlane.hosts too: remove it from nodes.hosts, since controlPlane.kubelet makes a node of it",fieldPath=".nodes.hosts"
// +kubebuilder:validation:XValidation:rule="!has(self.controlPlane.etcd) || !has(self.controlPlane.etcd.hosts) || self.controlPlane.etcd.hosts.all(e, self.controlPlane.hosts.all(h, h.name != e.name) && (!has(self.nodes) || !has(self.nodes.hosts) || !self.nodes.hosts.exists(n, n.name == e.name)))",message="must be hosts of their own: for members on the control plane hosts set mode to 'Stacked', and a host of etcd cannot be a node",fieldPath=".controlPlane.etcd.hosts"
// +kubebuilder:validation:XValidation:rule="self.controlPlane.hosts.all(h, !has(h.addresses) || h.addresses.all(a, !isIP(a) || self.serviceCIDRs.all(c, !isCIDR(c) || !cidr(c).containsIP(a))))",message="no address of a host may lie within serviceCIDRs: service addresses are virtual, and kube-proxy would capture the host's traffic",fieldPath=".controlPlane.hosts"
// +kubebuilder:validation:XValidation:rule="!has(self.nodes) || !has(self.nodes.hosts) || self.nodes.hosts.all(h, !has(h.addresses) || h.addresses.all(a, !isIP(a) || self.serviceCIDRs.all(c, !isCIDR(c) || !cidr(c).containsIP(a))))",message="no address of a host may lie within serviceCIDRs: service addresses are virtual, and kube-proxy would capture the host's traffic",fieldPath=".nodes.hosts"
// +kubebuilder:validation:XValidation:rule="!has(self.rotation) || !has(self.rotation.trigger) || !has(self.rotation.emergencyTrigger) || self.rotation.trigger != self.rotation.emergencyTrigger || !has(self.certificateAuthorities) || !((has(self.certificateAuthorities.cluster) && has(self.certificateAuthorities.cluster.rotation) && has(self.certificateAuthorities.cluster.rotation.keyPolicy) && self.certificateAuthorities.cluster.rotation.keyPolicy == 'Reuse') || (has(self.certificateAuthorities.etcd) && has(self.certificateAuthorities.etcd.rotation) && has(self.certificateAuthorities.etcd.rotation.keyPolicy) && self.certificateAuthorities.etcd.rotation.keyPolicy == 'Reuse') || (has(self.certificateAuthorities.frontProxy) && has(self.certificateAuthorities.frontProxy.rotation) && has(self.certificateAuthorities.frontProxy.rotation.keyPolicy) && self.certificateAuthorities.frontProxy.rotation.keyPolicy == 'Reuse'))",message="an emergency rotation is for keys that are compromised, and cannot keep them: set rotation.keyPolicy of each CA to 'Replace'",fieldPath=".certificateAuthorities"
type ClusterPKISpec struct {
	// endpoint is the https URL by which nodes and users reach the API servers: of the only one, or of the load balancer. Its host becomes a SAN
	// of each API server. Changing it re-issues their certificates, and re-renders the kubeconfigs once every API server is seen to serve one for it; the
	// host of before stays a SAN while a kubeconfig names it (status.retainedSANs).
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=300
	// +kubebuilder:validation:XValidation:rule="isURL(self) && self.matches('^https://[^/?#@A-Z]+(/[-A-Za-z0-9._~:]+)*/?$') && !self.matches('/[.][.]?(/|$)') && url(self).getHostname() != '' && (url(self).getPort() == '' || (size(url(self).getPort()) <= 5 && int(url(self).getPort()) >= 1 && int(url(self).getPort()) <= 65535))",message="must be an https URL of a lower-case host, a port from 1 to 65535, and a path of letters, digits and '-._~:' or none, such as 'https://k8s-master:6443'",reason=FieldValueForbidden
	Endpoint string `json:"endpoint,omitempty"`

	// endpoints are further URLs by which users and other programs reach the API servers. The host of each is a SAN of theirs, and outputs choose one by its
	// name. Adding one re-issues the API servers' certificates; the host of one that has left stays a SAN for as long as certificates are valid
	// (status.retainedSANs).
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=8
	Endpoints []NamedEndpoint `json:"endpoints,omitempty"`

	// serviceCIDRs are the service networks: one, or one of each IP family. The first address of each is a SAN of the API servers. Changing them
	// re-issues their certificates; the addresses of before stay SANs for as long as certificates are valid, because pods use them
	// (status.retainedSANs).
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

	// bootstrap is 'Create' or 'Never'. Default: Create. With 'Never' no CA and no service account key is made that is neither imported nor kept in the
	// authority namespace: for a cluster that exists, whose keys are restored or adopted, and which no new CA may cut off. They are
	// rotated all the same. Changing it re-issues nothing.
	// +optional
	// +kubebuilder:default=Create
	Bootstrap BootstrapPolicy `json:"bootstrap,omitempty"`

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

	// outputs asks for Secrets in the forms of other programs. The kubeconfigs are those of the administrator, as the first of the control plane hosts,
	// in the order of their names, has it; a client of an external etcd is that host's too. No rotation waits for whoever reads them. Absent: none is
	// made. Changing them re-issues nothing.
	// +optional
	// +listType=map
	// +listMapKey=format
	// +kubebuilder:validation:MaxItems=4
	Outputs []ClusterOutput `json:"outputs,omitempty"`
}

// BootstrapPolicy says whether the first CAs of a cluster are made.
// +kubebuilder:validation:Enum=Create;Never
type BootstrapPolicy string

const (
	// BootstrapCreate makes what is not there.
	BootstrapCreate BootstrapPolicy = "Create"
	// BootstrapNever makes no first CA and no first service account key.
	BootstrapNever BootstrapPolicy = "Never"
)

// NamedEndpoint is a URL by which the API servers are reached.
type NamedEndpoint struct {
	// name is by which outputs choose it. Changing it re-issues nothing.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || !format.dns1123Label().validate(self).hasValue()",message="must be lower-case letters, digits and '-'",reason=FieldValueForbidden
	Name string `json:"name,omitempty"`

	// url is the https URL. Changing it re-issues the API servers' certificates.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=300
	// +kubebuilder:validation:XValidation:rule="isURL(self) && self.matches('^https://[^/?#@A-Z]+(/[-A-Za-z0-9._~:]+)*/?$') && !self.matches('/[.][.]?(/|$)') && url(self).getHostname() != '' && (url(self).getPort() == '' || (size(url(self).getPort()) <= 5 && int(url(self).getPort()) >= 1 && int(url(self).getPort()) <= 65535))",message="must be an https URL of a lower-case host, a port from 1 to 65535, and a path of letters, digits and '-._~:' or none, such as 'https://k8s-master:6443'",reason=FieldValueForbidden
	URL string `json:"url,omitempty"`
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
// +kubebuilder:printcolumn:name="Behind",type=integer,JSONPath=`.status.hostsBehind`
// +kubebuilder:printcolumn:name="Next Expiry",type=string,JSONPath=`.status.nextExpiry`
// +kubebuilder:printcolumn:name="Attention",type=string,JSONPath=`.status.attention[0].reason`
// +kubebuilder:printcolumn:name="Hosts",type=integer,priority=1,JSONPath=`.status.hosts`
// +kubebuilder:printcolumn:name="Endpoint",type=string,priority=1,JSONPath=`.spec.endpoint`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="!has(self.spec.serviceAccountKey) || !has(self.spec.serviceAccountKey.source) || !has(self.spec.serviceAccountKey.source.import) || self.spec.serviceAccountKey.source.import.secretRef.name != self.metadata.name + '-sa-keys'",message="must not be '<name>-sa-keys', the Secret that the keys are written to: the Secret that is imported is read and never written",fieldPath=".spec.serviceAccountKey.source.import.secretRef.name"
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

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

// RetainedSAN is a name or an address that has left the spec, and stays in the API servers' certificates.
type RetainedSAN struct {
	// name is the DNS name or the IP address.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// host is the control plane host whose API server keeps it; absent: all do.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Host string `json:"host,omitempty"`

	// since is when it left.
	// +optional
	Since metav1.Time `json:"since,omitempty,omitzero"`

	// until is when it goes at the latest: by then every certificate has expired that was issued while it was in use.
	// +optional
	Until metav1.Time `json:"until,omitempty,omitzero"`

	// usedBy are the first five NodeCredentials, also such as the ClusterPKI did not make, whose kubeconfig may name it still, as 'kind/name'. Absent where it is the address of a service
	// or of spec.endpoints, whose users nobody can see.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=5
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=317
	UsedBy []string `json:"usedBy,omitempty"`

	// usedByCount is how many there are.
	// +optional
	// +kubebuilder:validation:Minimum=0
	UsedByCount *int32 `json:"usedByCount,omitempty"`
}

// ClusterAttention is something that a person should see to, because it does not go on by itself.
type ClusterAttention struct {
	// host is the host that it is about; absent where it is about the whole cluster.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Host string `json:"host,omitempty"`

	// object is what shows it, as 'kind/name', the first of several; absent where that is the ClusterPKI itself.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=317
	Object string `json:"object,omitempty"`

	// reason is what it is, in one word.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Reason string `json:"reason,omitempty"`

	// since is when that began.
	// +optional
	Since metav1.Time `json:"since,omitempty,omitzero"`

	// edit is what a person can write, or do, to go on.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Edit string `json:"edit,omitempty"`
}

// Reasons of status.attention of a ClusterPKI, beside those of the conditions that it is taken from.
const (
	// AttentionExpired is of a certificate that has expired: whatever uses it is refused.
	AttentionExpired = "Expired"
	// AttentionOverdue is of a certificate that was to be renewed, and was not, although a quarter of the time from then to its end is over.
	AttentionOverdue = "Overdue"
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

	// expectedTime is about when it will have ended; absent where nobody can say, as where it waits for a person.
	// +optional
	ExpectedTime metav1.Time `json:"expectedTime,omitempty,omitzero"`

	// pending are the first five that it waits for; the object that is named has more.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=5
	Pending []PendingConsumer `json:"pending,omitempty"`
}

// AgentsStatus is what the agents of the hosts have reported of themselves.
// +kubebuilder:validation:MinProperties=1
type AgentsStatus struct {
	// oldestVersion is the oldest version of clusterpki among the agents: one may be three minor versions behind the operator. A build that is no
	// release counts as older than any. Absent where no agent has reported its version.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	OldestVersion string `json:"oldestVersion,omitempty"`
}

// ClusterPKIStatus is what the operator last observed of the ClusterPKI. Nothing is decided from it, but that a ClusterPKI which has one was there before.
type ClusterPKIStatus struct {
	// conditions are Ready and HostsUpToDate always, Reconciling and Stalled only while True, and the others where they apply.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the generation of the spec that this status describes.
	// +optional
	// +kubebuilder:validation:Minimum=-1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// attention are the first ten things that a person should see to, the gravest first; absent where there is none.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	Attention []ClusterAttention `json:"attention,omitempty"`

	// attentionCount is how many things there are that a person should see to.
	// +optional
	// +kubebuilder:validation:Minimum=0
	AttentionCount *int32 `json:"attentionCount,omitempty"`

	// authority says where it is kept which objects are of the ClusterPKI's making.
	// +optional
	Authority AuthorityStatus `json:"authority,omitempty,omitzero"`

	// endpoint is the URL that the kubeconfigs name: that of the spec, once every API server serves a certificate for it, and until then the former one.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=300
	Endpoint string `json:"endpoint,omitempty"`

	// retainedSANs are the names and addresses that have left the spec, and stay in the API servers' certificates while a kubeconfig or a pod may use
	// them. There are 16 at most: of more the oldest goes that nobody is seen to use, else the oldest.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	RetainedSANs []RetainedSAN `json:"retainedSANs,omitempty"`

	// hosts is how many hosts there are.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Hosts *int32 `json:"hosts,omitempty"`

	// hostsUpToDate is how many hosts use what is issued for them.
	// +optional
	// +kubebuilder:validation:Minimum=0
	HostsUpToDate *int32 `json:"hostsUpToDate,omitempty"`

	// hostsBehind is how many hosts do not use what is issued for them.
	// +optional
	// +kubebuilder:validation:Minimum=0
	HostsBehind *int32 `json:"hostsBehind,omitempty"`

	// behind are the first twenty hosts that do not use what is issued for them.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	Behind []HostBehind `json:"behind,omitempty"`

	// agents is what the agents of the hosts have reported of themselves.
	// +optional
	Agents AgentsStatus `json:"agents,omitempty,omitzero"`

	// certificates is how many certificates are in place, CAs among them.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Certificates *int32 `json:"certificates,omitempty"`

	// nextExpiry is when the first certificate expires, unless it is renewed before.
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

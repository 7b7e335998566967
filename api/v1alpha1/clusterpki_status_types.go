package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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

	// endTime is when it goes at the latest: by then every certificate has expired that was issued while it was in use.
	// +optional
	EndTime metav1.Time `json:"endTime,omitempty,omitzero"`

	// usedBy are the first three NodeCredentials, also such as the ClusterPKI did not make, whose kubeconfig may name it still, as
	// 'kind/name'. Absent where it is the address of a service or of spec.endpoints, whose users nobody can see.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=3
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

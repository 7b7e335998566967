package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// DeletionPolicy says what happens to a CA's key when its ClusterCA is deleted.
// +kubebuilder:validation:Enum=Retain;Delete
type DeletionPolicy string

const (
	// DeletionRetain keeps the generation Secrets and the trust ConfigMap. A ClusterCA of the
	// same name that is created later takes them up again.
	DeletionRetain DeletionPolicy = "Retain"
	// DeletionDelete lets Kubernetes garbage-collect them with the ClusterCA.
	DeletionDelete DeletionPolicy = "Delete"
)

// CASubject is the distinguished name of a certificate authority.
type CASubject struct {
	// commonName of the CA. Default: the object's name. Generation 2 and later append ' g2', ' g3', …,
	// so that every key has a name of its own. Changing it asks for a replacement of the CA.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=54
	// +kubebuilder:validation:XValidation:rule="size(bytes(self)) <= 54",message="must be at most 54 bytes long: X.509 allows 64, and ' g2', ' g3', … are appended"
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('system:')",message="must not begin with 'system:', which Kubernetes reserves for its own identities"
	CommonName string `json:"commonName,omitempty"`

	// organizations are the O attributes of the CA's name. Changing them asks for a replacement of the CA.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	Organizations []string `json:"organizations,omitempty"`
}

// RotationMode says how a CA is replaced.
// +kubebuilder:validation:Enum=Safe;Emergency
type RotationMode string

const (
	// RotationSafe publishes the new CA beside the old one, and lets it sign only when every consumer trusts it.
	RotationSafe RotationMode = "Safe"
	// RotationEmergency distrusts the old CA at once. Whatever still holds it stops working until it is delivered anew.
	RotationEmergency RotationMode = "Emergency"
)

// RotationSpec says when and how the CA is replaced.
type RotationSpec struct {
	// revision is any text. Changing it asks for a replacement of the CA, whatever else stays the same.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Revision string `json:"revision,omitempty"`

	// mode is 'Safe' or 'Emergency'. Default: Safe. Changing it replaces nothing by itself; it says how the
	// next replacement, or one that is under way, proceeds. 'Emergency' is for a key that is compromised.
	// +optional
	// +kubebuilder:default=Safe
	Mode RotationMode `json:"mode,omitempty"`

	// timeout is how long a phase may wait for its consumers before condition RotationBlocked says so.
	// Nothing is skipped then. Default: 72h.
	// +optional
	// +kubebuilder:default="72h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,6}([.][0-9]+)?h)?([0-9]{1,7}([.][0-9]+)?m)?([0-9]{1,9}([.][0-9]+)?s)?$') && duration(self) >= duration('1m') && duration(self) <= duration('876000h')",message="must be between 1 minute and 100 years, in hours, minutes and seconds, such as '72h' or '90m': there is no unit for days or years"
	Timeout metav1.Duration `json:"timeout,omitempty,omitzero"`
}

// ClusterCASpec is the desired certificate authority.
//
// +kubebuilder:validation:XValidation:rule="!has(self.renewBefore) || size(self.renewBefore) == 0 || size(self.validity) == 0 || !self.renewBefore.matches('^([0-9]{1,6}([.][0-9]+)?h)?([0-9]{1,7}([.][0-9]+)?m)?([0-9]{1,9}([.][0-9]+)?s)?$') || !self.validity.matches('^([0-9]{1,6}([.][0-9]+)?h)?([0-9]{1,7}([.][0-9]+)?m)?([0-9]{1,9}([.][0-9]+)?s)?$') || duration(self.renewBefore) < duration(self.validity)",message="renewBefore must be shorter than validity: otherwise the certificate would be due for renewal the moment it is issued",fieldPath=".renewBefore"
type ClusterCASpec struct {
	// subject is the CA's distinguished name.
	// +optional
	Subject CASubject `json:"subject,omitempty,omitzero"`

	// validity is how long the CA's certificate is valid. Default: 87600h (10 years).
	// Changing it asks for a replacement of the CA: condition ReplacementPending says so, and nothing that
	// trusts the present CA is disturbed. With `manager --rotate-cas` (alpha) the CA is replaced in phases.
	// +optional
	// +kubebuilder:default="87600h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || (self.matches('^([0-9]{1,6}([.][0-9]+)?h)?([0-9]{1,7}([.][0-9]+)?m)?([0-9]{1,9}([.][0-9]+)?s)?$') && duration(self) >= duration('10m') && duration(self) <= duration('876000h'))",message="must be between 10 minutes and 100 years, in hours, minutes and seconds, such as '8760h' (one year) or '90m': there is no unit for days or years"
	Validity metav1.Duration `json:"validity,omitempty,omitzero"`

	// renewBefore is how long before its end the CA is due for replacement. Default: 20% of validity.
	// Changing it re-issues nothing by itself.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || (self.matches('^([0-9]{1,6}([.][0-9]+)?h)?([0-9]{1,7}([.][0-9]+)?m)?([0-9]{1,9}([.][0-9]+)?s)?$') && duration(self) >= duration('1m') && duration(self) <= duration('876000h'))",message="must be between 1 minute and 100 years, in hours, minutes and seconds, such as '8760h' (one year) or '90m': there is no unit for days or years"
	RenewBefore *metav1.Duration `json:"renewBefore,omitempty"`

	// privateKey is the kind of key to generate. Changing it asks for a replacement of the CA.
	// +optional
	// +kubebuilder:default={algorithm: ECDSA, size: 256}
	PrivateKey PrivateKeySpec `json:"privateKey,omitempty,omitzero"`

	// rotation says when and how the CA is replaced. It takes effect with `manager --rotate-cas` (alpha).
	// +optional
	// +kubebuilder:default={mode: Safe, timeout: "72h"}
	Rotation RotationSpec `json:"rotation,omitempty,omitzero"`

	// deletionPolicy says whether the CA's key and trust bundle outlive this object. Default: Retain.
	// Changing it re-issues nothing.
	// +optional
	// +kubebuilder:default=Retain
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`
}

// ClusterCAStatus is what the operator last observed of the ClusterCA. Losing it loses nothing. It is
// evidence in one case: where it names a certificate and neither key nor ledger is left, no other CA is made.
type ClusterCAStatus struct {
	// conditions are Ready always, Reconciling and Stalled only while True, and the others where they apply.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the generation of the spec that this status describes.
	// +optional
	// +kubebuilder:validation:Minimum=-1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// certificate is the certificate in use.
	// +optional
	Certificate CertificateStatus `json:"certificate,omitempty,omitzero"`

	// revision counts the certificates issued for this object.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=2147483647
	Revision int32 `json:"revision,omitempty"`

	// trust describes the published trust bundle.
	// +optional
	Trust TrustStatus `json:"trust,omitempty,omitzero"`

	// rotation describes the replacement that is under way; absent while there is none.
	// +optional
	Rotation RotationStatus `json:"rotation,omitempty,omitzero"`

	// generations are the CA's keys that are not forgotten yet.
	// +optional
	// +listType=map
	// +listMapKey=number
	// +kubebuilder:validation:MaxItems=32
	Generations []GenerationStatus `json:"generations,omitempty"`
}

// RotationStatus says how far the replacement of a CA is.
type RotationStatus struct {
	// phase is what is being waited for: 'Preparing', 'DistributingTrust', 'Reissuing' or 'WithdrawingTrust'.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	Phase string `json:"phase,omitempty"`

	// sinceTime is when the phase began.
	// +optional
	SinceTime metav1.Time `json:"sinceTime,omitempty,omitzero"`

	// acknowledged is how many of the required consumers have acknowledged what the phase waits for.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Acknowledged *int32 `json:"acknowledged,omitempty"`

	// required is how many have to.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Required *int32 `json:"required,omitempty"`

	// pending are the first ten of those that have not, as '<kind>/<name>'.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=300
	Pending []string `json:"pending,omitempty"`
}

// GenerationStatus is one key of a CA.
type GenerationStatus struct {
	// number counts the keys.
	// +required
	// +kubebuilder:validation:Minimum=1
	Number int32 `json:"number,omitempty"`

	// state is 'Staged', 'Trusted', 'Signing', 'Retiring' or 'Withdrawn'.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	State string `json:"state,omitempty"`

	// secretName is the Secret of the key.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	SecretName string `json:"secretName,omitempty"`
}

// TrustStatus describes the trust bundle in the ConfigMap '<name>-trust'.
type TrustStatus struct {
	// configMapName is the ConfigMap whose key 'ca.crt' holds the bundle.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	ConfigMapName string `json:"configMapName,omitempty"`

	// revision counts the changes of the bundle and of the generations in it.
	// +optional
	// +kubebuilder:validation:Minimum=1
	Revision int64 `json:"revision,omitempty"`
}

// ClusterCAList is a list of ClusterCAs.
// +kubebuilder:object:root=true
type ClusterCAList struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard list metadata.
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	// items are the ClusterCAs.
	Items []ClusterCA `json:"items"`
}

// ClusterCA is a certificate authority and the trust bundle it publishes.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=clustercas,shortName=cca,categories=clusterpki
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Secret",type=string,JSONPath=`.status.certificate.secretName`
// +kubebuilder:printcolumn:name="Trust",type=string,JSONPath=`.status.trust.configMapName`
// +kubebuilder:printcolumn:name="Not After",type=string,JSONPath=`.status.certificate.notAfter`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 200",message="metadata.name must be 200 characters or fewer, so that the names of the Secrets made for it fit",fieldPath=".metadata"
// +kubebuilder:validation:XValidation:rule="has(self.spec.subject) && has(self.spec.subject.commonName) || size(self.metadata.name) <= 54",message="metadata.name is longer than 54 characters and cannot be the CA's common name: set spec.subject.commonName",fieldPath=".spec.subject.commonName"
type ClusterCA struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`

	// spec is the desired state. Every field has a default, so an empty spec is a whole one.
	// +optional
	// +kubebuilder:default:={}
	Spec ClusterCASpec `json:"spec,omitempty,omitzero"`

	// status is the observed state.
	// +optional
	// +kubebuilder:default:={"observedGeneration":-1}
	Status ClusterCAStatus `json:"status,omitempty,omitzero"`
}

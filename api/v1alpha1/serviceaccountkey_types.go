package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ServiceAccountKeyImport takes keys that somebody else made, such as kubeadm's.
type ServiceAccountKeyImport struct {
	// secretRef names a Secret in the same namespace: 'sa.key' is the active private key, not encrypted, and 'sa.pub' every public key
	// that is still trusted, in PEM; the tokens of each stay valid. The Secret is read until its keys are taken over, and never written: what is in
	// use is a copy. Changing it afterwards changes nothing.
	// +required
	SecretRef SecretReference `json:"secretRef,omitzero"`

	// publicKeysSHA256 is the SHA-256 of the file 'sa.pub', in lower-case hexadecimal. Nothing else is imported from the Secret, whoever writes it:
	// whoever has a key that is trusted makes tokens of every service account.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || self.matches('^[0-9a-f]{64}$')",message="must be 64 lower-case hexadecimal digits, as `sha256sum sa.pub` prints them",reason=FieldValueForbidden
	PublicKeysSHA256 string `json:"publicKeysSHA256,omitempty"`
}

// ServiceAccountKeySource says where the first key comes from.
//
// +kubebuilder:validation:XValidation:rule="has(self.import)",message="import must be set, or source left out: then the operator makes the key"
type ServiceAccountKeySource struct {
	// import takes the keys of a Secret over.
	// +optional
	Import *ServiceAccountKeyImport `json:"import,omitempty"`
}

// KeyRotationSpec says when a service account key is rotated, beside rotateEvery.
type KeyRotationSpec struct {
	// trigger is any text. A text that was not there before asks for a rotation of the key, whatever else stays the same. Removing it starts
	// nothing. Putting the former one back before the new key signs rolls the rotation back.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || self.matches('^[^[:cntrl:][:space:]]([^[:cntrl:]]*[^[:cntrl:][:space:]])?$')",message="must not hold control characters, nor begin or end with a blank (in YAML, '|' and '>' add a line break: write '|-' and '>-')",reason=FieldValueForbidden
	Trigger string `json:"trigger,omitempty"`
}

// ServiceAccountKeySpec is the key pair that signs service account tokens, and how long earlier ones stay trusted.
//
// +kubebuilder:validation:XValidation:rule="!has(self.privateKey) || self.privateKey.algorithm != 'Ed25519'",message="kube-apiserver refuses Ed25519 keys of service accounts: use 'RSA' or 'ECDSA'",reason=FieldValueForbidden,fieldPath=".privateKey"
// +kubebuilder:validation:XValidation:rule="!has(self.secretName) || !has(self.source) || !has(self.source.import) || self.secretName != self.source.import.secretRef.name",message="must differ from source.import.secretRef.name: that Secret is read and never written, and what is in use is a copy",reason=FieldValueForbidden,fieldPath=".secretName"
type ServiceAccountKeySpec struct {
	// rotateEvery is how long a key signs before the next one takes its place. Absent: only rotation.trigger rotates. Changing it rotates the
	// key only if that makes it due.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || (self.matches('^([0-9]{1,6}([.][0-9]+)?h)?([0-9]{1,7}([.][0-9]+)?m)?([0-9]{1,9}([.][0-9]+)?s)?$') && duration(self) >= duration('10m') && duration(self) <= duration('876000h'))",message="must be between 10 minutes and 100 years, in hours, minutes and seconds, such as '8760h' (one year) or '90m': there is no unit for days or years",reason=FieldValueForbidden
	RotateEvery *metav1.Duration `json:"rotateEvery,omitempty"`

	// retainOldKeyFor is how long a public key stays trusted after the rotation to another key has ended. Default: 8760h (a year). Tokens that the
	// API server issued by TokenRequest end with their time, at most a year by default; those in Secrets of type
	// kubernetes.io/service-account-token never end, and keep the key for as long as there are any: see acceptTokenLoss. Changing it
	// counts at once, for keys that are trusted still.
	// +optional
	// +kubebuilder:default="8760h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || (self.matches('^([0-9]{1,6}([.][0-9]+)?h)?([0-9]{1,7}([.][0-9]+)?m)?([0-9]{1,9}([.][0-9]+)?s)?$') && duration(self) >= duration('1s') && duration(self) <= duration('876000h'))",message="must be between 1 second and 100 years, in hours, minutes and seconds, such as '8760h' (one year) or '90m': there is no unit for days or years",reason=FieldValueForbidden
	RetainOldKeyFor metav1.Duration `json:"retainOldKeyFor,omitempty,omitzero"`

	// privateKey is the kind of key that the next rotation makes: RSA or ECDSA. Default: RSA of 2048 bits, since many readers of tokens know
	// only RS256. Changing it rotates nothing by itself.
	// +optional
	// +kubebuilder:default={algorithm: RSA, size: 2048}
	PrivateKey PrivateKeySpec `json:"privateKey,omitempty,omitzero"`

	// secretName is the Secret to write: 'sa.key' signs (`--service-account-signing-key-file`, and kube-controller-manager's
	// `--service-account-private-key-file`), 'sa.pub' holds every trusted public key, the one that signs first
	// (`--service-account-key-file`). Default: the object's name. Changing it writes another Secret, and leaves the old one alone; the key
	// stays the same.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || !format.dns1123Subdomain().validate(self).hasValue()",message="must be a valid Secret name: lower-case letters, digits, '-' and '.'",reason=FieldValueForbidden
	SecretName string `json:"secretName,omitempty"`

	// secretTemplate says which labels and annotations the Secret bears that is made for this object. Changing it writes no other key.
	// +optional
	SecretTemplate *SecretTemplate `json:"secretTemplate,omitempty"`

	// outputs asks for Secrets in the forms of other programs, with a copy of the private key. No rotation waits for whoever reads
	// them. Absent: none is made. Taking one out leaves its Secret as it is; the key stays the same.
	// +optional
	// +listType=map
	// +listMapKey=format
	// +kubebuilder:validation:MaxItems=4
	Outputs []KeyOutput `json:"outputs,omitempty"`

	// source says where the first key comes from. Default: the operator makes it. Once there is a key, changing it changes nothing.
	// +optional
	Source *ServiceAccountKeySource `json:"source,omitempty"`

	// rotation says when the key is rotated, beside rotateEvery.
	// +optional
	Rotation KeyRotationSpec `json:"rotation,omitempty,omitzero"`

	// acceptTokenLoss names Secrets of type kubernetes.io/service-account-token, as 'namespace/name', whose tokens may end with the key
	// that signed them. '*' stands for all, also for those that nobody has listed. While another one is left, the old key stays trusted.
	// Changing it counts at once.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=317
	// +kubebuilder:validation:items:XValidation:rule="self == '*' || self.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$')",message="must be 'namespace/name' of a Secret, or '*'",reason=FieldValueForbidden
	AcceptTokenLoss []string `json:"acceptTokenLoss,omitempty"`

	// deletionPolicy says whether the keys outlive this object. Default: Retain. With 'Delete' they are destroyed seven days after it was
	// deleted, unless it is back by then. Changing it writes no other key.
	// +optional
	// +kubebuilder:default=Retain
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`
}

// KeyPhase names where the rotation of a service account key stands.
type KeyPhase string

// The phases, in order.
const (
	// KeyDistributingTrust: the new public key is brought to every API server; the old key signs everything still.
	KeyDistributingTrust KeyPhase = "DistributingTrust"
	// KeySwitchingSigner: the new key is brought to every API server and controller manager, to sign.
	KeySwitchingSigner KeyPhase = "SwitchingSigner"
)

// KeyStatus is one key.
type KeyStatus struct {
	// number counts the keys.
	// +required
	// +kubebuilder:validation:Minimum=1
	Number int32 `json:"number,omitempty"`

	// state is 'Trusted' (its tokens are accepted, and it signs nothing yet), 'Active' (it signs), 'Retiring' (its tokens are accepted, and it
	// signs nothing any more) or 'Withdrawn' (it has left 'sa.pub', and some API server may accept its tokens still).
	// +required
	// +kubebuilder:validation:Enum=Trusted;Active;Retiring;Withdrawn
	State GenerationState `json:"state,omitempty"`

	// keyID is the 'kid' of its tokens and of the JSON Web Key Set.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	KeyID string `json:"keyID,omitempty"`

	// since is when it got into that state.
	// +optional
	Since metav1.Time `json:"since,omitempty,omitzero"`

	// retainUntil is when a key that is retiring leaves 'sa.pub', unless tokens that never end keep it.
	// +optional
	RetainUntil metav1.Time `json:"retainUntil,omitempty,omitzero"`

	// trigger is spec.rotation.trigger, where a change of it asked for this key.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Trigger string `json:"trigger,omitempty"`
}

// KeyRotationStatus says how far the rotation of a service account key is.
type KeyRotationStatus struct {
	// id names the rotation: '<name>/<trigger, or age>.g<number of the key to come>'.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	ID string `json:"id,omitempty"`

	// phase is what is being waited for: 'DistributingTrust' or 'SwitchingSigner'.
	// +optional
	// +kubebuilder:validation:Enum=DistributingTrust;SwitchingSigner
	Phase KeyPhase `json:"phase,omitempty"`

	// reason is why the key is rotated: 'TriggerChanged' or 'RenewalDue'.
	// +optional
	// +kubebuilder:validation:Enum=TriggerChanged;RenewalDue
	Reason RotationReason `json:"reason,omitempty"`

	// trigger is spec.rotation.trigger, where a change of it started the rotation.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Trigger string `json:"trigger,omitempty"`

	// from is the number of the key whose place is taken.
	// +optional
	// +kubebuilder:validation:Minimum=1
	From int32 `json:"from,omitempty"`

	// to is the number of the key that takes it.
	// +optional
	// +kubebuilder:validation:Minimum=1
	To int32 `json:"to,omitempty"`

	// startTime is when the rotation began.
	// +optional
	StartTime metav1.Time `json:"startTime,omitempty,omitzero"`
}

// ServiceAccountKeyStatus is what the operator last observed of the ServiceAccountKey. Losing it loses nothing. It is evidence in one
// case: where it names a key and none is left, no other one is made.
type ServiceAccountKeyStatus struct {
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

	// secretName is the Secret that holds the keys.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	SecretName string `json:"secretName,omitempty"`

	// jwksSHA256 is the SHA-256 of 'jwks.json' of ConfigMap '<name>-jwks' as the operator writes it: who publishes that elsewhere compares the two.
	// +optional
	// +kubebuilder:validation:MinLength=64
	// +kubebuilder:validation:MaxLength=64
	JWKSSHA256 string `json:"jwksSHA256,omitempty"`

	// publicKeysSHA256 is the SHA-256 of 'sa.pub' there, for delivery.acknowledged of an APIServerCertificate with delivery.mode 'Manual'.
	// +optional
	// +kubebuilder:validation:MinLength=64
	// +kubebuilder:validation:MaxLength=64
	PublicKeysSHA256 string `json:"publicKeysSHA256,omitempty"`

	// jwksConfigMapName is the ConfigMap with the JSON Web Key Set of all trusted keys, key 'jwks.json', for issuers that are served elsewhere.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	JWKSConfigMapName string `json:"jwksConfigMapName,omitempty"`

	// keys are those that there are.
	// +optional
	// +listType=map
	// +listMapKey=number
	// +kubebuilder:validation:MaxItems=8
	Keys []KeyStatus `json:"keys,omitempty"`

	// rotation describes the rotation that is under way; absent while there is none.
	// +optional
	Rotation KeyRotationStatus `json:"rotation,omitempty,omitzero"`

	// renewalTime is when the key is rotated by its age; absent without rotateEvery.
	// +optional
	RenewalTime metav1.Time `json:"renewalTime,omitempty,omitzero"`

	// acknowledged is how many of the API servers that name this key are known to use what is published.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Acknowledged *int32 `json:"acknowledged,omitempty"`

	// required is how many API servers name this key.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Required *int32 `json:"required,omitempty"`

	// pending are the first twenty of those that do not, in the order in which they take their turns.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	Pending []PendingConsumer `json:"pending,omitempty"`

	// tokenSecrets are the first twenty Secrets of type kubernetes.io/service-account-token, as 'namespace/name', that are older than the
	// active key, and keep an older one.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=317
	TokenSecrets []string `json:"tokenSecrets,omitempty"`

	// tokenSecretCount is how many there are.
	// +optional
	// +kubebuilder:validation:Minimum=0
	TokenSecretCount *int32 `json:"tokenSecretCount,omitempty"`

	// authority says where the keys are kept.
	// +optional
	Authority AuthorityStatus `json:"authority,omitempty,omitzero"`
}

// ServiceAccountKeyList is a list of ServiceAccountKeys.
// +kubebuilder:object:root=true
type ServiceAccountKeyList struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard list metadata.
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	// items are the ServiceAccountKeys.
	Items []ServiceAccountKey `json:"items"`
}

// ServiceAccountKey is the key pair that signs service account tokens, and all public keys that are trusted still. Every API server of a cluster names the
// same one.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=serviceaccountkeys,shortName=sak,categories=pki
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Secret",type=string,JSONPath=`.status.secretName`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.rotation.phase`
// +kubebuilder:printcolumn:name="Acknowledged",type=integer,priority=1,JSONPath=`.status.acknowledged`
// +kubebuilder:printcolumn:name="Required",type=integer,priority=1,JSONPath=`.status.required`
// +kubebuilder:printcolumn:name="Renewal",type=string,JSONPath=`.status.renewalTime`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 63",message="metadata.name must be 63 characters or fewer, so that the name of its Secret in the authority namespace fits",fieldPath=".metadata"
// +kubebuilder:validation:XValidation:rule="!has(self.spec) || has(self.spec.secretName) || !has(self.spec.source) || !has(self.spec.source.import) || self.spec.source.import.secretRef.name != self.metadata.name",message="the Secret of the keys has the object's name by default, and must differ from source.import.secretRef.name: set spec.secretName, or name this object otherwise",fieldPath=".spec.secretName"
type ServiceAccountKey struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`

	// spec is the desired state. Every field has a default, so an empty spec is a whole one.
	// +optional
	// +kubebuilder:default:={}
	Spec ServiceAccountKeySpec `json:"spec,omitempty,omitzero"`

	// status is the observed state.
	// +optional
	// +kubebuilder:default:={"observedGeneration":-1}
	Status ServiceAccountKeyStatus `json:"status,omitempty,omitzero"`
}

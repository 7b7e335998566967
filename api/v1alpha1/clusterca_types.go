package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// DeletionPolicy says what happens to a CA's key when its ClusterCA is deleted.
// +kubebuilder:validation:Enum=Retain;Delete
type DeletionPolicy string

const (
	// DeletionRetain keeps the CA's keys in the authority namespace, and the trust ConfigMap. A ClusterCA of the same name
	// that is created later in the same namespace takes them up again.
	DeletionRetain DeletionPolicy = "Retain"
	// DeletionDelete destroys the keys seven days after the ClusterCA was deleted, unless it is back by then. The trust
	// ConfigMap goes at once.
	DeletionDelete DeletionPolicy = "Delete"
)

// CASubject is the distinguished name of a certificate authority.
type CASubject struct {
	// commonName of the CA. Default: the object's name. Generation 2 and later append ' g2', ' g3', …,
	// so that every key has a name of its own. It may not be, nor look like, an identity that a role has. Changing it asks for a rotation of the CA.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=54
	// +kubebuilder:validation:XValidation:rule="size(bytes(self)) <= 54",message="must be at most 54 bytes long: X.509 allows 64, and ' g2', ' g3', … are appended",reason=FieldValueForbidden
	// +kubebuilder:validation:XValidation:rule="!self.matches('^(system|kubeadm|clusterpki):')",message="must not begin with 'system:', which Kubernetes reserves for its own identities, nor with 'kubeadm:' or 'clusterpki:'",reason=FieldValueForbidden
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || self.matches('^[!-~À-ÏÑ-ÖØ-öø-İĴ-ķĹ-ľŁ-ňŊ-ž]+( [!-~À-ÏÑ-ÖØ-öø-İĴ-ķĹ-ľŁ-ňŊ-ž]+)*$')",message="must be printable ASCII characters and Latin letters such as 'é', without blanks at the ends, two blanks in a row, and characters that are invisible or look like others (in YAML, '|' and '>' add a line break: write '|-' and '>-')",reason=FieldValueForbidden
	CommonName string `json:"commonName,omitempty"`

	// organizations are the O attributes of the CA's name. Changing them asks for a rotation of the CA.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:XValidation:rule="!self.matches('^(system|kubeadm|clusterpki):')",message="must not begin with 'system:', which Kubernetes reserves for its own identities, nor with 'kubeadm:' or 'clusterpki:'",reason=FieldValueForbidden
	// +kubebuilder:validation:items:XValidation:rule="size(self) == 0 || self.matches('^[!-~À-ÏÑ-ÖØ-öø-İĴ-ķĹ-ľŁ-ňŊ-ž]+( [!-~À-ÏÑ-ÖØ-öø-İĴ-ķĹ-ľŁ-ňŊ-ž]+)*$')",message="must be printable ASCII characters and Latin letters such as 'é', without blanks at the ends, two blanks in a row, and characters that are invisible or look like others (in YAML, '|' and '>' add a line break: write '|-' and '>-')",reason=FieldValueForbidden
	Organizations []string `json:"organizations,omitempty"`
}

// SelfSignedSource is a root CA that the operator makes.
type SelfSignedSource struct{}

// ImportSource is a CA that somebody else made.
//
// +kubebuilder:validation:XValidation:rule="has(self.certificateSHA256)",message="must be set, so that this object decides which CA is imported, and not whoever can write the Secret: `openssl x509 -in ca.crt -outform DER | sha256sum` prints it, and `clusterpki inspect -f ca.crt` as 'fingerprint'",reason=FieldValueRequired,fieldPath=".certificateSHA256"
type ImportSource struct {
	// secretRef names a Secret in the same namespace: 'tls.crt' is the CA's certificate, followed by those of its parent CAs
	// up to the root, and 'tls.key' its key, not encrypted; or 'ca.crt' and 'ca.key', as kubeadm calls them. The Secret is
	// read once a minute and never written; what is in use is a copy. Once the CA is made, a chain of the same keys and names
	// with later dates is taken by itself: its root, or a CA in the middle, may have been renewed. Any other chain is taken only
	// where certificateSHA256 names its first certificate and rootSHA256 its last.
	// +required
	SecretRef SecretReference `json:"secretRef,omitzero"`

	// certificateSHA256 is the SHA-256 of the CA's certificate (DER), in lower-case hexadecimal. It must be set: nothing else is imported
	// from the Secret, whoever writes it. A CA that was taken by itself, with later dates, needs no change of it. Where the Secret holds another
	// chain than the one in use, setting certificateSHA256 and rootSHA256 to those of that chain rotates the CA to it; condition
	// RotationPending has both, to be compared with what is known from elsewhere.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || self.matches('^[0-9a-f]{64}$')",message="must be 64 lower-case hexadecimal digits without colons, as `openssl x509 -in ca.crt -outform DER | sha256sum` prints them",reason=FieldValueForbidden
	CertificateSHA256 string `json:"certificateSHA256,omitempty"`

	// rootSHA256 is the SHA-256 of the root (DER) with which the chain in the Secret ends, in lower-case hexadecimal. It must be set where
	// the CA is below a root: the CA's certificate does not say which root that is, and whoever is issued below it trusts that
	// root. Of a CA that is a root itself it says nothing. Changing it alone rotates the CA only to the chain in the Secret that both fields name.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || self.matches('^[0-9a-f]{64}$')",message="must be 64 lower-case hexadecimal digits without colons, as `openssl x509 -in root.crt -outform DER | sha256sum` prints them",reason=FieldValueForbidden
	RootSHA256 string `json:"rootSHA256,omitempty"`
}

// SecretReference names a Secret in the same namespace.
type SecretReference struct {
	// name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || !format.dns1123Subdomain().validate(self).hasValue()",message="must be a valid name of an object: lower-case letters, digits, '-' and '.'",reason=FieldValueForbidden
	Name string `json:"name,omitempty"`
}

// ParentSource is an intermediate CA, signed by another ClusterCA.
type ParentSource struct {
	// caRef names the ClusterCA that signs this one. Its trust anchors are this one's too.
	// +required
	CARef CAReference `json:"caRef,omitzero"`
}

// CASource says where a CA's certificate and key come from. Exactly one of its fields is set.
//
// +kubebuilder:validation:XValidation:rule="[has(self.selfSigned), has(self.import), has(self.parent)].filter(x, x).size() == 1",message="exactly one of selfSigned, import and parent must be set"
type CASource struct {
	// selfSigned makes a root CA.
	// +optional
	SelfSigned *SelfSignedSource `json:"selfSigned,omitempty"`

	// import takes a CA from a Secret.
	// +optional
	Import *ImportSource `json:"import,omitempty"`

	// parent makes an intermediate CA.
	// +optional
	Parent *ParentSource `json:"parent,omitempty"`
}

// ClusterCASpec is the desired certificate authority.
//
// +kubebuilder:validation:XValidation:rule="!has(self.renewBefore) || size(self.renewBefore) == 0 || size(self.validity) == 0 || !self.renewBefore.matches('^([0-9]{1,6}([.][0-9]+)?h)?([0-9]{1,7}([.][0-9]+)?m)?([0-9]{1,9}([.][0-9]+)?s)?$') || !self.validity.matches('^([0-9]{1,6}([.][0-9]+)?h)?([0-9]{1,7}([.][0-9]+)?m)?([0-9]{1,9}([.][0-9]+)?s)?$') || duration(self.renewBefore) < duration(self.validity)",message="renewBefore must be shorter than validity: otherwise the certificate would be due for renewal the moment it is issued",fieldPath=".renewBefore"
// +kubebuilder:validation:XValidation:rule="!has(self.delivery) || !has(self.delivery.mode) || self.delivery.mode != 'Agent'",message="delivery.mode must be 'Mounted' or 'Manual' here: an agent carries no CA's key",fieldPath=".delivery.mode"
// +kubebuilder:validation:XValidation:rule="!has(self.secretName) || !has(self.source) || !has(self.source.import) || self.secretName != self.source.import.secretRef.name",message="must differ from source.import.secretRef.name: that Secret is read and never written, and what is in use is a copy",reason=FieldValueForbidden,fieldPath=".secretName"
// +kubebuilder:validation:XValidation:rule="!has(self.source) || has(self.source.selfSigned) || !has(self.rotation) || !has(self.rotation.keyPolicy) || self.rotation.keyPolicy != 'Reuse'",message="only a self-signed CA can keep its key: set keyPolicy to 'Replace'",fieldPath=".rotation.keyPolicy"
type ClusterCASpec struct {
	// subject is the CA's distinguished name.
	// +optional
	Subject CASubject `json:"subject,omitempty,omitzero"`

	// validity is how long the CA's certificate is valid. Default: 87600h (10 years).
	// Changing it rotates the CA in phases: the old one signs until everything trusts the new one, and is trusted
	// until everything has a certificate of the new one.
	// +optional
	// +kubebuilder:default="87600h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || (self.matches('^([0-9]{1,6}([.][0-9]+)?h)?([0-9]{1,7}([.][0-9]+)?m)?([0-9]{1,9}([.][0-9]+)?s)?$') && duration(self) >= duration('10m') && duration(self) <= duration('876000h'))",message="must be between 10 minutes and 100 years, in hours, minutes and seconds, such as '8760h' (one year) or '90m': there is no unit for days or years",reason=FieldValueForbidden
	Validity metav1.Duration `json:"validity,omitempty,omitzero"`

	// renewBefore is how long before its end the CA is due for rotation. Default: 20% of validity.
	// Changing it re-issues nothing by itself.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || (self.matches('^([0-9]{1,6}([.][0-9]+)?h)?([0-9]{1,7}([.][0-9]+)?m)?([0-9]{1,9}([.][0-9]+)?s)?$') && duration(self) >= duration('1m') && duration(self) <= duration('876000h'))",message="must be between 1 minute and 100 years, in hours, minutes and seconds, such as '8760h' (one year) or '90m': there is no unit for days or years",reason=FieldValueForbidden
	RenewBefore *metav1.Duration `json:"renewBefore,omitempty"`

	// privateKey is the kind of key to generate. Changing it asks for a rotation of the CA.
	// +optional
	// +kubebuilder:default={algorithm: ECDSA, size: 256}
	PrivateKey PrivateKeySpec `json:"privateKey,omitempty,omitzero"`

	// source says where the CA's certificate and key come from. Default: the operator makes a root CA.
	// For an imported CA subject, validity and privateKey say nothing. Changing it rotates the CA.
	// +optional
	Source *CASource `json:"source,omitempty"`

	// policy says what may be issued from this CA, and from its subordinate CAs. The operator holds to it whatever admission did.
	// Absent: RBAC alone decides, but role 'Custom' may name no group. Changing it re-issues nothing.
	// +optional
	Policy *CAPolicy `json:"policy,omitempty"`

	// secretName asks for a kubernetes.io/tls Secret with a copy of the active CA certificate and key, for programs
	// that sign for themselves, such as kube-controller-manager. It holds exactly one certificate; the trust
	// bundle is apart. These programs give no chain along, so that the bundle of an intermediate CA then holds its certificate too.
	// Absent: none is made. Changing it empties the old Secret, and re-issues nothing.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || !format.dns1123Subdomain().validate(self).hasValue()",message="must be a valid Secret name: lower-case letters, digits, '-' and '.'",reason=FieldValueForbidden
	SecretName string `json:"secretName,omitempty"`

	// secretTemplate says which labels and annotations the Secrets bear that are made for this object. Changing it re-issues nothing.
	// +optional
	SecretTemplate *SecretTemplate `json:"secretTemplate,omitempty"`

	// outputs asks for Secrets in the forms of other programs, with a copy of the CA's private key. No rotation waits for whoever reads
	// them. Absent: none is made. Taking one out empties its Secret, and re-issues nothing.
	// +optional
	// +listType=map
	// +listMapKey=format
	// +kubebuilder:validation:MaxItems=4
	Outputs []CAOutput `json:"outputs,omitempty"`

	// delivery says how the Secret of secretName reaches whoever signs with it. The rotation of the CA waits for that.
	// +optional
	// +kubebuilder:default={mode: Mounted, propagationDelay: "10m"}
	Delivery DeliverySpec `json:"delivery,omitempty,omitzero"`

	// rotation says when and how the CA is rotated.
	// +optional
	// +kubebuilder:default={keyPolicy: Replace, maxUnavailable: "25%", progressDeadline: "72h"}
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

	// rotation describes the rotation that is under way; absent while there is none.
	// +optional
	Rotation RotationStatus `json:"rotation,omitempty,omitzero"`

	// lastRotation describes the one before.
	// +optional
	LastRotation LastRotationStatus `json:"lastRotation,omitempty,omitzero"`

	// generations are the CA's keys that there are.
	// +optional
	// +listType=map
	// +listMapKey=number
	// +kubebuilder:validation:MaxItems=8
	Generations []GenerationStatus `json:"generations,omitempty"`

	// authority says where the CA's keys are kept.
	// +optional
	Authority AuthorityStatus `json:"authority,omitempty,omitzero"`
}

// TrustStatus describes the trust bundle in the ConfigMap '<name>-trust'.
type TrustStatus struct {
	// configMapName is the ConfigMap whose key 'ca.crt' holds the bundle.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	ConfigMapName string `json:"configMapName,omitempty"`

	// bundleRevision is for people: it grows whenever the bundle changes, not by one. The bundle of an intermediate CA
	// changes with its parent's too, which the parent's says.
	// +optional
	// +kubebuilder:validation:Minimum=1
	BundleRevision int64 `json:"bundleRevision,omitempty"`

	// bundleSHA256 tells one bundle from another: the SHA-256, in lower-case hexadecimal, of the sorted SHA-256 sums of its
	// certificates. Whoever acknowledges a bundle names it in delivery.acknowledged. Who reads the ConfigMap compares it with this.
	// +optional
	// +kubebuilder:validation:MinLength=64
	// +kubebuilder:validation:MaxLength=64
	BundleSHA256 string `json:"bundleSHA256,omitempty"`
}

// AuthorityStatus says where a CA's ledger and keys are kept.
type AuthorityStatus struct {
	// namespaceUID is the UID of the authority namespace. Another installation of the operator has another one, and does
	// not make a second CA.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	NamespaceUID string `json:"namespaceUID,omitempty"`
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
// +kubebuilder:resource:path=clustercas,shortName=cca,categories=pki
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Active",type=integer,JSONPath=`.status.certificate.issuerGeneration`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.rotation.phase`
// +kubebuilder:printcolumn:name="Acknowledged",type=integer,JSONPath=`.status.rotation.acknowledged`
// +kubebuilder:printcolumn:name="Assumed",type=integer,JSONPath=`.status.rotation.assumed`
// +kubebuilder:printcolumn:name="Required",type=integer,JSONPath=`.status.rotation.required`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.status.certificate.notAfter`
// +kubebuilder:printcolumn:name="Trust",type=string,priority=1,JSONPath=`.status.trust.configMapName`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="!has(self.spec.source) || !has(self.spec.source.parent) || self.spec.source.parent.caRef.name != self.metadata.name",message="a ClusterCA cannot be its own parent CA: name another one, or leave source.parent out for a root",fieldPath=".spec.source.parent.caRef.name"
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 63",message="metadata.name must be 63 characters or fewer: the Secret that holds the authority is named after it",fieldPath=".metadata"
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

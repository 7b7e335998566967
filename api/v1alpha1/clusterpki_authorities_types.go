package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

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

	// retainOldKeyFor is how long a public key stays trusted after the rotation to another key has ended. Absent: 8760h (a year).
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
	// rounded up. Absent: 25%. A CA whose rotation is set has that of its own. It is also on how many nodes at a time an edit is carried out, as a
	// percentage of the nodes rounded down, on one at least: the next ones come once these use what was issued for them. Hosts of the control plane and
	// of etcd come one at a time. Changing it counts at once.
	// +optional
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self >= 1 && self <= 1000000 : self.matches('^([1-9][0-9]?|100)%$')",message="must be a number from 1, or a percentage from '1%' to '100%'",reason=FieldValueForbidden
	MaxUnavailable *intstr.IntOrString `json:"maxUnavailable,omitempty"`
}

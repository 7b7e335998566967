package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// KeyPolicy says which key the next generation of a CA has.
// +kubebuilder:validation:Enum=Replace;Reuse
type KeyPolicy string

const (
	// KeyReplace makes a new key.
	KeyReplace KeyPolicy = "Replace"
	// KeyReuse keeps the key, the name and the key identifier, and gives them new dates. It holds as long as
	// nothing but validity, trigger or the passing of time asks for the rotation; otherwise a new key is made.
	KeyReuse KeyPolicy = "Reuse"
)

// CrossSigning says whether certificates of a new CA can be verified by those who know only the one before.
// +kubebuilder:validation:Enum=Disabled;OldSignsNew
type CrossSigning string

const (
	// CrossSigningDisabled adds nothing.
	CrossSigningDisabled CrossSigning = "Disabled"
	// CrossSigningOldSignsNew lets the old CA sign the new one, and adds that cross-signed certificate to every
	// certificate that the new one signs.
	CrossSigningOldSignsNew CrossSigning = "OldSignsNew"
)

// RotationApproval is what a person has approved of one rotation.
type RotationApproval struct {
	// withdrawal is status.rotation.id of the rotation whose old CA may be withdrawn although some consumers are only
	// assumed not to need it any more: condition WithdrawalPending names them. Of any other rotation it says nothing.
	// Changing it rotates nothing.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Withdrawal string `json:"withdrawal,omitempty"`
}

// RotationSpec says when and how the CA is rotated.
//
// +kubebuilder:validation:XValidation:rule="!has(self.emergencyTrigger) || !has(self.trigger) || self.emergencyTrigger != self.trigger || !has(self.keyPolicy) || self.keyPolicy != 'Reuse'",message="an emergency rotation is for a key that is compromised, and cannot keep it: set keyPolicy to 'Replace'",fieldPath=".keyPolicy"
type RotationSpec struct {
	// trigger is any text. A text that was not there before asks for a rotation of the CA, whatever else stays the same.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || self.matches('^[^[:cntrl:][:space:]]([^[:cntrl:]]*[^[:cntrl:][:space:]])?$')",message="must not hold control characters, nor begin or end with a blank (in YAML, '|' and '>' add a line break: write '|-' and '>-')",reason=FieldValueForbidden
	Trigger string `json:"trigger,omitempty"`

	// emergencyTrigger makes an emergency of the rotation that a change of trigger to this same text started, for a key
	// that is compromised: the old CA is distrusted at once, without overlap, and everything that has an older
	// certificate or bundle stops working until it is redelivered. By itself it rotates nothing; no other rotation is affected.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || self.matches('^[^[:cntrl:][:space:]]([^[:cntrl:]]*[^[:cntrl:][:space:]])?$')",message="must not hold control characters, nor begin or end with a blank (in YAML, '|' and '>' add a line break: write '|-' and '>-')",reason=FieldValueForbidden
	EmergencyTrigger string `json:"emergencyTrigger,omitempty"`

	// keyPolicy is 'Replace' or 'Reuse'. Default: Replace. 'Reuse' gives the same key new dates: whatever trusts the
	// old certificate trusts all that the new one signs, so no certificate is re-issued, and the old certificate is
	// forgotten once the new bundle has arrived.
	// Changing it rotates nothing by itself.
	// +optional
	// +kubebuilder:default=Replace
	KeyPolicy KeyPolicy `json:"keyPolicy,omitempty"`

	// crossSigning is 'Disabled' or 'OldSignsNew'. Absent: 'OldSignsNew' where the old CA was imported, else
	// 'Disabled'. With 'OldSignsNew' the certificates that a new CA signs carry a certificate of that CA by the old one, so
	// that a host that slept through the rotation, or a client that read its bundle before, still accepts them until the
	// old CA ends. Its own certificate is refused nevertheless. Changing it counts from the next rotation on.
	// +optional
	CrossSigning CrossSigning `json:"crossSigning,omitempty"`

	// maxUnavailable is how many of the certificates may be re-issued and not yet acknowledged at one time, as a
	// number or as a percentage of all, rounded up. Default: 25%. Changing it counts at once.
	// +optional
	// +kubebuilder:default="25%"
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self >= 1 && self <= 1000000 : self.matches('^([1-9][0-9]?|100)%$')",message="must be a number from 1, or a percentage from '1%' to '100%'",reason=FieldValueForbidden
	MaxUnavailable *intstr.IntOrString `json:"maxUnavailable,omitempty"`

	// approved lets the rotation that it names go on where it stops for a person.
	// +optional
	Approved *RotationApproval `json:"approved,omitempty"`

	// progressDeadline is how long a phase may wait for its consumers before condition RotationBlocked says so.
	// Nothing is skipped then. Default: 72h.
	// +optional
	// +kubebuilder:default="72h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,6}([.][0-9]+)?h)?([0-9]{1,7}([.][0-9]+)?m)?([0-9]{1,9}([.][0-9]+)?s)?$') && duration(self) >= duration('1m') && duration(self) <= duration('876000h')",message="must be between 1 minute and 100 years, in hours, minutes and seconds, such as '72h' or '90m': there is no unit for days or years",reason=FieldValueForbidden
	ProgressDeadline metav1.Duration `json:"progressDeadline,omitempty,omitzero"`
}

// Withdraws says whether a person lets the rotation of an id withdraw the old CA.
func (s RotationSpec) Withdraws(id string) bool {
	return id != "" && s.Approved != nil && s.Approved.Withdrawal == id
}

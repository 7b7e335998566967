package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// RotationMode says how a CA is replaced.
// +kubebuilder:validation:Enum=Safe;Emergency
type RotationMode string

const (
	// RotationSafe publishes the new CA beside the old one, and lets it sign only when every consumer trusts it.
	RotationSafe RotationMode = "Safe"
	// RotationEmergency distrusts the old CA at once. Whatever still holds it stops working until it is delivered anew.
	RotationEmergency RotationMode = "Emergency"
)

// KeyPolicy says which key the next generation of a CA has.
// +kubebuilder:validation:Enum=Replace;Reuse
type KeyPolicy string

const (
	// KeyReplace makes a new key.
	KeyReplace KeyPolicy = "Replace"
	// KeyReuse keeps the key, the name and the key identifier, and gives them new dates. It holds as long as
	// nothing but validity, revision or the passing of time asks for the replacement; otherwise a new key is made.
	KeyReuse KeyPolicy = "Reuse"
)

// BridgePolicy says whether certificates of a new CA can be verified by those who know only the one before.
// +kubebuilder:validation:Enum=None;CrossSign
type BridgePolicy string

const (
	// BridgeNone adds nothing.
	BridgeNone BridgePolicy = "None"
	// BridgeCrossSign lets the old CA sign the new one, and adds that to every certificate that the new one signs.
	BridgeCrossSign BridgePolicy = "CrossSign"
)

// RotationSpec says when and how the CA is replaced.
//
// +kubebuilder:validation:XValidation:rule="!has(self.mode) || self.mode != 'Emergency' || !has(self.keyPolicy) || self.keyPolicy != 'Reuse'",message="mode 'Emergency' is for a key that is compromised, and cannot keep it: set keyPolicy to 'Replace'",fieldPath=".keyPolicy"
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

	// keyPolicy is 'Replace' or 'Reuse'. Default: Replace. 'Reuse' gives the same key new dates: whatever trusts the
	// old certificate trusts all that the new one signs, so no certificate is issued again, and the old certificate is
	// forgotten once the new bundle has arrived.
	// Changing it replaces nothing by itself.
	// +optional
	// +kubebuilder:default=Replace
	KeyPolicy KeyPolicy `json:"keyPolicy,omitempty"`

	// bridge is 'None' or 'CrossSign'. Default: None. With 'CrossSign' the certificates that a new CA signs carry a
	// certificate of that CA by the old one, so that a host that slept through the replacement still accepts them
	// until the old CA ends. Its own certificate is refused nevertheless. Changing it counts from the next replacement on.
	// +optional
	// +kubebuilder:default=None
	Bridge BridgePolicy `json:"bridge,omitempty"`

	// maxUnavailable is how many of the certificates may be issued again and not yet acknowledged at one time, as a
	// number or as a percentage of all, rounded up. Default: 25%. Changing it counts at once.
	// +optional
	// +kubebuilder:default="25%"
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self >= 1 && self <= 1000000 : self.matches('^([1-9][0-9]?|100)%$')",message="must be a number from 1, or a percentage from '1%' to '100%'"
	MaxUnavailable *intstr.IntOrString `json:"maxUnavailable,omitempty"`

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

// RotationStatus says how far the replacement of a CA is.
type RotationStatus struct {
	// phase is what is being waited for: 'Preparing', 'DistributingTrust', 'Reissuing' or 'WithdrawingTrust'.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	Phase string `json:"phase,omitempty"`

	// trigger is why the CA is replaced, in one word: 'SpecChanged', 'RevisionChanged', 'RenewalDue', 'ParentReplaced' or 'LedgerRebuilt'.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	Trigger string `json:"trigger,omitempty"`

	// from is the generation that is being replaced.
	// +optional
	// +kubebuilder:validation:Minimum=1
	From int32 `json:"from,omitempty"`

	// to is the generation that takes its place. Where a replacement is given up, 'from' is the generation that is given up,
	// and 'to' the one that stays.
	// +optional
	// +kubebuilder:validation:Minimum=1
	To int32 `json:"to,omitempty"`

	// startTime is when the replacement began.
	// +optional
	StartTime metav1.Time `json:"startTime,omitempty,omitzero"`

	// phaseTime is when the phase began.
	// +optional
	PhaseTime metav1.Time `json:"phaseTime,omitempty,omitzero"`

	// acked is how many of those that have to acknowledge have done so, as in '3/15'.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	Acked string `json:"acked,omitempty"`

	// gates are what the phase waits for.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=8
	Gates []GateStatus `json:"gates,omitempty"`
}

// GateStatus is one thing that a phase waits for.
type GateStatus struct {
	// name of the phase.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	Name string `json:"name,omitempty"`

	// acknowledged is how many of the required have acknowledged.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Acknowledged *int32 `json:"acknowledged,omitempty"`

	// required is how many have to.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Required *int32 `json:"required,omitempty"`

	// pending are the first ten of those that have not, as '<kind>/<name>', and then how many more there are.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=11
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

	// state is 'Staged', 'Trusted', 'Signing', 'Retiring', 'Withdrawn' or 'Abandoned'.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	State string `json:"state,omitempty"`

	// secretName is the Secret of the key.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	SecretName string `json:"secretName,omitempty"`

	// notAfter is when its certificate expires.
	// +optional
	NotAfter metav1.Time `json:"notAfter,omitempty,omitzero"`
}

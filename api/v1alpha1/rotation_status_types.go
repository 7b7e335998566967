package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Phase names where the rotation of a CA stands.
type Phase string

// The phases, in order. PhaseCompleted is of a CA that no rotation is under way for.
const (
	PhaseDistributingTrust Phase = "DistributingTrust"
	PhaseReissuing         Phase = "Reissuing"
	PhaseWithdrawingTrust  Phase = "WithdrawingTrust"
	PhaseCompleted         Phase = "Completed"
)

// Phases are those that a rotation goes through, in order.
func Phases() []Phase {
	return []Phase{PhaseDistributingTrust, PhaseReissuing, PhaseWithdrawingTrust}
}

// PhaseState says how far a phase is.
type PhaseState string

const (
	// PhasePending is of a phase that is yet to come.
	PhasePending PhaseState = "Pending"
	// PhaseActive is of the present one.
	PhaseActive PhaseState = "Active"
	// PhaseDone is of one that has ended.
	PhaseDone PhaseState = "Done"
	// PhaseSkipped is of one that this rotation does not have, or no longer: an emergency, a rollback or the same key.
	PhaseSkipped PhaseState = "Skipped"
)

// GenerationState is where a key of a CA stands in its life.
type GenerationState string

const (
	// GenerationTrusted is in the trust bundle, and signs nothing yet.
	GenerationTrusted GenerationState = "Trusted"
	// GenerationActive is in the trust bundle, and signs every new certificate.
	GenerationActive GenerationState = "Active"
	// GenerationRetiring is in the trust bundle, and signs nothing any more.
	GenerationRetiring GenerationState = "Retiring"
	// GenerationWithdrawn was removed from the trust bundle. Its key is deleted once nothing trusts it any more.
	GenerationWithdrawn GenerationState = "Withdrawn"
)

// RotationReason is why a CA is rotated.
type RotationReason string

const (
	// RotationSpecChanged says that the spec, or an imported CA, is another.
	RotationSpecChanged RotationReason = "SpecChanged"
	// RotationTriggerChanged says that spec.rotation.trigger is another.
	RotationTriggerChanged RotationReason = "TriggerChanged"
	// RotationRenewalDue says that the renewal time has come.
	RotationRenewalDue RotationReason = "RenewalDue"
	// RotationParentRotated says that the parent CA has another key.
	RotationParentRotated RotationReason = "ParentRotated"
)

// RotationResult is how a rotation ended.
type RotationResult string

const (
	// RotationCompleted says that the new key took the place of the old one.
	RotationCompleted RotationResult = "Completed"
	// RotationRolledBack says that the spec was changed back before the new key signed.
	RotationRolledBack RotationResult = "RolledBack"
	// RotationSuperseded says that an emergency rotation began before this one had ended.
	RotationSuperseded RotationResult = "Superseded"
)

// RotationStatus says how far the rotation of a CA is.
type RotationStatus struct {
	// id names the rotation, for spec.rotation.approved: '<name>/<trigger, or age>.g<generation to come>'.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	ID string `json:"id,omitempty"`

	// phase is what is being waited for: 'DistributingTrust', 'Reissuing' or 'WithdrawingTrust'.
	// +optional
	// +kubebuilder:validation:Enum=DistributingTrust;Reissuing;WithdrawingTrust
	Phase Phase `json:"phase,omitempty"`

	// reason is why the CA is rotated: 'SpecChanged', 'TriggerChanged', 'RenewalDue' or 'ParentRotated'.
	// +optional
	// +kubebuilder:validation:Enum=SpecChanged;TriggerChanged;RenewalDue;ParentRotated
	Reason RotationReason `json:"reason,omitempty"`

	// trigger is spec.rotation.trigger, where a change of it started the rotation.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Trigger string `json:"trigger,omitempty"`

	// from is the generation whose place is taken.
	// +optional
	// +kubebuilder:validation:Minimum=1
	From int32 `json:"from,omitempty"`

	// to is the generation that takes it.
	// +optional
	// +kubebuilder:validation:Minimum=1
	To int32 `json:"to,omitempty"`

	// sameKey says that the new certificate is of the same key: no certificate is re-issued.
	// +optional
	SameKey *bool `json:"sameKey,omitempty"`

	// emergency says that the rotation goes without overlap.
	// +optional
	Emergency *bool `json:"emergency,omitempty"`

	// result is 'RolledBack' while a rotation is rolled back; absent otherwise.
	// +optional
	// +kubebuilder:validation:Enum=RolledBack
	Result RotationResult `json:"result,omitempty"`

	// startTime is when the rotation began.
	// +optional
	StartTime metav1.Time `json:"startTime,omitempty,omitzero"`

	// phases are all phases of the rotation, in order.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=3
	Phases []PhaseStatus `json:"phases,omitempty"`

	// acknowledged is how many of the consumers that the phase requires have acknowledged.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Acknowledged *int32 `json:"acknowledged,omitempty"`

	// assumed is how many of them have acknowledged nothing, and count because delivery.propagationDelay has passed.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Assumed *int32 `json:"assumed,omitempty"`

	// required is how many consumers the phase requires.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Required *int32 `json:"required,omitempty"`

	// pendingCount is how many of them the rotation waits for. Where nothing but assumptions is missing before the withdrawal,
	// they are all those of whom something is only assumed.
	// +optional
	// +kubebuilder:validation:Minimum=0
	PendingCount *int32 `json:"pendingCount,omitempty"`

	// pending are the first twenty of those, in the order of their kinds and names.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	Pending []PendingConsumer `json:"pending,omitempty"`
}

// PendingConsumer is a consumer that a rotation waits for.
type PendingConsumer struct {
	// kind of the object, such as 'NodeCredential' or, where no object names it any more, 'Secret'. 'Unknown' stands for
	// consumers that may not be there yet.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Kind string `json:"kind,omitempty"`

	// name of the object.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// host is the host that the object is for.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Host string `json:"host,omitempty"`

	// reason is why it has not acknowledged, in one word.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Reason string `json:"reason,omitempty"`

	// since is when that began.
	// +optional
	Since metav1.Time `json:"since,omitempty,omitzero"`

	// edit is what a person can write, or do, to go on; absent where nothing but time is missing.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Edit string `json:"edit,omitempty"`
}

// PhaseStatus is one phase of a rotation.
type PhaseStatus struct {
	// name of the phase.
	// +required
	// +kubebuilder:validation:Enum=DistributingTrust;Reissuing;WithdrawingTrust
	Name Phase `json:"name,omitempty"`

	// state is 'Pending', 'Active', 'Done' or 'Skipped'.
	// +required
	// +kubebuilder:validation:Enum=Pending;Active;Done;Skipped
	State PhaseState `json:"state,omitempty"`

	// startTime is when it began.
	// +optional
	StartTime metav1.Time `json:"startTime,omitempty,omitzero"`

	// endTime is when it ended.
	// +optional
	EndTime metav1.Time `json:"endTime,omitempty,omitzero"`
}

// LastRotationStatus is a rotation that has ended.
type LastRotationStatus struct {
	// from is the generation whose place was taken, or was to be.
	// +optional
	// +kubebuilder:validation:Minimum=1
	From int32 `json:"from,omitempty"`

	// to is the generation that took it, or was to.
	// +optional
	// +kubebuilder:validation:Minimum=1
	To int32 `json:"to,omitempty"`

	// trigger is spec.rotation.trigger, where a change of it started the rotation.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Trigger string `json:"trigger,omitempty"`

	// reason is why the CA was rotated.
	// +optional
	// +kubebuilder:validation:Enum=SpecChanged;TriggerChanged;RenewalDue;ParentRotated
	Reason RotationReason `json:"reason,omitempty"`

	// result is 'Completed', 'RolledBack' or 'Superseded'.
	// +optional
	// +kubebuilder:validation:Enum=Completed;RolledBack;Superseded
	Result RotationResult `json:"result,omitempty"`

	// sameKey says that the new certificate was of the same key.
	// +optional
	SameKey *bool `json:"sameKey,omitempty"`

	// emergency says that the rotation went without overlap.
	// +optional
	Emergency *bool `json:"emergency,omitempty"`

	// startTime is when the rotation began.
	// +optional
	StartTime metav1.Time `json:"startTime,omitempty,omitzero"`

	// endTime is when it ended.
	// +optional
	EndTime metav1.Time `json:"endTime,omitempty,omitzero"`

	// phases are all phases of the rotation, in order.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=3
	Phases []PhaseStatus `json:"phases,omitempty"`
}

// GenerationStatus is one key of a CA.
type GenerationStatus struct {
	// number counts the keys.
	// +required
	// +kubebuilder:validation:Minimum=1
	Number int32 `json:"number,omitempty"`

	// state is 'Trusted', 'Active', 'Retiring' or 'Withdrawn'.
	// +required
	// +kubebuilder:validation:Enum=Trusted;Active;Retiring;Withdrawn
	State GenerationState `json:"state,omitempty"`

	// sha256Fingerprint is the SHA-256 of its certificate, in lower-case hexadecimal.
	// +optional
	// +kubebuilder:validation:MinLength=64
	// +kubebuilder:validation:MaxLength=64
	SHA256Fingerprint string `json:"sha256Fingerprint,omitempty"`

	// notAfter is when its certificate expires; of an imported CA, when the first certificate of its chain does.
	// +optional
	NotAfter metav1.Time `json:"notAfter,omitempty,omitzero"`

	// trigger is spec.rotation.trigger, where a change of it asked for this key.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Trigger string `json:"trigger,omitempty"`
}

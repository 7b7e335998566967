package v1alpha1

// Reasons of pending consumers, in status.rotation.pending, beside those of the conditions TrustAcknowledged and Serving.
const (
	// PendingNotIssued is of a consumer whose Secret does not hold yet what the phase asks for.
	PendingNotIssued = "NotIssued"
	// PendingPropagating is of one whose mounted Secrets hold it for less than delivery.propagationDelay.
	PendingPropagating = "Propagating"
	// PendingAwaitingWave is of one whose certificate is not to be re-issued yet: spec.rotation.maxUnavailable.
	PendingAwaitingWave = "AwaitingWave"
	// PendingNotAcknowledged is of one that a person has to acknowledge, in delivery.acknowledged.
	PendingNotAcknowledged = "NotAcknowledged"
	// PendingOrphaned is of a Secret that no object names any more: nobody knows whether it is in use.
	PendingOrphaned = "Orphaned"
	// PendingNotRotated is of a subordinate CA that still has a certificate of the old key.
	PendingNotRotated = "NotRotated"
	// PendingSettling stands for consumers that may not be there yet: nobody depends on the CA, or it was restored just now.
	PendingSettling = "Settling"
	// PendingUnknownDelivery is of one whose delivery.mode this version of the operator does not know.
	PendingUnknownDelivery = "UnknownDelivery"
)

// ClaimAnnotation says, under the operator's seal, for which object it made a Secret, ConfigMap or Lease, and what that was
// rendered from. An object without it, or with one that was changed or copied, is not the operator's.
const ClaimAnnotation = "clusterpki.io/claim"

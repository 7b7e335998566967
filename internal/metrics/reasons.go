package metrics

import (
	"slices"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki/plan"
)

// reasons are all that the label 'reason' of a condition may say, sorted: a status can be written by others too, and must
// not fill Prometheus.
var reasons = allReasons()

// otherReason stands for what is not known.
const otherReason = "Other"

// known is a reason, or 'Other'.
func known(reason string) string {
	if _, ok := slices.BinarySearch(reasons, reason); ok {
		return reason
	}
	return otherReason
}

func allReasons() []string {
	out := []string{
		v1alpha1.ReasonIssued, v1alpha1.ReasonIssuerNotFound, v1alpha1.ReasonIssuerNotReady, v1alpha1.ReasonIssuerExpiring,
		v1alpha1.ReasonIssuerAvailable, v1alpha1.ReasonCAKeyMissing, v1alpha1.ReasonCAKeyInvalid, v1alpha1.ReasonLedgerUnreadable,
		v1alpha1.ReasonLedgerOutdated, v1alpha1.ReasonNotCrossSigned, v1alpha1.ReasonSecretConflict, v1alpha1.ReasonSubjectEqualsIssuer,
		v1alpha1.ReasonEndpointNotCovered, v1alpha1.ReasonClientCANotTrusted, v1alpha1.ReasonServiceAccountKeyInvalid,
		v1alpha1.ReasonServiceAccountKeyNotFound, v1alpha1.ReasonInvalidSpec, v1alpha1.ReasonNotUsable, v1alpha1.ReasonRetrying,
		v1alpha1.ReasonCAExpiresFirst, v1alpha1.ReasonRenewalDue, v1alpha1.ReasonImportInvalid, v1alpha1.ReasonParentNotReady,
		v1alpha1.ReasonEmergency, v1alpha1.ReasonAsExpected, v1alpha1.ReasonUnreachable, v1alpha1.ReasonWrongCertificate,
		v1alpha1.ReasonMissingClientCA, v1alpha1.ReasonLeaseExpired, v1alpha1.ReasonAgentNotStarted, v1alpha1.ReasonAcknowledgmentInvalid,
		v1alpha1.ReasonAgentProblem, v1alpha1.ReasonCredentialNotRenewed, v1alpha1.ReasonNotInstalled, v1alpha1.ReasonNotInUse, v1alpha1.ReasonInUse,
		v1alpha1.ReasonRequestMissing, v1alpha1.ReasonHostKeyNotApproved,
		v1alpha1.ReasonRequestRefused, v1alpha1.ReasonSecretTypeDiffers, v1alpha1.ReasonHostIdentity,
		v1alpha1.ReasonSignatureInvalid, v1alpha1.ReasonForeignPKI, v1alpha1.ReasonDeliveryOutdated, v1alpha1.ReasonDeliveryAhead,
		v1alpha1.ReasonRestoreIncomplete, v1alpha1.ReasonAuthorityMissing, v1alpha1.ReasonAuthorityRetained, v1alpha1.ReasonAuthorityNotReady,
		v1alpha1.ReasonNamespaceReserved, v1alpha1.ReasonKeyInUse, v1alpha1.ReasonKeyPending, v1alpha1.ReasonRepairDelayed, v1alpha1.ReasonImportChanged,
		v1alpha1.ReasonImportUnchanged, v1alpha1.ReasonTakenUp,
		v1alpha1.ReasonLabelStripped, v1alpha1.ReasonPolicyDenied, v1alpha1.ReasonClientCAShared,
		v1alpha1.ReasonLabelStripped, v1alpha1.ReasonAssumed, v1alpha1.ReasonWriteRefused,
		v1alpha1.ReasonKeyRetained, v1alpha1.ReasonTokensLeft, v1alpha1.ReasonTokensUnlisted, v1alpha1.ReasonAwaitingTurn,
		v1alpha1.ReasonBootstrapNever, v1alpha1.ReasonAPIServerAnswers, v1alpha1.ReasonAgentsNotReady, v1alpha1.ReasonAgentAccountConflict,
		v1alpha1.ReasonTargetAccessMissing, v1alpha1.ReasonChildConflict, v1alpha1.ReasonForeignField, v1alpha1.ReasonChildrenPending,
		v1alpha1.ReasonConfirmationRequired, string(v1alpha1.KeyDistributingTrust), string(v1alpha1.KeySwitchingSigner),
	}
	for _, r := range plan.Causes {
		out = append(out, string(r))
	}
	for _, r := range rotationReasons {
		out = append(out, string(r))
	}
	for _, p := range append(v1alpha1.Phases(), v1alpha1.PhaseCompleted) {
		out = append(out, string(p))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

var rotationReasons = []v1alpha1.RotationReason{
	v1alpha1.RotationSpecChanged, v1alpha1.RotationTriggerChanged, v1alpha1.RotationRenewalDue, v1alpha1.RotationParentRotated,
}

// conditionTypes are all that the label 'condition' may say.
var conditionTypes = []string{
	v1alpha1.ReadyCondition, v1alpha1.ReconcilingCondition, v1alpha1.StalledCondition, v1alpha1.IssuerReadyCondition,
	v1alpha1.RotationPendingCondition, v1alpha1.RedeliveryRequiredCondition, v1alpha1.ServingCondition,
	v1alpha1.TrustAcknowledgedCondition, v1alpha1.AgentCredentialExpiringCondition, v1alpha1.RotatingCondition,
	v1alpha1.RotationBlockedCondition, v1alpha1.WithdrawalPendingCondition,
	v1alpha1.KeyRemovalDueCondition, v1alpha1.ValidityCappedCondition, v1alpha1.IdentityWarningCondition,
	v1alpha1.HostsUpToDateCondition, v1alpha1.RemovalPendingCondition, v1alpha1.EndpointPendingCondition,
}

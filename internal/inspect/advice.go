package inspect

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
)

// byReason is what to do where a condition is bad news for a reason.
var byReason = map[string]string{
	v1alpha1.ReasonIssuerNotFound: "create the object that the spec names, or correct the name; it is looked for in the same namespace",
	v1alpha1.ReasonIssuerNotReady: "look at the ClusterCA: inspect clusterca/NAME says what it waits for",
	v1alpha1.ReasonIssuerExpiring: "rotate the ClusterCA: rotate NAME says how",
	v1alpha1.ReasonCAKeyMissing: "restore the Secret that the message names, in the authority namespace, from a backup; " +
		"if there is none, rotate the CA",
	v1alpha1.ReasonCAKeyInvalid:      "restore the Secret that the message names, in the authority namespace, from a backup: somebody changed it",
	v1alpha1.ReasonRestoreIncomplete: "restore the rest of the backup; if there is none, remove the marks of the restore, as the message says",
	v1alpha1.ReasonLedgerUnreadable:  "restore the Secret that the message names, in the authority namespace, from a backup",
	v1alpha1.ReasonLedgerOutdated:    "restore the newer Secret of the CA in the authority namespace: an old backup has taken its place",
	v1alpha1.ReasonAuthorityMissing: "restore the Secret that the message names, in the authority namespace, from a backup; " +
		"the message says how to start with another CA without one",
	v1alpha1.ReasonAuthorityRetained: "if the CA is this namespace's, whoever administers PKI runs clusterpki authority release NAMESPACE/NAME; " +
		"else choose another name",
	v1alpha1.ReasonAuthorityNotReady: "look at the authority namespace: the message says what is missing there",
	v1alpha1.ReasonNamespaceReserved: "create the object in another namespace",
	v1alpha1.ReasonRepairDelayed:     "see in the audit log who writes or deletes the Secret; repairs go on by themselves, at once where the spec is edited",
	v1alpha1.ReasonKeyPending:        "wait: RSA keys are made one after another; an ECDSA key is made at once",
	v1alpha1.ReasonKeyInUse:          "import a CA whose key no other ClusterCA has, or refer to that ClusterCA",
	v1alpha1.ReasonImportChanged: "if the new chain is right, name it in source.import.certificateSHA256 and rootSHA256; else " +
		"put the former one back into the Secret",
	v1alpha1.ReasonTakenUp:                   "change spec back, or have the CA rotated: clusterpki rotate NAME -n NAMESPACE",
	v1alpha1.ReasonImportUnchanged:           "put another CA into the Secret, and name it in source.import.certificateSHA256 and rootSHA256",
	v1alpha1.ReasonLabelStripped:             "exempt what bears the label clusterpki.io/managed from the policy or webhook that takes it off",
	v1alpha1.ReasonSecretConflict:            "rename or delete the object of that name, which is somebody else's, or choose another secretName in the spec",
	v1alpha1.ReasonSubjectEqualsIssuer:       "give the ClusterCA another subject.commonName, or the object another host name",
	v1alpha1.ReasonEndpointNotCovered:        "add the host of the endpoint to dnsNames or ipAddresses of the APIServerCertificate, or correct the endpoint",
	v1alpha1.ReasonClientCANotTrusted:        "add the ClusterCA of the credential to clientCARefs of the APIServerCertificate",
	v1alpha1.ReasonClientCAShared:            "name a ClusterCA with a root of its own in requestHeaderCARef",
	v1alpha1.ReasonPolicyDenied:              "change the field that the message names, or have whoever may change spec.policy of that ClusterCA allow it",
	v1alpha1.ReasonServiceAccountKeyInvalid:  "restore the Secret that the message names, in the authority namespace, from a backup: somebody changed it",
	v1alpha1.ReasonServiceAccountKeyNotFound: "create the ServiceAccountKey that the spec names, or correct the name; it is looked for in the same namespace",
	v1alpha1.ReasonKeyRetained:               "nothing, unless tokens that live longer are in use: raise spec.retainOldKeyFor",
	v1alpha1.ReasonTokensLeft: "in the target cluster, delete the Secrets that the message names, and create them anew; " +
		"or name in spec.acceptTokenLoss those that may end",
	v1alpha1.ReasonTokensUnlisted: "let the agent of one API server list Secrets in the target cluster, " +
		"or look there yourself and write '*' into spec.acceptTokenLoss",
	v1alpha1.ReasonAwaitingTurn:        "wait: hosts restart one after the other; look at the one before it",
	v1alpha1.ReasonTargetAccessMissing: "deliver a NodeCredential of role ControllerManager to the host, or give its user the rights that the message names",
	v1alpha1.ReasonChildConflict: "delete or rename the object that the message names, which the ClusterPKI did not make; " +
		"or give the ClusterPKI another name",
	v1alpha1.ReasonForeignField: "take the field out of the object, where the manager that the message names sets it; " +
		"or set it in the ClusterPKI",
	v1alpha1.ReasonChildrenPending: "wait; if it lasts, look at the object that the message names",
	v1alpha1.ReasonConfirmationRequired: "put the hosts back into the lists; or, if they are to go, name them in spec.removal.confirmed, " +
		"as the message says",
	v1alpha1.ReasonInvalidSpec:  "correct the spec as the message says",
	v1alpha1.ReasonNotUsable:    "the operator re-issues what cannot be used as soon as it can: the other conditions say what it waits for",
	v1alpha1.ReasonWriteRefused: "change what refuses the write, as the message says: a quota, an admission policy or a webhook",
	v1alpha1.ReasonRetrying:     "nothing, if it ends by itself; else look at the operator's log and at what its role allows",
	v1alpha1.ReasonRenewalDue: "put a new CA into the Secret from which it is imported, and name it in " +
		"source.import.certificateSHA256 and rootSHA256",
	v1alpha1.ReasonBootstrapNever:   "restore the CAs from a backup, or import them; or set spec.bootstrap, where this is to be a new cluster",
	v1alpha1.ReasonAPIServerAnswers: "import the CAs of the cluster that is there, or correct spec.endpoint",
	v1alpha1.ReasonImportInvalid:    "change the Secret that the spec names, or source.import, as the message says",
	v1alpha1.ReasonParentNotReady:   "look at the parent CA: inspect clusterca/NAME says what it waits for",
	v1alpha1.ReasonAssumed:          "see that the consumers use their new certificates, then approve: the message says what to write",
	v1alpha1.ReasonEmergency:        "carry what was re-issued to the consumers that the message names",
	v1alpha1.ReasonUnreachable:      "look whether the API server runs, whether spec.probe names its address, and whether a network policy is between",
	v1alpha1.ReasonWrongCertificate: "look whether the API server reads the certificate that was delivered, and whether spec.probe names its address",
	v1alpha1.ReasonMissingClientCA: "look whether the API server reads the bundle that was delivered: --client-ca-file, " +
		"--requestheader-client-ca-file",
	v1alpha1.ReasonLeaseExpired:         "look at the agent on the host: journalctl -u clusterpki-agent",
	v1alpha1.ReasonAgentNotStarted:      "install the agent on the host and start it: see docs/agent.md",
	v1alpha1.ReasonAgentAccountConflict: "delete the ServiceAccount that the message names: the operator makes its own; then see who could make that one",
	v1alpha1.ReasonAgentsNotReady:       "install the operator's manifests again: the agents' namespace is among them",
	v1alpha1.ReasonAcknowledgmentInvalid: "look who else may write the Lease, and whether the agent on the host has installed what is issued: " +
		"journalctl -u clusterpki-agent",
	v1alpha1.ReasonAgentProblem: "the message is the agent's own; its log on the host has more: journalctl -u clusterpki-agent",
	v1alpha1.ReasonCredentialNotRenewed: "see that the ServiceAccount and the Role of the host's agent are there, or bring a new token with " +
		"agent install -n NAMESPACE --host HOST --token-only before the present one ends",
	v1alpha1.ReasonNotInstalled:       "wait for the agent; if it stays, look at its log on the host",
	v1alpha1.ReasonNotInUse:           "wait until every component on the host has reloaded its files, or restart the one that does not",
	v1alpha1.ReasonRequestMissing:     "start the agent on the host, or put the certificate signing request into spec.request",
	v1alpha1.ReasonHostKeyNotApproved: "write the digest that the agent logs on the host into spec.hostKeySHA256",
	v1alpha1.ReasonRequestRefused:     "make the certificate signing request again, as the message says",
	v1alpha1.ReasonSecretTypeDiffers:  "delete the Secret that the message names: it is made again with the right type",
	v1alpha1.ReasonHostIdentity:       "prefer a role for each component: role Host shares one identity, and NodeRestriction does not hold it",
	v1alpha1.ReasonForeignPKI: "see who has made the credential one of another CA; if that is meant, write the digest that the message names into " +
		"replacePKI of the agent's configuration on the host",
	v1alpha1.ReasonSignatureInvalid: "somebody else has changed what the message names, and the operator repairs it: see who may write Secrets there",
	v1alpha1.ReasonDeliveryOutdated: "an older state of the Secret was put back: the operator signs it again by itself, else delete the Secret; if the " +
		"message says that a later delivery key has signed and it stays, run authority rotate-delivery-key -n NAMESPACE --now, " +
		"and write each agent's configuration anew",
	v1alpha1.ReasonDeliveryAhead: "set the host's or the operator's clock right; if both are, somebody else has the delivery key: change that",
}

// byType is what to do where the reason has nothing of its own.
var byType = map[string]string{
	v1alpha1.ReadyCondition:              "the other conditions say what it waits for; if there are none, look whether the operator is running",
	v1alpha1.StalledCondition:            "change what the message names: the operator cannot go on by itself",
	v1alpha1.RotationBlockedCondition:    "see whom the rotation waits for: rotate NAME --watch names them",
	v1alpha1.RedeliveryRequiredCondition: "carry what was re-issued to the consumers that the message names",
	v1alpha1.IssuerReadyCondition:        "look at the object that the message names",
}

// goodIf is the status in which a condition is no bad news; conditions that are not named are never any.
var goodIf = map[string]metav1.ConditionStatus{
	v1alpha1.ReadyCondition: metav1.ConditionTrue, v1alpha1.IssuerReadyCondition: metav1.ConditionTrue,
	v1alpha1.ServingCondition: metav1.ConditionTrue, v1alpha1.TrustAcknowledgedCondition: metav1.ConditionTrue,
	v1alpha1.StalledCondition: metav1.ConditionFalse, v1alpha1.ReconcilingCondition: metav1.ConditionFalse,
	v1alpha1.RedeliveryRequiredCondition: metav1.ConditionFalse, v1alpha1.RotationBlockedCondition: metav1.ConditionFalse,
	v1alpha1.RotationPendingCondition: metav1.ConditionFalse, v1alpha1.WithdrawalPendingCondition: metav1.ConditionFalse,
	v1alpha1.KeyRemovalDueCondition: metav1.ConditionFalse, v1alpha1.RemovalPendingCondition: metav1.ConditionFalse,
	v1alpha1.AgentCredentialExpiringCondition: metav1.ConditionFalse, v1alpha1.EndpointPendingCondition: metav1.ConditionFalse,
	v1alpha1.HostsUpToDateCondition:   metav1.ConditionTrue,
	v1alpha1.IdentityWarningCondition: metav1.ConditionFalse,
}

// bad says whether a condition is bad news.
func bad(kind, status string) bool {
	good, judged := goodIf[kind]
	return judged && status != string(good)
}

// next is what to do about a condition, "" for nothing.
func next(c metav1.Condition) string {
	if !bad(c.Type, string(c.Status)) {
		return ""
	}
	if text := byReason[c.Reason]; text != "" {
		return text
	}
	return byType[c.Type]
}

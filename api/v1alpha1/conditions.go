package v1alpha1

// Condition types. Ready is always present; the others only where they apply.
const (
	// ReadyCondition says whether what is published is usable now. A renewal that is due or under way
	// does not change it.
	ReadyCondition = "Ready"
	// ReconcilingCondition surfaces while the operator is retrying.
	ReconcilingCondition = "Reconciling"
	// StalledCondition surfaces when only a change by a person can help; what was issued stays in place.
	StalledCondition = "Stalled"
	// IssuerReadyCondition says whether what the object refers to is there: the CA that has to sign, the API
	// server of a kubeconfig, and the CAs whose bundles are published with it.
	IssuerReadyCondition = "IssuerReady"
	// RotationPendingCondition surfaces when a ClusterCA should be rotated and only a person can do that: an
	// imported CA has reached its renewal time.
	RotationPendingCondition = "RotationPending"
	// RedeliveryRequiredCondition surfaces when a CA was distrusted at once and consumers are not known to have
	// the new certificates and bundles; the message names them.
	RedeliveryRequiredCondition = "RedeliveryRequired"
	// ServingCondition says whether an API server was seen to serve the certificate that is in its Secret, and to
	// trust the clients that it should; only where spec.probe is set.
	ServingCondition = "Serving"
	// TrustAcknowledgedCondition says, for delivery.mode 'Agent', whether the agent on the host has seen everything in
	// use that is issued now. Message and reason say what is missing.
	TrustAcknowledgedCondition = "TrustAcknowledged"
	// AgentCredentialExpiringCondition surfaces when the agent of a host has not renewed its token for the management cluster, and less than a third of
	// its life is left; the message says for how long it was granted.
	AgentCredentialExpiringCondition = "AgentCredentialExpiring"
	// RotatingCondition surfaces while a ClusterCA is being rotated; its reason is the phase.
	RotatingCondition = "Rotating"
	// RotationBlockedCondition surfaces when a phase of a rotation has waited for longer than
	// spec.rotation.progressDeadline.
	RotationBlockedCondition = "RotationBlocked"
	// WithdrawalPendingCondition surfaces when nothing but assumptions is missing before the old CA of a rotation is withdrawn:
	// a person has to accept them. Both CAs are trusted meanwhile, and that hurts nobody.
	WithdrawalPendingCondition = "WithdrawalPending"
	// KeyRemovalDueCondition surfaces thirty days before a service account key that signs nothing any more leaves 'sa.pub', and for as long as
	// tokens that never end keep it; the message names them.
	KeyRemovalDueCondition = "KeyRemovalDue"
	// ValidityCappedCondition surfaces when a certificate ends earlier than requested, together with its CA.
	ValidityCappedCondition = "ValidityCapped"
	// HostsUpToDateCondition says, of a ClusterPKI, whether every host uses what is issued for it.
	HostsUpToDateCondition = "HostsUpToDate"
	// RemovalPendingCondition surfaces when hosts have left the lists of a ClusterPKI and are not removed until a person confirms that; the message
	// names what to write.
	RemovalPendingCondition = "RemovalPending"
	// EndpointPendingCondition surfaces while the kubeconfigs of a ClusterPKI name a former endpoint, because not every API server serves a certificate for
	// that of the spec yet.
	EndpointPendingCondition = "EndpointPending"
	// IdentityWarningCondition surfaces for an identity that weakens the cluster, such as role 'Host'.
	IdentityWarningCondition = "IdentityWarning"
)

// Condition reasons, beside those of package plan, which say why a certificate was or must be issued.
const (
	// ReasonIssued surfaces when a certificate is in place and usable.
	ReasonIssued = "Issued"
	// ReasonIssuerNotFound surfaces when the ClusterCA or APIServerCertificate that is named does not exist.
	ReasonIssuerNotFound = "IssuerNotFound"
	// ReasonIssuerNotReady surfaces when the ClusterCA has no key yet.
	ReasonIssuerNotReady = "IssuerNotReady"
	// ReasonIssuerExpiring surfaces when the ClusterCA has too little life left to sign anything.
	ReasonIssuerExpiring = "IssuerExpiring"
	// ReasonIssuerAvailable surfaces when the ClusterCA can sign.
	ReasonIssuerAvailable = "IssuerAvailable"
	// ReasonCAKeyMissing surfaces when the authority namespace has lost the active key of a CA.
	ReasonCAKeyMissing = "CAKeyMissing"
	// ReasonCAKeyInvalid surfaces when the authority namespace holds something else than the ledger of a CA says.
	ReasonCAKeyInvalid = "CAKeyInvalid"
	// ReasonLedgerUnreadable surfaces when the authority namespace has a CA whose ledger cannot be read.
	ReasonLedgerUnreadable = "LedgerUnreadable"
	// ReasonLedgerOutdated surfaces when a CA's ledger is older than what was published already.
	ReasonLedgerOutdated = "LedgerOutdated"
	// ReasonAuthorityMissing surfaces when a CA was there before, and the authority namespace does not have it.
	ReasonAuthorityMissing = "AuthorityMissing"
	// ReasonAuthorityRetained surfaces when the authority namespace keeps a CA of the name that another namespace held.
	ReasonAuthorityRetained = "AuthorityRetained"
	// ReasonAuthorityNotReady surfaces when the authority namespace is not there, or may not be used.
	ReasonAuthorityNotReady = "AuthorityNotReady"
	// ReasonNamespaceReserved surfaces for an object in the operator's own namespace, in the authority namespace or in that of the agents.
	ReasonNamespaceReserved = "NamespaceReserved"
	// ReasonKeyInUse surfaces when a CA is to be imported whose key another ClusterCA has.
	ReasonKeyInUse = "KeyInUse"
	// ReasonImportChanged surfaces when the Secret of an imported CA holds another one than the spec names.
	ReasonImportChanged = "ImportChanged"
	// ReasonTakenUp surfaces when a ClusterCA has taken up a CA that was retained and was made for another spec: that alone does not rotate it.
	ReasonTakenUp = "TakenUp"
	// ReasonImportUnchanged surfaces when rotation.trigger of an imported CA was changed, and its Secret holds the same CA as before.
	ReasonImportUnchanged = "ImportUnchanged"
	// ReasonRestoreIncomplete surfaces when an object was restored from a backup, and what was made for it was not.
	ReasonRestoreIncomplete = "RestoreIncomplete"
	// ReasonNotCrossSigned surfaces, as an event, when a new CA cannot be cross-signed by the old one.
	ReasonNotCrossSigned = "NotCrossSigned"
	// ReasonSecretConflict surfaces when a Secret or ConfigMap of the wanted name is not this object's.
	ReasonSecretConflict = "SecretConflict"
	// ReasonLabelStripped surfaces when something takes the operator's label off what it writes.
	ReasonLabelStripped = "LabelStripped"
	// ReasonSubjectEqualsIssuer surfaces when a leaf asks for the name of its CA.
	ReasonSubjectEqualsIssuer = "SubjectEqualsIssuer"
	// ReasonEndpointNotCovered surfaces when no SAN covers the host of the endpoint.
	ReasonEndpointNotCovered = "EndpointNotCovered"
	// ReasonClientCANotTrusted surfaces when the API server does not authenticate clients of the
	// credential's CA.
	ReasonClientCANotTrusted = "ClientCANotTrusted"
	// ReasonClientCAShared surfaces when the CA of an API server's front proxy has a key in common with one that signs its ordinary clients.
	ReasonClientCAShared = "ClientCAShared"
	// ReasonServiceAccountKeyInvalid surfaces when the keys of a ServiceAccountKey cannot be read or used; the message says which.
	ReasonServiceAccountKeyInvalid = "ServiceAccountKeyInvalid"
	// ReasonServiceAccountKeyNotFound surfaces when the ServiceAccountKey that an APIServerCertificate names does not exist, or has no key yet.
	ReasonServiceAccountKeyNotFound = "ServiceAccountKeyNotFound"
	// ReasonKeyRetained surfaces, for KeyRemovalDue, when the time of a service account key has not come, or nobody has told that it is
	// needed.
	ReasonKeyRetained = "KeyRetained"
	// ReasonTokensLeft surfaces, for KeyRemovalDue, when tokens that never end were signed by an earlier service account key.
	ReasonTokensLeft = "TokensLeft"
	// ReasonTokensUnlisted surfaces, for KeyRemovalDue, when nobody has listed the tokens that never end.
	ReasonTokensUnlisted = "TokensUnlisted"
	// ReasonAwaitingTurn surfaces for a host that is to restart a component with other service account keys, or another trust bundle, once the one before it
	// has done so; and for a ClusterPKI whose edit is carried out on some hosts first.
	ReasonAwaitingTurn = "AwaitingTurn"
	// ReasonTargetAccessMissing begins what an agent reports when it has no identity by which it can see what the API server on its host has loaded.
	ReasonTargetAccessMissing = "TargetAccessMissing"
	// ReasonInvalidSpec surfaces when the spec asks for something that cannot be issued.
	ReasonInvalidSpec = "InvalidSpec"
	// ReasonPolicyDenied surfaces when spec.policy of the ClusterCA, or of one above it, does not allow what the spec asks for, or a
	// certificate would do for an API server.
	ReasonPolicyDenied = "PolicyDenied"
	// ReasonNotUsable surfaces when the certificate cannot be used now; the message says why.
	ReasonNotUsable = "NotUsable"
	// ReasonRetrying surfaces when the API server refused or did not answer; the message says what.
	ReasonRetrying = "Retrying"
	// ReasonWriteRefused surfaces when the API server refuses for good what the operator writes: a quota, a policy, a webhook.
	ReasonWriteRefused = "WriteRefused"
	// ReasonCAExpiresFirst surfaces when a certificate was cut to the end of its CA.
	ReasonCAExpiresFirst = "CAExpiresFirst"
	// ReasonRenewalDue surfaces when an imported CA has reached the time at which it should be rotated.
	ReasonRenewalDue = "RenewalDue"
	// ReasonImportInvalid surfaces when the Secret from which a CA or service account keys are imported is missing, or holds nothing that could be used.
	ReasonImportInvalid = "ImportInvalid"
	// ReasonParentNotReady surfaces when the parent CA of an intermediate CA cannot sign it.
	ReasonParentNotReady = "ParentNotReady"
	// ReasonEmergency surfaces while what an emergency rotation of a CA cut off is not redelivered.
	ReasonEmergency = "Emergency"
	// ReasonAsExpected surfaces when every address of an API server serves its certificate and accepts its clients.
	ReasonAsExpected = "AsExpected"
	// ReasonUnreachable surfaces while an address of an API server does not answer, twice in a row, as an API server does.
	ReasonUnreachable = "Unreachable"
	// ReasonWrongCertificate surfaces when an address of an API server serves another certificate than its Secret holds.
	ReasonWrongCertificate = "WrongCertificate"
	// ReasonMissingClientCA surfaces when an address of an API server does not accept the clients of a CA that its Secret
	// names, or others than another address does.
	ReasonMissingClientCA = "MissingClientCA"
	// ReasonLeaseExpired surfaces when the agent of a host has not renewed its Lease for longer than delivery.leaseDuration.
	ReasonLeaseExpired = "LeaseExpired"
	// ReasonAgentNotStarted surfaces when no agent of a host has reported anything yet.
	ReasonAgentNotStarted = "AgentNotStarted"
	// ReasonAcknowledgmentInvalid surfaces when what the Lease of an agent states is not signed by the key of a certificate that was issued for
	// the object: it counts for nothing.
	ReasonAcknowledgmentInvalid = "AcknowledgmentInvalid"
	// ReasonCredentialNotRenewed surfaces, for AgentCredentialExpiring, when the management cluster grants the agent of a host no further token; the
	// message says why.
	ReasonCredentialNotRenewed = "CredentialNotRenewed"
	// ReasonAgentProblem surfaces when the agent of a host says why it cannot install what is issued.
	ReasonAgentProblem = "AgentProblem"
	// ReasonSignatureInvalid begins what an agent reports of a Secret that holds something else than the operator has signed for the object.
	// Nothing of it is installed.
	ReasonSignatureInvalid = "SignatureInvalid"
	// ReasonForeignPKI begins what an agent reports of a trust bundle that is of another CA than the one on its host, without a key in common. Nothing of it
	// is installed until a person says so on the host.
	ReasonForeignPKI = "ForeignPKI"
	// ReasonDeliveryOutdated begins what an agent reports of a Secret that holds something older than what is installed. Nothing of it is installed.
	ReasonDeliveryOutdated = "DeliveryOutdated"
	// ReasonDeliveryAhead begins what an agent reports of a Secret that was signed as of a time which is yet to come. Nothing of it is installed: nothing
	// earlier could be afterwards.
	ReasonDeliveryAhead = "DeliveryAhead"
	// ReasonNotInstalled surfaces when the agent of a host has not yet installed what is issued.
	ReasonNotInstalled = "NotInstalled"
	// ReasonNotInUse surfaces when the agent of a host has installed what is issued, and not yet seen it in use.
	ReasonNotInUse = "NotInUse"
	// ReasonInUse surfaces when the agent of a host has seen in use what is issued.
	ReasonInUse = "InUse"
	// ReasonRepairDelayed surfaces while somebody else changes or deletes a Secret again and again: certificates are issued into it ever more slowly.
	ReasonRepairDelayed = "RepairDelayed"
	// ReasonKeyPending surfaces while an RSA key is being made.
	ReasonKeyPending = "KeyPending"
	// ReasonRequestMissing surfaces when a credential whose key is on its host has no certificate signing request.
	ReasonRequestMissing = "RequestMissing"
	// ReasonHostKeyNotApproved surfaces when the agent of a host asks for a certificate for a key that neither a person has approved nor the
	// key of the certificate in force has signed.
	ReasonHostKeyNotApproved = "HostKeyNotApproved"
	// ReasonRequestRefused surfaces when a certificate signing request asks for something else than the credential.
	ReasonRequestRefused = "RequestRefused"
	// ReasonSecretTypeDiffers surfaces when a Secret would have to change its type, which Kubernetes does not allow.
	ReasonSecretTypeDiffers = "SecretTypeDiffers"
	// ReasonAssumed surfaces when consumers are only assumed to use what their mounted Secrets hold.
	ReasonAssumed = "Assumed"
	// ReasonChildConflict surfaces when an object of the name of a ClusterPKI's child is there, and the ClusterPKI did not make it.
	ReasonChildConflict = "ChildConflict"
	// ReasonBootstrapNever surfaces when a ClusterPKI has no CA or no service account key, and spec.bootstrap forbids to make the first one.
	ReasonBootstrapNever = "BootstrapNever"
	// ReasonAPIServerAnswers surfaces when a ClusterPKI has no CA yet, and an API server answers at its endpoint.
	ReasonAPIServerAnswers = "APIServerAnswers"
	// ReasonForeignField surfaces when somebody else has set a field of a ClusterPKI's child; the message names the field and who manages it.
	ReasonForeignField = "ForeignField"
	// ReasonChildrenPending surfaces while objects of a ClusterPKI are still to be made, changed or removed, or are not Ready yet.
	ReasonChildrenPending = "ChildrenPending"
	// ReasonConfirmationRequired surfaces when hosts are not removed until they are named in spec.removal.confirmed.
	ReasonConfirmationRequired = "ConfirmationRequired"
	// ReasonAgentAccountConflict surfaces, as an event and in the message of TrustAcknowledged, when a ServiceAccount of the name of a
	// host's agent is there, and the operator did not make it.
	ReasonAgentAccountConflict = "AgentAccountConflict"
	// ReasonAgentsNotReady surfaces, as an event and in the message of TrustAcknowledged, when the agents' namespace is not there.
	ReasonAgentsNotReady = "AgentsNotReady"
	// ReasonHostIdentity surfaces for role 'Host'.
	ReasonHostIdentity = "HostIdentity"
)

// Labels and annotations of generated objects. Labels select, annotations record facts.
const (
	// ManagedLabel and ManagedValue mark every object that the operator makes; it caches and lists no others. It is a
	// label of our own, because other tools set and change the common ones.
	ManagedLabel = "clusterpki.io/managed"
	ManagedValue = "true"
	// ManagedByLabel and ManagedByValue tell people and tools whose object it is. Nothing is selected by it, and it is
	// not repaired.
	ManagedByLabel = "app.kubernetes.io/managed-by"
	ManagedByValue = "clusterpki"
	// OwnerKindLabel is the kind of the object that it was made for.
	OwnerKindLabel = "clusterpki.io/owner-kind"
	// OwnerAnnotation is '<kind>/<name>' of that object. It outlives an owner reference, which a backup
	// tool may strip, and a label could not hold a name of more than 63 characters.
	OwnerAnnotation = "clusterpki.io/owner"
	// AgentAnnotation is '<namespace>/<host>' on what the operator makes for the agent of a host: its ServiceAccount, Roles and RoleBindings. It
	// proves nothing.
	AgentAnnotation = "clusterpki.io/agent"
	// ReportAnnotation is, on a Lease, what the agent of a host says: see package ack.
	ReportAnnotation = "clusterpki.io/report"
	// ReportSignatureAnnotation is, beside the report, its signature by the key of the certificate that the agent has installed.
	ReportSignatureAnnotation = "clusterpki.io/report-signature"
	// ClusterLabel is, on the objects that a ClusterPKI makes, its name: for people who select by it. It proves nothing.
	ClusterLabel = "clusterpki.io/cluster"
	// NonceAnnotation is, on such an object, by what the ClusterPKI knows it again until its UID is recorded.
	NonceAnnotation = "clusterpki.io/nonce"
	// CSRAnnotation is, on a Lease, the certificate signing request of the agent of a host, in PEM.
	CSRAnnotation = "clusterpki.io/csr"
)

// Marks of an object that a backup tool restored: what was made for it exists, and no other is made in its place.
const (
	// VeleroRestoreLabel is what Velero puts on everything that it restores.
	VeleroRestoreLabel = "velero.io/restore-name"
	// RestoredAnnotation is for other tools, and for manifests in Git. Any value will do.
	RestoredAnnotation = "clusterpki.io/restored"
)

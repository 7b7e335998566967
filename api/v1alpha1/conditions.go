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
	// ReplacementPendingCondition surfaces when a ClusterCA's certificate is no longer what its spec
	// asks for, or due for replacement, and the operator does not replace CAs.
	ReplacementPendingCondition = "ReplacementPending"
	// RotatingCondition surfaces while a ClusterCA is being replaced; its reason is the phase.
	RotatingCondition = "Rotating"
	// RotationBlockedCondition surfaces when a phase of a replacement has waited for longer than
	// spec.rotation.timeout.
	RotationBlockedCondition = "RotationBlocked"
	// ValidityCappedCondition surfaces when a certificate ends earlier than requested, together with its CA.
	ValidityCappedCondition = "ValidityCapped"
	// IdentityWarningCondition surfaces for an identity that weakens the cluster, such as role 'Host'.
	IdentityWarningCondition = "IdentityWarning"
)

// Condition reasons, beside those of package plan, which say why a certificate was or must be issued.
const (
	// ReasonIssued surfaces when a certificate is in place and usable.
	ReasonIssued = "Issued"
	// ReasonIssuerNotFound surfaces when the ClusterCA or APIServerCertificate that is named does not exist.
	ReasonIssuerNotFound = "IssuerNotFound"
	// ReasonIssuerNotReady surfaces when the ClusterCA has not published a signing generation yet.
	ReasonIssuerNotReady = "IssuerNotReady"
	// ReasonIssuerExpiring surfaces when the ClusterCA has too little life left to sign anything.
	ReasonIssuerExpiring = "IssuerExpiring"
	// ReasonIssuerAvailable surfaces when the ClusterCA can sign.
	ReasonIssuerAvailable = "IssuerAvailable"
	// ReasonCAKeyMissing surfaces when the ledger names a generation Secret that is gone.
	ReasonCAKeyMissing = "CAKeyMissing"
	// ReasonCAKeyInvalid surfaces when a generation Secret holds something else than the ledger says.
	ReasonCAKeyInvalid = "CAKeyInvalid"
	// ReasonLedgerUnreadable surfaces when the trust ConfigMap's ledger cannot be read.
	ReasonLedgerUnreadable = "LedgerUnreadable"
	// ReasonSecretConflict surfaces when a Secret or ConfigMap of the wanted name is not this object's.
	ReasonSecretConflict = "SecretConflict"
	// ReasonSubjectEqualsIssuer surfaces when a leaf asks for the name of its CA.
	ReasonSubjectEqualsIssuer = "SubjectEqualsIssuer"
	// ReasonEndpointNotCovered surfaces when no SAN covers the host of the endpoint.
	ReasonEndpointNotCovered = "EndpointNotCovered"
	// ReasonClientCANotTrusted surfaces when the API server does not authenticate clients of the
	// credential's CA.
	ReasonClientCANotTrusted = "ClientCANotTrusted"
	// ReasonServiceAccountKeyInvalid surfaces when the Secret of the service account keys holds no readable key.
	ReasonServiceAccountKeyInvalid = "ServiceAccountKeyInvalid"
	// ReasonServiceAccountKeysGenerated surfaces, as an event, when service account keys are made.
	ReasonServiceAccountKeysGenerated = "ServiceAccountKeysGenerated"
	// ReasonInvalidSpec surfaces when the spec asks for something that cannot be issued.
	ReasonInvalidSpec = "InvalidSpec"
	// ReasonNotUsable surfaces when the certificate cannot be used now; the message says why.
	ReasonNotUsable = "NotUsable"
	// ReasonRetrying surfaces when the API server refused or did not answer; the message says what.
	ReasonRetrying = "Retrying"
	// ReasonCAExpiresFirst surfaces when a certificate was cut to the end of its CA.
	ReasonCAExpiresFirst = "CAExpiresFirst"
	// ReasonSpecChanged surfaces when a ClusterCA's spec asks for another CA than the one that signs.
	ReasonSpecChanged = "SpecChanged"
	// ReasonRenewalDue surfaces when a ClusterCA has reached the time at which it should be replaced.
	ReasonRenewalDue = "RenewalDue"
	// ReasonHostIdentity surfaces for role 'Host'.
	ReasonHostIdentity = "HostIdentity"
)

// Labels and annotations of generated objects. Labels select, annotations record facts.
const (
	// ManagedByLabel and ManagedByValue mark every object that the operator makes; it caches no others.
	ManagedByLabel = "app.kubernetes.io/managed-by"
	ManagedByValue = "clusterpki"
	// OwnerKindLabel is the kind of the object that it was made for.
	OwnerKindLabel = "clusterpki.io/owner-kind"
	// OwnerAnnotation is '<kind>/<name>' of that object. It outlives an owner reference, which a backup
	// tool may strip, and a label could not hold a name of more than 63 characters.
	OwnerAnnotation = "clusterpki.io/owner"
	// RequestHashAnnotation is the hash of the request that the certificate was issued for.
	RequestHashAnnotation = "clusterpki.io/request-hash"
	// TrustAnnotation says which revision of each CA's bundle a Secret holds, as in 'front-proxy=1,k8s=3'.
	TrustAnnotation = "clusterpki.io/trust"
	// WrittenTimeAnnotation is when that, or the Secret's certificate, last changed (RFC 3339).
	WrittenTimeAnnotation = "clusterpki.io/written-time"
	// RevisionAnnotation counts the certificates issued into a Secret.
	RevisionAnnotation = "clusterpki.io/revision"
	// GenerationAnnotation is the CA generation that a Secret holds, or that signed what it holds.
	GenerationAnnotation = "clusterpki.io/ca-generation"
)

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// KeyAlgorithm names a public key algorithm.
// +kubebuilder:validation:Enum=RSA;ECDSA;Ed25519
type KeyAlgorithm string

// The key algorithms that Kubernetes components accept.
const (
	RSA     KeyAlgorithm = "RSA"
	ECDSA   KeyAlgorithm = "ECDSA"
	Ed25519 KeyAlgorithm = "Ed25519"
)

// PrivateKeySpec says what kind of private key to generate.
//
// +kubebuilder:validation:XValidation:rule="self.algorithm != 'RSA' || (has(self.size) && self.size in [2048, 3072, 4096])",message="size must be 2048, 3072 or 4096 for algorithm 'RSA'",fieldPath=".size"
// +kubebuilder:validation:XValidation:rule="self.algorithm != 'ECDSA' || (has(self.size) && self.size in [256, 384, 521])",message="size must be 256, 384 or 521 (the NIST curves P-256, P-384, P-521) for algorithm 'ECDSA'",fieldPath=".size"
// +kubebuilder:validation:XValidation:rule="self.algorithm != 'Ed25519' || !has(self.size)",message="size must be left out for algorithm 'Ed25519', which has only one",fieldPath=".size"
type PrivateKeySpec struct {
	// algorithm is the public key algorithm: 'RSA', 'ECDSA' or 'Ed25519'.
	// kubeadm's own tools load only RSA and ECDSA keys.
	// +required
	Algorithm KeyAlgorithm `json:"algorithm,omitempty"`

	// size is the RSA modulus in bits (2048, 3072 or 4096) or the ECDSA curve (256, 384 or 521).
	// It must be set for RSA and ECDSA, and left out for Ed25519.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65536
	Size int32 `json:"size,omitempty"`
}

// CAReference names a ClusterCA in the same namespace.
type CAReference struct {
	// name of the ClusterCA. It need not exist yet: IssuerReady is False until it does.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || !format.dns1123Subdomain().validate(self).hasValue()",message="must be a valid name of an object: lower-case letters, digits, '-' and '.'",reason=FieldValueForbidden
	Name string `json:"name,omitempty"`
}

// APIServerReference names an APIServerCertificate in the same namespace.
type APIServerReference struct {
	// name of the APIServerCertificate. It need not exist yet: IssuerReady is False until it does.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || !format.dns1123Subdomain().validate(self).hasValue()",message="must be a valid name of an object: lower-case letters, digits, '-' and '.'",reason=FieldValueForbidden
	Name string `json:"name,omitempty"`
}

// RenewalSpec says when a certificate is renewed, beside its time.
type RenewalSpec struct {
	// trigger is any text. A text that was not there before re-issues the certificate at once, by the same CA and, but where it is on the host, with a
	// new key. Removing it, or putting one of the last 64 back, re-issues nothing; several in a row are
	// spaced, by up to five minutes. `clusterpki renew` writes it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || self.matches('^[^[:cntrl:][:space:]]([^[:cntrl:]]*[^[:cntrl:][:space:]])?$')",message="must not hold control characters, nor begin or end with a blank (in YAML, '|' and '>' add a line break: write '|-' and '>-')",reason=FieldValueForbidden
	Trigger string `json:"trigger,omitempty"`
}

// CertificateStatus describes the certificate in use. It is a copy for people and
// tools to read: the operator decides from the certificate itself.
type CertificateStatus struct {
	// secretName is the Secret that holds the certificate and its key.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	SecretName string `json:"secretName,omitempty"`

	// serialNumber is the certificate's serial number in hexadecimal, as `openssl x509 -serial` prints it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	SerialNumber string `json:"serialNumber,omitempty"`

	// notBefore is when the certificate becomes valid.
	// +optional
	NotBefore metav1.Time `json:"notBefore,omitempty,omitzero"`

	// notAfter is when the certificate expires; of an imported CA, when the first certificate of its chain does.
	// +optional
	NotAfter metav1.Time `json:"notAfter,omitempty,omitzero"`

	// renewalTime is when the operator renews the certificate, or, for an imported CA, when a person should. It is absent where renewing
	// would gain nothing, because the issuing CA expires at the same moment.
	// +optional
	RenewalTime metav1.Time `json:"renewalTime,omitempty,omitzero"`

	// issuerGeneration is the generation of the ClusterCA that signed the certificate.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=2147483647
	IssuerGeneration int32 `json:"issuerGeneration,omitempty"`

	// sha256Fingerprint is the SHA-256 of the DER certificate in lower-case hexadecimal.
	// +optional
	// +kubebuilder:validation:MinLength=64
	// +kubebuilder:validation:MaxLength=64
	SHA256Fingerprint string `json:"sha256Fingerprint,omitempty"`
}

// DeliveryMode says how what is issued reaches its consumer, and so how its arrival is known.
// +kubebuilder:validation:Enum=Mounted;Agent;Manual
type DeliveryMode string

const (
	// DeliveryMounted is for Secrets that pods mount, or that something carries to files as fast. It is assumed to have
	// arrived propagationDelay after it was written: see acceptAssumed.
	DeliveryMounted DeliveryMode = "Mounted"
	// DeliveryAgent is for files that `clusterpki agent` keeps on a host. It counts as arrived when the agent reports, in
	// the Lease that the operator made for the object, that it is in use.
	DeliveryAgent DeliveryMode = "Agent"
	// DeliveryManual is for files that a person carries. It counts as arrived when 'acknowledged' says so.
	DeliveryManual DeliveryMode = "Manual"
)

// AcceptAssumed says whether what is only assumed is enough for a CA to be withdrawn.
// +kubebuilder:validation:Enum=Never;Always
type AcceptAssumed string

const (
	// AcceptAssumedNever lets a rotation wait, before the old CA is withdrawn, for a person.
	AcceptAssumedNever AcceptAssumed = "Never"
	// AcceptAssumedAlways lets it go on.
	AcceptAssumedAlways AcceptAssumed = "Always"
)

// DeliverySpec says how what is issued reaches its consumer. The rotation of a CA waits for it.
// Changing it re-issues nothing, but for mode.
type DeliverySpec struct {
	// mode is 'Mounted', 'Agent' or 'Manual'. Default: Mounted. Changing it from 'Mounted' to 'Agent' re-issues the certificate: an agent
	// signs by its key, which has to be recorded before it is published. Any other change re-issues nothing. Where no object of a host is
	// of mode 'Agent' any more, the host's agent may read nothing at once; its ServiceAccount, and so its tokens, stay while there is an object of the host in
	// whatever mode, and for seven days more.
	// +optional
	// +kubebuilder:default=Mounted
	Mode DeliveryMode `json:"mode,omitempty"`

	// propagationDelay is how long after its Secrets were seen to hold it a mounted change is in use everywhere. Default: 10m:
	// a projected Secret takes up to two minutes, and client-go's reload from files five more.
	// +optional
	// +kubebuilder:default="10m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,6}([.][0-9]+)?h)?([0-9]{1,7}([.][0-9]+)?m)?([0-9]{1,9}([.][0-9]+)?s)?$') && duration(self) >= duration('1s') && duration(self) <= duration('876000h')",message="must be between 1 second and 100 years, in hours, minutes and seconds, such as '10m'",reason=FieldValueForbidden
	PropagationDelay metav1.Duration `json:"propagationDelay,omitempty,omitzero"`

	// acceptAssumed is 'Never' or 'Always', for mode 'Mounted'. Default: Never. After propagationDelay it is assumed that what
	// is mounted is in use; nobody has seen it. Where nothing but that is missing, a rotation stops before the old CA is
	// withdrawn, while both are trusted: with 'Never' until rotation.approved of the ClusterCA names it. 'Always' is for
	// processes that are known to read their files anew. An API server that spec.probe has seen needs neither.
	// +optional
	// +kubebuilder:default=Never
	AcceptAssumed AcceptAssumed `json:"acceptAssumed,omitempty"`

	// leaseDuration is, for mode 'Agent', how old what the agent has signed may be, by the time of the API server. After that nothing that
	// it has said counts, and condition TrustAcknowledged is False with reason LeaseExpired. The agent renews three
	// times as often, and at least every five minutes. Default: 15m.
	// +optional
	// +kubebuilder:default="15m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,6}([.][0-9]+)?h)?([0-9]{1,7}([.][0-9]+)?m)?([0-9]{1,9}([.][0-9]+)?s)?$') && duration(self) >= duration('10s') && duration(self) <= duration('168h')",message="must be between 10 seconds and 168 hours, in hours, minutes and seconds, such as '15m'",reason=FieldValueForbidden
	LeaseDuration metav1.Duration `json:"leaseDuration,omitempty,omitzero"`

	// acknowledged says, for mode 'Manual', what is in use on the host. `clusterpki acknowledge` writes it, from the files there.
	// +optional
	Acknowledged *AcknowledgedDelivery `json:"acknowledged,omitempty"`
}

// AcknowledgedDelivery is what a person acknowledges to be in use.
type AcknowledgedDelivery struct {
	// trust says, for each ClusterCA whose bundle is in use, which one that is.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	Trust []AcknowledgedTrust `json:"trust,omitempty"`

	// serialNumber is that of the certificate in use, as status.certificate.serialNumber.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || self.matches('^([0-9A-F]{2}){1,32}$')",message="must be hexadecimal digits, two for each byte, in upper case without colons, as status.certificate.serialNumber is",reason=FieldValueForbidden
	SerialNumber string `json:"serialNumber,omitempty"`

	// publicKeysSHA256 is that of the 'sa.pub' with which the API server was started: status.publicKeysSHA256 of the ServiceAccountKey. It is for an
	// APIServerCertificate with serviceAccountKeyRef.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || self.matches('^[0-9a-f]{64}$')",message="must be 64 lower-case hexadecimal digits without colons, as status.publicKeysSHA256 of the ServiceAccountKey is",reason=FieldValueForbidden
	PublicKeysSHA256 string `json:"publicKeysSHA256,omitempty"`
}

// AcknowledgedTrust is the trust bundle of one ClusterCA.
type AcknowledgedTrust struct {
	// name of the ClusterCA.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || !format.dns1123Subdomain().validate(self).hasValue()",message="must be a valid name of an object: lower-case letters, digits, '-' and '.'",reason=FieldValueForbidden
	Name string `json:"name,omitempty"`

	// bundleSHA256 is that of the bundle: status.trust.bundleSHA256 of the ClusterCA. Any other counts for nothing.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || self.matches('^[0-9a-f]{64}$')",message="must be 64 lower-case hexadecimal digits without colons, as status.trust.bundleSHA256 of the ClusterCA is",reason=FieldValueForbidden
	BundleSHA256 string `json:"bundleSHA256,omitempty"`
}

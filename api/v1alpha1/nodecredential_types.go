package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Role names an identity of a Kubernetes cluster. Its common name, groups and key usages are fixed:
// see the role table in docs/nodecredential.md.
// +kubebuilder:validation:Enum=Kubelet;KubeProxy;ControllerManager;Scheduler;Admin;SuperAdmin;APIServerKubeletClient;FrontProxyClient;EtcdServer;EtcdPeer;EtcdClient;EtcdHealthcheckClient;KubeletServing;Host;Custom
type Role string

// The roles whose handling differs from a plain row of the table in internal/pki.
const (
	RoleHost       Role = "Host"
	RoleCustom     Role = "Custom"
	RoleEtcdClient Role = "EtcdClient"
)

// KeySource says who makes the private key of a credential, and so who has it.
// +kubebuilder:validation:Enum=Operator;Host
type KeySource string

const (
	// KeySourceOperator has the operator make the key, and store it in the Secret beside the certificate.
	KeySourceOperator KeySource = "Operator"
	// KeySourceHost leaves the key on the host, which asks for the certificate by a certificate signing request.
	KeySourceHost KeySource = "Host"
)

// KeyUsage is an extended key usage.
// +kubebuilder:validation:Enum=ClientAuth;ServerAuth
type KeyUsage string

// The extended key usages of TLS (RFC 5280 §4.2.1.12).
const (
	ClientAuth KeyUsage = "ClientAuth"
	ServerAuth KeyUsage = "ServerAuth"
)

// CustomIdentity is an identity that is no row of the role table.
type CustomIdentity struct {
	// commonName is the user that the API server sees. It must not begin with 'system:', and neither be nor look like an identity that
	// a role has. It holds printable ASCII characters, and Latin letters that look like no other. Changing it re-issues the certificate.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="size(bytes(self)) <= 64",message="must be at most 64 bytes long, the limit of X.509 (RFC 5280, ub-common-name)",reason=FieldValueForbidden
	// +kubebuilder:validation:XValidation:rule="!self.matches('^(system|kubeadm|clusterpki):')",message="must not begin with 'system:', which Kubernetes reserves: use the role for that identity; nor with 'kubeadm:' or 'clusterpki:'",reason=FieldValueForbidden
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || self.matches('^[!-~À-ÏÑ-ÖØ-öø-İĴ-ķĹ-ľŁ-ňŊ-ž]+( [!-~À-ÏÑ-ÖØ-öø-İĴ-ķĹ-ľŁ-ňŊ-ž]+)*$')",message="must be printable ASCII characters and Latin letters such as 'é', without blanks at the ends, two blanks in a row, and characters that are invisible or look like others (in YAML, '|' and '>' add a line break: write '|-' and '>-')",reason=FieldValueForbidden
	CommonName string `json:"commonName,omitempty"`

	// organizations are the groups that the API server sees: of those that the ClusterCA lists in spec.policy.customGroups. None may
	// begin with 'system:'; role 'SuperAdmin' is the way to ask for system:masters. Changing them re-issues the certificate.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:XValidation:rule="!self.matches('^(system|kubeadm|clusterpki):')",message="must not begin with 'system:', which Kubernetes reserves: use the role for that identity; nor with 'kubeadm:' or 'clusterpki:'",reason=FieldValueForbidden
	// +kubebuilder:validation:items:XValidation:rule="size(self) == 0 || self.matches('^[!-~À-ÏÑ-ÖØ-öø-İĴ-ķĹ-ľŁ-ňŊ-ž]+( [!-~À-ÏÑ-ÖØ-öø-İĴ-ķĹ-ľŁ-ňŊ-ž]+)*$')",message="must be printable ASCII characters and Latin letters such as 'é', without blanks at the ends, two blanks in a row, and characters that are invisible or look like others (in YAML, '|' and '>' add a line break: write '|-' and '>-')",reason=FieldValueForbidden
	Organizations []string `json:"organizations,omitempty"`

	// usages are the extended key usages: 'ClientAuth', 'ServerAuth' or both. Changing them re-issues
	// the certificate.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=2
	Usages []KeyUsage `json:"usages,omitempty"`
}

// KubeconfigSpec says how to render the kubeconfig. Changing any of it re-renders the Secret with
// the same key and certificate.
type KubeconfigSpec struct {
	// secretName is the Secret to write. It holds the kubeconfig in both forms: 'value' embeds the
	// certificates, 'kubeconfig.files' names the files below directory; and the files
	// themselves as ca.crt, tls.crt and tls.key. Default: '<name>-kubeconfig'.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || !format.dns1123Subdomain().validate(self).hasValue()",message="must be a valid Secret name: lower-case letters, digits, '-' and '.'",reason=FieldValueForbidden
	SecretName string `json:"secretName,omitempty"`

	// directory is where the files lie on the host, for 'kubeconfig.files'. Default: /etc/kubernetes. One of Windows is written with
	// slashes, which Windows takes too: C:/k. It may hold blanks.
	// +optional
	// +kubebuilder:default=/etc/kubernetes
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="self.matches('^([A-Za-z]:)?/([A-Za-z0-9._-]+( [A-Za-z0-9._-]+)*/?)*$') && !self.contains('..')",message="must be an absolute path of plain names, such as '/etc/kubernetes' or 'C:/k'",reason=FieldValueForbidden
	Directory string `json:"directory,omitempty"`

	// clusterName is the name of the cluster entry. Cluster API needs it to be the Cluster's name.
	// Default: k8s-cluster.
	// +optional
	// +kubebuilder:default=k8s-cluster
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[!-~]+$')",message="must be printable ASCII characters without spaces",reason=FieldValueForbidden
	ClusterName string `json:"clusterName,omitempty"`

	// contextName is the name of the context, which is the current one. Default: default-system.
	// +optional
	// +kubebuilder:default=default-system
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[!-~]+$')",message="must be printable ASCII characters without spaces",reason=FieldValueForbidden
	ContextName string `json:"contextName,omitempty"`

	// userName is the name of the user entry. Default: the user that the certificate names, such as 'system:node:k8s-node1'.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || self.matches('^[!-~]+$')",message="must be printable ASCII characters without spaces",reason=FieldValueForbidden
	UserName string `json:"userName,omitempty"`

	// namespace is the context's namespace. Default: none, which clients read as 'default'.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || !format.dns1123Label().validate(self).hasValue()",message="must be a valid namespace name",reason=FieldValueForbidden
	Namespace string `json:"namespace,omitempty"`
}

// NodeCredentialSpec is one client identity on one host.
//
// +kubebuilder:validation:XValidation:rule="!has(self.renewBefore) || size(self.renewBefore) == 0 || size(self.validity) == 0 || !self.renewBefore.matches('^([0-9]{1,6}([.][0-9]+)?h)?([0-9]{1,7}([.][0-9]+)?m)?([0-9]{1,9}([.][0-9]+)?s)?$') || !self.validity.matches('^([0-9]{1,6}([.][0-9]+)?h)?([0-9]{1,7}([.][0-9]+)?m)?([0-9]{1,9}([.][0-9]+)?s)?$') || duration(self.renewBefore) < duration(self.validity)",message="renewBefore must be shorter than validity: otherwise the certificate would be due for renewal the moment it is issued",fieldPath=".renewBefore"
// +kubebuilder:validation:XValidation:rule="(self.role == 'Custom') == has(self.custom)",message="custom must be set for role 'Custom', and only for it",fieldPath=".custom"
// +kubebuilder:validation:XValidation:rule="!(self.role in ['Kubelet', 'KubeletServing']) || size(self.hostName) <= 52",message="hostName must be at most 52 characters for this role: the common name 'system:node:<hostName>' may hold 64 bytes. Let the kubelet register under a shorter name, by --hostname-override",fieldPath=".hostName"
// +kubebuilder:validation:XValidation:rule="!has(self.request) || !self.request.contains('PRIVATE KEY')",message="request holds a private key, which is known now to everybody who can read it: make another key, and give only the certificate signing request of that one",fieldPath=".request"
// +kubebuilder:validation:XValidation:rule="!has(self.request) || self.request.contains('PRIVATE KEY') || self.request.contains('CERTIFICATE REQUEST-----')",message="request must be a certificate signing request in PEM: '-----BEGIN CERTIFICATE REQUEST-----' and what follows",fieldPath=".request"
// +kubebuilder:validation:XValidation:rule="!has(self.request) || (has(self.keySource) && self.keySource == 'Host')",message="request is only for keySource 'Host': for 'Operator' the operator makes the key",fieldPath=".request"
// +kubebuilder:validation:XValidation:rule="!has(self.hostKeySHA256) || (has(self.keySource) && self.keySource == 'Host')",message="hostKeySHA256 is only for keySource 'Host': for 'Operator' the operator makes the key",fieldPath=".hostKeySHA256"
// +kubebuilder:validation:XValidation:rule="!has(self.keySource) || self.keySource != 'Host' || has(self.request) || (has(self.delivery) && has(self.delivery.mode) && self.delivery.mode == 'Agent')",message="keySource 'Host' needs a request, or delivery.mode 'Agent', whose agent submits one",fieldPath=".keySource"
// +kubebuilder:validation:XValidation:rule="self.role in ['EtcdServer', 'EtcdPeer', 'KubeletServing'] || (self.role == 'Custom' && (!has(self.custom) || size(self.custom.usages) == 0 || 'ServerAuth' in self.custom.usages)) || (!has(self.dnsNames) && !has(self.ipAddresses))",message="dnsNames and ipAddresses are only for roles that serve: 'EtcdServer', 'EtcdPeer', 'KubeletServing' and 'Custom' with usage 'ServerAuth'"
// +kubebuilder:validation:XValidation:rule="!has(self.kubeconfig) || has(self.apiServerRef)",message="apiServerRef must be set where kubeconfig is: it gives the endpoint and the trust bundle",fieldPath=".apiServerRef"
// +kubebuilder:validation:XValidation:rule="!has(self.kubeconfig) || self.role in ['Kubelet', 'KubeProxy', 'ControllerManager', 'Scheduler', 'Admin', 'SuperAdmin', 'Host'] || (self.role == 'Custom' && (!has(self.custom) || size(self.custom.usages) == 0 || 'ClientAuth' in self.custom.usages))",message="kubeconfig is only for roles that are users of the API server: remove it for this role",fieldPath=".kubeconfig"
// +kubebuilder:validation:XValidation:rule="!has(self.outputs) || has(self.kubeconfig) || (self.role == 'EtcdClient' && self.outputs.all(o, o.format == 'CAPI'))",message="outputs need a kubeconfig, but for format 'CAPI' of role 'EtcdClient': set kubeconfig and apiServerRef",fieldPath=".outputs"
// +kubebuilder:validation:XValidation:rule="!has(self.outputs) || !has(self.keySource) || self.keySource != 'Host'",message="outputs hold the private key, which keySource 'Host' leaves on the host: remove them, or use another credential",fieldPath=".outputs"
type NodeCredentialSpec struct {
	// caRef names the ClusterCA that signs the certificate. Changing it re-issues the certificate.
	// +required
	CARef CAReference `json:"caRef,omitzero"`

	// apiServerRef names the APIServerCertificate whose endpoint and trust bundle the kubeconfig holds.
	// Its clientCARefs must include caRef. Changing it re-renders the kubeconfig and re-issues nothing.
	// +optional
	APIServerRef *APIServerReference `json:"apiServerRef,omitempty"`

	// hostName is the host that the credential is for: a Node's name for roles 'Kubelet' and
	// 'KubeletServing', and what `clusterpki export --host` selects by. It may be an IPv4 address, which is then an IP SAN where the
	// role serves. It may not be, nor look like, an identity that a role has. Changing it re-issues the certificate
	// where the role's identity or SANs hold the name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*)?$')",message="must be a lower-case DNS name of letters, digits, '-' and '.', or an IPv4 address, as the name of a Node is; write an internationalised name as its A-label ('xn--...')",reason=FieldValueForbidden
	// +kubebuilder:validation:XValidation:rule="!(self in ['aggregator', 'front-proxy-client', 'kube-apiserver-etcd-client', 'kube-apiserver-kubelet-client', 'kube-etcd-healthcheck-client', 'kubelet-bootstrap', 'kubernetes-admin', 'kubernetes-super-admin'])",message="must not be the name of an identity that something in a cluster trusts, such as 'front-proxy-client': the certificate would be that identity",reason=FieldValueForbidden
	HostName string `json:"hostName,omitempty"`

	// role is the identity. Changing it re-issues the certificate.
	// +required
	Role Role `json:"role,omitempty"`

	// custom is the identity for role 'Custom'.
	// +optional
	Custom *CustomIdentity `json:"custom,omitempty"`

	// dnsNames are further DNS SANs of a role that serves; hostName is always one of them, and localhost
	// for etcd. Changing them re-issues the certificate.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:XValidation:rule="!isIP(self) && !self.matches('[.][0-9]+$')",message="must be a DNS name: an IP address belongs in ipAddresses",reason=FieldValueForbidden
	// +kubebuilder:validation:items:XValidation:rule="isIP(self) || self.matches('[.][0-9]+$') || self.matches('^(([*][.])?[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*)?$')",message="must be a lower-case DNS name of letters, digits, '-' and '.'; write an internationalised name as its A-label ('xn--...'); a wildcard is '*.' and a name",reason=FieldValueForbidden
	DNSNames []string `json:"dnsNames,omitempty"`

	// ipAddresses are further IP SANs of a role that serves; etcd always has 127.0.0.1 and ::1.
	// Changing them re-issues the certificate.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=45
	// +kubebuilder:validation:items:XValidation:rule="isIP(self)",message="must be an IPv4 or IPv6 address without leading zeros, zone, port or prefix length",reason=FieldValueForbidden
	IPAddresses []string `json:"ipAddresses,omitempty"`

	// validity is how long the certificate is valid. Default: 8760h (a year). A certificate never outlives
	// the CA that signs it. Changing it re-issues the certificate at once.
	// +optional
	// +kubebuilder:default="8760h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || (self.matches('^([0-9]{1,6}([.][0-9]+)?h)?([0-9]{1,7}([.][0-9]+)?m)?([0-9]{1,9}([.][0-9]+)?s)?$') && duration(self) >= duration('10m') && duration(self) <= duration('876000h'))",message="must be between 10 minutes and 100 years, in hours, minutes and seconds, such as '8760h' (one year) or '90m': there is no unit for days or years",reason=FieldValueForbidden
	Validity metav1.Duration `json:"validity,omitempty,omitzero"`

	// renewBefore is how long before its end the certificate is renewed. Default: a third of validity.
	// Changing it re-issues the certificate only if that makes it due.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || (self.matches('^([0-9]{1,6}([.][0-9]+)?h)?([0-9]{1,7}([.][0-9]+)?m)?([0-9]{1,9}([.][0-9]+)?s)?$') && duration(self) >= duration('1m') && duration(self) <= duration('876000h'))",message="must be between 1 minute and 100 years, in hours, minutes and seconds, such as '8760h' (one year) or '90m': there is no unit for days or years",reason=FieldValueForbidden
	RenewBefore *metav1.Duration `json:"renewBefore,omitempty"`

	// renewal renews the certificate before its time.
	// +optional
	Renewal RenewalSpec `json:"renewal,omitempty,omitzero"`

	// privateKey is the kind of key to generate. Changing it issues a new key and certificate.
	// +optional
	// +kubebuilder:default={algorithm: ECDSA, size: 256}
	PrivateKey PrivateKeySpec `json:"privateKey,omitempty,omitzero"`

	// keySource is 'Operator' or 'Host': who makes the private key. Default: Operator. With 'Host' the key never leaves the
	// host, which asks for the certificate: an agent by the Lease that the operator made for it, or a person by 'request'.
	// The Secret is then of type Opaque and has no tls.key, and the kubeconfig has only the form that names files.
	// A Secret's type never changes, so changing this needs another secretName, or the Secret to be deleted; then a
	// certificate is re-issued.
	// +optional
	// +kubebuilder:default=Operator
	KeySource KeySource `json:"keySource,omitempty"`

	// request is a certificate signing request (PKCS #10, RFC 2986) in PEM, for keySource 'Host'. Text may stand around it, and
	// no private key: that would be known to everybody who can read this object. It is signed if its
	// subject and its kind of key are those of the credential, and it asks for no other names and usages. What is issued
	// follows from the spec alone; from the request comes the public key. A request for another key
	// re-issues the certificate. It has precedence over what an agent submits.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=16384
	Request string `json:"request,omitempty"`

	// hostKeySHA256 is, for keySource 'Host', the digest of the public key that the host's agent may have the first certificate for: SHA-256 of
	// its SubjectPublicKeyInfo, in hexadecimal. The agent logs it at its start, and the object's conditions name it: compare the two. Further
	// certificates for that key need no approval; another key needs another one, unless the key of the certificate in force has signed for it. A key is
	// approved once: after another one has taken its place, this says nothing more of it. Setting it re-issues the certificate if the agent asks
	// for that key, and else nothing.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || self.matches('^[0-9a-f]{64}$')",message="must be a SHA-256 digest: 64 hexadecimal digits in lower case without colons, as the agent logs it",reason=FieldValueForbidden
	HostKeySHA256 string `json:"hostKeySHA256,omitempty"`

	// secretName is the kubernetes.io/tls Secret to write: tls.crt, tls.key and ca.crt (verifies this
	// certificate). Default: '<name>-tls'. Changing it issues a new certificate there and leaves the old
	// Secret alone.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || !format.dns1123Subdomain().validate(self).hasValue()",message="must be a valid Secret name: lower-case letters, digits, '-' and '.'",reason=FieldValueForbidden
	SecretName string `json:"secretName,omitempty"`

	// secretTemplate says which labels and annotations the Secrets bear that are made for this object. Changing it re-issues nothing.
	// +optional
	SecretTemplate *SecretTemplate `json:"secretTemplate,omitempty"`

	// kubeconfig asks for a kubeconfig Secret. Absent: none is made.
	// +optional
	Kubeconfig *KubeconfigSpec `json:"kubeconfig,omitempty"`

	// outputs asks for Secrets in the forms of other programs, with a copy of the private key. No rotation waits for whoever reads
	// them. They need a kubeconfig, from which the names of user and context are, but for format 'CAPI' of role 'EtcdClient', which is a pair of files.
	// Absent: none is made. Taking one out leaves its Secret as it is. Changing them re-issues nothing.
	// +optional
	// +listType=map
	// +listMapKey=format
	// +kubebuilder:validation:MaxItems=4
	Outputs []CredentialOutput `json:"outputs,omitempty"`

	// delivery says how what is issued reaches its consumer. The rotation of a CA waits for that.
	// +optional
	// +kubebuilder:default={mode: Mounted, propagationDelay: "10m"}
	Delivery DeliverySpec `json:"delivery,omitempty,omitzero"`
}

// NodeCredentialStatus is what the operator last observed of the NodeCredential.
// Nothing is decided from it: losing it loses nothing.
type NodeCredentialStatus struct {
	// conditions are Ready always, Reconciling and Stalled only while True, and the others where they apply.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the generation of the spec that this status describes.
	// +optional
	// +kubebuilder:validation:Minimum=-1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// certificate is the certificate in use.
	// +optional
	Certificate CertificateStatus `json:"certificate,omitempty,omitzero"`

	// revision counts the certificates issued for this object.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=2147483647
	Revision int32 `json:"revision,omitempty"`

	// delivery says in one word whether what is issued is in use: 'InUse' where the agent of the host has seen that or a person has acknowledged it,
	// 'Assumed' for delivery.mode 'Mounted', which nobody sees, and else why it is not known, such as 'NotInstalled' or 'LeaseExpired'.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Delivery string `json:"delivery,omitempty"`

	// endpoint is the URL by which what uses this credential reaches the API server: that of the kubeconfig which the agent of the host has last seen in
	// use. Absent where no agent has seen one.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=300
	Endpoint string `json:"endpoint,omitempty"`

	// agentVersion is the version of clusterpki that the agent of the host is of; absent where none has reported it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	AgentVersion string `json:"agentVersion,omitempty"`
}

// NodeCredentialList is a list of NodeCredentials.
// +kubebuilder:object:root=true
type NodeCredentialList struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard list metadata.
	// +optional
	metav1.ListMeta `json:"metadata,omitempty"`
	// items are the NodeCredentials.
	Items []NodeCredential `json:"items"`
}

// NodeCredential is one identity on one host, and its kubeconfig.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=nodecredentials,shortName=nodecred,categories=pki
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Host",type=string,JSONPath=`.spec.hostName`
// +kubebuilder:printcolumn:name="Role",type=string,JSONPath=`.spec.role`
// +kubebuilder:printcolumn:name="Delivery",type=string,JSONPath=`.status.delivery`
// +kubebuilder:printcolumn:name="Issuer",type=string,priority=1,JSONPath=`.spec.caRef.name`
// +kubebuilder:printcolumn:name="Not After",type=string,JSONPath=`.status.certificate.notAfter`
// +kubebuilder:printcolumn:name="Renews",type=string,JSONPath=`.status.certificate.renewalTime`
// +kubebuilder:printcolumn:name="Secret",type=string,priority=1,JSONPath=`.status.certificate.secretName`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="!has(self.spec.kubeconfig) || (has(self.spec.kubeconfig.secretName) ? self.spec.kubeconfig.secretName : self.metadata.name + '-kubeconfig') != (has(self.spec.secretName) ? self.spec.secretName : self.metadata.name + '-tls')",message="kubeconfig.secretName must differ from secretName; by default they are '<name>-kubeconfig' and '<name>-tls'",fieldPath=".spec.kubeconfig.secretName"
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 200",message="metadata.name must be 200 characters or fewer, so that the names of the Secrets made for it fit",fieldPath=".metadata"
type NodeCredential struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`

	// spec is the desired state.
	// +required
	Spec NodeCredentialSpec `json:"spec,omitzero"`

	// status is the observed state.
	// +optional
	// +kubebuilder:default:={"observedGeneration":-1}
	Status NodeCredentialStatus `json:"status,omitempty,omitzero"`
}

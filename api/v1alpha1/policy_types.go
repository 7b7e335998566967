package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// PolicyRole is what a certificate is for: a Role, 'APIServer' (an APIServerCertificate), or 'CA' (a subordinate CA).
// +kubebuilder:validation:Enum=Kubelet;KubeProxy;ControllerManager;Scheduler;Admin;SuperAdmin;APIServerKubeletClient;FrontProxyClient;EtcdServer;EtcdPeer;EtcdClient;EtcdHealthcheckClient;KubeletServing;Host;Custom;APIServer;CA
type PolicyRole string

// What a CA may issue beside the certificates of NodeCredentials.
const (
	PolicyRoleAPIServer PolicyRole = "APIServer"
	PolicyRoleCA        PolicyRole = "CA"
)

// PrivateKeyRule admits keys of an algorithm, from a size on.
//
// +kubebuilder:validation:XValidation:rule="self.algorithm != 'Ed25519' || !has(self.minSize)",message="minSize must be left out for algorithm 'Ed25519', which has only one",fieldPath=".minSize"
// +kubebuilder:validation:XValidation:rule="self.algorithm != 'ECDSA' || !has(self.minSize) || self.minSize <= 521",message="minSize must be 521 or less for algorithm 'ECDSA': no key would be allowed",fieldPath=".minSize"
// +kubebuilder:validation:XValidation:rule="self.algorithm != 'RSA' || !has(self.minSize) || self.minSize <= 4096",message="minSize must be 4096 or less for algorithm 'RSA': no key would be allowed",fieldPath=".minSize"
type PrivateKeyRule struct {
	// algorithm is the public key algorithm: 'RSA', 'ECDSA' or 'Ed25519'.
	// +required
	Algorithm KeyAlgorithm `json:"algorithm,omitempty"`

	// minSize is the least size in bits. Absent: any that privateKey.size takes.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65536
	MinSize int32 `json:"minSize,omitempty"`
}

// CAPolicy says what may be issued from a CA, and from every subordinate CA of it. Each field narrows; one that is absent allows everything, but
// for customGroups. Nothing that exists is re-issued or revoked by a change: a certificate that is no longer
// allowed stays in use until its end, is not renewed, and its object is Stalled with the reason PolicyDenied.
type CAPolicy struct {
	// roles are what certificates may be issued for. Absent: everything.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=18
	Roles []PolicyRole `json:"roles,omitempty"`

	// hosts are patterns for hostName and dnsNames: '*' stands for one or more characters other than '.'. So '*.prod.example' allows
	// node1.prod.example, and not a.b.prod.example. A wildcard SAN needs a pattern with its '*'. Absent: all.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[a-z0-9*]([-a-z0-9.*]*[a-z0-9*])?$')",message="must be a lower-case DNS name, in which '*' stands for one or more characters other than '.', such as '*.prod.example'",reason=FieldValueForbidden
	Hosts []string `json:"hosts,omitempty"`

	// addresses are networks for ipAddresses, for a hostName that is an address, and for the first address of each of serviceCIDRs, which is
	// 10.96.0.1 by default. Absent: all.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:XValidation:rule="isCIDR(self)",message="must be an IPv4 or IPv6 network such as '10.1.10.0/24', or '10.1.10.7/32' for one address",reason=FieldValueForbidden
	Addresses []string `json:"addresses,omitempty"`

	// sharedHosts are hosts on which an API server runs beside others, such as a kubelet or etcd: certificates of NodeCredentials for such
	// a host may have the name and the addresses of its API server. Without that none may, because it would do for the API server.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",message="must be the hostName of an APIServerCertificate",reason=FieldValueForbidden
	SharedHosts []string `json:"sharedHosts,omitempty"`

	// maxValidity is the longest validity that may be asked for; it is not for subordinate CAs. Absent: any.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || (self.matches('^([0-9]{1,6}([.][0-9]+)?h)?([0-9]{1,7}([.][0-9]+)?m)?([0-9]{1,9}([.][0-9]+)?s)?$') && duration(self) >= duration('10m') && duration(self) <= duration('876000h'))",message="must be between 10 minutes and 100 years, in hours, minutes and seconds, such as '8760h' (one year) or '90m': there is no unit for days or years",reason=FieldValueForbidden
	MaxValidity *metav1.Duration `json:"maxValidity,omitempty"`

	// privateKeys are the kinds of keys that may be certified, those of subordinate CAs too. Absent: any.
	// +optional
	// +listType=map
	// +listMapKey=algorithm
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=3
	PrivateKeys []PrivateKeyRule `json:"privateKeys,omitempty"`

	// customGroups are the groups that role 'Custom' may name. Absent: none.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	// +kubebuilder:validation:items:XValidation:rule="!self.matches('^(system|kubeadm|clusterpki):')",message="must not begin with 'system:', 'kubeadm:' or 'clusterpki:', which are reserved: use the role for that identity",reason=FieldValueForbidden
	// +kubebuilder:validation:items:XValidation:rule="size(self) == 0 || self.matches('^[!-~À-ÏÑ-ÖØ-öø-İĴ-ķĹ-ľŁ-ňŊ-ž]+( [!-~À-ÏÑ-ÖØ-öø-İĴ-ķĹ-ľŁ-ňŊ-ž]+)*$')",message="must be printable ASCII characters and Latin letters such as 'é', without blanks at the ends, two blanks in a row, and characters that are invisible or look like others (in YAML, '|' and '>' add a line break: write '|-' and '>-')",reason=FieldValueForbidden
	CustomGroups []string `json:"customGroups,omitempty"`
}

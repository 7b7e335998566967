package v1alpha1

// OutputFormat is the form in which a program reads a Secret: which name, type, labels and keys it has.
type OutputFormat string

const (
	// OutputCAPI is what Cluster API reads: Secrets named after the Cluster, of type cluster.x-k8s.io/secret.
	OutputCAPI OutputFormat = "CAPI"
	// OutputFlux is what spec.kubeConfig.secretRef of a Kustomization or a HelmRelease names.
	OutputFlux OutputFormat = "Flux"
	// OutputArgoCDCluster is a cluster as Argo CD keeps it.
	OutputArgoCDCluster OutputFormat = "ArgoCDCluster"
	// OutputKamaji is what Kamaji takes over instead of making it for a TenantControlPlane.
	OutputKamaji OutputFormat = "Kamaji"
)

// AuthorityPurpose says which of a cluster's CAs one is.
// +kubebuilder:validation:Enum=Cluster;Etcd;FrontProxy
type AuthorityPurpose string

// The CAs of a cluster.
const (
	PurposeCluster    AuthorityPurpose = "Cluster"
	PurposeEtcd       AuthorityPurpose = "Etcd"
	PurposeFrontProxy AuthorityPurpose = "FrontProxy"
)

// CAOutput asks for a Secret with the CA's certificates and its private key, in the form of another program. Whoever may read Secrets in the
// namespace can sign with it, as with that of secretName.
//
// +kubebuilder:validation:XValidation:rule="self.format != 'Kamaji' || !has(self.purpose) || self.purpose != 'Etcd'",message="purpose 'Etcd' is not for format 'Kamaji': its DataStore names Secrets of any name, such as that of secretName",fieldPath=".purpose"
type CAOutput struct {
	// format is the program: 'CAPI' (Cluster API) or 'Kamaji'.
	// +required
	// +kubebuilder:validation:Enum=CAPI;Kamaji
	Format OutputFormat `json:"format,omitempty"`

	// clusterName is how the program calls the cluster: the name of the Cluster, or of the TenantControlPlane. The Secret is named after it:
	// '<clusterName>-ca', '-etcd' or '-proxy' for Cluster API; '-ca' or '-front-proxy-ca-certificate' for Kamaji. Changing it writes another
	// Secret, empties the old one, and re-issues nothing.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || !format.dns1123Label().validate(self).hasValue()",message="must be lower-case letters, digits and '-'",reason=FieldValueForbidden
	ClusterName string `json:"clusterName,omitempty"`

	// purpose says which of the cluster's CAs this is: 'Cluster', 'Etcd' or 'FrontProxy'. Default: Cluster. Changing it writes another Secret,
	// empties the old one, and re-issues nothing.
	// +optional
	// +kubebuilder:default=Cluster
	Purpose AuthorityPurpose `json:"purpose,omitempty"`
}

// KeyOutput asks for a Secret with the service account keys, the private one among them, in the form of another program.
type KeyOutput struct {
	// format is the program: 'CAPI' (Cluster API) or 'Kamaji'.
	// +required
	// +kubebuilder:validation:Enum=CAPI;Kamaji
	Format OutputFormat `json:"format,omitempty"`

	// clusterName is how the program calls the cluster: the name of the Cluster, or of the TenantControlPlane. The Secret is named after it:
	// '<clusterName>-sa' for Cluster API, '<clusterName>-sa-certificate' for Kamaji. Changing it writes another Secret, and leaves the old one
	// alone; the key stays the same.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || !format.dns1123Label().validate(self).hasValue()",message="must be lower-case letters, digits and '-'",reason=FieldValueForbidden
	ClusterName string `json:"clusterName,omitempty"`
}

// CredentialOutput asks for a Secret with the credential, its private key included, in the form of another program.
type CredentialOutput struct {
	// format is the program: 'CAPI' (Cluster API), 'Flux' or 'ArgoCDCluster' (Argo CD).
	// +required
	// +kubebuilder:validation:Enum=CAPI;Flux;ArgoCDCluster
	Format OutputFormat `json:"format,omitempty"`

	// clusterName is how the program calls the cluster: the name of Cluster API's Cluster, or in Argo CD's list. It is the kubeconfig's cluster
	// entry, and the Secret is named after it: '<clusterName>-kubeconfig' for Cluster API, or '<clusterName>-apiserver-etcd-client' for role
	// 'EtcdClient'; '<clusterName>-flux'; '<clusterName>-argocd'. Changing it writes another Secret, leaves the old one alone, and re-issues
	// nothing.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || !format.dns1123Label().validate(self).hasValue()",message="must be lower-case letters, digits and '-'",reason=FieldValueForbidden
	ClusterName string `json:"clusterName,omitempty"`

	// server is the https URL that the kubeconfig names, whose host must be a SAN of the API server. Default: the endpoint of apiServerRef. Changing it
	// re-issues nothing.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=300
	// +kubebuilder:validation:XValidation:rule="isURL(self) && self.matches('^https://[^/?#@A-Z]+(/[-A-Za-z0-9._~:]+)*/?$') && !self.matches('/[.][.]?(/|$)') && url(self).getHostname() != '' && (url(self).getPort() == '' || (size(url(self).getPort()) <= 5 && int(url(self).getPort()) >= 1 && int(url(self).getPort()) <= 65535))",message="must be an https URL of a lower-case host, a port from 1 to 65535, and a path of letters, digits and '-._~:' or none, such as 'https://k8s-master:6443'",reason=FieldValueForbidden
	Server string `json:"server,omitempty"`
}

// ClusterOutput asks for everything of a cluster that a program reads.
type ClusterOutput struct {
	// format is the program: 'CAPI' (Cluster API: the CAs, the service account key and a kubeconfig), 'Kamaji' (the cluster's and the front
	// proxy's CA, and the service account key), 'Flux' or 'ArgoCDCluster' (a kubeconfig). With 'CAPI' and 'Kamaji' the CAs' private keys are in
	// Secrets of the namespace.
	// +required
	// +kubebuilder:validation:Enum=CAPI;Flux;ArgoCDCluster;Kamaji
	Format OutputFormat `json:"format,omitempty"`

	// clusterName is how the program calls the cluster. Default: the object's name. Changing it writes other Secrets, and re-issues nothing.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="size(self) == 0 || !format.dns1123Label().validate(self).hasValue()",message="must be lower-case letters, digits and '-'",reason=FieldValueForbidden
	ClusterName string `json:"clusterName,omitempty"`

	// endpoint is the name of the one of spec.endpoints that the kubeconfig names. Default: spec.endpoint. Changing it re-issues nothing.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Endpoint string `json:"endpoint,omitempty"`
}

// SecretName is the Secret of an output.
func (o CAOutput) SecretName() string {
	switch {
	case o.Format == OutputKamaji && o.Purpose == PurposeFrontProxy:
		return o.ClusterName + "-front-proxy-ca-certificate"
	case o.Purpose == PurposeEtcd:
		return o.ClusterName + "-etcd"
	case o.Purpose == PurposeFrontProxy:
		return o.ClusterName + "-proxy"
	default:
		return o.ClusterName + "-ca"
	}
}

// SecretName is the Secret of an output.
func (o KeyOutput) SecretName() string {
	if o.Format == OutputKamaji {
		return o.ClusterName + "-sa-certificate"
	}
	return o.ClusterName + "-sa"
}

// SecretName is the Secret of an output, for a role.
func (o CredentialOutput) SecretName(role Role) string {
	switch {
	case o.Format == OutputFlux:
		return o.ClusterName + "-flux"
	case o.Format == OutputArgoCDCluster:
		return o.ClusterName + "-argocd"
	case role == RoleEtcdClient:
		return o.ClusterName + "-apiserver-etcd-client"
	default:
		return o.ClusterName + "-kubeconfig"
	}
}

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// The kinds.
const (
	KindClusterCA            = "ClusterCA"
	KindAPIServerCertificate = "APIServerCertificate"
	KindNodeCredential       = "NodeCredential"
	KindServiceAccountKey    = "ServiceAccountKey"
	KindClusterPKI           = "ClusterPKI"
)

// Object is what all kinds share.
// +kubebuilder:object:generate=false
type Object interface {
	metav1.Object
	runtime.Object
	// Kind is the object's kind, which an object that was read does not say itself.
	Kind() string
	// StatusConditions are the conditions of its status, to read and to write.
	StatusConditions() *[]metav1.Condition
	// ObservedGeneration is that of its status, to read and to write.
	ObservedGeneration() *int64
	// SecretNames are the Secrets that its spec asks for.
	SecretNames() []string
	// CANames are the ClusterCAs that it depends on: a leaf on those that sign for it or that it trusts, a ClusterCA on its
	// parent.
	CANames() []string
	// SignerName is the ClusterCA that signs for it; "" where it signs for itself.
	SignerName() string
	// Template is what the Secrets that are made for it bear beside what the operator needs.
	Template() SecretTemplate
	// IssuedCertificate is what its status says of its certificate.
	IssuedCertificate() CertificateStatus
}

// ObjectList is a list of objects of one kind.
// +kubebuilder:object:generate=false
type ObjectList interface {
	metav1.ListInterface
	runtime.Object
}

// Kept is an object of which the authority namespace keeps what decides about it: its keys, or which objects are of its making.
// +kubebuilder:object:generate=false
type Kept interface {
	Object
	// AuthorityStatus is what its status says of where they are kept, to read and to write.
	AuthorityStatus() *AuthorityStatus
}

// AuthorityStatus implements Kept.
func (c *ClusterCA) AuthorityStatus() *AuthorityStatus { return &c.Status.Authority }

// AuthorityStatus implements Kept.
func (c *ClusterPKI) AuthorityStatus() *AuthorityStatus { return &c.Status.Authority }

// AuthorityStatus implements Kept.
func (k *ServiceAccountKey) AuthorityStatus() *AuthorityStatus { return &k.Status.Authority }

// Kind implements Object.
func (*ClusterCA) Kind() string { return KindClusterCA }

// StatusConditions implements Object.
func (c *ClusterCA) StatusConditions() *[]metav1.Condition { return &c.Status.Conditions }

// ObservedGeneration implements Object.
func (c *ClusterCA) ObservedGeneration() *int64 { return &c.Status.ObservedGeneration }

// Kind implements Object.
func (*APIServerCertificate) Kind() string { return KindAPIServerCertificate }

// StatusConditions implements Object.
func (c *APIServerCertificate) StatusConditions() *[]metav1.Condition { return &c.Status.Conditions }

// ObservedGeneration implements Object.
func (c *APIServerCertificate) ObservedGeneration() *int64 { return &c.Status.ObservedGeneration }

// Kind implements Object.
func (*NodeCredential) Kind() string { return KindNodeCredential }

// StatusConditions implements Object.
func (c *NodeCredential) StatusConditions() *[]metav1.Condition { return &c.Status.Conditions }

// ObservedGeneration implements Object.
func (c *NodeCredential) ObservedGeneration() *int64 { return &c.Status.ObservedGeneration }

// Kind implements Object.
func (*ServiceAccountKey) Kind() string { return KindServiceAccountKey }

// StatusConditions implements Object.
func (k *ServiceAccountKey) StatusConditions() *[]metav1.Condition { return &k.Status.Conditions }

// ObservedGeneration implements Object.
func (k *ServiceAccountKey) ObservedGeneration() *int64 { return &k.Status.ObservedGeneration }

// SignerName implements Object.
func (*ServiceAccountKey) SignerName() string { return "" }

// IssuedCertificate implements Object.
func (*ServiceAccountKey) IssuedCertificate() CertificateStatus { return CertificateStatus{} }

// SignerName implements Object.
func (c *ClusterCA) SignerName() string { return c.ParentName() }

// SignerName implements Object.
func (c *APIServerCertificate) SignerName() string { return c.Spec.CARef.Name }

// SignerName implements Object.
func (c *NodeCredential) SignerName() string { return c.Spec.CARef.Name }

// IssuedCertificate implements Object.
func (c *ClusterCA) IssuedCertificate() CertificateStatus { return c.Status.Certificate }

// IssuedCertificate implements Object.
func (c *APIServerCertificate) IssuedCertificate() CertificateStatus { return c.Status.Certificate }

// IssuedCertificate implements Object.
func (c *NodeCredential) IssuedCertificate() CertificateStatus { return c.Status.Certificate }

// Kind implements Object.
func (*ClusterPKI) Kind() string { return KindClusterPKI }

// StatusConditions implements Object.
func (c *ClusterPKI) StatusConditions() *[]metav1.Condition { return &c.Status.Conditions }

// ObservedGeneration implements Object.
func (c *ClusterPKI) ObservedGeneration() *int64 { return &c.Status.ObservedGeneration }

// SecretNames implements Object: its children have them.
func (*ClusterPKI) SecretNames() []string { return nil }

// CANames implements Object.
func (*ClusterPKI) CANames() []string { return nil }

// SignerName implements Object.
func (*ClusterPKI) SignerName() string { return "" }

// Template implements Object.
func (c *ClusterPKI) Template() SecretTemplate { return orNone(c.Spec.SecretTemplate) }

// IssuedCertificate implements Object.
func (*ClusterPKI) IssuedCertificate() CertificateStatus { return CertificateStatus{} }

package v1alpha1

import "strings"

// SecretTemplate is what the Secrets that are made for an object bear beside what the operator needs. Changing it changes them, and
// re-issues nothing; what is taken out here goes from them too. Labels and annotations that others put there stay. Secrets of service
// account keys are written once, and get what it says then.
type SecretTemplate struct {
	// labels of the Secrets. Their names must not be of 'clusterpki.io', nor 'app.kubernetes.io/managed-by' or 'velero.io/restore-name'.
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 317 && !k.matches('^([^/]*[.])?clusterpki[.]io/') && !(k in ['app.kubernetes.io/managed-by', 'velero.io/restore-name']))",message="names of 'clusterpki.io', 'app.kubernetes.io/managed-by' and 'velero.io/restore-name' are not free: remove them",reason=FieldValueForbidden
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) > 317 || (k.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$') && self[k].matches('^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$')))",message="must be valid labels: names such as 'example.org/team', and values of at most 63 letters, digits, '-', '_' and '.'",reason=FieldValueForbidden
	Labels map[string]TemplateText `json:"labels,omitempty"`

	// annotations of the Secrets. Their names must not be of 'clusterpki.io'.
	// +optional
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 317 && !k.matches('^([^/]*[.])?clusterpki[.]io/') && k.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",message="must have valid names of annotations, such as 'example.org/team', and none of 'clusterpki.io'",reason=FieldValueForbidden
	Annotations map[string]TemplateText `json:"annotations,omitempty"`
}

// TemplateText is a value of a label or an annotation.
// +kubebuilder:validation:MaxLength=1024
type TemplateText string

// Reserved says whether the operator keeps a label or annotation for itself.
func Reserved(name string) bool {
	prefix, _, _ := strings.Cut(name, "/")
	return prefix == GroupVersion.Group || strings.HasSuffix(prefix, "."+GroupVersion.Group) || name == ManagedByLabel || name == VeleroRestoreLabel
}

// Template implements Object.
func (c *ClusterCA) Template() SecretTemplate { return orNone(c.Spec.SecretTemplate) }

// Template implements Object.
func (c *APIServerCertificate) Template() SecretTemplate { return orNone(c.Spec.SecretTemplate) }

// Template implements Object.
func (c *NodeCredential) Template() SecretTemplate { return orNone(c.Spec.SecretTemplate) }

// Template implements Object.
func (k *ServiceAccountKey) Template() SecretTemplate { return orNone(k.Spec.SecretTemplate) }

func orNone(t *SecretTemplate) SecretTemplate {
	if t == nil {
		return SecretTemplate{}
	}
	return *t
}

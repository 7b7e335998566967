package v1alpha1

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Every generated object's name is set in the spec or made here; none is ever parsed back.

// TLSSecretName is the Secret of the serving certificate: spec.secretName, by default '<name>-tls'.
func (c *APIServerCertificate) TLSSecretName() string {
	return orDefault(c.Spec.SecretName, c.Name+"-tls")
}

// ServiceAccountKeyName is the ServiceAccountKey that the API server uses, "" where it names none.
func (c *APIServerCertificate) ServiceAccountKeyName() string {
	if c.Spec.ServiceAccountKeyRef == nil {
		return ""
	}
	return c.Spec.ServiceAccountKeyRef.Name
}

// KeySecretName is the Secret of the keys: spec.secretName, by default the object's name.
func (k *ServiceAccountKey) KeySecretName() string { return orDefault(k.Spec.SecretName, k.Name) }

// JWKSConfigMapName is the ConfigMap with the JSON Web Key Set.
func (k *ServiceAccountKey) JWKSConfigMapName() string { return k.Name + "-jwks" }

// ImportSecretName is the Secret whose keys are taken over, "" where the operator makes the first key.
func (k *ServiceAccountKey) ImportSecretName() string {
	if k.Spec.Source == nil || k.Spec.Source.Import == nil {
		return ""
	}
	return k.Spec.Source.Import.SecretRef.Name
}

// ClientCANames are the ClusterCAs whose clients the API server authenticates: clientCARefs, by
// default caRef alone.
func (c *APIServerCertificate) ClientCANames() []string {
	if len(c.Spec.ClientCARefs) == 0 {
		return []string{c.Spec.CARef.Name}
	}
	names := make([]string, 0, len(c.Spec.ClientCARefs))
	for _, ref := range c.Spec.ClientCARefs {
		names = append(names, ref.Name)
	}
	return names
}

// TLSSecretName is the Secret of the certificate: spec.secretName, by default '<name>-tls'.
func (c *NodeCredential) TLSSecretName() string {
	return orDefault(c.Spec.SecretName, c.Name+"-tls")
}

// KubeconfigSecretName is the Secret of the kubeconfig: spec.kubeconfig.secretName, by default
// '<name>-kubeconfig', "" where no kubeconfig is asked for.
func (c *NodeCredential) KubeconfigSecretName() string {
	if c.Spec.Kubeconfig == nil {
		return ""
	}
	return orDefault(c.Spec.Kubeconfig.SecretName, c.Name+"-kubeconfig")
}

// LeaseName is the Lease by which the agent of a host acknowledges an object with delivery.mode 'Agent': of the same
// name as the Secret of its certificate, which is one object's alone.
func (c *APIServerCertificate) LeaseName() string { return c.TLSSecretName() }

// LeaseName is the Lease by which the agent of a host acknowledges the credential, see APIServerCertificate.LeaseName.
func (c *NodeCredential) LeaseName() string { return c.TLSSecretName() }

// AgentHost is the host to which an agent delivers what is issued for an object, "" where none does.
func AgentHost(o metav1.Object) string {
	if host, mode := delivered(o); mode == DeliveryAgent {
		return host
	}
	return ""
}

// HostName is the host that an object is for, however what is issued reaches it; "" where it is for none.
func HostName(o metav1.Object) string {
	host, _ := delivered(o)
	return host
}

func delivered(o metav1.Object) (host string, mode DeliveryMode) {
	switch c := o.(type) {
	case *APIServerCertificate:
		return c.Spec.HostName, c.Spec.Delivery.Mode
	case *NodeCredential:
		return c.Spec.HostName, c.Spec.Delivery.Mode
	default:
		return "", ""
	}
}

// TrustConfigMapName is the ConfigMap with a public copy of the CA's trust bundle.
func (c *ClusterCA) TrustConfigMapName() string { return TrustConfigMapName(c.Name) }

// TrustConfigMapName is the ConfigMap with a public copy of the trust bundle of the ClusterCA of this name.
func TrustConfigMapName(ca string) string { return ca + "-trust" }

// ParentName is the ClusterCA that signs this one, "" where that is a root or imported.
func (c *ClusterCA) ParentName() string {
	if c.Spec.Source == nil || c.Spec.Source.Parent == nil {
		return ""
	}
	return c.Spec.Source.Parent.CARef.Name
}

// IsImport says whether a CA was made by somebody else.
func (s *CASource) IsImport() bool { return s != nil && s.Import != nil }

// SecretNames implements Object.
func (c *ClusterCA) SecretNames() []string {
	names := present(c.Spec.SecretName)
	for _, o := range c.Spec.Outputs {
		names = append(names, o.SecretName())
	}
	return names
}

// SecretNames implements Object.
func (c *APIServerCertificate) SecretNames() []string {
	return present(c.TLSSecretName())
}

// SecretNames implements Object.
func (c *NodeCredential) SecretNames() []string {
	names := present(c.TLSSecretName(), c.KubeconfigSecretName())
	for _, o := range c.Spec.Outputs {
		names = append(names, o.SecretName(c.Spec.Role))
	}
	return names
}

// SecretNames implements Object.
func (k *ServiceAccountKey) SecretNames() []string {
	names := present(k.KeySecretName())
	for _, o := range k.Spec.Outputs {
		names = append(names, o.SecretName())
	}
	return names
}

// CANames implements Object.
func (*ServiceAccountKey) CANames() []string { return nil }

// CANames implements Object.
func (c *ClusterCA) CANames() []string { return present(c.ParentName()) }

// CANames implements Object.
func (c *APIServerCertificate) CANames() []string {
	names := append([]string{c.Spec.CARef.Name}, c.ClientCANames()...)
	if c.Spec.RequestHeaderCARef != nil {
		names = append(names, c.Spec.RequestHeaderCARef.Name)
	}
	return names
}

// CANames implements Object.
func (c *NodeCredential) CANames() []string { return present(c.Spec.CARef.Name) }

// present are the names that are not empty.
func present(names ...string) []string {
	return slices.DeleteFunc(names, func(name string) bool { return name == "" })
}

func orDefault(s, otherwise string) string {
	if s != "" {
		return s
	}
	return otherwise
}

// Package outputs makes Secrets in the forms of other programs: Cluster API, Flux, Argo CD and Kamaji. What a form is like is said here alone, as
// a pure function of what it holds; write.go writes it, as a product of the object that asks for it.
package outputs

import (
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
)

// Names that other programs have given to types, labels and keys.
const (
	capiType         = corev1.SecretType("cluster.x-k8s.io/secret")
	capiClusterLabel = "cluster.x-k8s.io/cluster-name"
	fluxWatchLabel   = "reconcile.fluxcd.io/watch" // without it, Flux sees a change when it reconciles next
	argoCDTypeLabel  = "argocd.argoproj.io/secret-type"
	kamajiCAKey      = "ca.key"
)

// Form is a Secret as a program reads it.
type Form struct {
	Format v1alpha1.OutputFormat // "": it is nobody's but the operator's own
	Name   string
	Type   corev1.SecretType
	Labels map[string]string
	Data   map[string][]byte
}

// Empty is the form before it holds anything, and once it is not asked for any more.
func (f Form) Empty() map[string][]byte { return Emptied(f.Type) }

// Emptied is what a Secret of a type holds that holds nothing.
func Emptied(t corev1.SecretType) map[string][]byte {
	if t != corev1.SecretTypeTLS {
		return nil
	}
	return map[string][]byte{corev1.TLSCertKey: {}, corev1.TLSPrivateKeyKey: {}} // which that type demands
}

func capi(name, cluster string, data map[string][]byte) Form {
	return Form{Format: v1alpha1.OutputCAPI, Name: name, Type: capiType, Labels: map[string]string{capiClusterLabel: cluster}, Data: data}
}

// OfCA is a CA, by its certificates, of which the first is the active one, and its key.
func OfCA(o v1alpha1.CAOutput, certs, key []byte) Form {
	data := map[string][]byte{corev1.TLSCertKey: certs, corev1.TLSPrivateKeyKey: key}
	if o.Format == v1alpha1.OutputCAPI {
		return capi(o.SecretName(), o.ClusterName, data)
	}
	data[consumers.BundleKey], data[kamajiCAKey] = certs, key
	return Form{Format: o.Format, Name: o.SecretName(), Type: corev1.SecretTypeOpaque, Data: data}
}

// OfKeys are service account keys: the one that signs, and all public ones, of which the first is its. Where Cluster API reads a certificate elsewhere,
// there is no certificate here.
func OfKeys(o v1alpha1.KeyOutput, private, public []byte) Form {
	if o.Format == v1alpha1.OutputCAPI {
		return capi(o.SecretName(), o.ClusterName, map[string][]byte{corev1.TLSCertKey: public, corev1.TLSPrivateKeyKey: private})
	}
	return Form{
		Format: o.Format, Name: o.SecretName(), Type: corev1.SecretTypeOpaque,
		Data: map[string][]byte{consumers.AccountPublicKey: public, consumers.AccountPrivateKey: private},
	}
}

// OfPair is the credential of a client of etcd.
func OfPair(o v1alpha1.CredentialOutput, role v1alpha1.Role, cert, key []byte) Form {
	return capi(o.SecretName(role), o.ClusterName, map[string][]byte{corev1.TLSCertKey: cert, corev1.TLSPrivateKeyKey: key})
}

// OfKubeconfig is a kubeconfig with everything embedded: none of these programs reads files that it names.
func OfKubeconfig(o v1alpha1.CredentialOutput, role v1alpha1.Role, text []byte) Form {
	data := map[string][]byte{consumers.KubeconfigKey: text}
	if o.Format == v1alpha1.OutputCAPI {
		return capi(o.SecretName(role), o.ClusterName, data)
	}
	return Form{
		Format: o.Format, Name: o.SecretName(role), Type: corev1.SecretTypeOpaque, Labels: map[string]string{fluxWatchLabel: "Enabled"}, Data: data,
	}
}

// ArgoCDCluster is a cluster as Argo CD keeps it.
type ArgoCDCluster struct {
	Name       string // in Argo CD's list
	Server     string
	ServerName string // by which the server's certificate is verified; "": its host
	CA         []byte
	Cert, Key  []byte
}

// argoCDConfig is the JSON text in which Argo CD keeps how it connects; certificates and the key are base64 there.
type argoCDConfig struct {
	TLS struct {
		Insecure   bool   `json:"insecure"`
		ServerName string `json:"serverName,omitempty"`
		CAData     []byte `json:"caData"`
		CertData   []byte `json:"certData"`
		KeyData    []byte `json:"keyData"`
	} `json:"tlsClientConfig"`
}

// Form is that of a Secret of a name.
func (c ArgoCDCluster) Form(secret string) (Form, error) {
	var config argoCDConfig
	config.TLS.ServerName, config.TLS.CAData, config.TLS.CertData, config.TLS.KeyData = c.ServerName, c.CA, c.Cert, c.Key
	text, err := json.Marshal(config)
	if err != nil {
		return Form{}, fmt.Errorf("encode how Argo CD connects: %w", err)
	}
	return Form{
		Format: v1alpha1.OutputArgoCDCluster, Name: secret, Type: corev1.SecretTypeOpaque, Labels: map[string]string{argoCDTypeLabel: "cluster"},
		Data: map[string][]byte{"name": []byte(c.Name), "server": []byte(c.Server), "config": text},
	}, nil
}

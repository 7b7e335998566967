package export

import (
	"bytes"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/internal/hostfiles"
	"clusterpki.io/operator/internal/kubeconfig"
)

// Kubeconfig is what a kubeconfig is rendered from, beside the certificate of its credential. Both forms are rendered here: what stands
// in a Secret as a kubeconfig may run a program, or lead elsewhere.
type Kubeconfig struct {
	Params kubeconfig.Params // without CA, certificate and key
	CA     []byte            // verifies the API server
	// Certificate is that of the Secret where this stands.
	Certificate []byte
}

// kubeconfigIn reads what the Secret of a kubeconfig says.
func kubeconfigIn(data map[string][]byte) (*Kubeconfig, error) {
	current, err := kubeconfig.ParseCurrent(data["kubeconfig.files"])
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	return &Kubeconfig{
		Params: kubeconfig.Params{
			Server: current.Server, TLSServerName: current.TLSServerName, ClusterName: current.ClusterName,
			ContextName: current.ContextName, UserName: current.UserName,
			Namespace: current.Namespace,
		},
		CA: data[caKey], Certificate: data[corev1.TLSCertKey],
	}, nil
}

// kubeconfigs adds both forms of a credential's kubeconfig; only the one that names files where the key is on the host.
func (l *layout) kubeconfigs(from string, c Credential, at hostfiles.Files) {
	if !bytes.Equal(c.Kubeconfig.Certificate, c.TLS[corev1.TLSCertKey]) {
		l.problem("%s: its two Secrets hold different certificates: the operator is between two writes, try again", from)
		return
	}
	files, embedded, host := c.Kubeconfig.Params, c.Kubeconfig.Params, at.Below(l.dir)
	files.CA = kubeconfig.Material{Path: hostfiles.Files{CA: hostfiles.CA}.Below(l.dir).CA}
	files.Certificate, files.Key = kubeconfig.Material{Path: host.Certificate}, kubeconfig.Material{Path: host.Key}
	l.kubeconfig(from, at.Kubeconfig, files)
	if c.externalKey() {
		return
	}
	embedded.CA, embedded.Certificate = kubeconfig.Material{PEM: c.Kubeconfig.CA}, kubeconfig.Material{PEM: c.TLS[corev1.TLSCertKey]}
	embedded.Key = kubeconfig.Material{PEM: c.TLS[corev1.TLSPrivateKeyKey]}
	l.kubeconfig(from, at.Embedded, embedded)
}

func (l *layout) kubeconfig(from, name string, p kubeconfig.Params) {
	text, err := kubeconfig.Render(p)
	if err != nil {
		l.problem("%s: render the kubeconfig: %v", from, err)
		return
	}
	l.add(from, name, secretMode, text)
}

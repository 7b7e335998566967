package export

import (
	"bytes"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/internal/hostfiles"
	"clusterpki.io/operator/internal/kubeconfig"
)

// kubeconfigs adds both forms of a credential's kubeconfig; only the one that names files where the key is on the host.
func (l *layout) kubeconfigs(from string, c Credential, at hostfiles.Files) {
	if !bytes.Equal(c.Kubeconfig[corev1.TLSCertKey], c.TLS[corev1.TLSCertKey]) {
		l.problem("%s: its two Secrets hold different certificates: the operator is between two writes, try again", from)
		return
	}
	files, err := relocate(c.Kubeconfig["kubeconfig.files"], l.dir, at)
	if err != nil {
		l.problem("%s: %v", from, err)
		return
	}
	l.add(from, at.Kubeconfig, secretMode, files)
	if !c.externalKey() {
		l.add(from, at.Embedded, secretMode, c.Kubeconfig["value"])
	}
}

// relocate renders a kubeconfig of the path form for another directory.
func relocate(text []byte, dir string, at hostfiles.Files) ([]byte, error) {
	current, err := kubeconfig.ParseCurrent(text)
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	host := at.Below(dir)
	moved, err := kubeconfig.Render(kubeconfig.Params{
		Server:        current.Server,
		TLSServerName: current.TLSServerName,
		ClusterName:   current.ClusterName,
		ContextName:   current.ContextName,
		UserName:      current.UserName,
		Namespace:     current.Namespace,
		CA:            kubeconfig.Material{Path: hostfiles.Files{CA: hostfiles.CA}.Below(dir).CA},
		Certificate:   kubeconfig.Material{Path: host.Certificate},
		Key:           kubeconfig.Material{Path: host.Key},
	})
	if err != nil {
		return nil, fmt.Errorf("render the kubeconfig: %w", err)
	}
	return moved, nil
}

package export

import (
	"net/netip"

	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/hostfiles"
	"clusterpki.io/operator/internal/pki"
)

// kubeletConfiguration is the part of a KubeletConfiguration (kubelet.config.k8s.io/v1beta1) that follows
// from the certificates; its certificate options have no other form than this since the flags for them are
// deprecated.
type kubeletConfiguration struct {
	APIVersion         string         `json:"apiVersion"`
	Kind               string         `json:"kind"`
	Authentication     authentication `json:"authentication"`
	Authorization      mode           `json:"authorization"`
	ClusterDNS         []string       `json:"clusterDNS,omitempty"`
	ClusterDomain      string         `json:"clusterDomain,omitempty"`
	RotateCertificates bool           `json:"rotateCertificates"`
	ServerTLSBootstrap bool           `json:"serverTLSBootstrap"`
	TLSCertFile        string         `json:"tlsCertFile,omitempty"`
	TLSPrivateKeyFile  string         `json:"tlsPrivateKeyFile,omitempty"`
}

type authentication struct {
	Anonymous enabled  `json:"anonymous"`
	Webhook   enabled  `json:"webhook"`
	X509      clientCA `json:"x509"`
}

type enabled struct {
	Enabled bool `json:"enabled"`
}

type clientCA struct {
	ClientCAFile string `json:"clientCAFile"`
}

type mode struct {
	Mode string `json:"mode"`
}

// kubelet adds the kubelet's configuration file and returns its flags.
func (l *layout) kubelet(h Host, c Credential) []string {
	config := kubeletConfiguration{
		APIVersion: "kubelet.config.k8s.io/v1beta1",
		Kind:       "KubeletConfiguration",
		Authentication: authentication{
			Webhook: enabled{Enabled: true},
			X509:    clientCA{ClientCAFile: l.at(hostfiles.ClientCA)},
		},
		Authorization: mode{Mode: "Webhook"},
		// The operator renews both certificates: a kubelet that asks for its own would leave them behind.
		RotateCertificates: false,
		ServerTLSBootstrap: false,
	}
	if h.has("KubeletServing") {
		f := l.of("KubeletServing")
		config.TLSCertFile, config.TLSPrivateKeyFile = f.Certificate, f.Key
	}
	if s := h.Cluster.APIServer; s != nil {
		config.ClusterDomain = s.Spec.ClusterDomain
		config.ClusterDNS = clusterDNS(s)
	}
	text, err := yaml.Marshal(config)
	if err != nil {
		l.problem("encode the kubelet's configuration: %v", err)
	}
	l.add("the kubelet's configuration", kubeletConfig, publicMode, text)
	return []string{
		"--config=" + l.at(kubeletConfig),
		"--hostname-override=" + h.Name,
		"--kubeconfig=" + l.kubeconfigOf(c),
	}
}

// clusterDNS is the tenth address of each service network, where kubeadm puts the cluster's DNS.
func clusterDNS(s *v1alpha1.APIServerCertificate) []string {
	var out []string
	for _, cidr := range s.Spec.ServiceCIDRs {
		addr, err := pki.FirstServiceIP(cidr)
		if err != nil {
			continue // admission refuses it
		}
		for range 9 {
			addr = addr.Next()
		}
		if prefix, err := netip.ParsePrefix(cidr); err == nil && prefix.Masked().Contains(addr) {
			out = append(out, addr.String())
		}
	}
	return out
}

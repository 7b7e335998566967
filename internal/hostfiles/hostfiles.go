// Package hostfiles says where each file of a credential lies on its host, below one directory that
// is /etc/kubernetes by default. Names are kubeadm's wherever kubeadm has one.
package hostfiles

import "path"

// Shared files, relative to the host's directory.
const (
	CA             = "pki/ca.crt"             // verifies the API server
	ClientCA       = "pki/client-ca.crt"      // verifies the API server's clients
	FrontProxyCA   = "pki/front-proxy-ca.crt" // verifies the aggregator
	EtcdCA         = "pki/etcd/ca.crt"        // verifies etcd and its clients
	KubeletCA      = "pki/kubelet-ca.crt"     // verifies the kubelets' servers
	APIServerCert  = "pki/apiserver.crt"
	APIServerKey   = "pki/apiserver.key"
	ServiceAccKey  = "pki/sa.key"
	ServiceAccPub  = "pki/sa.pub"
	DefaultBaseDir = "/etc/kubernetes"
)

// Files are the places of one credential, relative to the host's directory.
type Files struct {
	Certificate string
	Key         string
	CA          string // verifies this credential
	Kubeconfig  string // the form that names files; "" for roles without one
	Embedded    string // the form that holds everything; "" for roles without one
}

const kubelet = "Kubelet" // the role of a kubelet as a client of its API server

type place struct{ pair, ca, kubeconfig string }

var places = map[string]place{
	kubelet:                  {"kubelet-client", CA, "kubelet"},
	"KubeProxy":              {"kube-proxy", CA, "kube-proxy"},
	"ControllerManager":      {"controller-manager", CA, "controller-manager"},
	"Scheduler":              {"scheduler", CA, "scheduler"},
	"Admin":                  {"admin", CA, "admin"},
	"SuperAdmin":             {"super-admin", CA, "super-admin"},
	"APIServerKubeletClient": {"apiserver-kubelet-client", CA, ""},
	"FrontProxyClient":       {"front-proxy-client", FrontProxyCA, ""},
	"EtcdServer":             {"etcd/server", EtcdCA, ""},
	"EtcdPeer":               {"etcd/peer", EtcdCA, ""},
	"EtcdClient":             {"apiserver-etcd-client", EtcdCA, ""},
	"EtcdHealthcheckClient":  {"etcd/healthcheck-client", EtcdCA, ""},
	"KubeletServing":         {"kubelet", CA, ""},
}

// ForRole returns the places of a credential: by role, so that components find them, or by the
// credential's own name for roles that are no component's ('Host', 'Custom').
func ForRole(role, name string) Files {
	p, ok := places[role]
	if !ok {
		p = place{name, CA, name}
	}
	f := Files{Certificate: "pki/" + p.pair + ".crt", Key: "pki/" + p.pair + ".key", CA: p.ca}
	if p.kubeconfig != "" {
		f.Kubeconfig = p.kubeconfig + ".conf"
		f.Embedded = p.kubeconfig + ".embedded.conf"
	}
	return f
}

// Own are the places that are the credential's alone.
func (f Files) Own() []string {
	out := []string{f.Certificate, f.Key}
	if f.Kubeconfig != "" {
		out = append(out, f.Kubeconfig, f.Embedded)
	}
	return out
}

// Below returns the places as absolute paths below a host's directory.
func (f Files) Below(dir string) Files {
	at := func(name string) string {
		if name == "" {
			return ""
		}
		return path.Join(dir, name)
	}
	return Files{
		Certificate: at(f.Certificate), Key: at(f.Key), CA: at(f.CA),
		Kubeconfig: at(f.Kubeconfig), Embedded: at(f.Embedded),
	}
}

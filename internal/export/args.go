package export

import (
	"path"
	"strings"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/hostfiles"
)

// args adds a file of flags, one a line, for each component that the host has a credential for. The flags
// are those of Kubernetes 1.37 and etcd 3.7. It returns what a person should know about them.
func (l *layout) args(h Host) (notes []string) {
	write := func(component string, flags []string) {
		text := strings.Join(flags, "\n") + "\n"
		l.add("the flags of "+component, path.Join(argsDirectory, component), publicMode, []byte(text))
	}
	if h.has("EtcdServer") && h.has("EtcdPeer") {
		write("etcd", l.etcd(h))
	}
	if h.APIServer != nil {
		write("kube-apiserver", l.apiServerFlags(h))
		if h.APIServer.ServiceAccounts == nil {
			notes = append(notes, "args/kube-apiserver lacks --service-account-key-file and --service-account-signing-key-file, "+
				"without which it does not start: set spec.serviceAccountKeyRef of APIServerCertificate "+h.APIServer.Object.Name+
				", or add the flags for your own keys")
		}
		if !h.has("EtcdClient") || len(etcdEndpoints(h)) == 0 {
			notes = append(notes, "args/kube-apiserver lacks --etcd-servers, without which it does not start: "+
				"add NodeCredentials of roles EtcdClient and EtcdServer of one ClusterCA, or the flags for your own etcd")
		}
		if c := h.user("ControllerManager"); c != nil {
			write("kube-controller-manager", l.controllerManager(h, *c))
		}
		if c := h.user("Scheduler"); c != nil {
			write("kube-scheduler", l.scheduler(*c))
		}
	}
	return append(notes, l.nodeArgs(h, write)...)
}

// nodeArgs are those of the components of a node. On a host with an API server, an identity CN=HOST is the control plane's and not a node's.
func (l *layout) nodeArgs(h Host, write func(component string, flags []string)) (notes []string) {
	if c := h.user("Kubelet"); c != nil && (h.APIServer == nil || h.has("Kubelet")) {
		if _, there := l.byPath[hostfiles.ClientCA]; there {
			write("kubelet", l.kubelet(h, *c))
		} else {
			notes = append(notes, "args/kubelet and "+hostfiles.ClientCA+" are left out: the NodeCredentials of role Host are of different ClusterCAs, "+
				"and nothing says whose clients a kubelet is to take. If the host runs one, add a NodeCredential of role Kubelet")
		}
	}
	if c := h.user("KubeProxy"); c != nil && (h.APIServer == nil || h.has("KubeProxy")) {
		write("kube-proxy", []string{"--hostname-override=" + h.Name, "--kubeconfig=" + l.kubeconfigOf(*c)})
	}
	return notes
}

// of returns where the files of a role lie on the host.
func (l *layout) of(role v1alpha1.Role) hostfiles.Files {
	return hostfiles.ForRole(string(role), "").Below(l.dir)
}

func (l *layout) kubeconfigOf(c Credential) string {
	return hostfiles.ForRole(string(c.Object.Spec.Role), c.Object.Name).Below(l.dir).Kubeconfig
}

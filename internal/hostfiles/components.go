package hostfiles

import "slices"

// Component says which files below a host's directory a component reads, in Kubernetes 1.37 and etcd 3.7, with the
// flags that `clusterpki export` writes.
type Component struct {
	Name string
	// Reloads are files of which it notices a change by itself: the API server and the kubelet within a minute, etcd with
	// the next handshake, and whatever is a client of the API server within five minutes, when client-go looks again.
	Reloads []string
	// Once are files that it reads when it starts, and never again.
	Once []string
	role string // of its own certificate; "" for kube-apiserver
}

// components are in the order in which a control plane starts.
var components = []Component{
	{Name: "etcd", role: "EtcdServer", Reloads: pairs("EtcdServer", "EtcdPeer"), Once: []string{EtcdCA}},
	{
		Name: "kube-apiserver",
		Reloads: append(pairs("FrontProxyClient", "APIServerKubeletClient", "EtcdClient"),
			APIServerCert, APIServerKey, ClientCA, FrontProxyCA, KubeletCA),
		Once: []string{EtcdCA, ServiceAccKey, ServiceAccPub},
	},
	{
		Name: "kube-controller-manager", role: "ControllerManager",
		Reloads: append(pairs("ControllerManager"), ClientCA, FrontProxyCA),
		// The CA is what it publishes as ConfigMap kube-root-ca.crt in each namespace.
		Once: []string{CA, ServiceAccKey, ForRole("ControllerManager", "").Kubeconfig},
	},
	{
		Name: "kube-scheduler", role: "Scheduler",
		Reloads: append(pairs("Scheduler"), CA, ClientCA), Once: []string{ForRole("Scheduler", "").Kubeconfig},
	},
	{
		Name: "kubelet", role: kubelet,
		Reloads: append(pairs("Kubelet", "KubeletServing"), CA, ClientCA), Once: []string{ForRole("Kubelet", "").Kubeconfig},
	},
	{
		Name: "kube-proxy", role: "KubeProxy",
		Reloads: append(pairs("KubeProxy"), CA), Once: []string{ForRole("KubeProxy", "").Kubeconfig},
	},
}

// Components returns the table of components in its order.
func Components() []Component { return slices.Clone(components) }

// Runs says whether a component runs on a host that has credentials of these roles and, or not, an API server.
func (c Component) Runs(roles []string, apiServer bool) bool {
	if c.role == "" {
		return apiServer
	}
	return slices.Contains(roles, c.role)
}

func pairs(roles ...string) []string {
	var out []string
	for _, r := range roles {
		f := ForRole(r, "")
		out = append(out, f.Certificate, f.Key)
	}
	return out
}

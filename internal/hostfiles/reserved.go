package hostfiles

import "slices"

// shared are the files that no credential's own may take the place of.
var shared = []string{CA, ClientCA, FrontProxyCA, EtcdCA, KubeletCA, APIServerCert, APIServerKey, ServiceAccKey, ServiceAccPub}

// Reserved is the place of a credential's files that is another thing's on every host, "" for none: whoever names a credential of role 'Host' or
// 'Custom' client-ca would say whom a kubelet trusts.
func Reserved(role, name string) string {
	if _, ok := places[role]; ok {
		return ""
	}
	taken := map[string]bool{}
	for _, p := range shared {
		taken[p] = true
	}
	for component := range places {
		for _, p := range ForRole(component, "").Own() {
			taken[p] = true
		}
	}
	for _, p := range ForRole(role, name).Own() {
		if taken[p] {
			return p
		}
	}
	return ""
}

// User is a credential of a host, as far as it matters to what verifies the clients of the host's kubelet.
type User struct {
	Role       string
	Kubeconfig bool
	CAs        []string // the ClusterCAs that its own trust bundle is of
}

// MayBringClientCA says whether credentials of a role, with a kubeconfig, bring what verifies the clients of a kubelet to some hosts.
func MayBringClientCA(role string) bool { return role == kubelet || role == "Host" }

// BringsClientCA says whether a credential brings what verifies the clients of its host's kubelet, where the host has no API server of its own: the
// kubelet's own does or, on a host that has no such one, those of role 'Host'. Where these are of different CAs, nothing says which of them a kubelet
// would use, and none does. all are the credentials of the host.
func BringsClientCA(u User, all []User) bool {
	if !u.Kubeconfig || !MayBringClientCA(u.Role) {
		return false
	}
	return u.Role == kubelet || !slices.ContainsFunc(all, func(other User) bool {
		return other.Role == kubelet || other.Role == u.Role && other.Kubeconfig && !slices.Equal(other.CAs, u.CAs)
	})
}

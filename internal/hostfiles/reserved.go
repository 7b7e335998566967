package hostfiles

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

// BringsClientCA says whether a credential with a kubeconfig brings what verifies the clients of its host's kubelet, where the host has no API
// server of its own: the kubelet's own does or, on a host that has no such one, that of role 'Host'.
func BringsClientCA(role string, hasKubelet bool) bool {
	return role == "Kubelet" || role == "Host" && !hasKubelet
}

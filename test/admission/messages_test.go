package admission_test

import (
	"strings"
	"testing"
)

// TestMessages reads the denials as a user sees them.
func TestMessages(t *testing.T) {
	c := somebody(t, prod, "reader")
	for _, m := range []struct {
		request request
		want    string
	}{
		{
			creates(nodecred, "new", "{spec: {caRef: {name: k8s}, hostName: node9, role: Kubelet}}"),
			`nodecredentials.clusterpki.io "new" is forbidden: ValidatingAdmissionPolicy 'clusterpki-nodecredentials' with binding 'clusterpki-nodecredentials' denied request: ` +
				"you need the verb issue on clustercas/kubelet named k8s, in namespace prod: ClusterRole clusterpki-pki-admin has it, and clusterpki-node-operator for the CAs that it names",
		},
		{
			creates(nodecred, "new", "{spec: {caRef: {name: k8s}, hostName: node9, role: SuperAdmin}}"),
			`nodecredentials.clusterpki.io "new" is forbidden: ValidatingAdmissionPolicy 'clusterpki-nodecredentials' with binding 'clusterpki-nodecredentials' denied request: ` +
				"you need the verb issue on clustercas/superadmin named k8s, in namespace prod: ClusterRole clusterpki-pki-admin has it",
		},
		{
			edits(nodecred, kubelet, "{spec: {delivery: {acknowledged: {serialNumber: '01'}}}}"),
			`nodecredentials.clusterpki.io "k8s-node1-kubelet" is forbidden: ValidatingAdmissionPolicy 'clusterpki-nodecredentials' with binding 'clusterpki-nodecredentials' denied request: ` +
				"you need the verb acknowledge on nodecredentials named k8s-node1-kubelet, in namespace prod: ClusterRoles clusterpki-node-operator and clusterpki-pki-admin have it",
		},
		{
			edits(asc, master, "{spec: {dnsNames: []}}"),
			`apiservercertificates.clusterpki.io "k8s-master" is forbidden: ValidatingAdmissionPolicy 'clusterpki-apiservercertificates' with binding 'clusterpki-apiservercertificates' denied request: ` +
				"you need the verb issue on clustercas/apiserver named k8s, in namespace prod: ClusterRole clusterpki-pki-admin has it",
		},
		{
			deletes(nodecred, kubelet),
			`nodecredentials.clusterpki.io "k8s-node1-kubelet" is forbidden: ValidatingAdmissionPolicy 'clusterpki-nodecredentials' with binding 'clusterpki-nodecredentials' denied request: ` +
				"you need the verb issue on clustercas/kubelet named k8s, in namespace prod: ClusterRole clusterpki-pki-admin has it, and clusterpki-node-operator for the CAs that it names",
		},
		{
			deletes(asc, master),
			`apiservercertificates.clusterpki.io "k8s-master" is forbidden: ValidatingAdmissionPolicy 'clusterpki-apiservercertificates' with binding 'clusterpki-apiservercertificates' denied request: ` +
				"you need the verb issue on clustercas/apiserver named k8s, in namespace prod: ClusterRole clusterpki-pki-admin has it",
		},
		{
			deletes(ca, "k8s"),
			`clustercas.clusterpki.io "k8s" is forbidden: ValidatingAdmissionPolicy 'clusterpki-clustercas' with binding 'clusterpki-clustercas' denied request: ` +
				"you need the verb issue on clustercas/ca named k8s, in namespace prod: ClusterRole clusterpki-pki-admin has it",
		},
	} {
		eventually(t, m.want, func() error { return m.request(t.Context(), c) }, func(err error) bool { return err != nil && err.Error() == m.want })
	}
	importer := somebody(t, prod, "importer", "issue on clustercas/ca named new")
	want := "you need the verb get on secrets named corporate, in namespace prod, to import from it: no ClusterRole of clusterpki has it"
	eventually(t, want, func() error {
		return creates(ca, "new", "{spec: {source: {import: {secretRef: {name: corporate}, certificateSHA256: '"+sha256+"'}}}}")(t.Context(), importer)
	}, func(err error) bool { return err != nil && strings.HasSuffix(err.Error(), want) })
}

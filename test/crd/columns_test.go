package crd

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/registry/customresource/tableconvertor"
	"sigs.k8s.io/yaml"
)

// TestColumns: what `kubectl get` shows of an object in a fleet, by the API server's own code.
func TestColumns(t *testing.T) {
	for name, c := range map[string]struct {
		plural, object string
		want           []string
	}{
		"a cluster that needs somebody": {"clusterpkis", `
apiVersion: clusterpki.io/v1alpha1
kind: ClusterPKI
metadata: {name: k8s}
status:
  conditions: [{type: HostsUpToDate, status: "False"}, {type: Ready, status: "True"}]
  rotations: [{name: k8s-ca, phase: Reissuing}, {name: k8s-etcd-ca, phase: Queued}]
  hostsBehind: 2
  nextExpiry: "2027-11-28T00:00:00Z"
  attention: [{host: k8s-node1, reason: LeaseExpired, edit: start it}, {reason: WithdrawalPending, edit: approve it}]
`, []string{"Name k8s", "Ready True", "Rotation Reissuing", "Behind 2", "Next Expiry 2027-11-28T00:00:00Z", "Attention LeaseExpired", "Age "}},
		"a cluster in which all is well": {"clusterpkis", `
apiVersion: clusterpki.io/v1alpha1
kind: ClusterPKI
metadata: {name: k8s}
status:
  conditions: [{type: Ready, status: "True"}]
  hostsBehind: 0
  nextExpiry: "2027-11-28T00:00:00Z"
`, []string{"Name k8s", "Ready True", "Rotation ", "Behind 0", "Next Expiry 2027-11-28T00:00:00Z", "Attention ", "Age "}},
		"a credential": {"nodecredentials", `
apiVersion: clusterpki.io/v1alpha1
kind: NodeCredential
metadata: {name: node1}
spec: {hostName: k8s-node1, role: Kubelet}
status:
  conditions: [{type: Ready, status: "True"}]
  delivery: LeaseExpired
  certificate: {secretName: node1-tls, notAfter: "2027-11-28T00:00:00Z", renewalTime: "2027-07-28T00:00:00Z"}
`, []string{
			"Name node1", "Ready True", "Host k8s-node1", "Role Kubelet", "Delivery LeaseExpired", "Not After 2027-11-28T00:00:00Z",
			"Renews 2027-07-28T00:00:00Z", "Age ",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := columns(t, c.plural, c.object); !slices.Equal(got, c.want) {
				t.Errorf("it shows %q, and not %q", got, c.want)
			}
		})
	}
}

// columns are the titles and cells of `kubectl get`, without those of `-o wide`.
func columns(t *testing.T, plural, object string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "config", "crd", "bases", "clusterpki.io_"+plural+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(text, &crd); err != nil {
		t.Fatal(err)
	}
	convertor, err := tableconvertor.New(crd.Spec.Versions[0].AdditionalPrinterColumns)
	if err != nil {
		t.Fatal(err)
	}
	table, err := convertor.ConvertToTable(t.Context(), parse(t, object), nil)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for i, column := range table.ColumnDefinitions {
		if column.Priority > 0 {
			continue
		}
		cell, _ := table.Rows[0].Cells[i].(string)
		if n, ok := table.Rows[0].Cells[i].(int64); ok {
			cell = strconv.FormatInt(n, 10)
		}
		out = append(out, column.Name+" "+cell)
	}
	return out
}

package install_test

import (
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// checkRefusals tries a few of the rules that test/crd tries all, with the whole API server: what it answers is
// what a person reads.
func (c *cluster) checkRefusals() {
	c.t.Helper()
	for want, object := range map[string]string{
		`ClusterCA.clusterpki.io "bad" is invalid: spec.validity: Forbidden: must be between 10 minutes and 100 years, ` +
			`in hours, minutes and seconds, such as '8760h' (one year) or '90m': there is no unit for days or years`: `
kind: ClusterCA
spec: {validity: 10y}`,
		`ClusterCA.clusterpki.io "bad" is invalid: spec.privateKey.size: Invalid value: ` +
			`size must be 2048, 3072 or 4096 for algorithm 'RSA'`: `
kind: ClusterCA
spec: {privateKey: {algorithm: RSA, size: 1024}}`,
		`APIServerCertificate.clusterpki.io "bad" is invalid: spec.endpoint: Invalid value: no SAN covers the host of endpoint, ` +
			`so every client would refuse the server: add the host to dnsNames or ipAddresses, change endpoint, or set tlsServerName to a name that is covered`: `
kind: APIServerCertificate
spec: {caRef: {name: k8s}, hostName: centos-master, endpoint: "https://k8s-master:6443"}`,
		`NodeCredential.clusterpki.io "bad" is invalid: spec.hostName: Forbidden: must be a lower-case DNS name of ` +
			`letters, digits, '-' and '.', or an IPv4 address, as the name of a Node is; write an internationalised name as its A-label ('xn--...')`: `
kind: NodeCredential
spec: {caRef: {name: k8s}, hostName: K8S_node1, role: Host}`,
	} {
		u := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(object), &u.Object); err != nil {
			c.t.Fatal(err)
		}
		u.SetAPIVersion("clusterpki.io/v1alpha1")
		u.SetName("bad")
		u.SetNamespace("default")
		err := c.api.Create(c.t.Context(), u)
		if !apierrors.IsInvalid(err) || strings.TrimSpace(err.Error()) != want {
			c.t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

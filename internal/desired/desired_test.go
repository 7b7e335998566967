package desired

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/stall"
	"clusterpki.io/operator/test/given"
)

// TestEndpointCovered has the case that admission refuses already, for objects that admission did not see.
func TestEndpointCovered(t *testing.T) {
	for _, c := range []struct {
		endpoint, name string
		covered        bool
	}{
		{"https://k8s-master:6443", "", true}, {"https://10.1.10.238:6443", "", true}, {"https://10.96.0.1", "", true},
		{"https://[::1]:6443", "", true}, {"https://api.example.com/k8s/clusters/c-x", "", true}, {"https://203.0.113.7", "kubernetes.default", true},
		{"https://a.api.example.com", "", false}, {"https://k8s-master2:6443", "", false}, {"https://10.1.10.239:6443", "", false},
		{"https://k8s-master:6443", "k8s-master2", false},
	} {
		server := v1alpha1.APIServerCertificate{
			ObjectMeta: metav1.ObjectMeta{Name: "k8s-master"},
			Spec: v1alpha1.APIServerCertificateSpec{
				HostName: "k8s-master", ClusterDomain: "cluster.local", ServiceCIDRs: []string{"10.96.0.0/12"},
				DNSNames: []string{"*.example.com"}, IPAddresses: []string{"10.1.10.238"}, Endpoint: c.endpoint, TLSServerName: c.name,
			},
		}
		err := EndpointCovered(&server)
		if c.covered != (err == nil) {
			t.Errorf("%s: %v", c.endpoint, err)
		}
		if err == nil {
			continue
		}
		if st, ok := stall.Of(err); !ok || st.Reason != v1alpha1.ReasonEndpointNotCovered || !strings.Contains(st.Message, "add it to its dnsNames or ipAddresses") {
			t.Errorf("%s: the message is %v", c.endpoint, err)
		}
	}
}

// TestLocalEndpoint: the API server of the same host is for the components of a control plane host alone, and verified by its own name.
func TestLocalEndpoint(t *testing.T) {
	server := given.Server("k8s-master", func(c *v1alpha1.APIServerCertificate) {
		c.Spec.LocalEndpoint, c.Spec.TLSServerName = "https://10.1.10.238:6443", "kubernetes"
		c.Spec.ClusterDomain, c.Spec.ServiceCIDRs = "cluster.local", []string{"10.96.0.0/12"}
	})
	local, other := Endpoint{URL: "https://10.1.10.238:6443"}, Endpoint{URL: "https://k8s-master:6443", TLSServerName: "kubernetes"}
	for _, r := range pki.Roles() {
		c := given.Kubelet("x", func(c *v1alpha1.NodeCredential) { c.Spec.HostName, c.Spec.Role = "k8s-master", v1alpha1.Role(r.Name) })
		want := other
		if slices.Contains([]string{"ControllerManager", "Scheduler", "Kubelet"}, r.Name) {
			want = local
		}
		if got := EndpointFor(c, server); got != want {
			t.Errorf("%s on the API server's host: %+v", r.Name, got)
		}
		if c.Spec.HostName = "k8s-node1"; EndpointFor(c, server) != other {
			t.Errorf("%s on another host: %+v", r.Name, EndpointFor(c, server))
		}
		if c.Spec.HostName, server.Spec.LocalEndpoint = "k8s-master", ""; EndpointFor(c, server) != other {
			t.Errorf("%s without a localEndpoint: %+v", r.Name, EndpointFor(c, server))
		}
		server.Spec.LocalEndpoint = local.URL
	}
	for endpoint, covered := range map[string]bool{local.URL: true, "https://[::1]:6443": true, "https://10.1.10.239:6443": false, "http://k8s-master": false} {
		server.Spec.LocalEndpoint = endpoint
		if err := EndpointCovered(server); covered != (err == nil) || err != nil && !strings.Contains(err.Error(), "localEndpoint") {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
	server.Spec.DNSNames, server.Spec.LocalEndpoint = append(server.Spec.DNSNames, "*.prod.example"), "https://master.prod.example:6443"
	known, err := ServerOf(server)
	if err != nil || !slices.Contains(known.Endpoints, "master.prod.example") {
		t.Errorf("policies know the API server by %v, %v", known.Endpoints, err)
	}
}

// TestReservedIdentities has the names that admission refuses already.
func TestReservedIdentities(t *testing.T) {
	for _, custom := range []v1alpha1.CustomIdentity{
		{CommonName: "system:node:k8s-node1"}, {CommonName: "system:admin"}, {CommonName: "x", Organizations: []string{"system:masters"}},
	} {
		_, err := Credential(&v1alpha1.NodeCredential{Spec: v1alpha1.NodeCredentialSpec{Role: v1alpha1.RoleCustom, Custom: &custom}})
		if st, ok := stall.Of(err); !ok || st.Reason != v1alpha1.ReasonInvalidSpec {
			t.Errorf("%+v: %v", custom, err)
		}
	}
}

// TestServersHaveNames: without a name among the SANs, OpenSSL and GnuTLS take the common name for the server's.
func TestServersHaveNames(t *testing.T) {
	c := given.Kubelet("x", func(c *v1alpha1.NodeCredential) {
		c.Spec.Role, c.Spec.Validity.Duration = v1alpha1.RoleCustom, time.Hour
		c.Spec.PrivateKey = v1alpha1.PrivateKeySpec{Algorithm: v1alpha1.ECDSA, Size: 256}
		c.Spec.Custom = &v1alpha1.CustomIdentity{CommonName: "api.prod.example", Usages: []v1alpha1.KeyUsage{v1alpha1.ServerAuth}}
		c.Spec.IPAddresses = []string{"10.0.0.7"}
	})
	if _, err := Credential(c); err == nil || !strings.Contains(err.Error(), "spec.dnsNames: must hold a name") {
		t.Errorf("without a name: %v", err)
	}
	c.Spec.DNSNames = []string{"db.prod.example"}
	if _, err := Credential(c); err != nil {
		t.Errorf("with a name: %v", err)
	}
}

// TestHostNamesOfCredentials: a host may be called as a Node may, and not as an identity is.
func TestHostNamesOfCredentials(t *testing.T) {
	for _, r := range pki.Roles() {
		for _, host := range []string{"front-proxy-client", "kube-apiserver-kubelet-client", "kube-apiserver-kube1et-client", "kubernetes", "k8s\n", "K8s", "aggregator"} {
			c := given.Kubelet("x", func(c *v1alpha1.NodeCredential) { c.Spec.HostName, c.Spec.Role = host, v1alpha1.Role(r.Name) })
			_, err := Credential(c)
			if st, ok := stall.Of(err); !ok || st.Reason != v1alpha1.ReasonInvalidSpec || !strings.Contains(st.Message, "spec.hostName: ") {
				t.Errorf("%s of host %q: %v", r.Name, host, err)
			}
		}
		c := given.Kubelet("x", func(c *v1alpha1.NodeCredential) {
			c.Spec.HostName, c.Spec.Role, c.Spec.Validity.Duration = "10.0.10.2", v1alpha1.Role(r.Name), time.Hour
			c.Spec.PrivateKey = v1alpha1.PrivateKeySpec{Algorithm: v1alpha1.ECDSA, Size: 256}
		})
		d, err := Credential(c)
		if err != nil || d.Spec.SANs.Covers("10.0.10.2") != r.HostSAN || r.PerHost != strings.HasSuffix(d.Spec.Subject.CommonName, "10.0.10.2") {
			t.Errorf("%s of a host that is called by its address: %+v, %v", r.Name, d.Spec, err)
		}
	}
	server := given.Server("x", func(s *v1alpha1.APIServerCertificate) { s.Spec.DNSNames = []string{"front-proxy-client"} })
	if _, err := APIServer(server); err == nil {
		t.Error("an API server has the name of the front proxy")
	}
}

// TestNamesOfCAs has what would stand in every certificate of a CA.
func TestNamesOfCAs(t *testing.T) {
	for _, subject := range []v1alpha1.CASubject{
		{CommonName: "k8s\n"}, {CommonName: "front-proxy-client"}, {Organizations: []string{"system:masters"}}, {Organizations: []string{"Ops\u200b"}},
	} {
		ca := given.CA("k8s", func(c *v1alpha1.ClusterCA) { c.Spec.Subject = subject })
		if st, ok := stall.Of(ValidCA(CA(ca).Spec)); !ok || !strings.Contains(st.Message, "spec.subject: ") {
			t.Errorf("%+v is a name of a CA", subject)
		}
	}
}

// TestOneSecretForTwo: two Secrets of one object cannot be one, also where a default is the name of one of them.
func TestOneSecretForTwo(t *testing.T) {
	credential := given.Kubelet("node9")
	credential.Spec.Kubeconfig.SecretName = "node9-tls"
	_, err := Credential(credential)
	if st, ok := stall.Of(err); !ok || st.Reason != v1alpha1.ReasonInvalidSpec || !strings.Contains(st.Message, "would hold both") {
		t.Errorf("the error is %v", err)
	}
}

package cluster_test

import (
	"slices"
	"strings"
	"testing"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/cluster"
)

// TestHosted: what pods mount is mounted and probed, and no host of them is a node; nodes are as ever.
func TestHosted(t *testing.T) {
	c := sample(t, "hosted")
	children := expand(t, c)
	server, ok := children.Find(cluster.Key{Kind: v1alpha1.KindAPIServerCertificate, Name: "tenant-tenant-apiserver-apiserver"})
	if !ok {
		t.Fatal("there is no API server")
	}
	spec := server.Object.(*v1alpha1.APIServerCertificate).Spec
	if spec.Probe == nil || !slices.Equal(spec.Probe.Addresses, []string{"10.42.1.17:6443", "10.42.2.17:6443"}) || spec.Delivery.Mode != v1alpha1.DeliveryMounted {
		t.Errorf("the API server is %+v", spec)
	}
	if !slices.Contains(spec.DNSNames, "api.tenant.example") || spec.Endpoint != c.Spec.Endpoint {
		t.Errorf("its names are %v, its endpoint %s", spec.DNSNames, spec.Endpoint)
	}
	for _, child := range children {
		cred, ok := child.Object.(*v1alpha1.NodeCredential)
		if !ok {
			continue
		}
		want := v1alpha1.DeliveryAgent
		if child.Host == "tenant-apiserver" {
			want = v1alpha1.DeliveryMounted
		}
		if cred.Spec.Delivery.Mode != want || child.Host == "tenant-apiserver" && strings.HasPrefix(string(cred.Spec.Role), "Kube") {
			t.Errorf("%s is of role %s, and delivered by %s", cred.Name, cred.Spec.Role, cred.Spec.Delivery.Mode)
		}
	}
	c.Spec.ControlPlane.Hosts[0].Delivery = &v1alpha1.HostDelivery{Mode: v1alpha1.DeliveryManual}
	server, _ = expand(t, c).Find(server.Key())
	if mode := server.Object.(*v1alpha1.APIServerCertificate).Spec.Delivery.Mode; mode != v1alpha1.DeliveryManual {
		t.Errorf("an entry that says otherwise is delivered by %s", mode)
	}
}

// TestEndpoints: an output names the URL that it chooses, and one that is not there is refused.
func TestEndpoints(t *testing.T) {
	c := sample(t, "hosted")
	admin := cluster.Key{Kind: v1alpha1.KindNodeCredential, Name: "tenant-tenant-apiserver-admin"}
	child, _ := expand(t, c).Find(admin)
	if out := child.Object.(*v1alpha1.NodeCredential).Spec.Outputs; len(out) != 1 || out[0].Server != "https://api.tenant.example" {
		t.Errorf("the outputs are %+v", out)
	}
	c.Spec.Outputs[0].Endpoint = ""
	child, _ = expand(t, c).Find(admin)
	if out := child.Object.(*v1alpha1.NodeCredential).Spec.Outputs; len(out) != 1 || out[0].Server != "" {
		t.Errorf("the outputs are %+v", out)
	}
	c.Spec.Outputs[0].Endpoint = "private"
	if _, err := cluster.Expand(c, cluster.Names{}); err == nil || !strings.Contains(err.Error(), `endpoint "private" of format "ArgoCDCluster" is none of spec.endpoints`) {
		t.Errorf("%v", err)
	}
}

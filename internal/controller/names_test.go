package controller_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/cluster"
)

// installs lets the agents of some hosts use all that is issued for them, and say so.
func (w *env) installs(hosts ...string) {
	w.t.Helper()
	w.settled()
	var leases coordinationv1.LeaseList
	w.list(&leases)
	for i := range leases.Items {
		l := &leases.Items[i]
		if !slices.Contains(hosts, w.hostOf(l)) {
			continue
		}
		var others []string
		if strings.HasPrefix(l.Annotations[v1alpha1.OwnerAnnotation], v1alpha1.KindAPIServerCertificate+"/") {
			others = []string{cluster.KeySecretName("k8s")}
		}
		d, err := w.signed(l.Name)
		if err != nil {
			w.t.Fatal(err)
		}
		all := w.contents(l.Name, others...)
		w.reports(l.Name, 0, ack.Report{Installed: all, Verified: all, DeliveryTime: d.Time})
	}
	w.settled()
}

// TestEndpointIsRenamed: no kubeconfig names an endpoint before the API server is seen to serve it, and the former one is a SAN until no kubeconfig has it.
func TestEndpointIsRenamed(t *testing.T) {
	t.Parallel()
	const was, next, master, node = "https://lb.example:6443", "https://next.example:6443", "k8s-master", "k8s-node1"
	w := clustered(t, newCluster(1, func(c *v1alpha1.ClusterPKI) {
		c.Spec.Endpoint, c.Spec.Certificates.Delivery = was, v1alpha1.HostDelivery{Mode: v1alpha1.DeliveryAgent}
	}))
	w.installs(master, node)

	stands := func(when, kubeconfig string, pending bool, sans, retained string) {
		t.Helper()
		w.eventually(when, func() error { // a change of its children reaches a ClusterPKI after a moment
			c := w.cluster()
			got := []string{"kubeconfigs name " + c.Status.Endpoint}
			if meta.IsStatusConditionTrue(c.Status.Conditions, v1alpha1.EndpointPendingCondition) {
				got = append(got, "for now")
			}
			_, text, _ := strings.Cut(string(w.secret("k8s-" + node + "-host-kubeconfig").Data["kubeconfig.files"]), "server: ")
			text, _, _ = strings.Cut(text, "\n")
			names := slices.DeleteFunc(slices.Clone(w.pair("k8s-"+master+"-apiserver-tls").Cert.DNSNames), func(n string) bool { return !strings.HasSuffix(n, ".example") })
			got = append(got, "the node's "+text, "SANs "+strings.Join(names, " "), "retained")
			for _, s := range c.Status.RetainedSANs {
				got = append(got, fmt.Sprintf("%s %v", s.Name, s.UsedBy))
			}
			want := []string{"kubeconfigs name " + kubeconfig}
			if pending {
				want = append(want, "for now")
			}
			want = append(want, "the node's "+kubeconfig, "SANs "+sans, strings.TrimSpace("retained "+retained))
			if strings.Join(got, " ") != strings.Join(want, " ") {
				return fmt.Errorf("%s; want %s", got, want)
			}
			return nil
		})
	}
	stands("at first", was, false, "lb.example", "")
	editCluster(w, func(c *v1alpha1.ClusterPKI) { c.Spec.Endpoint = next })
	stands("the API server has not taken it", was, true, "lb.example next.example", "")
	w.installs(master)
	stands("the API server serves it", next, false, "lb.example next.example",
		"lb.example [NodeCredential/k8s-k8s-master-admin NodeCredential/k8s-k8s-node1-host]")
	w.installs(master)
	stands("the node has the former one", next, false, "lb.example next.example", "lb.example [NodeCredential/k8s-k8s-node1-host]")
	w.installs(node)
	stands("nobody has the former one", next, false, "next.example", "")
	var c v1alpha1.NodeCredential
	if w.get("k8s-"+node+"-host", &c); c.Status.Endpoint != next {
		t.Errorf("the node uses %q", c.Status.Endpoint)
	}
}

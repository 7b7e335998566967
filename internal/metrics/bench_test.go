package metrics_test

import (
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/metrics"
)

// listed answers as the operator's cache does: it hands out what it holds, without a copy.
type listed struct {
	client.Reader
	cas         []v1alpha1.ClusterCA
	servers     []v1alpha1.APIServerCertificate
	credentials []v1alpha1.NodeCredential
	leases      []coordinationv1.Lease
}

func (l *listed) List(_ context.Context, into client.ObjectList, _ ...client.ListOption) error {
	switch list := into.(type) {
	case *v1alpha1.ClusterCAList:
		list.Items = l.cas
	case *v1alpha1.APIServerCertificateList:
		list.Items = l.servers
	case *v1alpha1.NodeCredentialList:
		list.Items = l.credentials
	case *coordinationv1.LeaseList:
		list.Items = l.leases
	}
	return nil
}

// BenchmarkScrape tells of a fleet: how long that takes, and how many bytes it is.
func BenchmarkScrape(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			registry := prometheus.NewRegistry()
			registry.MustRegister(metrics.NewObjects(fleet(n), looked, yes, told, unproved))
			var size, series int
			for b.Loop() {
				families, err := registry.Gather()
				if err != nil {
					b.Fatal(err)
				}
				size, series = 0, 0
				for _, f := range families {
					wrote, err := expfmt.MetricFamilyToText(io.Discard, f)
					if err != nil {
						b.Fatal(err)
					}
					size, series = size+wrote, series+len(f.GetMetric())
				}
			}
			b.ReportMetric(float64(size), "B/scrape")
			b.ReportMetric(float64(series), "series")
		})
	}
}

// fleet is a CA, its API server, and n credentials that agents deliver.
func fleet(n int) *listed {
	out := &listed{}
	for _, o := range objects() {
		switch o := o.(type) {
		case *v1alpha1.ClusterCA:
			out.cas = append(out.cas, *o)
		case *v1alpha1.APIServerCertificate:
			out.servers = append(out.servers, *o)
		case *v1alpha1.NodeCredential:
			if o.Name != "node1" {
				continue
			}
			o.Status.Certificate.RenewalTime = at(66)
			for i := range n {
				next := o.DeepCopy()
				next.Name = fmt.Sprintf("node%d-kubelet", i)
				next.Status.Conditions = append(next.Status.Conditions,
					metav1.Condition{Type: "IssuerReady", Status: metav1.ConditionTrue, Reason: "IssuerAvailable"},
					metav1.Condition{Type: "TrustAcknowledged", Status: metav1.ConditionTrue, Reason: "InUse"})
				out.credentials = append(out.credentials, *next)
			}
		case *coordinationv1.Lease:
			for i := range n {
				next := o.DeepCopy()
				if next.Spec.RenewTime == nil {
					break
				}
				next.Name = fmt.Sprintf("node%d-kubelet-tls", i)
				out.leases = append(out.leases, *next)
			}
		}
	}
	return out
}

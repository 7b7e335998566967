package metrics

import "clusterpki.io/operator/api/v1alpha1"

// The metrics of ClusterPKIs.
var (
	clusterHosts     = describe("cluster_hosts", "How many hosts a ClusterPKI has.", "namespace", "name")
	clusterBehind    = describe("cluster_hosts_behind", "How many hosts of a ClusterPKI do not use what is issued for them.", "namespace", "name")
	clusterAttention = describe("cluster_attention",
		"How many things of a ClusterPKI a person should see to: status.attention has the first of them, with what to do.", "namespace", "name")
	clusterExpiry = describe("cluster_next_expiration_timestamp_seconds",
		"When the first certificate of a ClusterPKI expires, unless it is renewed before.", "namespace", "name")
)

// cluster tells of a ClusterPKI as a whole. What the operator has not counted yet is absent.
func (s *scrape) cluster(c *v1alpha1.ClusterPKI) {
	s.object(c, v1alpha1.CertificateStatus{}, 0) // it has no certificate
	count := func(n *int32) (float64, bool) {
		if n == nil {
			return 0, false
		}
		return float64(*n), true
	}
	if n, known := count(c.Status.Hosts); known {
		s.gauge(clusterHosts, n, c.Namespace, c.Name)
	}
	if n, known := count(c.Status.HostsBehind); known {
		s.gauge(clusterBehind, n, c.Namespace, c.Name)
	}
	if n, known := count(c.Status.AttentionCount); known {
		s.gauge(clusterAttention, n, c.Namespace, c.Name)
	}
	s.time(clusterExpiry, c.Status.NextExpiry, c.Namespace, c.Name)
}

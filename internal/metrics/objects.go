package metrics

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/probe"
)

// readTimeout bounds the reads of one scrape. They are of a cache, so they wait only until that is filled.
const readTimeout = 5 * time.Second

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("clusterpki_"+name, help, labels, nil)
}

// The metrics of every object, and of the replica that tells of them.
var (
	leader = describe("leader",
		"1 on the replica that reconciles, 0 on those that stand by. Only the one that reconciles tells of objects.")
	certificateNotBefore = describe("certificate_not_before_timestamp_seconds",
		"When the certificate in use becomes valid.", "kind", "namespace", "name")
	certificateExpiry = describe("certificate_expiration_timestamp_seconds",
		"When the certificate in use expires; of a ClusterCA, that of the active generation.", "kind", "namespace", "name")
	certificateRenewal = describe("certificate_renewal_timestamp_seconds",
		"When the operator renews the certificate; absent where that would gain nothing, because its CA ends at the same time. "+
			"Of an imported CA, when a person should.", "kind", "namespace", "name")
	certificateRevision = describe("certificate_revision",
		"How many certificates were issued for the object; of a ClusterCA, the number of the active generation.", "kind", "namespace", "name")
	condition = describe("condition",
		"A condition of an object: 1 True, 0 False, -1 Unknown.", "kind", "namespace", "name", "condition", "reason")
	stale = describe("object_unobserved",
		"1 while the operator has not yet dealt with the newest spec of an object, else 0.", "kind", "namespace", "name")
	agentReport = describe("agent_report_timestamp_seconds",
		"When the agent of a host last renewed the Lease of an object that is delivered by it.", "kind", "namespace", "name")
	probeUp = describe("probe_success",
		"1 if the last attempt at an address of an API server showed a certificate and client CAs, else 0.", "namespace", "name", "address")
	probeExpected = describe("probe_certificate_expected",
		"1 if the last attempt at an address of an API server showed the certificate that is issued for it, 0 if another; absent if it showed none.",
		"namespace", "name", "address")
	probeTime = describe("probe_timestamp_seconds",
		"When the last attempt at an address of an API server began.", "namespace", "name", "address")
)

// Objects gathers what is to be told of the objects and of what the probe saw.
type Objects struct {
	reader  client.Reader
	probes  func() []probe.Result
	leading func() bool
	clock   clock.PassiveClock
	reports Reports
}

// Reports says what the Lease of an object is worth; ok is false where that is not known yet.
type Reports func(v1alpha1.Object, *coordinationv1.Lease) (reported consumers.Reported, ok bool)

// NewObjects reads from a cache, and asks probes what was seen last. While this replica is not leading it tells of no
// object: those that wait see the same ones, and would tell of each once more.
func NewObjects(reader client.Reader, probes func() []probe.Result, leading func() bool, clk clock.PassiveClock, reports Reports) *Objects {
	return &Objects{reader, probes, leading, clk, reports}
}

// Describe implements prometheus.Collector.
func (o *Objects) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		leader, certificateNotBefore, certificateExpiry, certificateRenewal, certificateRevision, condition, stale, agentReport,
		probeUp, probeExpected, probeTime, generationExpiry, generationRenewal, generationState, bundleRevision,
		clusterHosts, clusterBehind, clusterAttention, clusterExpiry,
		rotationPhase, rotationStart, phaseStart, rotationProgressDeadline, pendingAcks, assumedAcks, requiredAcks,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (o *Objects) Collect(ch chan<- prometheus.Metric) {
	s := &scrape{ch}
	leads := o.leading()
	s.gauge(leader, truth(leads))
	if !leads {
		return
	}
	//nolint:forbidigo // prometheus.Collector is given no context
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	if err := o.collect(ctx, s); err != nil {
		ch <- prometheus.NewInvalidMetric(certificateExpiry, err)
	}
}

func (o *Objects) collect(ctx context.Context, s *scrape) error {
	var clusters v1alpha1.ClusterPKIList
	var cas v1alpha1.ClusterCAList
	var keys v1alpha1.ServiceAccountKeyList
	var servers v1alpha1.APIServerCertificateList
	var credentials v1alpha1.NodeCredentialList
	var leases coordinationv1.LeaseList
	for _, list := range []client.ObjectList{&clusters, &cas, &keys, &servers, &credentials, &leases} {
		// A scrape does not wait for what the operator is writing.
		if err := o.reader.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return fmt.Errorf("list %T: %w", list, err)
		}
	}
	for i := range clusters.Items {
		s.cluster(&clusters.Items[i])
	}
	for i := range cas.Items {
		ca := &cas.Items[i]
		s.object(ca, ca.Status.Certificate, int64(ca.Status.Revision))
		s.authority(ca)
	}
	for i := range keys.Items {
		s.object(&keys.Items[i], v1alpha1.CertificateStatus{}, 0) // it has no certificate
	}
	agents := map[client.ObjectKey]*coordinationv1.Lease{}
	for i := range leases.Items {
		agents[client.ObjectKeyFromObject(&leases.Items[i])] = &leases.Items[i]
	}
	now := o.clock.Now()
	issued := map[probe.Key]string{}
	for i := range servers.Items {
		c := &servers.Items[i]
		issued[probe.Key{Namespace: c.Namespace, Name: c.Name}] = c.Status.Certificate.SHA256Fingerprint
		s.object(c, c.Status.Certificate, int64(c.Status.Revision))
		o.agent(s, c, c.Spec.Delivery, c.Spec.HostName, agents[client.ObjectKey{Namespace: c.Namespace, Name: c.LeaseName()}], now)
	}
	for i := range credentials.Items {
		c := &credentials.Items[i]
		s.object(c, c.Status.Certificate, int64(c.Status.Revision))
		o.agent(s, c, c.Spec.Delivery, c.Spec.HostName, agents[client.ObjectKey{Namespace: c.Namespace, Name: c.LeaseName()}], now)
	}
	for _, r := range o.probes() {
		if r.LeafSHA256 != "" {
			s.gauge(probeExpected, truth(r.LeafSHA256 == issued[r.Key]), r.Namespace, r.Name, r.Address)
		}
		s.gauge(probeUp, truth(r.Problem == ""), r.Namespace, r.Name, r.Address)
		s.time(probeTime, metav1.NewTime(r.At), r.Namespace, r.Name, r.Address)
	}
	return nil
}

// scrape is where the metrics of one scrape go.
type scrape struct{ ch chan<- prometheus.Metric }

func (s *scrape) gauge(d *prometheus.Desc, value float64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

// time tells of a moment, if there is one.
func (s *scrape) time(d *prometheus.Desc, t metav1.Time, labels ...string) {
	if !t.IsZero() {
		s.gauge(d, float64(t.Unix()), labels...)
	}
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// object tells what objects of all kinds have.
func (s *scrape) object(o v1alpha1.Object, c v1alpha1.CertificateStatus, revision int64) {
	labels := []string{o.Kind(), o.GetNamespace(), o.GetName()}
	s.gauge(stale, truth(*o.ObservedGeneration() != o.GetGeneration()), labels...)
	for _, c := range *o.StatusConditions() {
		if !slices.Contains(conditionTypes, c.Type) {
			continue // it is not the operator's
		}
		value := truth(c.Status == metav1.ConditionTrue)
		if c.Status == metav1.ConditionUnknown {
			value = -1
		}
		s.gauge(condition, value, append(labels[:3:3], c.Type, known(c.Reason))...)
	}
	if c.NotAfter.IsZero() {
		return // nothing is issued yet
	}
	s.time(certificateNotBefore, c.NotBefore, labels...)
	s.time(certificateExpiry, c.NotAfter, labels...)
	s.time(certificateRenewal, c.RenewalTime, labels...)
	s.gauge(certificateRevision, float64(revision), labels...)
}

// agent tells when the agent of the host that an object is delivered to last renewed the Lease of the object's name. Anybody
// can write a Lease: it counts if it was made for this very object, and as it counts for a rotation.
func (o *Objects) agent(s *scrape, of v1alpha1.Object, d v1alpha1.DeliverySpec, host string, l *coordinationv1.Lease, now time.Time) {
	if l == nil || consumers.Unsealed(l.Annotations).UID != of.GetUID() {
		return
	}
	if said, known := o.reports(of, l); known {
		s.time(agentReport, metav1.NewTime(consumers.Renewed(said, d, host, now)), of.Kind(), of.GetNamespace(), of.GetName())
	}
}

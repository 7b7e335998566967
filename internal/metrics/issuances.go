package metrics

import "github.com/prometheus/client_golang/prometheus"

// Issuances counts the certificates that were issued. A nil one counts nothing.
type Issuances struct{ total *prometheus.CounterVec }

// NewIssuances makes the counter for the reasons of each kind. Each starts at zero, so that a rate sees the first one too.
func NewIssuances(reasons map[string][]string) *Issuances {
	total := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "clusterpki_issuances_total",
		Help: "Certificates issued since this replica started, by the kind of the object and the reason.",
	}, []string{"kind", "reason"})
	for kind, list := range reasons {
		for _, reason := range list {
			total.WithLabelValues(kind, reason)
		}
	}
	return &Issuances{total}
}

// Describe implements prometheus.Collector.
func (i *Issuances) Describe(ch chan<- *prometheus.Desc) { i.total.Describe(ch) }

// Collect implements prometheus.Collector.
func (i *Issuances) Collect(ch chan<- prometheus.Metric) { i.total.Collect(ch) }

// Add counts one certificate.
func (i *Issuances) Add(kind, reason string) {
	if i != nil {
		i.total.WithLabelValues(kind, reason).Inc()
	}
}

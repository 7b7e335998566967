package metrics

import "github.com/prometheus/client_golang/prometheus"

// The outcomes of an attempt to probe an API server.
const (
	outcomeAnswered = "Answered"
	outcomeFailed   = "Failed"
)

// Counts counts what happens. A nil one counts nothing.
type Counts struct{ issuances, attempts, requests *prometheus.CounterVec }

// NewCounts makes the counters, with the reasons for which certificates are issued, by kind. What is known to come starts at
// zero, so that a rate sees the first one too.
func NewCounts(reasons map[string][]string) *Counts {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "clusterpki_" + name, Help: help}, labels)
	}
	c := &Counts{
		issuances: counter("issuances_total",
			"Certificates issued since this replica started, by the kind of the object and the reason.", "kind", "reason"),
		attempts: counter("probe_attempts_total",
			"Attempts of a TLS handshake with addresses of API servers since this replica started: "+
				"Answered where a TLS handshake came about, else Failed.", "outcome"),
		requests: counter("api_requests_total",
			"Requests to the API server since this replica started, by what they were about; code is the class of the answer, or error where there was none.",
			"verb", "resource", "code"),
	}
	for kind, list := range reasons {
		for _, reason := range list {
			c.issuances.WithLabelValues(kind, reason)
		}
	}
	for _, outcome := range []string{outcomeAnswered, outcomeFailed} {
		c.attempts.WithLabelValues(outcome)
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *Counts) Describe(ch chan<- *prometheus.Desc) {
	for _, v := range []*prometheus.CounterVec{c.issuances, c.attempts, c.requests} {
		v.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (c *Counts) Collect(ch chan<- prometheus.Metric) {
	for _, v := range []*prometheus.CounterVec{c.issuances, c.attempts, c.requests} {
		v.Collect(ch)
	}
}

// Issued counts one certificate.
func (c *Counts) Issued(kind, reason string) {
	if c != nil {
		c.issuances.WithLabelValues(kind, reason).Inc()
	}
}

// Attempted counts one attempt to reach an API server; err is why no handshake came about.
func (c *Counts) Attempted(err error) {
	if c == nil {
		return
	}
	outcome := outcomeAnswered
	if err != nil {
		outcome = outcomeFailed
	}
	c.attempts.WithLabelValues(outcome).Inc()
}

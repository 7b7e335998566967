package controller

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/leaf"
	"clusterpki.io/operator/internal/probe"
)

// serverObserver observes what API servers serve and trust.
type serverObserver interface {
	Set(key probe.Key, t probe.Target)
	Remove(key probe.Key)
	Observation(key probe.Key) probe.Observation
}

// newProber makes the observer, and the events that tell of what it observes.
func newProber(allow []netip.Prefix, attempted func(error)) (*probe.Prober, <-chan event.GenericEvent) {
	changes := make(chan event.GenericEvent)
	return probe.New(probe.Options{Allow: allow, Attempted: attempted, Notify: func(ctx context.Context, key probe.Key) {
		o := &v1alpha1.APIServerCertificate{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
		select {
		case changes <- event.GenericEvent{Object: o}:
		case <-ctx.Done():
		}
	}}), changes
}

func probeKey(o client.ObjectKey) probe.Key { return probe.Key{Namespace: o.Namespace, Name: o.Name} }

// watch probes an API server from now on, if it says where.
func (r *apiServerCertificates) watch(c *v1alpha1.APIServerCertificate) {
	key := probeKey(client.ObjectKeyFromObject(c))
	if c.Spec.Probe == nil {
		r.observer.Remove(key)
		return
	}
	r.observer.Set(key, probe.Target{Addresses: c.Spec.Probe.Addresses, Interval: c.Spec.Probe.Interval.Duration})
}

// serving says, as a condition, whether what was observed of an API server is what its Secret holds.
func (r *apiServerCertificates) serving(c *v1alpha1.APIServerCertificate, st leaf.State, clients []*x509.Certificate) []metav1.Condition {
	if c.Spec.Probe == nil || !st.Readable() {
		return nil
	}
	observation := r.observer.Observation(probeKey(client.ObjectKeyFromObject(c)))
	out := metav1.Condition{Type: v1alpha1.ServingCondition, Status: metav1.ConditionFalse}
	unknown := slices.IndexFunc(clients, func(ca *x509.Certificate) bool { return !observation.Trusts(ca) })
	switch {
	case !observation.Settled:
		out.Reason, out.Message = unsettledReason(observation), strings.Join(observation.Problems, "; ")
	case !observation.Serves(st.Observed.Leaf.Cert):
		out.Reason = v1alpha1.ReasonWrongCertificate
		out.Message = fmt.Sprintf("it serves another certificate than the one in Secret %q: has the Secret reached it?", c.TLSSecretName())
	case unknown >= 0:
		out.Reason = v1alpha1.ReasonMissingClientCA
		out.Message = fmt.Sprintf("it does not accept clients of the CA %q, which is in the bundle of Secret %q: has the Secret reached it?",
			clients[unknown].Subject, c.TLSSecretName())
	default:
		out.Status, out.Reason = metav1.ConditionTrue, v1alpha1.ReasonAsExpected
		out.Message = "every address serves the certificate in the Secret, and accepts the clients of every CA in its bundle"
	}
	return []metav1.Condition{out}
}

// unsettledReason is why nothing is settled: no answer from an address, or answers that do not agree.
func unsettledReason(o probe.Observation) string {
	switch o.Differs {
	case probe.DifferentLeaf:
		return v1alpha1.ReasonWrongCertificate
	case probe.DifferentClientCAs:
		return v1alpha1.ReasonMissingClientCA
	default:
		return v1alpha1.ReasonUnreachable
	}
}

// observed is what was observed of an API server, as package consumers asks it.
type observed struct{ probe.Observation }

// Unsettled implements consumers.Serving.
func (o observed) Unsettled() string {
	if o.Settled {
		return ""
	}
	return unsettledReason(o.Observation)
}

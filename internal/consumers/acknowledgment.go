package consumers

import (
	"crypto/x509"
	"slices"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/pki"
)

// Acknowledgment is what is known, at one moment, of what a consumer uses of an object's Secrets. The zero value is of one
// of whom nothing will ever be known.
type Acknowledgment struct {
	// Mounted: what the Secrets hold counts as in use after Delay.
	Mounted bool
	Delay   time.Duration
	// Agent is what an agent has verified, Manual what a person states; nil where another evidence counts.
	Agent  *ack.State
	Manual *v1alpha1.AcknowledgedDelivery
	// Reason is why nothing is acknowledged, in one word, and Since when that began; "" where there is no such reason.
	Reason string
	Since  time.Time
}

// Serving is what was seen of an API server on the wire.
type Serving interface {
	Unsettled() string // why nothing is known, in one word; "" where all addresses agree
	Serves(leaf *x509.Certificate) bool
	Trusts(ca *x509.Certificate) bool
	Dropped(ca *x509.Certificate) bool
}

// AcknowledgmentOf resolves a delivery. lease is that of the agent, for mode 'Agent'; nil where there is none. An agent
// whose Lease has expired acknowledges nothing, whatever it said before: nobody knows what its host has done since. Nor does
// the agent of another host. A mode that is not known counts as never arriving.
func AcknowledgmentOf(d v1alpha1.DeliverySpec, lease *coordinationv1.Lease, host string, now time.Time) Acknowledgment {
	switch d.Mode {
	case v1alpha1.DeliveryMounted:
		return Acknowledgment{Mounted: true, Delay: d.PropagationDelay.Duration}
	case v1alpha1.DeliveryManual:
		return Acknowledgment{Manual: new(ptr.Deref(d.Acknowledged, v1alpha1.AcknowledgedDelivery{}))}
	case v1alpha1.DeliveryAgent:
		a := Acknowledgment{Agent: &ack.State{}}
		if !Alive(lease, host, now) {
			a.Reason, a.Since = v1alpha1.ReasonLeaseExpired, expiredAt(lease, now)
			return a
		}
		report := ack.Of(lease)
		if report.Problem != "" {
			a.Reason = v1alpha1.ReasonAgentProblem
		}
		if report.Verified != nil {
			a.Agent = report.Verified
		}
		return a
	default:
		return Acknowledgment{Reason: v1alpha1.PendingUnknownDelivery}
	}
}

// Alive says whether what the agent of a host has said in its Lease counts. It is the one place that says so.
func Alive(l *coordinationv1.Lease, host string, now time.Time) bool {
	return ack.AliveUntil(l, now).After(now) && ptr.Deref(l.Spec.HolderIdentity, "") == host
}

// expiredAt is when a Lease expired; zero where it was never renewed, or is of a wrong clock.
func expiredAt(l *coordinationv1.Lease, now time.Time) time.Time {
	if l == nil || l.Spec.RenewTime == nil || l.Spec.LeaseDurationSeconds == nil {
		return time.Time{}
	}
	if at := l.Spec.RenewTime.Add(time.Duration(*l.Spec.LeaseDurationSeconds) * time.Second).Truncate(time.Second); at.Before(now) {
		return at
	}
	return time.Time{}
}

// has says whether what a key of a product holds is in use. ca is whose bundle that is, and bundle what it publishes;
// neither counts for a certificate.
func (a Acknowledgment) has(p Product, key, ca string, bundle []*x509.Certificate) bool {
	switch {
	case a.Mounted:
		return true // the delay is the plan's to judge
	case a.Agent != nil:
		return a.Agent.Has(ack.ContentKey(p.Name, key), p.digest(key))
	case a.Manual == nil:
		return false
	case key == corev1.TLSCertKey:
		return p.Leaf.Cert != nil && strings.EqualFold(a.Manual.SerialNumber, pki.SerialOf(p.Leaf.Cert))
	default:
		digest := pki.BundleDigest(bundle)
		return slices.ContainsFunc(a.Manual.Trust, func(t v1alpha1.AcknowledgedTrust) bool { return t.Name == ca && t.BundleSHA256 == digest })
	}
}

// Settled says whether nothing that stood in a Secret before what it holds now is in use any more.
func (a Acknowledgment) Settled(p Product, now time.Time) bool {
	switch {
	case a.Mounted:
		return p.Claimed && !now.Before(p.changed(now).Add(a.Delay))
	case a.Agent != nil:
		return p.acknowledgedBy(a.Agent)
	case a.Manual != nil:
		return p.Leaf.Cert == nil || strings.EqualFold(a.Manual.SerialNumber, pki.SerialOf(p.Leaf.Cert))
	default:
		return false
	}
}

// acknowledgedBy says whether an agent has all that a product holds.
func (p Product) acknowledgedBy(s *ack.State) bool {
	for key := range p.Bundles {
		if !s.Has(ack.ContentKey(p.Name, key), p.digest(key)) {
			return false
		}
	}
	return p.Leaf.Cert == nil || s.Has(ack.ContentKey(p.Name, corev1.TLSCertKey), p.digest(corev1.TLSCertKey))
}

// settled says whether nothing that stood in a Secret of the object before is in use. What a person states counts only if it
// names every bundle too: the certificate may be the same as before.
func (a *answers) settled(p Product, uses []use) bool {
	stated := func(u use) bool {
		return u.secret != p.Name || u.key == corev1.TLSCertKey || !slices.ContainsFunc(u.cas, func(ca string) bool {
			return !a.said.has(p, u.key, ca, a.Authorities.Bundle(ca))
		})
	}
	return a.said.Settled(p, a.Now) && (a.said.Manual == nil || !slices.ContainsFunc(uses, func(u use) bool { return !stated(u) }))
}

package consumers

import (
	"crypto/x509"
	"slices"
	"strings"
	"time"

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
	// AcceptsAssumed: a person lets that count for the withdrawal of a CA.
	AcceptsAssumed bool
	// Agent is what an agent has verified, Manual what a person acknowledges; nil where another evidence counts.
	Agent *ack.State
	// SignedBy is the serial number of the certificate whose key signed that: of a certificate it says nothing but of this one.
	SignedBy string
	Manual   *v1alpha1.AcknowledgedDelivery
	// Reason is why nothing is acknowledged, in one word, and Since when that began; "" where there is no such reason.
	Reason string
	Since  time.Time
}

// Undelivered is of what nobody uses on a host: what stands there counts.
var Undelivered = Acknowledgment{Mounted: true}

// Serving is what an API server was observed to serve.
type Serving interface {
	Unsettled() string // why nothing is known, in one word; "" where all addresses agree
	Serves(leaf *x509.Certificate) bool
	Trusts(ca *x509.Certificate) bool
	Dropped(ca *x509.Certificate) bool
}

// AcknowledgmentOf resolves a delivery. reported is what the Lease of the agent says, for mode 'Agent'. An agent
// whose Lease has expired acknowledges nothing, whatever it reported before: nobody knows what its host has done since. Nor does
// the agent of another host, nor whoever else writes the Lease. A mode that is not known counts as never arriving.
func AcknowledgmentOf(d v1alpha1.DeliverySpec, reported Reported, host string, now time.Time) Acknowledgment {
	switch d.Mode {
	case v1alpha1.DeliveryMounted:
		return Acknowledgment{Mounted: true, Delay: d.PropagationDelay.Duration, AcceptsAssumed: d.AcceptAssumed == v1alpha1.AcceptAssumedAlways}
	case v1alpha1.DeliveryManual:
		return Acknowledgment{Manual: new(ptr.Deref(d.Acknowledged, v1alpha1.AcknowledgedDelivery{}))}
	case v1alpha1.DeliveryAgent:
		a := Acknowledgment{Agent: &ack.State{}}
		switch LeaseStateOf(reported, d, host, now) {
		case LeaseValid:
		case LeaseForged:
			a.Reason = v1alpha1.ReasonAcknowledgmentInvalid
			return a
		default:
			a.Reason, a.Since = v1alpha1.ReasonLeaseExpired, expiredAt(reported, d, host, now)
			return a
		}
		report := reported.Report
		if report.Problem != "" {
			a.Reason = v1alpha1.ReasonAgentProblem
		}
		if report.Verified != nil && reported.Proof == ack.Signed {
			a.Agent, a.SignedBy = report.Verified, report.SignedBy
		}
		return a
	default:
		return Acknowledgment{Reason: v1alpha1.PendingUnknownDelivery}
	}
}

// Published is the digest of the bundle that a CA publishes, "" where that is not known.
type Published func(ca string) string

// has says whether what a key of a product holds is in use. ca is whose bundle that is; neither that nor what it publishes
// counts for a certificate.
func (a Acknowledgment) has(p Product, key, ca string, published Published) bool {
	switch {
	case a.Mounted:
		return true // the delay is the plan's to judge
	case a.Agent != nil:
		return a.agentHas(p, key)
	case a.Manual == nil:
		return false
	case key == corev1.TLSCertKey:
		return p.Leaf.Cert != nil && strings.EqualFold(a.Manual.SerialNumber, pki.SerialOf(p.Leaf.Cert))
	default:
		digest := published(ca)
		return digest != "" && slices.ContainsFunc(a.Manual.Trust, func(t v1alpha1.AcknowledgedTrust) bool { return t.Name == ca && t.BundleSHA256 == digest })
	}
}

// InUse says whether everything that an object should have in its Secrets is known to be in use, as gates see it, but
// for a delay.
func (a Acknowledgment) InUse(uses []Use, products []Product, published Published) bool {
	return !slices.ContainsFunc(uses, func(u Use) bool {
		if u.Beside {
			return false
		}
		i := slices.IndexFunc(products, func(p Product) bool { return p.Name == u.Secret })
		return i < 0 || slices.ContainsFunc(u.CAs, func(ca string) bool { return !a.has(products[i], u.Key, ca, published) })
	})
}

// Settled says whether nothing that stood in a Secret before what it holds now is in use any more.
func (a Acknowledgment) Settled(p Product, now time.Time) bool {
	switch {
	case a.Mounted:
		return p.Claimed && !now.Before(p.changed(now).Add(a.Delay))
	case a.Agent != nil:
		return p.acknowledgedBy(a)
	case a.Manual != nil:
		return p.Leaf.Cert == nil || strings.EqualFold(a.Manual.SerialNumber, pki.SerialOf(p.Leaf.Cert))
	default:
		return false
	}
}

// agentHas says whether an agent has what a key of a product holds: a certificate, only if its own key says so. By the previous one, an
// agent may say which trust anchors it has, and nothing of the certificate that it has not installed yet.
func (a Acknowledgment) agentHas(p Product, key string) bool {
	if key == corev1.TLSCertKey && (p.Leaf.Cert == nil || a.SignedBy != pki.SerialOf(p.Leaf.Cert)) {
		return false
	}
	return a.Agent.Has(ack.ContentKey(p.Name, key), p.digest(key))
}

// acknowledgedBy says whether an agent has all that a product holds.
func (p Product) acknowledgedBy(a Acknowledgment) bool {
	for key := range p.Bundles {
		if !a.agentHas(p, key) {
			return false
		}
	}
	return p.Leaf.Cert == nil || a.agentHas(p, corev1.TLSCertKey)
}

// Covers says whether an agent has all of some contents, by the key of the certificate among them.
func (a Acknowledgment) Covers(contents ack.State) bool {
	return a.SignedBy == contents.SerialNumber && a.Agent.Covers(contents)
}

// settled says whether nothing that stood in a Secret of the object before is in use. What a person acknowledges counts only if it
// names every bundle too: the certificate may be the same as before.
func (a *collector) settled(p Product, uses []Use) bool {
	acknowledged := func(u Use) bool {
		return u.Secret != p.Name || u.Key == corev1.TLSCertKey || !slices.ContainsFunc(u.CAs, func(ca string) bool {
			return !a.reported.has(p, u.Key, ca, a.published)
		})
	}
	return a.reported.Settled(p, a.Now) && (a.reported.Manual == nil || !slices.ContainsFunc(uses, func(u Use) bool { return !acknowledged(u) }))
}

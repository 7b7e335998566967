package controller

import (
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/pki"
)

// answer is what is known, at one moment, of the delivery of an object's Secrets. The zero value is of a consumer of
// whom nothing will ever be known.
type answer struct {
	now time.Time
	// delay is after how long a mounted Secret counts as in use everywhere; 0: it never does.
	delay time.Duration
	// stated is what somebody says is in use, a person or an agent; nil where time alone tells.
	stated *ack.State
	// note is, in one word, why nothing more is stated.
	note string
}

// answerOf resolves a delivery. l is the Lease of the agent, for mode 'Agent'; nil where there is none. An agent that is
// silent states nothing, whatever it said before: nobody knows what its host has done since. A mode that is not
// known, of a version that knows more, or of a schema that knows less, counts as never arriving.
//
// host is the host that the object is for: what the agent of another one says counts for nothing.
func answerOf(d v1alpha1.DeliverySpec, l *coordinationv1.Lease, host string, now time.Time) answer {
	a := answer{now: now}
	switch d.Mode {
	case v1alpha1.DeliveryMounted:
		a.delay = d.PropagationDelay.Duration
	case v1alpha1.DeliveryManual:
		a.stated = statedByPerson(d.Acknowledged)
	case v1alpha1.DeliveryAgent:
		a.stated = &ack.State{}
		report := ack.Of(l)
		switch {
		case !alive(l, now) || ptr.Deref(l.Spec.HolderIdentity, "") != host:
			a.note = v1alpha1.ReasonAgentSilent
			return a
		case report.Problem != "":
			a.note = v1alpha1.ReasonAgentProblem
		}
		if report.Verified != nil {
			a.stated = report.Verified
		}
	}
	return a
}

// alive says whether what an agent has said in its Lease counts.
func alive(l *coordinationv1.Lease, now time.Time) bool { return ack.AliveUntil(l, now).After(now) }

func statedByPerson(a *v1alpha1.AcknowledgedDelivery) *ack.State {
	s := &ack.State{Trust: map[string]int64{}}
	if a == nil {
		return s
	}
	s.SerialNumber = a.SerialNumber
	for _, t := range a.Trust {
		s.Trust[t.Name] = t.Revision
	}
	return s
}

// trust is the revision of a CA's bundle that the consumer of an object is known to use.
func (a answer) trust(h holding, ca string) int64 {
	held, ok := h.revision(ca)
	switch {
	case !ok:
		return 0
	case a.stated != nil:
		return min(held, a.stated.Trust[ca])
	case !a.arrived(h.TrustTime):
		return 0
	default:
		return held
	}
}

// beyond says whether something is stated of a revision that the ledger has not reached: it is of another ledger.
func (a answer) beyond(ca string, newest int64) bool {
	return a.stated != nil && a.stated.Trust[ca] > newest
}

// leaf is the CA generation of the certificate that the consumer of a Secret is known to use; 0 is none. A person
// states a certificate, and an agent the generation of it.
func (a answer) leaf(k kept) int32 {
	switch {
	case a.stated == nil && a.arrived(k.holds.IssuerTime):
		return k.holds.Generation
	case a.stated == nil:
		return 0
	case a.stated.Issuer != "" && a.stated.Issuer == k.holds.Issuer:
		return min(k.holds.Generation, a.stated.Generation)
	case a.stated.Issuer == "" && serialIs(k.secret, a.stated.SerialNumber):
		return k.holds.Generation
	default:
		return 0
	}
}

// settled says whether nothing that stood in a Secret before what it holds now is in use any more.
func (a answer) settled(k kept) bool {
	h := k.holds
	if a.stated == nil {
		return a.arrived(h.TrustTime) && a.arrived(h.IssuerTime)
	}
	for _, r := range h.Trust {
		for ca, revision := range r {
			if a.stated.Trust[ca] < revision {
				return false
			}
		}
	}
	inUse := a.leaf(k)
	return h.Issuer == "" || inUse > 0 && inUse == h.Generation
}

// arrived says whether what a mounted Secret has held since a moment is in use everywhere.
func (a answer) arrived(since time.Time) bool {
	return a.delay > 0 && !since.IsZero() && !a.now.Before(since.Add(a.delay))
}

// serialIs says whether the certificate of a Secret is the one of a serial number.
func serialIs(s *corev1.Secret, serial string) bool {
	if s == nil || serial == "" {
		return false
	}
	certs, err := pki.ParseCertificates(s.Data[corev1.TLSCertKey])
	return err == nil && strings.EqualFold(serial, pki.SerialOf(certs[0]))
}

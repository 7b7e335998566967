package leaf

import (
	"context"
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/delivery"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/stall"
)

// Delivery is what the agent of a host is told beside what its Secret holds.
type Delivery struct {
	Host string
	// Kubeconfig is what the host renders a kubeconfig from; nil where there is none.
	Kubeconfig *delivery.Kubeconfig
	// Server is the CA of the API server of that kubeconfig. OwnServer: that is the CA which signs the certificate too.
	Server    Issuer
	OwnServer bool
	// ServiceAccounts says which service account keys the host is to have now; nil where there are none.
	ServiceAccounts *delivery.ServiceAccounts
	// Held: something of it cannot be had now, and nothing is signed without it. What was signed before stays.
	Held bool
	// Taken is the time of the latest document that the host says, under its signature, it has taken; zero: it has said nothing of that.
	Taken time.Time
}

// signing is what a document is made of, beside what the Secret holds.
type signing struct {
	statement delivery.Statement
	namespace types.UID
	ready     bool
	taken     time.Time
}

// signing says what is to be signed. Only what this visit has decided upon or rendered is: what is kept as it stands, because its spec
// cannot be carried out or its CA cannot be had, may be somebody else's; and what is kept until another one can be issued may have been put back.
func (r Request) signing(st State) *signing {
	return &signing{
		statement: delivery.Statement{
			Kind: r.Owner.Kind(), Namespace: r.Owner.GetNamespace(), Name: r.Owner.GetName(), UID: string(r.Owner.GetUID()), Host: r.Delivery.Host,
			Kubeconfig: r.Delivery.Kubeconfig, ServiceAccounts: r.Delivery.ServiceAccounts,
		},
		namespace: st.Issuer.Place.NamespaceUID, taken: r.Delivery.Taken,
		ready: !r.Delivery.Held && r.Invalid == nil && st.Issuer.CA != nil && st.Issuer.Place.NamespaceUID != "" && !st.unrecorded() &&
			st.Renderable(),
	}
}

// deliver signs what a Secret is about to hold for the agent of its host, unless it was signed already. claim is that of what it is
// about to hold. Where no agent delivers, what was signed goes.
func (m *Maker) deliver(ctx context.Context, p Product, noted, existing, next *corev1.Secret, was consumers.Claim, claim *consumers.Claim) error {
	there := ""
	if noted != nil {
		there = hex.EncodeToString(owned.NotedDigest(noted, consumers.DeliveryKey))
	}
	if p.delivery == nil {
		if there != "" { // the patch takes away what is in existing, and not in next
			existing.Data[consumers.DeliveryKey] = []byte{}
		}
		return nil
	}
	claim.Delivery = was.Delivery
	for _, bundle := range p.Bundles {
		if bundle.Data == nil {
			return nil
		}
	}
	if !p.delivery.ready {
		return nil
	}
	s := p.delivery.statement
	key, err := m.Store.Delivery(ctx, s.Namespace, p.delivery.namespace)
	if err != nil {
		return undelivered(err)
	}
	s.Trust, s.Contents, s.NextKey = claim.Trust, map[string]string{}, key.NextPublic()
	for _, name := range append(slices.Collect(maps.Keys(p.Bundles)), corev1.TLSCertKey) {
		s.Contents[name] = delivery.DigestOf(next.Data[name])
	}
	digest, err := s.Digest(key.ID())
	if err != nil {
		return err
	}
	last := consumers.Delivered{}
	if was.Delivery != nil {
		last = *was.Delivery
	}
	at, due := p.delivery.next(m.Clock.Now(), last.Time)
	if last.Statement == digest && last.Envelope == there && !due {
		return nil
	}
	text, err := key.Sign(delivery.Document{Statement: s, Time: at})
	if err != nil {
		return stall.Because(v1alpha1.ReasonInvalidSpec, "what the agent of host %q is to install cannot be signed: %v", s.Host, err)
	}
	next.Data[consumers.DeliveryKey] = text
	claim.Delivery = &consumers.Delivered{Statement: digest, Envelope: hex.EncodeToString(owned.DigestOf(text)), Time: at}
	return nil
}

// next is the time of the document that follows one of a time, and whether that one is taken by no host: it lies far ahead, or the host has taken a
// later one, so that it was put back, with the claim that says so. What a host says of a time far ahead is not believed: no host would take what
// follows that.
func (s signing) next(now, last time.Time) (at time.Time, due bool) {
	taken := s.taken
	if delivery.Ahead(now, taken.Add(time.Millisecond)) {
		taken = time.Time{}
	}
	due = delivery.Ahead(now, last) || taken.After(last)
	if taken.After(last) {
		last = taken
	}
	return delivery.NextTime(now, last), due
}

// undelivered makes a stall of a delivery key that only whoever administers the PKI can bring back.
func undelivered(err error) error {
	if lost, ok := errors.AsType[*authority.LostError](err); ok {
		return stall.Because(v1alpha1.ReasonAuthorityMissing, "%v", lost)
	}
	if retained, ok := errors.AsType[*authority.RetainedError](err); ok {
		return stall.Because(v1alpha1.ReasonAuthorityRetained, "%v", retained)
	}
	return err
}

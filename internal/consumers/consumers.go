package consumers

import (
	"crypto/x509"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki/plan"
)

// Inputs is everything in a namespace that says who depends on its CAs, and what they use.
type Inputs struct {
	CAs         []v1alpha1.ClusterCA
	Servers     []v1alpha1.APIServerCertificate
	Credentials []v1alpha1.NodeCredential
	Products    []Product
	Leases      map[LeaseKey]Reported // only those that the operator made
	Authorities Authorities           // those of deleted ClusterCAs too
	// Serving is what an API server was observed to serve; nil where it is not probed.
	Serving func(server *v1alpha1.APIServerCertificate) Serving
	// Seed is an object's place in the waves.
	Seed func(v1alpha1.Object) uint32
	Now  time.Time
}

// Of are the consumers of a CA, and what each is known to use: those whose specs name it, and those whose Secrets still
// depend on it.
func (in Inputs) Of(ca string) []plan.Consumer {
	r := reading{
		Inputs: in, ca: ca, bundle: in.Authorities.Bundle(ca), withdrawn: in.Authorities.Withdrawn(ca),
		products: map[string]Product{}, servedBy: Specs{Servers: in.Servers}.ServedBy(), named: map[string]bool{},
	}
	r.active, _ = in.Authorities[ca].Ledger.Active()
	for _, p := range in.Products {
		r.products[p.Name] = p
	}
	for i := range in.Servers {
		r.server(&in.Servers[i])
	}
	for i := range in.Credentials {
		r.credential(&in.Credentials[i])
	}
	for i := range in.CAs {
		r.copyOf(&in.CAs[i])
	}
	r.inTurn()
	r.subordinates()
	r.orphans()
	return r.out
}

// reading asks everybody about one CA.
type reading struct {
	Inputs
	ca                string
	bundle, withdrawn []*x509.Certificate
	active            plan.Generation
	products          map[string]Product
	servedBy          map[string]string // API server → the CA that signs for it
	named             map[string]bool   // Secrets that the objects they were made for still name
	out               []plan.Consumer
}

func (r *reading) server(c *v1alpha1.APIServerCertificate) {
	reported := AcknowledgmentOf(c.Spec.Delivery, r.Leases[LeaseKey{c.UID, c.LeaseName()}], c.Spec.HostName, r.Now)
	if found, asked := r.object(c, c.Spec.HostName, reported, UsesOfServer(c)); asked {
		r.probed(c, &found)
		r.out = append(r.out, found)
	}
}

func (r *reading) credential(c *v1alpha1.NodeCredential) {
	reported := AcknowledgmentOf(c.Spec.Delivery, r.Leases[LeaseKey{c.UID, c.LeaseName()}], c.Spec.HostName, r.Now)
	if found, asked := r.object(c, c.Spec.HostName, reported, UsesOfCredential(c, r.servedBy)); asked {
		r.out = append(r.out, found)
	}
}

// object asks one object about every use that it should make of the CA, and about all that its Secrets hold.
func (r *reading) object(o v1alpha1.Object, host string, reported Acknowledgment, uses []Use) (c plan.Consumer, asked bool) {
	c = plan.Consumer{
		Kind: o.Kind(), Name: o.GetName(), Host: host, Seed: r.Seed(o), Mounted: reported.Mounted, Delay: reported.Delay,
		AcceptsAssumed: reported.AcceptsAssumed, Trusts: true,
	}
	a := collector{reading: r, reported: reported, consumer: &c}
	for i, u := range uses {
		if a.reported = reported; u.Beside {
			a.reported = Undelivered
		}
		p, there := r.mine(o.GetUID(), u.Secret)
		a.ask(u, p, there)
		if there && !slices.ContainsFunc(uses[:i], func(o Use) bool { return o.Secret == u.Secret }) {
			a.orphaned(p, uses)
		}
	}
	if c.Reason == "" {
		c.Reason, c.Since = reported.Reason, reported.Since
	}
	if stalled := meta.FindStatusCondition(*o.StatusConditions(), v1alpha1.StalledCondition); c.Reason == v1alpha1.PendingNotIssued && stalled != nil {
		c.Reason, c.Since = stalled.Reason, stalled.LastTransitionTime.Time // for people: no gate looks at reasons
	}
	return c, c.RelyingParty || c.HasLeaf
}

// mine is the Secret of a name, if it was made for the object of that UID.
func (r *reading) mine(owner types.UID, secret string) (Product, bool) {
	p, there := r.products[secret]
	if !there || !p.Claimed || p.Claim.UID != owner {
		return Product{Name: secret}, false
	}
	r.named[secret] = true
	return p, true
}

// collector collects what is known of one object: the least of it counts.
type collector struct {
	*reading
	reported Acknowledgment
	consumer *plan.Consumer
}

// ask is about one use. there is false where the Secret is not, or is not the object's.
func (a *collector) ask(u Use, p Product, there bool) {
	changed := a.Now
	if there {
		changed = p.changed(a.Now)
	}
	if u.presents(a.ca) {
		a.present(p, changed)
	}
	if which := u.trusts(a.relies); which >= 0 {
		a.trust(u, p, changed, which)
	}
}

// relies says whether who trusts a CA trusts the one that is asked about.
func (r *reading) relies(on string) bool { return r.Authorities.Relies(on, r.ca) }

// published is the digest of what a CA publishes; "" where that is not known: nobody can have that in use.
func (r *reading) published(ca string) string { return r.Authorities.published(ca) }

// present is about the certificate in a Secret, which should be the CA's.
func (a *collector) present(p Product, changed time.Time) {
	issued := a.Authorities.Signer(a.ca, p.Leaf)
	inUse := issued
	if !a.reported.has(p, corev1.TLSCertKey, a.ca, a.published) {
		inUse = 0
	}
	a.pending(issued == a.active.Number, inUse == issued)
	a.presents(inUse, issued)
	a.later(changed)
}

// presents counts one more certificate.
func (a *collector) presents(inUse, issued int32) {
	c := a.consumer
	if !c.HasLeaf {
		c.HasLeaf, c.Leaf, c.Issued = true, inUse, issued
	}
	c.Leaf, c.Issued = min(c.Leaf, inUse), min(c.Issued, issued)
}

// trust is about a bundle, which should hold every anchor of the CA, and none that it has withdrawn.
func (a *collector) trust(u Use, p Product, changed time.Time, which int) {
	contents := p.Bundles[u.Key]
	others := slices.Clone(a.bundle)
	for _, name := range u.CAs {
		others = append(others, a.Authorities.Bundle(name)...)
	}
	right := len(a.bundle) > 0
	for _, anchor := range a.bundle {
		right = right && slices.ContainsFunc(contents, anchor.Equal)
	}
	for _, old := range a.withdrawn {
		right = right && (!slices.ContainsFunc(contents, old.Equal) || slices.ContainsFunc(others, old.Equal))
	}
	inUse := a.reported.has(p, u.Key, u.CAs[which], a.published)
	a.pending(right, inUse)
	a.consumer.RelyingParty = true
	a.consumer.Trusts = a.consumer.Trusts && right && inUse
	a.later(changed)
}

// pending says why a use is pending, the first of several.
func (a *collector) pending(right, inUse bool) {
	switch c := a.consumer; {
	case c.Reason != "":
	case !right:
		c.Reason = v1alpha1.PendingNotIssued
	case inUse:
	case a.reported.Reason != "":
		c.Reason, c.Since = a.reported.Reason, a.reported.Since
	case a.reported.Manual != nil:
		c.Reason = v1alpha1.PendingNotAcknowledged
	case a.reported.Agent != nil:
		c.Reason = v1alpha1.ReasonNotInUse
	}
}

func (a *collector) later(changed time.Time) {
	if changed.After(a.consumer.Changed) {
		a.consumer.Changed = changed
	}
}

// orphaned is about what a Secret of the object holds of the CA although its spec does not ask for it any more, or what it
// held before and may still be in use.
func (a *collector) orphaned(p Product, uses []Use) {
	asksLeaf := slices.ContainsFunc(uses, func(u Use) bool {
		return u.Secret == p.Name && u.presents(a.ca)
	})
	asksTrust := slices.ContainsFunc(uses, func(u Use) bool {
		return u.Secret == p.Name && u.trusts(a.relies) >= 0
	})
	left := p.Claim.MayHaveLeft(a.ca) && !a.settled(p, uses)
	if !asksTrust && (left || a.excess(p, uses)) {
		a.consumer.RelyingParty, a.consumer.Trusts = true, a.consumer.Trusts && left && a.reported.Mounted
		a.later(p.changed(a.Now))
	}
	if !asksLeaf {
		a.remainingLeaf(p, left)
	}
}

// remainingLeaf is about a certificate of the CA that should be another one's, or was there before.
func (a *collector) remainingLeaf(p Product, left bool) {
	leaf := a.Authorities.Signer(a.ca, p.Leaf)
	switch {
	case !left && leaf == 0:
		return
	case left && a.reported.Mounted && leaf == 0: // the delay alone is to pass
		a.presents(a.active.Number, a.active.Number)
	default:
		a.presents(0, leaf)
	}
	a.later(p.changed(a.Now))
}

// excess says whether a Secret holds anchors of the CA that no bundle which is asked for should hold.
func (a *collector) excess(p Product, uses []Use) bool {
	var due []*x509.Certificate
	for _, u := range uses {
		if u.Secret == p.Name && u.Key != corev1.TLSCertKey {
			for _, name := range u.CAs {
				due = append(due, a.Authorities.Bundle(name)...)
			}
		}
	}
	ours := slices.DeleteFunc(slices.Concat(a.bundle, a.withdrawn), func(c *x509.Certificate) bool { return slices.ContainsFunc(due, c.Equal) })
	return p.holdsAny(ours)
}

// probed lets what an API server really serves and trusts count too, where it is probed.
func (r *reading) probed(c *v1alpha1.APIServerCertificate, found *plan.Consumer) {
	if c.Spec.Probe == nil || r.Serving == nil {
		return
	}
	observed := r.Serving(c)
	p, there := r.mine(c.GetUID(), c.TLSSecretName())
	verifies := slices.ContainsFunc(UsesOfServer(c), func(u Use) bool { return u.By != ByCARef && u.trusts(r.relies) >= 0 })
	reason := ""
	switch {
	case observed.Unsettled() != "":
		reason = observed.Unsettled()
	case !there || p.Leaf.Cert == nil || !observed.Serves(p.Leaf.Cert): // or it may be anybody
		reason = v1alpha1.ReasonWrongCertificate
	case verifies && !r.agrees(observed, p):
		reason = v1alpha1.ReasonMissingClientCA
	}
	found.Proved = reason == ""
	if found.Denied = reason != ""; found.Denied && (found.Reason == "" || there) {
		found.Reason = reason
	}
}

// agrees says whether an API server names every CA that is published, and none that was withdrawn, unless its Secret
// holds that one for the sake of another CA.
func (r *reading) agrees(observed Serving, p Product) bool {
	expected := slices.Concat(r.bundle, p.Bundles[ClientBundleKey], p.Bundles[HeaderBundleKey])
	for _, ca := range r.bundle {
		if !observed.Trusts(ca) {
			return false
		}
	}
	for _, ca := range r.withdrawn {
		named := slices.ContainsFunc(expected, func(k *x509.Certificate) bool { return string(k.RawSubject) == string(ca.RawSubject) })
		if !named && !observed.Dropped(ca) { // one of the same name cannot be told apart
			return false
		}
	}
	return true
}

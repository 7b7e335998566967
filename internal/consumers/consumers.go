package consumers

import (
	"crypto/x509"
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki/plan"
)

// Inputs is everything in a namespace that says who depends on its CAs, and what they use.
type Inputs struct {
	CAs         []v1alpha1.ClusterCA
	Servers     []v1alpha1.APIServerCertificate
	Credentials []v1alpha1.NodeCredential
	Products    []Product
	Leases      map[LeaseKey]*coordinationv1.Lease // only those that the operator made
	Authorities Authorities                        // those of deleted ClusterCAs too
	// Serving is what was seen of an API server; nil where it is not probed.
	Serving func(server *v1alpha1.APIServerCertificate) Serving
	// Seed is an object's place in the waves.
	Seed func(client.Object) uint32
	Now  time.Time
}

// LeaseKey is the Lease of a name that was made for the object of a UID.
type LeaseKey struct {
	Owner types.UID
	Name  string
}

// Of are the consumers of a CA, and what each is known to use: those whose specs name it, and those whose Secrets still
// depend on it.
func (in Inputs) Of(ca string) []plan.Consumer {
	r := reading{
		Inputs: in, ca: ca, bundle: in.Authorities.Bundle(ca), withdrawn: in.Authorities.Withdrawn(ca),
		products: map[string]Product{}, servedBy: map[string]string{}, named: map[string]bool{},
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

// use is a bundle, of the CAs that are named, or a certificate, of one, that an object should have in a Secret.
type use struct {
	secret, key string
	cas         []string
}

func (r *reading) server(c *v1alpha1.APIServerCertificate) {
	r.servedBy[c.Name] = c.Spec.CARef.Name
	tls := c.TLSSecretName()
	uses := []use{
		{tls, corev1.TLSCertKey, []string{c.Spec.CARef.Name}},
		{tls, BundleKey, []string{c.Spec.CARef.Name}},
		{tls, ClientBundleKey, c.ClientCANames()},
	}
	if c.Spec.RequestHeaderCARef != nil {
		uses = append(uses, use{tls, HeaderBundleKey, []string{c.Spec.RequestHeaderCARef.Name}})
	}
	said := AcknowledgmentOf(c.Spec.Delivery, r.Leases[LeaseKey{c.UID, c.LeaseName()}], c.Spec.HostName, r.Now)
	if found, asked := r.object(c, "APIServerCertificate", c.Spec.HostName, said, uses); asked {
		r.look(c, &found)
		r.out = append(r.out, found)
	}
}

func (r *reading) credential(c *v1alpha1.NodeCredential) {
	tls := c.TLSSecretName()
	uses := []use{{tls, corev1.TLSCertKey, []string{c.Spec.CARef.Name}}, {tls, BundleKey, []string{c.Spec.CARef.Name}}}
	if kubeconfig := c.KubeconfigSecretName(); kubeconfig != "" {
		uses = append(uses, use{kubeconfig, corev1.TLSCertKey, []string{c.Spec.CARef.Name}})
		if c.Spec.APIServerRef != nil && r.servedBy[c.Spec.APIServerRef.Name] != "" {
			uses = append(uses, use{kubeconfig, BundleKey, []string{r.servedBy[c.Spec.APIServerRef.Name]}})
		}
	}
	said := AcknowledgmentOf(c.Spec.Delivery, r.Leases[LeaseKey{c.UID, c.LeaseName()}], c.Spec.HostName, r.Now)
	if found, asked := r.object(c, "NodeCredential", c.Spec.HostName, said, uses); asked {
		r.out = append(r.out, found)
	}
}

// object asks one object about every use that it should make of the CA, and about all that its Secrets hold.
func (r *reading) object(o client.Object, kind, host string, said Acknowledgment, uses []use) (c plan.Consumer, asked bool) {
	c = plan.Consumer{Kind: kind, Name: o.GetName(), Host: host, Seed: r.Seed(o), Mounted: said.Mounted, Delay: said.Delay, Trusts: true}
	a := answers{reading: r, said: said, consumer: &c}
	for i, u := range uses {
		p, there := r.mine(o.GetUID(), u.secret)
		a.ask(u, p, there)
		if there && !slices.ContainsFunc(uses[:i], func(o use) bool { return o.secret == u.secret }) {
			a.remains(p, uses)
		}
	}
	if c.Reason == "" {
		c.Reason, c.Since = said.Reason, said.Since
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

// answers collects what is known of one object: the least of it counts.
type answers struct {
	*reading
	said     Acknowledgment
	consumer *plan.Consumer
}

// ask is about one use. there is false where the Secret is not, or is not the object's.
func (a *answers) ask(u use, p Product, there bool) {
	changed := a.Now
	if there {
		changed = p.changed(a.Now)
	}
	relies := func(on string) bool { return a.Authorities.Relies(on, a.ca) }
	switch {
	case u.key == corev1.TLSCertKey && slices.Contains(u.cas, a.ca):
		a.present(p, changed)
	case u.key != corev1.TLSCertKey && slices.ContainsFunc(u.cas, relies):
		a.trust(u, p, changed, slices.IndexFunc(u.cas, relies))
	}
}

// present is about the certificate in a Secret, which should be the CA's.
func (a *answers) present(p Product, changed time.Time) {
	issued := a.Authorities.Signer(a.ca, p.Leaf)
	inUse := issued
	if !a.said.has(p, corev1.TLSCertKey, a.ca, nil) {
		inUse = 0
	}
	a.note(issued == a.active.Number, inUse == issued)
	a.presents(inUse, issued)
	a.later(changed)
}

// presents counts one more certificate.
func (a *answers) presents(inUse, issued int32) {
	c := a.consumer
	if !c.HasLeaf {
		c.HasLeaf, c.Leaf, c.Issued = true, inUse, issued
	}
	c.Leaf, c.Issued = min(c.Leaf, inUse), min(c.Issued, issued)
}

// trust is about a bundle, which should hold every anchor of the CA, and none that it has withdrawn.
func (a *answers) trust(u use, p Product, changed time.Time, which int) {
	held := p.Bundles[u.key]
	others := slices.Clone(a.bundle)
	for _, name := range u.cas {
		others = append(others, a.Authorities.Bundle(name)...)
	}
	right := len(a.bundle) > 0
	for _, anchor := range a.bundle {
		right = right && slices.ContainsFunc(held, anchor.Equal)
	}
	for _, old := range a.withdrawn {
		right = right && (!slices.ContainsFunc(held, old.Equal) || slices.ContainsFunc(others, old.Equal))
	}
	inUse := a.said.has(p, u.key, u.cas[which], a.Authorities.Bundle(u.cas[which]))
	a.note(right, inUse)
	a.consumer.RelyingParty = true
	a.consumer.Trusts = a.consumer.Trusts && right && inUse
	a.later(changed)
}

// note says why a use is pending, the first of several.
func (a *answers) note(right, inUse bool) {
	switch c := a.consumer; {
	case c.Reason != "":
	case !right:
		c.Reason = v1alpha1.PendingNotIssued
	case inUse:
	case a.said.Reason != "":
		c.Reason, c.Since = a.said.Reason, a.said.Since
	case a.said.Manual != nil:
		c.Reason = v1alpha1.PendingNotAcknowledged
	case a.said.Agent != nil:
		c.Reason = v1alpha1.ReasonNotInUse
	}
}

func (a *answers) later(changed time.Time) {
	if changed.After(a.consumer.Changed) {
		a.consumer.Changed = changed
	}
}

// remains is about what a Secret of the object holds of the CA although its spec does not ask for it any more, or what it
// held before and may still be in use.
func (a *answers) remains(p Product, uses []use) {
	asksLeaf := slices.ContainsFunc(uses, func(u use) bool {
		return u.secret == p.Name && u.key == corev1.TLSCertKey && slices.Contains(u.cas, a.ca)
	})
	asksTrust := slices.ContainsFunc(uses, func(u use) bool {
		return u.secret == p.Name && u.key != corev1.TLSCertKey &&
			slices.ContainsFunc(u.cas, func(on string) bool { return a.Authorities.Relies(on, a.ca) })
	})
	left := slices.Contains(p.Claim.Left, a.ca) && !a.settled(p, uses)
	if !asksTrust && (left || a.foreign(p, uses)) {
		a.consumer.RelyingParty, a.consumer.Trusts = true, a.consumer.Trusts && left && a.said.Mounted
		a.later(p.changed(a.Now))
	}
	if !asksLeaf {
		a.remainingLeaf(p, left)
	}
}

// remainingLeaf is about a certificate of the CA that should be another one's, or was there before.
func (a *answers) remainingLeaf(p Product, left bool) {
	leaf := a.Authorities.Signer(a.ca, p.Leaf)
	switch {
	case !left && leaf == 0:
		return
	case left && a.said.Mounted && leaf == 0: // the delay alone is to pass
		a.presents(a.active.Number, a.active.Number)
	default:
		a.presents(0, leaf)
	}
	a.later(p.changed(a.Now))
}

// foreign says whether a Secret holds anchors of the CA that no bundle which is asked for should hold.
func (a *answers) foreign(p Product, uses []use) bool {
	var due []*x509.Certificate
	for _, u := range uses {
		if u.secret == p.Name && u.key != corev1.TLSCertKey {
			for _, name := range u.cas {
				due = append(due, a.Authorities.Bundle(name)...)
			}
		}
	}
	ours := slices.DeleteFunc(slices.Concat(a.bundle, a.withdrawn), func(c *x509.Certificate) bool { return slices.ContainsFunc(due, c.Equal) })
	return p.holdsAny(ours)
}

// look lets what an API server really serves and trusts count too, where it can be looked at.
func (r *reading) look(c *v1alpha1.APIServerCertificate, found *plan.Consumer) {
	if c.Spec.Probe == nil || r.Serving == nil {
		return
	}
	seen := r.Serving(c)
	p, there := r.mine(c.GetUID(), c.TLSSecretName())
	clients := c.ClientCANames()
	if c.Spec.RequestHeaderCARef != nil {
		clients = append(clients, c.Spec.RequestHeaderCARef.Name)
	}
	verifies := slices.ContainsFunc(clients, func(on string) bool { return r.Authorities.Relies(on, r.ca) })
	reason := ""
	switch {
	case seen.Unsettled() != "":
		reason = seen.Unsettled()
	case !there || p.Leaf.Cert == nil || !seen.Serves(p.Leaf.Cert): // or it may be anybody
		reason = v1alpha1.ReasonWrongCertificate
	case verifies && !r.agrees(seen, p):
		reason = v1alpha1.ReasonMissingClientCA
	}
	if found.Denied = reason != ""; found.Denied && (found.Reason == "" || there) {
		found.Reason = reason
	}
}

// agrees says whether an API server names every CA that is published, and none that was withdrawn, unless its Secret
// holds that one for the sake of another CA.
func (r *reading) agrees(seen Serving, p Product) bool {
	kept := slices.Concat(r.bundle, p.Bundles[ClientBundleKey], p.Bundles[HeaderBundleKey])
	for _, ca := range r.bundle {
		if !seen.Trusts(ca) {
			return false
		}
	}
	for _, ca := range r.withdrawn {
		named := slices.ContainsFunc(kept, func(k *x509.Certificate) bool { return string(k.RawSubject) == string(ca.RawSubject) })
		if !named && !seen.Dropped(ca) { // one of the same name cannot be told apart
			return false
		}
	}
	return true
}

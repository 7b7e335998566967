package consumers

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki/plan"
)

// copyOf asks about the copy of the active key: whoever signs with that must have got it.
func (r *reading) copyOf(c *v1alpha1.ClusterCA) {
	if c.Spec.SecretName == "" {
		return
	}
	p, there := r.mine(c.UID, c.Spec.SecretName)
	if c.Name != r.ca {
		return
	}
	reported := AcknowledgmentOf(c.Spec.Delivery, Reported{}, "", r.Now)
	found := plan.Consumer{
		Kind: kindSecret, Name: c.Spec.SecretName, HasLeaf: true, Mounted: reported.Mounted, Delay: reported.Delay,
		AcceptsAssumed: reported.AcceptsAssumed, Changed: r.Now, Reason: reported.Reason,
	}
	if there {
		found.Changed = p.changed(r.Now)
		for number, ca := range r.Authorities[r.ca].CAs {
			if p.Leaf.Cert != nil && ca.Cert != nil && p.Leaf.Cert.Equal(ca.Cert) {
				found.Issued = number
			}
		}
		if reported.has(p, corev1.TLSCertKey, r.ca, r.published) {
			found.Leaf = found.Issued
		} else {
			found.Reason = v1alpha1.PendingNotAcknowledged
		}
	}
	if found.Issued != r.active.Number {
		found.Reason = v1alpha1.PendingNotIssued
	}
	r.out = append(r.out, found)
}

// subordinates asks the CAs that the CA signs, or signed: each is done with a key once no generation in its bundle is of
// that key. What their ledgers say counts, beside their specs.
func (r *reading) subordinates() {
	seeds := map[string]uint32{}
	for i := range r.CAs {
		c := &r.CAs[i]
		seeds[c.Name] = r.Seed(c)
		if _, begun := r.Authorities[c.Name]; !begun && c.ParentName() == r.ca {
			r.out = append(r.out, plan.Consumer{Kind: "ClusterCA", Name: c.Name, Seed: seeds[c.Name], HasLeaf: true, Reason: v1alpha1.PendingNotIssued})
		}
	}
	for name, sub := range r.Authorities {
		oldest, youngest := generationsOf(sub.Ledger, r.ca)
		if oldest == 0 {
			continue
		}
		seed, there := seeds[name]
		r.out = append(r.out, plan.Consumer{
			Kind: "ClusterCA", Name: name, Seed: seed, HasLeaf: true, Leaf: oldest, Issued: youngest, Orphaned: !there, Reason: v1alpha1.PendingNotRotated,
		})
	}
}

// generationsOf are the oldest and the youngest generation of a parent CA that a CA's published keys are of; 0: none is.
func generationsOf(l plan.Ledger, parent string) (oldest, youngest int32) {
	for _, g := range l.Published() {
		if g.Parent.Name != parent {
			continue
		}
		if oldest == 0 || g.Parent.Generation < oldest {
			oldest = g.Parent.Generation
		}
		youngest = max(youngest, g.Parent.Generation)
	}
	return oldest, youngest
}

// orphans are Secrets that the operator made for objects which are gone, or name others: nobody knows whether they are
// still in use, and nothing changes them any more. No rotation waits for who reads an output.
func (r *reading) orphans() {
	ours := slices.Concat(r.bundle, r.withdrawn)
	for _, p := range r.Products {
		if r.named[p.Name] || !p.Claimed || p.Claim.Output != "" {
			continue
		}
		leaf, trusts := r.Authorities.Signer(r.ca, p.Leaf) != 0, p.holdsAny(ours)
		if leaf || trusts {
			r.out = append(r.out, plan.Consumer{
				Kind: kindSecret, Name: p.Name, RelyingParty: trusts, HasLeaf: leaf, Orphaned: true, Reason: v1alpha1.PendingOrphaned,
			})
		}
	}
}

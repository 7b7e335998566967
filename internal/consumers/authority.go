package consumers

import (
	"crypto/x509"
	"maps"
	"slices"

	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

// Authority is a CA as its consumers see it: its ledger, and the certificates of its generations.
type Authority struct {
	Ledger plan.Ledger
	CAs    map[int32]pki.CA // by generation; keys do not matter here
	// Copied says that there are copies of its active key, for programs that sign for themselves. What these sign carries no chain.
	Copied bool
}

// Authorities are the CAs of a namespace, by name.
type Authorities map[string]Authority

// maxDepth bounds how many CAs can stand above each other; a circle ends, too.
const maxDepth = 8

// Bundle is what a CA publishes: the trust anchors of its generations, in their order, and, of an intermediate CA whose key is
// copied, the certificates that lead to them, because whoever signs with a copy gives no chain along. The anchors of an intermediate CA are its
// parent's, read there. It is not complete, and nil, where one of them is not known.
func (a Authorities) Bundle(name string) []*x509.Certificate {
	out := a.anchors(name, maxDepth)
	for _, g := range a[name].Ledger.Published() {
		if pki.WithIdentity(out, g.Anchor) != nil {
			out = with(out, a[name].missingChain(g))
		}
	}
	return out
}

// published is the digest of what a CA publishes; "" where that is not known.
func (a Authorities) published(name string) string {
	bundle := a.Bundle(name)
	if len(bundle) == 0 {
		return ""
	}
	return pki.BundleDigest(bundle)
}

// Before are the CAs as they were before what some of them publish changed last: of these, a host has that which awaits its turn.
func (a Authorities) Before(names ...string) Authorities {
	out := maps.Clone(a)
	for _, name := range names {
		was := a[name]
		was.Ledger = was.Ledger.Former()
		out[name] = was
	}
	return out
}

// missingChain are the certificates that are not sent along with what a copy of a generation's key signs.
func (c Authority) missingChain(g plan.Generation) []*x509.Certificate {
	ca := c.CAs[g.Number]
	if !c.Copied || ca.Cert == nil || g.Root {
		return nil
	}
	return append([]*x509.Certificate{ca.Cert}, ca.Chain...)
}

// with adds certificates that are not there yet.
func with(certs, more []*x509.Certificate) []*x509.Certificate {
	for _, c := range more {
		if !slices.ContainsFunc(certs, c.Equal) {
			certs = append(certs, c)
		}
	}
	return certs
}

func (a Authorities) anchors(name string, depth int) []*x509.Certificate {
	ca, known := a[name]
	if !known || depth == 0 {
		return nil
	}
	var out []*x509.Certificate
	for _, g := range ca.Ledger.Published() {
		var anchors []*x509.Certificate
		if g.Parent.Name != "" {
			anchors = a.anchors(g.Parent.Name, depth-1)
		}
		if anchor := ca.CAs[g.Number].Anchor(); len(anchors) == 0 && anchor != nil {
			anchors = []*x509.Certificate{anchor}
		}
		if len(anchors) == 0 {
			return nil
		}
		out = with(out, anchors)
	}
	return out
}

// Revisions are the revisions of the ledgers that a CA's bundle follows from: its own, and those of its parent CAs.
func (a Authorities) Revisions(name string) map[string]int64 {
	out := map[string]int64{}
	a.revisions(name, maxDepth, out)
	return out
}

func (a Authorities) revisions(name string, depth int, into map[string]int64) {
	ca, known := a[name]
	if !known || depth == 0 {
		return
	}
	into[name] = max(1, ca.Ledger.BundleRevision)
	for _, g := range ca.Ledger.Published() {
		if g.Parent.Name != "" {
			a.revisions(g.Parent.Name, depth-1, into)
		}
	}
}

// Relies says whether who trusts one CA trusts another one: that is the same, or above it.
func (a Authorities) Relies(on, root string) bool { return a.relies(on, root, maxDepth) }

func (a Authorities) relies(on, root string, depth int) bool {
	if on == root {
		return true
	}
	if depth == 0 {
		return false
	}
	return slices.ContainsFunc(a[on].Ledger.Published(), func(g plan.Generation) bool {
		return g.Parent.Name != "" && a.relies(g.Parent.Name, root, depth-1)
	})
}

// Withdrawn is what a CA published and has taken out of its bundle, of generations whose keys still exist.
func (a Authorities) Withdrawn(name string) []*x509.Certificate {
	var out []*x509.Certificate
	bundle := a.Bundle(name)
	for _, g := range a[name].Ledger.Generations {
		anchor := a[name].CAs[g.Number].Anchor()
		if g.State != plan.Withdrawn || anchor == nil {
			continue
		}
		out = with(out, append([]*x509.Certificate{anchor}, a[name].missingChain(g)...))
	}
	return slices.DeleteFunc(out, func(c *x509.Certificate) bool { return slices.ContainsFunc(bundle, c.Equal) })
}

// Signer is the generation of a CA that signed a leaf, the highest of several with one key; 0 where none did.
func (a Authorities) Signer(name string, leaf pki.Leaf) int32 {
	var found int32
	for _, g := range a[name].Ledger.Generations {
		if ca := a[name].CAs[g.Number]; g.Number > found && ca.Cert != nil && leaf.Cert != nil && leaf.IssuedBy(ca) {
			found = g.Number
		}
	}
	return found
}

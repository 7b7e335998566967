package consumers

import (
	"crypto/x509"
	"slices"

	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

// Authority is a CA as its consumers see it: its ledger, and the certificates of its generations.
type Authority struct {
	Ledger plan.Ledger
	CAs    map[int32]pki.CA // by generation; keys do not matter here
}

// Authorities are the CAs of a namespace, by name.
type Authorities map[string]Authority

// maxDepth bounds how many CAs can stand above each other; a circle ends, too.
const maxDepth = 8

// Bundle are the trust anchors that a CA publishes, in the order of its generations. Those of an intermediate CA are its
// parent's, read there. It is not complete, and nil, where one of them is not known.
func (a Authorities) Bundle(name string) []*x509.Certificate { return a.bundle(name, maxDepth) }

func (a Authorities) bundle(name string, depth int) []*x509.Certificate {
	ca, known := a[name]
	if !known || depth == 0 {
		return nil
	}
	var out []*x509.Certificate
	for _, g := range ca.Ledger.Published() {
		var anchors []*x509.Certificate
		if g.Parent.Name != "" {
			anchors = a.bundle(g.Parent.Name, depth-1)
		}
		if anchor := ca.CAs[g.Number].Anchor(); len(anchors) == 0 && anchor != nil {
			anchors = []*x509.Certificate{anchor}
		}
		if len(anchors) == 0 {
			return nil
		}
		for _, anchor := range anchors {
			if !slices.ContainsFunc(out, anchor.Equal) {
				out = append(out, anchor)
			}
		}
	}
	return out
}

// Revisions are the revisions of the ledgers that a CA's bundle follows from: its own, and those of the CAs above.
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

// Withdrawn are the anchors of a CA that are out of its bundle and whose keys still exist.
func (a Authorities) Withdrawn(name string) []*x509.Certificate {
	var out []*x509.Certificate
	bundle := a.Bundle(name)
	for _, g := range a[name].Ledger.Generations {
		anchor := a[name].CAs[g.Number].Anchor()
		if g.State == plan.Withdrawn && anchor != nil && !slices.ContainsFunc(bundle, anchor.Equal) {
			out = append(out, anchor)
		}
	}
	return out
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

package consumers_test

import (
	"crypto/x509"
	"maps"
	"slices"
	"testing"

	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

// under says that a generation is of a parent's.
func under(a consumers.Authority, number int32, parent string, generation int32) consumers.Authority {
	a.Ledger.Generations = slices.Clone(a.Ledger.Generations)
	a.Ledger.Generations[number-1].Parent = plan.Parent{Name: parent, Generation: generation}
	return a
}

func TestBundles(t *testing.T) {
	r1, r2 := root("root"), root("root g2")
	mid := below("mid", r1)
	low := below("low", mid)
	rotating := []plan.State{plan.Active, plan.Trusted}
	all := consumers.Authorities{
		"root":   authorityOf(rotating, r1, r2),
		"mid":    under(active(mid), 1, "root", 1),
		"low":    under(active(low), 1, "mid", 1),
		"apart":  active(mid), // its root is known, and no CA here
		"lost":   under(active(pki.CA{Cert: mid.Cert}), 1, "gone", 1),
		"half":   authorityOf(rotating, r1, pki.CA{}),
		"adopts": under(active(mid), 1, "gone", 1),
		"a":      under(active(mid), 1, "b", 1), "b": under(active(mid), 1, "a", 1),
		"done": authorityOf([]plan.State{plan.Withdrawn, plan.Active}, r1, r2),
		"same": authorityOf([]plan.State{plan.Withdrawn, plan.Active}, r1, r1),
	}
	for name, want := range map[string][]*x509.Certificate{
		"root": anchors(r1, r2), "mid": anchors(r1, r2), "low": anchors(r1, r2), "apart": anchors(r1), "adopts": anchors(r1),
		"lost": nil, "half": nil, "done": anchors(r2), "none": nil, "a": anchors(r1),
	} {
		if got := all.Bundle(name); !slices.EqualFunc(got, want, (*x509.Certificate).Equal) {
			t.Errorf("%s publishes %d anchors, want %d", name, len(got), len(want))
		}
	}
	for name, want := range map[string]map[string]int64{
		"root": {"root": 5}, "low": {"root": 5, "mid": 5, "low": 5}, "none": {}, "lost": {"lost": 5}, "a": {"a": 5, "b": 5},
	} {
		if got := all.Revisions(name); !maps.Equal(got, want) {
			t.Errorf("%s follows from %v", name, got)
		}
	}
	for _, tc := range []struct {
		on, root string
		want     bool
	}{
		{"low", "root", true}, {"low", "mid", true}, {"low", "low", true}, {"root", "low", false}, {"done", "root", false}, {"a", "root", false}, {"a", "b", true},
	} {
		if all.Relies(tc.on, tc.root) != tc.want {
			t.Errorf("who trusts %s trusts %s: %v", tc.on, tc.root, !tc.want)
		}
	}
	if got := all.Withdrawn("done"); !slices.EqualFunc(got, anchors(r1), (*x509.Certificate).Equal) {
		t.Errorf("%d anchors are withdrawn", len(got))
	}
	if got := append(all.Withdrawn("same"), all.Withdrawn("root")...); len(got) != 0 {
		t.Errorf("%d anchors that are published are withdrawn", len(got))
	}
}

// TestSigner names the highest of several generations with one key, and none of another CA.
func TestSigner(t *testing.T) {
	old := root("k8s")
	renewed, err := pki.RenewRoot(now, 2*spec("x").Validity, old)
	if err != nil {
		t.Fatal(err)
	}
	parent := root("root")
	mid := below("mid", parent)
	all := consumers.Authorities{
		"k8s": authorityOf([]plan.State{plan.Withdrawn, plan.Active, plan.Trusted}, old, renewed, root("k8s g3")),
		"mid": active(mid), "empty": authorityOf([]plan.State{plan.Active}, pki.CA{}),
	}
	for name, tc := range map[string]struct {
		ca   string
		leaf pki.Leaf
		want int32
	}{
		"by the old one":        {"k8s", leaf(old), 2},
		"by the renewed one":    {"k8s", leaf(renewed), 2},
		"by another":            {"k8s", leaf(root("k8s")), 0},
		"by an intermediate":    {"mid", leaf(mid), 1},
		"without its chain":     {"mid", pki.Leaf{Cert: leaf(mid).Cert}, 0},
		"by the parent":         {"mid", leaf(parent), 0},
		"none":                  {"k8s", pki.Leaf{}, 0},
		"the CA is not known":   {"none", leaf(old), 0},
		"its certificate isn't": {"empty", leaf(old), 0},
	} {
		if got := all.Signer(tc.ca, tc.leaf); got != tc.want {
			t.Errorf("%s: %d", name, got)
		}
	}
}

// TestBundleOfACopiedKey publishes, of an intermediate CA whose key is copied, the certificates that whoever signs with the copy does
// not send along; of a root it publishes nothing more, and of a CA below, what leads to its own anchors.
func TestBundleOfACopiedKey(t *testing.T) {
	r := root("root")
	mid, next := below("mid", r), below("mid g2", r)
	low := below("low", mid)
	copied := func(a consumers.Authority) consumers.Authority {
		a.Copied = true
		for i := range a.Ledger.Generations {
			g := &a.Ledger.Generations[i]
			anchor := a.CAs[g.Number].Anchor()
			g.Anchor, g.Root = pki.IdentityOf(anchor), anchor == a.CAs[g.Number].Cert
		}
		return a
	}
	all := consumers.Authorities{
		"root": copied(active(r)), "mid": copied(under(active(mid), 1, "root", 1)), "low": copied(under(active(low), 1, "mid", 1)),
		"leaf":     under(active(low), 1, "mid", 1),
		"rotating": copied(authorityOf([]plan.State{plan.Retiring, plan.Active}, mid, next)),
		"rotated":  copied(authorityOf([]plan.State{plan.Withdrawn, plan.Active}, mid, next)),
	}
	lowChain := append(anchors(r, low), low.Chain...)
	for name, want := range map[string][]*x509.Certificate{
		"root": anchors(r), "mid": anchors(r, mid), "low": lowChain, "leaf": anchors(r), "rotating": anchors(r, mid, next), "rotated": anchors(r, next),
	} {
		if got := all.Bundle(name); !slices.EqualFunc(got, want, (*x509.Certificate).Equal) {
			t.Errorf("%s publishes %d certificates, want %d", name, len(got), len(want))
		}
	}
	if got := all.Withdrawn("rotated"); !slices.EqualFunc(got, anchors(mid), (*x509.Certificate).Equal) {
		t.Errorf("%d certificates are withdrawn", len(got))
	}
}

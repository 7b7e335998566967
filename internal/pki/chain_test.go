package pki_test

import (
	"crypto/x509"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"clusterpki.io/operator/internal/pki"
)

// rotationSpecs begins with the one whose keys take long to find.
var rotationSpecs = []pki.KeySpec{rsa2048, ecdsa256, ecdsa384, ecdsa521, ed25519k}

// goAccepts and opensslAccepts say whether a truster of roots accepts a server that presents pair.CertPEM().
func goAccepts(at time.Time, pair pki.Leaf, roots ...*x509.Certificate) bool {
	return pair.Verify(at, roots) == nil
}

// opensslAccepts is as strict as it can be: Python 3.13 takes -x509_strict for granted. It never takes an
// intermediate for an anchor (-partial_chain).
func opensslAccepts(t *testing.T, at time.Time, pair pki.Leaf, roots ...*x509.Certificate) bool {
	t.Helper()
	dir, err := os.MkdirTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	args := []string{
		"verify", "-purpose", "sslserver", "-x509_strict", "-no-CApath", "-no-CAstore", "-attime", strconv.FormatInt(at.Unix(), 10),
		"-CAfile", write(t, dir, "ca.crt", pki.EncodeCertificates(roots...)),
	}
	if len(pair.Chain) > 0 {
		args = append(args, "-untrusted", write(t, dir, "chain.crt", pki.EncodeCertificates(pair.Chain...)))
	}
	leaf := write(t, dir, "leaf.crt", pki.EncodeCertificates(pair.Cert))
	out, err := openssl(t, append(args, leaf)...)
	if ok := strings.TrimSpace(out) == leaf+": OK"; ok != (err == nil) {
		t.Fatalf("openssl says %q and %v", out, err)
	}
	return err == nil
}

func check(t *testing.T, what string, want bool, pair pki.Leaf, roots ...*x509.Certificate) {
	t.Helper()
	checkAt(t, now, what, want, pair, roots...)
}

func checkAt(t *testing.T, at time.Time, what string, want bool, pair pki.Leaf, roots ...*x509.Certificate) {
	t.Helper()
	if g, o := goAccepts(at, pair, roots...), opensslAccepts(t, at, pair, roots...); g != want || o != want {
		t.Errorf("%s: Go says %v, openssl says %v, want %v", what, g, o, want)
	}
}

// cast makes each CA once: RSA keys take long to find.
type cast struct {
	t    *testing.T
	made sync.Map
}

func (c *cast) get(name string, build func() (pki.CA, error)) pki.CA {
	if pair, ok := c.made.Load(name); ok {
		return pair.(pki.CA)
	}
	pair, err := build()
	if err != nil {
		c.t.Fatalf("%s: %v", name, err)
	}
	c.made.Store(name, pair)
	return pair
}

func (c *cast) root(name string, spec pki.KeySpec) pki.CA {
	return c.get(fmt.Sprint(name, spec), func() (pki.CA, error) {
		return pki.SelfSign(now, caRequest(func(r *pki.CertificateSpec) { r.Key, r.Subject.CommonName = spec, name }))
	})
}

func (c *cast) below(parent pki.CA, name string, spec pki.KeySpec) pki.CA {
	key := fmt.Sprint(pki.FingerprintOf(parent.Cert), name, spec)
	for _, b := range parent.CrossSigned {
		key += pki.FingerprintOf(b)
	}
	return c.get(key, func() (pki.CA, error) {
		return pki.SignCA(pki.GenerateKey, now, caRequest(func(r *pki.CertificateSpec) { r.Key, r.Subject.CommonName = spec, name }), parent)
	})
}

// renewed has an end of its own, so that it is not the same certificate with another serial number alone.
func (c *cast) renewed(old pki.CA) pki.CA {
	return c.get("renewed "+pki.FingerprintOf(old.Cert), func() (pki.CA, error) { return pki.RenewRoot(now, 5000*day, old) })
}

func (c *cast) crossSigned(young, old pki.CA) pki.CA {
	name := fmt.Sprint("cross-signed ", pki.FingerprintOf(young.Cert), pki.FingerprintOf(old.Cert))
	return c.get(name, func() (pki.CA, error) {
		cross, err := pki.CrossSign(now, young.Cert, old)
		young.CrossSigned = append([]*x509.Certificate{cross}, old.ChainBelow()...)
		return young, err
	})
}

// rotation is one CA that takes the place of another.
type rotation struct {
	old, young, stranger pki.CA
	oldAgain, youngAgain pki.CA // renewed with the same key
}

// rotation casts one. With the same name, verifiers tell the two by their key identifiers alone.
func (c *cast) rotation(from, to pki.KeySpec, sameName bool) rotation {
	name := "kubernetes g2"
	if sameName {
		name = "kubernetes"
	}
	r := rotation{old: c.root("kubernetes", from), young: c.root(name, to), stranger: c.root("kubernetes", ed25519k)}
	if sameName && from == to {
		r.young = c.get(fmt.Sprint("another", to), func() (pki.CA, error) {
			return pki.SelfSign(now, caRequest(func(r *pki.CertificateSpec) { r.Key = to }))
		})
	}
	if from == ed25519k || sameName && to == ed25519k {
		r.stranger = c.root("kubernetes", ecdsa256)
		if from == ecdsa256 || sameName && to == ecdsa256 {
			r.stranger = c.root("kubernetes", ecdsa384)
		}
	}
	r.oldAgain, r.youngAgain = c.renewed(r.old), c.renewed(r.young)
	return r
}

// issuers are the CAs at the heads of the two, by what a truster must hold for their leaves: old, young or either.
func (c *cast) issuers(r rotation) map[string]pki.CA {
	return map[string]pki.CA{
		"old": r.old, "old, renewed": r.oldAgain, "young": r.young, "young, renewed": r.youngAgain,
		"either": c.crossSigned(r.young, r.old), "either, the signer renewed": c.crossSigned(r.young, r.oldAgain),
		"either, the signed renewed": c.crossSigned(r.youngAgain, r.old),
	}
}

// want says who verifies a leaf below one of the issuers.
func (r rotation) want(issuer string, trusted []*x509.Certificate) bool {
	holds := func(cas ...pki.CA) bool {
		return slices.ContainsFunc(cas, func(ca pki.CA) bool { return slices.Contains(trusted, ca.Cert) })
	}
	switch kind, _, _ := strings.Cut(issuer, ","); kind {
	case "old":
		return holds(r.old, r.oldAgain)
	case "young":
		return holds(r.young, r.youngAgain)
	default:
		return holds(r.old, r.oldAgain, r.young, r.youngAgain)
	}
}

// Whatever the algorithms, the depth, cross-signing, the renewals and the order of a bundle: a leaf verifies for who
// trusts a root of its own, or an older one that a cross-signed certificate leads to, and for nobody else. So say both verifiers.
func TestLeavesVerifyForTheirTrustersAlone(t *testing.T) {
	t.Parallel()
	c := &cast{t: t}
	rapid.Check(t, func(rt *rapid.T) {
		spec := func(name string) pki.KeySpec { return rapid.SampledFrom(rotationSpecs).Draw(rt, name) }
		r := c.rotation(spec("old"), spec("young"), rapid.Bool().Draw(rt, "same name"))
		issuers := c.issuers(r)
		var names []string
		for name := range issuers {
			names = append(names, name)
		}
		slices.Sort(names)
		name := rapid.SampledFrom(names).Draw(rt, "issuer")
		issuer := issuers[name]
		depth := rapid.IntRange(0, 2).Draw(rt, "depth")
		for i := range depth {
			issuer = c.below(issuer, fmt.Sprint("intermediate ", i), rapid.SampledFrom(rotationSpecs[1:]).Draw(rt, "intermediate"))
		}
		leaf, err := pki.Issue(now, leafRequest(), issuer)
		if err != nil {
			rt.Fatal(err)
		}
		roots := []*x509.Certificate{r.old.Cert, r.oldAgain.Cert, r.young.Cert, r.youngAgain.Cert, r.stranger.Cert}
		trusted := rapid.Permutation(roots).Draw(rt, "bundle")[:rapid.IntRange(1, len(roots)).Draw(rt, "size")]
		want := r.want(name, trusted)
		if g, o := goAccepts(now, leaf, trusted...), opensslAccepts(t, now, leaf, trusted...); g != want || o != want {
			rt.Fatalf("Go says %v, openssl says %v, want %v", g, o, want)
		}
		if slices.ContainsFunc(leaf.Chain, func(c *x509.Certificate) bool { return slices.Contains(roots, c) }) {
			rt.Fatal("the leaf carries a root")
		}
		if end := leaf.Cert.NotAfter; !goAccepts(end, leaf, issuer.Anchor()) || goAccepts(end.Add(time.Second), leaf, issuer.Anchor()) {
			rt.Fatal("the leaf is not good for just as long as it says")
		}
	})
}

// The same for every pair of algorithms, in Go alone: openssl takes a process for each.
func TestEveryPairOfAlgorithmsRotates(t *testing.T) {
	t.Parallel()
	c := &cast{t: t}
	for _, from := range rotationSpecs {
		for _, to := range rotationSpecs {
			r := c.rotation(from, to, false)
			for name, issuer := range c.issuers(r) {
				for depth, ca := range []pki.CA{issuer, c.below(issuer, "intermediate", ecdsa256)} {
					leaf := issue(t, leafRequest(), ca)
					for who, trusted := range map[string][]*x509.Certificate{
						"the old": {r.old.Cert}, "the old, renewed": {r.oldAgain.Cert}, "the young": {r.young.Cert},
						"the young, renewed": {r.youngAgain.Cert}, "a stranger": {r.stranger.Cert},
						"both": {r.young.Cert, r.old.Cert},
					} {
						if got, want := goAccepts(now, leaf, trusted...), r.want(name, trusted); got != want {
							t.Errorf("from %s to %s: who trusts %s accepts a leaf of %s, %d CAs below it: %v, want %v",
								from, to, who, name, depth, got, want)
						}
					}
				}
			}
		}
	}
}

// A cross-signed certificate serves those that slept until the old CA ends, and harms nobody after that.
func TestCrossSignedEndsWithTheOldCA(t *testing.T) {
	old := selfSign(t, caRequest(func(r *pki.CertificateSpec) { r.Validity = 100 * day }))
	young := selfSign(t, caRequest(func(r *pki.CertificateSpec) { r.Subject.CommonName = "kubernetes g2" }))
	young = (&cast{t: t}).crossSigned(young, old)
	middle := must(pki.SignCA(pki.GenerateKey, now, caRequest(func(r *pki.CertificateSpec) { r.Subject.CommonName = "middle" }), young))
	end := old.Cert.NotAfter
	for name, issuer := range map[string]pki.CA{"root": young, "intermediate": middle} {
		leaf := issue(t, leafRequest(), issuer)
		if !leaf.Cert.NotAfter.Equal(now.UTC().Add(365 * day).Truncate(time.Second)) {
			t.Errorf("%s: the cross-signed certificate shortens the leaf's life to %v", name, leaf.Cert.NotAfter)
		}
		checkAt(t, end.Add(-time.Second), name+": old truster, last second", true, leaf, old.Cert) // the end itself has passed for openssl
		checkAt(t, end.Add(time.Second), name+": old truster, one second later", false, leaf, old.Cert)
		checkAt(t, end.Add(time.Second), name+": truster of both", true, leaf, old.Cert, young.Cert)
		checkAt(t, end.Add(time.Second), name+": new truster", true, leaf, young.Cert)
		late := must(pki.Issue(end.Add(time.Hour), leafRequest(), issuer)) // the cross-signed certificate has expired already
		checkAt(t, end.Add(2*time.Hour), name+": new truster of a late leaf", true, late, young.Cert)
	}
}

// Two rotations long past, a truster of the first CA reaches the third over two cross-signed certificates.
func TestCrossSignedFollowOneAnother(t *testing.T) {
	c := &cast{t: t}
	first := selfSign(t, caRequest())
	second := c.crossSigned(selfSign(t, caRequest(func(r *pki.CertificateSpec) { r.Subject.CommonName = "kubernetes g2" })), first)
	third := c.crossSigned(selfSign(t, caRequest(func(r *pki.CertificateSpec) { r.Subject.CommonName = "kubernetes g3" })), second)
	leaf := issue(t, leafRequest(), third)
	for name, root := range map[string]*x509.Certificate{"first": first.Cert, "second": second.Cert, "third": third.Cert} {
		check(t, name, true, leaf, root)
	}
	if len(leaf.Chain) != 2 {
		t.Errorf("the leaf carries %d cross-signed certificates", len(leaf.Chain))
	}
	stored := must(pki.ParseLeaf(leaf.CertPEM(), reveal(t, leaf.Key)))
	check(t, "first, after storing", true, stored, first.Cert)
}

// An intermediate is no anchor to OpenSSL, so what a truster must hold is the root.
func TestAnchor(t *testing.T) {
	root := selfSign(t, caRequest())
	middle := must(pki.SignCA(pki.GenerateKey, now, caRequest(func(r *pki.CertificateSpec) { r.Subject.CommonName = "middle" }), root))
	lower := must(pki.SignCA(pki.GenerateKey, now, caRequest(func(r *pki.CertificateSpec) { r.Subject.CommonName = "lower" }), middle))
	for name, ca := range map[string]pki.CA{"root": root, "middle": middle, "lower": lower} {
		if ca.Anchor() != root.Cert {
			t.Errorf("the anchor of %s is %v", name, ca.Anchor().Subject)
		}
		check(t, name, true, issue(t, leafRequest(), ca), ca.Anchor())
	}
	leaf := issue(t, leafRequest(), lower)
	if opensslAccepts(t, now, leaf, middle.Cert) || opensslAccepts(t, now, leaf, lower.Cert, middle.Cert) {
		t.Error("openssl takes an intermediate for an anchor")
	}
	stored := must(pki.ParseCACertificate(middle.CertPEM()))
	if stored.Anchor() != nil {
		t.Error("a stored intermediate does not know its root, and yet names an anchor")
	}
}

package pki_test

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"clusterpki.io/operator/internal/pki"
)

// again is a CA's certificate made anew under its own key by a signer, with a change.
func again(t *testing.T, ca, signer pki.CA, mods ...func(*x509.Certificate)) pki.CA {
	t.Helper()
	tmpl := &x509.Certificate{
		SerialNumber: ca.Cert.SerialNumber, RawSubject: ca.Cert.RawSubject, Subject: ca.Cert.Subject, SubjectKeyId: ca.Cert.SubjectKeyId,
		NotBefore: ca.Cert.NotBefore, NotAfter: ca.Cert.NotAfter, KeyUsage: ca.Cert.KeyUsage, ExtKeyUsage: ca.Cert.ExtKeyUsage,
		IsCA: true, BasicConstraintsValid: true, MaxPathLen: ca.Cert.MaxPathLen, MaxPathLenZero: ca.Cert.MaxPathLenZero,
	}
	for _, mod := range mods {
		mod(tmpl)
	}
	parent := signer.Cert
	if signer.Cert.Equal(ca.Cert) {
		parent = tmpl
	}
	next := ca
	next.Cert = sign(t, tmpl, parent, ca.Cert.PublicKey, signer.Key.Signer())
	return next
}

// TestRenewed tells the same CA with later dates from another one.
func TestRenewed(t *testing.T) {
	root := selfSign(t, caRequest(func(r *pki.CertificateSpec) { r.Subject.CommonName = "root" }))
	other := selfSign(t, caRequest(func(r *pki.CertificateSpec) { r.Subject.CommonName = "root" }))
	ca := selfSign(t, caRequest())
	mid, err := pki.SignCA(pki.GenerateKey, now, caRequest(func(r *pki.CertificateSpec) { r.Validity = 100 * day }), root)
	if err != nil {
		t.Fatal(err)
	}
	later := func(c *x509.Certificate) { c.NotAfter = c.NotAfter.Add(time.Hour) }
	earlier := func(c *x509.Certificate) { c.NotAfter = c.NotAfter.Add(-time.Second) }
	limited := again(t, ca, ca, func(c *x509.Certificate) { c.MaxPathLen = 1 })
	forServers := again(t, ca, ca, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	by := func(ca, other pki.CA) pki.CA { ca.Key = other.Key; return ca } // its name, and the signature of another key
	unproved := again(t, root, by(root, other))
	withRoot := func(ca, root pki.CA) pki.CA { ca.Root = root.Cert; return ca }
	above := func(below, root pki.CA) pki.CA {
		ca := mid
		ca.Chain, ca.Root = []*x509.Certificate{below.Cert}, root.Cert
		return ca
	}
	for name, tc := range map[string]struct {
		old, next pki.CA
		want      bool
	}{
		"itself":                      {ca, ca, true},
		"a later end":                 {ca, again(t, ca, ca, later), true},
		"an earlier end":              {ca, again(t, ca, ca, earlier), false},
		"another key":                 {ca, selfSign(t, caRequest()), false},
		"another name":                {ca, again(t, ca, ca, func(c *x509.Certificate) { c.RawSubject, c.Subject.CommonName = nil, "x" }), false},
		"another key identifier":      {ca, again(t, ca, ca, func(c *x509.Certificate) { c.SubjectKeyId = []byte("x") }), false},
		"a path length":               {ca, limited, false},
		"a path length of zero":       {ca, again(t, ca, ca, func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true }), false},
		"a shorter path length":       {limited, again(t, ca, ca, func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true }), false},
		"a longer path length":        {limited, again(t, ca, ca, func(c *x509.Certificate) { c.MaxPathLen = 2 }), true},
		"no path length any more":     {limited, ca, true},
		"a usage less":                {ca, again(t, ca, ca, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign }), false},
		"for servers alone":           {ca, again(t, ca, ca, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), false},
		"an intermediate's later end": {mid, again(t, mid, root, later), true},
		"with last year's root":       {mid, withRoot(mid, again(t, root, root, earlier)), false},
		"with another root":           {mid, withRoot(again(t, mid, other, later), other), false},
		"a root above its root":       {mid, above(again(t, root, other, later), other), false},
		"without its root":            {mid, func() pki.CA { p := mid; p.Root = nil; return p }(), false},
		"a root instead of it":        {mid, pki.CA{Cert: again(t, mid, mid, later).Cert}, false},
		"nothing before":              {pki.CA{}, ca, false},
		"usages more": {forServers, again(t, ca, ca, func(c *x509.Certificate) {
			c.ExtKeyUsage = append(forServers.Cert.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
		}), true},
		"with its root renewed":                   {mid, withRoot(mid, again(t, root, root, later)), true},
		"with its root renewed, by SHA-1":         {mid, withRoot(mid, again(t, root, root, later, withECDSASHA1)), true},
		"with its root renewed, by nobody":        {mid, withRoot(mid, again(t, root, by(root, other), later)), false},
		"a later end, by nobody":                  {ca, again(t, ca, by(ca, other), later), false},
		"a later end, by SHA-1 and nobody":        {ca, again(t, ca, by(ca, other), later, withECDSASHA1), false},
		"a later end, signed, of one that is not": {unproved, again(t, unproved, unproved, later), true},
		"itself, which nobody has signed":         {unproved, unproved, true},
		"a later end below a root that stays":     {withRoot(mid, unproved), withRoot(again(t, mid, root, later), unproved), true},
	} {
		if got := pki.Renewed(tc.old, tc.next); got != tc.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	if end := withRoot(mid, again(t, root, root, func(c *x509.Certificate) { c.NotAfter = now.Add(day) })).End(); !end.Equal(now.Add(day).UTC().Truncate(time.Second)) {
		t.Errorf("a CA below a root that ends in a day ends at %v", end)
	}
}

// TestBundleDigest tells sets of certificates apart, and neither their order nor how often one is there. People compare it,
// so it is as `openssl` and `sha256sum` would make it.
func TestBundleDigest(t *testing.T) {
	var certs []*x509.Certificate
	for range 4 {
		certs = append(certs, selfSign(t, caRequest(func(r *pki.CertificateSpec) { r.Key = ed25519k })).Cert)
	}
	if got := pki.BundleDigest(nil); got != "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" {
		t.Errorf("of nothing: %s", got)
	}
	if got := pki.BundleDigest(certs[:1]); len(got) != 64 || got != strings.ToLower(got) || strings.EqualFold(got, pki.FingerprintOf(certs[0])) {
		t.Errorf("of one: %s", got)
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.SliceOf(rapid.IntRange(0, 3)).Draw(t, "a"), rapid.SliceOf(rapid.IntRange(0, 3)).Draw(t, "b")
		bundle := func(of []int) (out []*x509.Certificate, set [4]bool) {
			for _, i := range of {
				out, set[i] = append(out, certs[i]), true
			}
			return out, set
		}
		one, oneSet := bundle(a)
		two, twoSet := bundle(b)
		if (pki.BundleDigest(one) == pki.BundleDigest(two)) != (oneSet == twoSet) {
			t.Fatalf("of %v and %v: %s, %s", a, b, pki.BundleDigest(one), pki.BundleDigest(two))
		}
	})
}

package pki_test

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"clusterpki.io/operator/internal/pki"
)

// foreignCA makes a root as other programs do, with what mods change of it. Its SKI is no digest that this package takes.
func foreignCA(t testing.TB, mods ...func(*x509.Certificate)) pki.CA {
	t.Helper()
	key := must(pki.GenerateKey(ecdsa256))
	tmpl := foreignTemplate("foreign", mods...)
	return pki.CA{Key: key, Cert: sign(t, tmpl, tmpl, key.Public(), key.Signer())}
}

func foreignTemplate(name string, mods ...func(*x509.Certificate)) *x509.Certificate {
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{Country: []string{"DE"}, OrganizationalUnit: []string{"PKI"}, CommonName: name},
		NotBefore: now.Add(-100 * day), NotAfter: now.Add(100 * day), IsCA: true, BasicConstraintsValid: true, MaxPathLen: -1,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SubjectKeyId: []byte("an SKI of " + name),
	}
	for _, mod := range mods {
		mod(tmpl)
	}
	return tmpl
}

func pathLen(n int) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = n, n == 0 }
}

func TestRenewRoot(t *testing.T) {
	withCRL := func(c *x509.Certificate) { c.CRLDistributionPoints = []string{"http://old.example.com/crl"} }
	for name, old := range map[string]pki.CA{
		"ours": selfSign(t, caRequest()), "RSA": selfSign(t, caRequest(func(r *pki.CertificateSpec) { r.Key = rsa2048 })),
		"foreign": foreignCA(t, withCRL), "foreign with a path length": foreignCA(t, pathLen(0)),
		"expired": foreignCA(t, func(c *x509.Certificate) { c.NotAfter = now.Add(-day) }),
	} {
		old.CrossSigned = []*x509.Certificate{old.Cert}
		renewed, err := pki.RenewRoot(now, 200*day, old)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		a, b := old.Cert, renewed.Cert
		checkFacts(t, b)
		if !bytes.Equal(a.RawSubject, b.RawSubject) || !bytes.Equal(b.RawSubject, b.RawIssuer) || !bytes.Equal(a.SubjectKeyId, b.SubjectKeyId) ||
			!bytes.Equal(b.AuthorityKeyId, b.SubjectKeyId) || !bytes.Equal(a.RawSubjectPublicKeyInfo, b.RawSubjectPublicKeyInfo) {
			t.Errorf("%s: subject %v, SKI %q, AKI %q or key changed", name, b.Subject, b.SubjectKeyId, b.AuthorityKeyId)
		}
		if a.KeyUsage != b.KeyUsage || !b.IsCA || a.MaxPathLen != b.MaxPathLen || len(b.CRLDistributionPoints) > 0 {
			t.Errorf("%s: key usage %b, path length %d or %q: the CA is another one", name, b.KeyUsage, b.MaxPathLen, b.CRLDistributionPoints)
		}
		if a.SerialNumber.Cmp(b.SerialNumber) == 0 || !b.NotAfter.Equal(now.UTC().Add(200*day).Truncate(time.Second)) {
			t.Errorf("%s: serial number %v, valid to %v", name, b.SerialNumber, b.NotAfter)
		}
		if !pki.SamePublicKey(renewed.Key.Public(), old.Key.Public()) || len(renewed.CrossSigned) != 1 || len(renewed.Chain) > 0 || renewed.Anchor() != b {
			t.Errorf("%s: the pair is not that of a root with the same key and cross-signed certificates", name)
		}
		leaf := issue(t, leafRequest(), renewed)
		leaf.Chain = nil
		check(t, name+": a new leaf below the old root", name != "expired", leaf, a)
		check(t, name+": a new leaf below the new root", true, leaf, b)
		check(t, name+": a new leaf below both", true, leaf, a, b)
		if name != "expired" {
			check(t, name+": an old leaf below the new root", true, issue(t, leafRequest(), pki.CA{Cert: a, Key: old.Key}), b)
		}
	}
}

func TestRenewRootRefuses(t *testing.T) {
	root, other := selfSign(t, caRequest()), selfSign(t, caRequest())
	middle := must(pki.SignCA(pki.GenerateKey, now, caRequest(func(r *pki.CertificateSpec) { r.Subject.CommonName = "middle" }), root))
	bare := root
	bare.Cert = clone(root.Cert)
	bare.Cert.SubjectKeyId = nil
	for want, tc := range map[string]struct {
		validity time.Duration
		old      pki.CA
	}{
		"at least 10m0s":                              {time.Minute, root},
		`"CN=middle" is not a root: only the CA`:      {day, middle},
		`"CN=kubernetes" has no subject key`:          {day, bare},
		"PrivateKey doesn't match parent's PublicKey": {day, pki.CA{Cert: root.Cert, Key: other.Key}},
	} {
		if pair, err := pki.RenewRoot(now, tc.validity, tc.old); err == nil || !strings.Contains(err.Error(), want) || pair.Cert != nil {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
}

func clone(c *x509.Certificate) *x509.Certificate {
	out := *c
	return &out
}

func TestSignCA(t *testing.T) {
	root := selfSign(t, caRequest(func(r *pki.CertificateSpec) { r.Validity = 1000 * day }))
	ask := func(name string, validity time.Duration) pki.CertificateSpec {
		return caRequest(func(r *pki.CertificateSpec) { r.Subject.CommonName, r.Validity, r.Key = name, validity, ecdsa384 })
	}
	upper := must(pki.SignCA(pki.GenerateKey, now, ask("upper", 500*day), root))
	lower := must(pki.SignCA(pki.GenerateKey, now, ask("lower", 5000*day), upper))
	short := upper
	short.Root = clone(root.Cert) // as an imported one may be: it ends before what it signed
	short.Root.NotAfter = now.UTC().Add(50 * day).Truncate(time.Second)
	belowShort := must(pki.SignCA(pki.GenerateKey, now, ask("below short", 5000*day), short))
	for _, tc := range []struct {
		ca, parent pki.CA
		chain      []*x509.Certificate
		end        time.Time
	}{
		{upper, root, nil, now.UTC().Add(500 * day).Truncate(time.Second)},
		{lower, upper, []*x509.Certificate{upper.Cert}, upper.Cert.NotAfter},
		{belowShort, short, []*x509.Certificate{upper.Cert}, short.Root.NotAfter},
	} {
		cert := tc.ca.Cert
		checkFacts(t, cert)
		if want := x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature; !cert.IsCA || cert.MaxPathLen != -1 ||
			cert.KeyUsage != want || len(cert.ExtKeyUsage) > 0 {
			t.Errorf("%v: CA:%v, path length %d, key usage %b, extended %v", cert.Subject, cert.IsCA, cert.MaxPathLen, cert.KeyUsage, cert.ExtKeyUsage)
		}
		if !bytes.Equal(cert.AuthorityKeyId, tc.parent.Cert.SubjectKeyId) || len(cert.SubjectKeyId) != 20 || !pki.SignedBy(cert, tc.parent.Cert) {
			t.Errorf("%v: SKI %x, AKI %x, or not signed by its parent", cert.Subject, cert.SubjectKeyId, cert.AuthorityKeyId)
		}
		if !cert.NotAfter.Equal(tc.end) {
			t.Errorf("%v: valid to %v, want %v", cert.Subject, cert.NotAfter, tc.end)
		}
		if !slices.Equal(tc.ca.Chain, tc.chain) || tc.ca.Anchor() != tc.parent.Anchor() || pki.SpecOf(tc.ca.Key.Public()) != ecdsa384 {
			t.Errorf("%v: %d intermediates above, anchor %v", cert.Subject, len(tc.ca.Chain), tc.ca.Anchor().Subject)
		}
		if leaf := issue(t, leafRequest(func(r *pki.CertificateSpec) { r.Validity = 5000 * day }), tc.ca); !leaf.Cert.NotAfter.Equal(tc.end) {
			t.Errorf("%v: a leaf lasts to %v", cert.Subject, leaf.Cert.NotAfter)
		}
	}
}

// cannotSignCAs are those below which a CA would not verify, or not for long, with what the error says.
func cannotSignCAs(t *testing.T) map[string]pki.CA {
	root := selfSign(t, caRequest())
	leaf := issue(t, leafRequest(), root)
	one := foreignCA(t, pathLen(1))
	belowOne := must(pki.SignCA(pki.GenerateKey, now, caRequest(func(r *pki.CertificateSpec) { r.Subject.CommonName = "middle" }), one))
	expiredRoot := must(pki.SignCA(pki.GenerateKey, now, caRequest(func(r *pki.CertificateSpec) { r.Subject.CommonName = "middle" }), root))
	expiredRoot.Root = clone(root.Cert)
	expiredRoot.Root.NotAfter = now.Add(-time.Second)
	return map[string]pki.CA{
		`"CN=k8s-master" is not the certificate of a CA`:                         {Cert: leaf.Cert, Key: leaf.Key},
		`allows a path length of 0, and 1 CAs are to stand`:                      foreignCA(t, pathLen(0)),
		`"CN=middle" cannot sign a CA: "CN=foreign,OU=PKI,C=DE" allows a path l`: belowOne,
		`does not have the key usage keyCertSign`:                                foreignCA(t, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature }),
		`expired at 2026-03-13T14:09:26Z`:                                        foreignCA(t, func(c *x509.Certificate) { c.NotAfter = now.Add(-day) }),
		`is not valid before 2026-03-15T14:09:26Z`:                               foreignCA(t, func(c *x509.Certificate) { c.NotBefore = now.Add(day) }),
		`"CN=middle" cannot sign a CA: "CN=kubernetes" expired at`:               expiredRoot,
	}
}

func TestSignCARefuses(t *testing.T) {
	ask := caRequest(func(r *pki.CertificateSpec) { r.Subject.CommonName = "intermediate" })
	for want, parent := range cannotSignCAs(t) {
		if ca, err := pki.SignCA(pki.GenerateKey, now, ask, parent); err == nil || !strings.Contains(err.Error(), want) || ca.Cert != nil {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
	root := selfSign(t, caRequest())
	middle := must(pki.SignCA(pki.GenerateKey, now, ask, root))
	for name, r := range map[string]pki.CertificateSpec{"its parent": ask, "its root": caRequest()} {
		if _, err := pki.SignCA(pki.GenerateKey, now, r, middle); !errors.As(err, new(*pki.SubjectEqualsIssuerError)) {
			t.Errorf("an intermediate with the name of %s: %v", name, err)
		}
	}
	for want, mod := range map[string]func(*pki.CertificateSpec){
		"common name is empty": func(r *pki.CertificateSpec) { r.Subject.CommonName = "" },
		"RSA key size must be": func(r *pki.CertificateSpec) { r.Key = pki.KeySpec{Algorithm: pki.RSA, Size: 1024} },
	} {
		r := ask
		mod(&r)
		if _, err := pki.SignCA(pki.GenerateKey, now, r, root); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
	if _, err := pki.SignCA(pki.GenerateKey, now, ask, pki.CA{Cert: root.Cert, Key: middle.Key}); err == nil {
		t.Error("signed with a key that is not the parent's")
	}
	if _, err := pki.SignCA(pki.GenerateKey, now, ask, foreignCA(t, pathLen(1))); err != nil {
		t.Errorf("a path length of 1 allows one CA: %v", err)
	}
}

func TestCrossSign(t *testing.T) {
	end := func(d time.Duration) time.Time { return now.UTC().Add(d).Truncate(time.Second) }
	root := selfSign(t, caRequest(func(r *pki.CertificateSpec) { r.Validity = 700 * day }))
	middle := must(pki.SignCA(pki.GenerateKey, now, caRequest(func(r *pki.CertificateSpec) { r.Subject.CommonName, r.Validity = "middle", 600*day }), root))
	later := foreignCA(t, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(-time.Minute), now.Add(900*day) })
	for name, tc := range map[string]struct {
		of         *x509.Certificate
		by         pki.CA
		begin, end time.Time
	}{
		"by one that ends first":      {selfSign(t, caRequest(func(r *pki.CertificateSpec) { r.Subject.CommonName = "g2" })).Cert, root, end(-pki.ClockSkew), end(700 * day)},
		"of one that ends first":      {foreignCA(t).Cert, root, end(-pki.ClockSkew), end(100 * day)},
		"of a CA that began just now": {later.Cert, root, end(-time.Minute), end(700 * day)},
		"by an intermediate":          {foreignCA(t).Cert, middle, end(-pki.ClockSkew), end(100 * day)},
		"of one with a path length":   {foreignCA(t, pathLen(0)).Cert, root, end(-pki.ClockSkew), end(100 * day)},
		"of one of the same name":     {selfSign(t, caRequest()).Cert, root, end(-pki.ClockSkew), end(700 * day)},
	} {
		cross, err := pki.CrossSign(now, tc.of, tc.by)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !bytes.Equal(cross.RawSubject, tc.of.RawSubject) || !bytes.Equal(cross.SubjectKeyId, tc.of.SubjectKeyId) ||
			!bytes.Equal(cross.RawSubjectPublicKeyInfo, tc.of.RawSubjectPublicKeyInfo) || cross.SerialNumber.Cmp(tc.of.SerialNumber) == 0 {
			t.Errorf("%s: subject %v, SKI %q, serial number %v or key", name, cross.Subject, cross.SubjectKeyId, cross.SerialNumber)
		}
		if !bytes.Equal(cross.RawIssuer, tc.by.Cert.RawSubject) || !bytes.Equal(cross.AuthorityKeyId, tc.by.Cert.SubjectKeyId) ||
			!pki.SignedBy(cross, tc.by.Cert) {
			t.Errorf("%s: issuer %v, AKI %x", name, cross.Issuer, cross.AuthorityKeyId)
		}
		if !cross.IsCA || cross.KeyUsage != tc.of.KeyUsage || cross.MaxPathLen != tc.of.MaxPathLen {
			t.Errorf("%s: CA:%v, key usage %b, path length %d", name, cross.IsCA, cross.KeyUsage, cross.MaxPathLen)
		}
		if !cross.NotBefore.Equal(tc.begin) || !cross.NotAfter.Equal(tc.end) {
			t.Errorf("%s: valid from %v to %v, want %v to %v", name, cross.NotBefore, cross.NotAfter, tc.begin, tc.end)
		}
	}
}

// A cross-signed certificate by an intermediate brings the way from there to the root.
func TestCrossSignByAnIntermediate(t *testing.T) {
	root := selfSign(t, caRequest())
	middle := must(pki.SignCA(pki.GenerateKey, now, caRequest(func(r *pki.CertificateSpec) { r.Subject.CommonName = "middle" }), root))
	young := (&cast{t: t}).crossSigned(foreignCA(t), middle)
	leaf := issue(t, leafRequest(), young)
	check(t, "truster of the old root", true, leaf, root.Cert)
	check(t, "truster of the new root", true, leaf, young.Cert)
	check(t, "stranger", false, leaf, selfSign(t, caRequest()).Cert)
}

func TestCrossSignRefuses(t *testing.T) {
	young := selfSign(t, caRequest(func(r *pki.CertificateSpec) { r.Subject.CommonName = "g2" }))
	for want, by := range cannotSignCAs(t) {
		if cross, err := pki.CrossSign(now, young.Cert, by); err == nil || !strings.Contains(err.Error(), want) || cross != nil {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
	old := selfSign(t, caRequest())
	bare := clone(young.Cert)
	bare.SubjectKeyId = nil
	for want, of := range map[string]*x509.Certificate{
		`"CN=kubernetes" and "CN=kubernetes" have the same key`:       must(pki.RenewRoot(now, day, old)).Cert,
		`"CN=k8s-master" is not the certificate of a CA`:              issue(t, leafRequest(), old).Cert,
		`"CN=foreign,OU=PKI,C=DE" expired at 2026-03-13T14:09:26Z: r`: foreignCA(t, func(c *x509.Certificate) { c.NotAfter = now.Add(-day) }).Cert,
		`"CN=g2" has no subject key identifier`:                       bare,
	} {
		if cross, err := pki.CrossSign(now, of, old); err == nil || !strings.Contains(err.Error(), want) || cross != nil {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
}

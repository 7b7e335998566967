package pki_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"clusterpki.io/operator/internal/pki"
)

func extension(cert *x509.Certificate, id ...int) (pkix.Extension, bool) {
	i := slices.IndexFunc(cert.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(asn1.ObjectIdentifier(id)) })
	if i < 0 {
		return pkix.Extension{}, false
	}
	return cert.Extensions[i], true
}

// facts are those of a leaf that do not follow from its request alone.
func checkFacts(t *testing.T, cert *x509.Certificate) {
	t.Helper()
	start := time.Date(2026, 3, 14, 14, 4, 26, 0, time.UTC) // five minutes before now, whole seconds, UTC
	if cert.Version != 3 {
		t.Errorf("version %d", cert.Version)
	}
	if !cert.NotBefore.Equal(start) || cert.NotBefore.Location() != time.UTC || cert.NotAfter.Nanosecond() != 0 {
		t.Errorf("valid from %v to %v, want it from %v", cert.NotBefore, cert.NotAfter, start)
	}
	if n := cert.SerialNumber.BitLen(); cert.SerialNumber.Sign() <= 0 || n < 64 || n > 128 {
		t.Errorf("serial number %v has %d bits", cert.SerialNumber, n)
	}
	if e, ok := extension(cert, 2, 5, 29, 19); !ok || !e.Critical || !cert.BasicConstraintsValid {
		t.Errorf("BasicConstraints are %+v, want them critical", e)
	}
	if e, ok := extension(cert, 2, 5, 29, 15); !ok || !e.Critical {
		t.Errorf("KeyUsage is %+v, want it critical", e)
	}
}

func TestLeaf(t *testing.T) {
	signature, encipherment := x509.KeyUsageDigitalSignature, x509.KeyUsageKeyEncipherment
	clientAuth, serverAuth := x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth
	ca := selfSign(t, caRequest())
	for _, tc := range []struct {
		spec   pki.KeySpec
		usages []pki.Usage
		want   x509.KeyUsage
		ext    []x509.ExtKeyUsage
	}{
		{rsa2048, []pki.Usage{pki.ServerAuth}, signature | encipherment, []x509.ExtKeyUsage{serverAuth}},
		{ecdsa256, []pki.Usage{pki.ServerAuth}, signature, []x509.ExtKeyUsage{serverAuth}},
		{ecdsa521, []pki.Usage{pki.ClientAuth}, signature, []x509.ExtKeyUsage{clientAuth}},
		{ed25519k, []pki.Usage{pki.ServerAuth, pki.ClientAuth}, signature, []x509.ExtKeyUsage{clientAuth, serverAuth}},
		{ecdsa384, []pki.Usage{pki.ClientAuth, pki.ClientAuth}, signature, []x509.ExtKeyUsage{clientAuth}},
	} {
		r := leafRequest(func(r *pki.CertificateSpec) {
			r.Key, r.Usages, r.Subject.Organizations = tc.spec, tc.usages, []string{"z", "a", "z"}
			r.SANs = sans("k8s-master", "*.example.com", "10.96.0.1", "fd00::1")
		})
		pair := issue(t, r, ca)
		cert := pair.Cert
		checkFacts(t, cert)
		if cert.IsCA || cert.KeyUsage != tc.want || !cmp.Equal(cert.ExtKeyUsage, tc.ext) {
			t.Errorf("%v: CA:%v, key usage %b, extended %v", tc.spec, cert.IsCA, cert.KeyUsage, cert.ExtKeyUsage)
		}
		if want := now.Add(r.Validity).UTC().Truncate(time.Second); !cert.NotAfter.Equal(want) {
			t.Errorf("%v: valid to %v, want %v", tc.spec, cert.NotAfter, want)
		}
		if !bytes.Equal(cert.AuthorityKeyId, ca.Cert.SubjectKeyId) || len(cert.AuthorityKeyId) != 20 {
			t.Errorf("%v: AKI %x, the CA's SKI is %x", tc.spec, cert.AuthorityKeyId, ca.Cert.SubjectKeyId)
		}
		if diff := r.Difference(cert); diff != "" {
			t.Errorf("%v: the certificate is not what was requested: %s", tc.spec, diff)
		}
		if !cmp.Equal(cert.DNSNames, []string{"*.example.com", "k8s-master"}) || len(cert.IPAddresses) != 2 || len(cert.IPAddresses[0]) != 4 {
			t.Errorf("%v: SANs %v %v", tc.spec, cert.DNSNames, cert.IPAddresses)
		}
		if !pki.SamePublicKey(cert.PublicKey, pair.Key.Public()) || len(pair.Chain) > 0 || cert.Issuer.CommonName != "kubernetes" {
			t.Errorf("%v: key, chain or issuer is wrong", tc.spec)
		}
	}
}

func TestEveryLeafHasItsOwnKeyAndSerial(t *testing.T) {
	ca := selfSign(t, caRequest())
	serials, spkis := map[string]bool{}, map[string]bool{}
	short := 0
	for range 64 {
		cert := issue(t, leafRequest(), ca).Cert
		serials[cert.SerialNumber.String()], spkis[string(cert.RawSubjectPublicKeyInfo)] = true, true
		if cert.SerialNumber.BitLen() < 120 {
			short++
		}
	}
	if len(serials) != 64 || len(spkis) != 64 || short > 3 {
		t.Errorf("of 64 leaves %d serials and %d keys differ, and %d serials are short", len(serials), len(spkis), short)
	}
}

func TestCA(t *testing.T) {
	for _, spec := range []pki.KeySpec{rsa2048, ecdsa256, ed25519k} {
		r := caRequest(func(r *pki.CertificateSpec) { r.Key, r.Subject.Organizations = spec, []string{"example"} })
		pair := selfSign(t, r)
		cert := pair.Cert
		checkFacts(t, cert)
		if want := x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature; cert.KeyUsage != want {
			t.Errorf("%v: key usage %b, want %b", spec, cert.KeyUsage, want)
		}
		if !cert.IsCA || cert.MaxPathLen != -1 || cert.MaxPathLenZero || len(cert.ExtKeyUsage) > 0 {
			t.Errorf("%v: CA:%v, path length %d, extended usages %v: it could not sign everything",
				spec, cert.IsCA, cert.MaxPathLen, cert.ExtKeyUsage)
		}
		var spki struct {
			Algorithm pkix.AlgorithmIdentifier
			Key       asn1.BitString
		}
		if _, err := asn1.Unmarshal(cert.RawSubjectPublicKeyInfo, &spki); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(spki.Key.Bytes)
		if ski := sum[:20]; !bytes.Equal(cert.SubjectKeyId, ski) || !bytes.Equal(cert.AuthorityKeyId, ski) {
			t.Errorf("%v: SKI %x, AKI %x, want %x", spec, cert.SubjectKeyId, cert.AuthorityKeyId, ski)
		}
		if !bytes.Equal(cert.RawSubject, cert.RawIssuer) || !pki.SubjectOf(cert).Equal(r.Subject) {
			t.Errorf("%v: subject %v, issuer %v", spec, cert.Subject, cert.Issuer)
		}
		if want := now.Add(r.Validity).UTC().Truncate(time.Second); !cert.NotAfter.Equal(want) || !pki.SignedBy(cert, cert) {
			t.Errorf("%v: valid to %v, want %v; or not self-signed", spec, cert.NotAfter, want)
		}
	}
}

func TestLeafEndsWithItsCA(t *testing.T) {
	ca := selfSign(t, caRequest(func(r *pki.CertificateSpec) { r.Validity = 365 * day }))
	for _, at := range []time.Duration{0, 100 * day, 364 * day} {
		pair, err := pki.Issue(now.Add(at), leafRequest(func(r *pki.CertificateSpec) { r.Validity = 9000 * day }), ca)
		if err != nil {
			t.Fatal(err)
		}
		if !pair.Cert.NotAfter.Equal(ca.Cert.NotAfter) {
			t.Errorf("after %v a leaf lasts to %v, its CA to %v", at, pair.Cert.NotAfter, ca.Cert.NotAfter)
		}
		if got := pki.Expiry(now.Add(at), 9000*day, ca); !got.Equal(ca.Cert.NotAfter) {
			t.Errorf("after %v: Expiry is %v", at, got)
		}
	}
	exact := issue(t, leafRequest(func(r *pki.CertificateSpec) { r.Validity = 365*day - time.Second }), ca)
	if !exact.Cert.NotAfter.Equal(ca.Cert.NotAfter.Add(-time.Second)) {
		t.Errorf("a leaf that ends a second before its CA is cut to %v", exact.Cert.NotAfter)
	}
}

func TestLeafBeginsNoEarlierThanItsCA(t *testing.T) {
	ca := selfSign(t, caRequest())
	for late, want := range map[time.Duration]time.Time{
		0: ca.Cert.NotBefore, -time.Minute: ca.Cert.NotBefore, time.Minute: ca.Cert.NotBefore.Add(time.Minute),
	} {
		pair, err := pki.Issue(now.Add(late), leafRequest(), ca) // earlier: the clock of another replica is behind
		if err != nil || !pair.Cert.NotBefore.Equal(want) {
			t.Errorf("issued %v after the CA, the leaf begins at %v, want %v (%v)", late, pair.Cert.NotBefore, want, err)
		}
	}
}

func TestIssueRefusesTheNameOfTheCA(t *testing.T) {
	ca := selfSign(t, caRequest(func(r *pki.CertificateSpec) {
		r.Subject = pki.Subject{CommonName: "k8s-master", Organizations: []string{"b", "a"}}
	}))
	_, err := pki.Issue(now, leafRequest(func(r *pki.CertificateSpec) { r.Subject.Organizations = []string{"a", "b"} }), ca)
	var refused *pki.SubjectEqualsIssuerError
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), "error 18") || !strings.Contains(err.Error(), "CN=k8s-master") {
		t.Errorf("got %v", err)
	}
	if _, err := pki.Issue(now, leafRequest(), ca); err != nil { // another name: it has no O
		t.Errorf("a leaf with the CA's common name and other organizations: %v", err)
	}
}

func TestIssueRefusesNoUsage(t *testing.T) {
	_, err := pki.Issue(now, leafRequest(func(r *pki.CertificateSpec) { r.Usages = nil }), selfSign(t, caRequest()))
	if err == nil || !strings.Contains(err.Error(), "no key usage") {
		t.Errorf("got %v: verifiers take a certificate without usages for one that is good for all", err)
	}
}

func TestIssueRefusesTheKeyOfAnotherCA(t *testing.T) {
	ca, other := selfSign(t, caRequest()), selfSign(t, caRequest())
	if _, err := pki.Issue(now, leafRequest(), pki.CA{Cert: ca.Cert, Key: other.Key}); err == nil {
		t.Error("signed with a key that is not the CA's")
	}
}

// intermediate makes a CA below another one.
func intermediate(t *testing.T, name string, above pki.CA, end time.Time) pki.CA {
	t.Helper()
	key := must(pki.GenerateKey(ecdsa256))
	return pki.CA{Key: key, Cert: sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: above.Cert.NotBefore, NotAfter: end,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		SubjectKeyId: []byte(name), AuthorityKeyId: above.Cert.SubjectKeyId,
	}, above.Cert, key.Public(), above.Key.Signer())}
}

func TestIssueBelowIntermediates(t *testing.T) {
	root := selfSign(t, caRequest())
	upper := intermediate(t, "upper", root, now.Add(100*day).UTC().Truncate(time.Second))
	lower := intermediate(t, "lower", upper, now.Add(200*day).UTC().Truncate(time.Second))
	lower.Chain = []*x509.Certificate{upper.Cert}
	for name, tc := range map[string]struct {
		issuer pki.CA
		chain  []*x509.Certificate
	}{
		"one": {upper, []*x509.Certificate{upper.Cert}},
		"two": {lower, []*x509.Certificate{lower.Cert, upper.Cert}},
	} {
		pair := issue(t, leafRequest(), tc.issuer)
		if !slices.EqualFunc(pair.Chain, tc.chain, (*x509.Certificate).Equal) {
			t.Errorf("%s: the leaf carries %d intermediates, want %d", name, len(pair.Chain), len(tc.chain))
		}
		if err := pair.Verify(now, []*x509.Certificate{root.Cert}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !pair.Cert.NotAfter.Equal(upper.Cert.NotAfter) {
			t.Errorf("%s: the leaf outlives a CA above it: %v", name, pair.Cert.NotAfter)
		}
		if !bytes.Equal(pair.Cert.AuthorityKeyId, tc.issuer.Cert.SubjectKeyId) {
			t.Errorf("%s: AKI %q", name, pair.Cert.AuthorityKeyId)
		}
		back, err := pki.ParseLeaf(pair.CertPEM(), reveal(t, pair.Key))
		if err != nil || !back.Cert.Equal(pair.Cert) || !slices.EqualFunc(back.Chain, tc.chain, (*x509.Certificate).Equal) {
			t.Errorf("%s: the chain does not survive storing: %v", name, err)
		}
	}
}

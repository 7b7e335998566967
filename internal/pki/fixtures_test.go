package pki_test

import (
	"crypto"
	"crypto/x509"
	"sync"
	"testing"
	"testing/cryptotest"
	"time"

	"clusterpki.io/operator/internal/pki"
)

// now has a fraction of a second and a zone other than UTC, as clocks do.
var now = time.Date(2026, 3, 14, 15, 9, 26, 535_897_932, time.FixedZone("CET", 3600))

const day = 24 * time.Hour

var (
	rsa2048  = pki.KeySpec{Algorithm: pki.RSA, Size: 2048}
	rsa3072  = pki.KeySpec{Algorithm: pki.RSA, Size: 3072}
	rsa4096  = pki.KeySpec{Algorithm: pki.RSA, Size: 4096}
	ecdsa256 = pki.KeySpec{Algorithm: pki.ECDSA, Size: 256}
	ecdsa384 = pki.KeySpec{Algorithm: pki.ECDSA, Size: 384}
	ecdsa521 = pki.KeySpec{Algorithm: pki.ECDSA, Size: 521}
	ed25519k = pki.KeySpec{Algorithm: pki.Ed25519}

	allSpecs = []pki.KeySpec{rsa2048, rsa3072, rsa4096, ecdsa256, ecdsa384, ecdsa521, ed25519k}
)

// seeds are random seeds for which Go 1.26 finds RSA primes at once. With another Go the tests are
// slower, not wrong.
var seeds = map[pki.KeySpec]uint64{rsa2048: 24, rsa3072: 6, rsa4096: 20}

var keys sync.Map

// keyOf returns the one key of a kind that all tests share: RSA keys take long to find.
func keyOf(t *testing.T, spec pki.KeySpec) pki.PrivateKey {
	t.Helper()
	if key, ok := keys.Load(spec); ok {
		return key.(pki.PrivateKey)
	}
	t.Run("generate "+spec.String(), func(t *testing.T) {
		cryptotest.SetGlobalRandom(t, seeds[spec])
		key, err := pki.GenerateKey(spec)
		if err != nil {
			t.Fatal(err)
		}
		keys.Store(spec, key)
	})
	key, _ := keys.Load(spec)
	return key.(pki.PrivateKey)
}

// caRequest asks for a CA with every default of these tests.
func caRequest(mods ...func(*pki.CertificateSpec)) pki.CertificateSpec {
	r := pki.CertificateSpec{Subject: pki.Subject{CommonName: "kubernetes"}, Key: ecdsa256, Validity: 3650 * day}
	for _, mod := range mods {
		mod(&r)
	}
	return r
}

// leafRequest asks for an API server's certificate with every default of these tests.
func leafRequest(mods ...func(*pki.CertificateSpec)) pki.CertificateSpec {
	r := pki.CertificateSpec{
		Subject: pki.Subject{CommonName: "k8s-master"}, SANs: sans("k8s-master", "10.96.0.1"),
		Usages: []pki.Usage{pki.ServerAuth}, Key: ecdsa256, Validity: 365 * day,
	}
	for _, mod := range mods {
		mod(&r)
	}
	return r
}

// sans takes names and addresses in any order.
func sans(hosts ...string) pki.SANs {
	var names, addresses []string
	for _, h := range hosts {
		if _, err := pki.ParseIP(h); err == nil {
			addresses = append(addresses, h)
		} else {
			names = append(names, h)
		}
	}
	s, err := pki.NewSANs(names, addresses)
	if err != nil {
		panic(err)
	}
	return s
}

func selfSign(t testing.TB, r pki.CertificateSpec) pki.CA {
	t.Helper()
	ca, err := pki.SelfSign(now, r)
	if err != nil {
		t.Fatalf("SelfSign: %v", err)
	}
	return ca
}

func issue(t testing.TB, r pki.CertificateSpec, ca pki.CA) pki.Leaf {
	t.Helper()
	pair, err := pki.Issue(now, r, ca)
	if err != nil {
		t.Fatalf("Issue: %v", err)
	}
	return pair
}

func reveal(t testing.TB, key pki.PrivateKey) []byte {
	t.Helper()
	text, err := key.Reveal()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// sign signs a template that package pki would never make.
func sign(t testing.TB, tmpl, parent *x509.Certificate, public crypto.PublicKey, signer crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(nil, tmpl, parent, public, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

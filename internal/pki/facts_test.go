package pki_test

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"clusterpki.io/operator/internal/pki"
)

func TestParseLeaf(t *testing.T) {
	ca := selfSign(t, caRequest())
	pair, other := issue(t, leafRequest(), ca), issue(t, leafRequest(), ca)
	got, err := pki.ParseLeaf(pair.CertPEM(), reveal(t, pair.Key))
	if err != nil || !got.Cert.Equal(pair.Cert) || !pki.SamePublicKey(got.Key.Public(), pair.Key.Public()) || len(got.Chain) != 0 {
		t.Errorf("a stored pair does not come back: %v", err)
	}
	if _, err := pki.ParseLeaf(pair.CertPEM(), reveal(t, other.Key)); !errors.Is(err, pki.ErrKeyMismatch) {
		t.Errorf("another certificate's key: %v", err)
	}
	for want, tc := range map[string][2][]byte{
		"no PEM certificate":                    {nil, reveal(t, pair.Key)},
		"no PEM private key":                    {pair.CertPEM(), nil},
		"malformed certificate":                 {block("CERTIFICATE", []byte("x")), reveal(t, pair.Key)},
		"(EC PRIVATE KEY, line 1) stands among": {append(reveal(t, pair.Key), pair.CertPEM()...), reveal(t, pair.Key)},
		"(EC PRIVATE KEY, line 1) is malformed": {pair.CertPEM(), block("EC PRIVATE KEY", []byte("x"))},
	} {
		if got, err := pki.ParseLeaf(tc[0], tc[1]); err == nil || !strings.Contains(err.Error(), want) || got.Cert != nil {
			t.Errorf("%v, want an error with %q and no certificate", err, want)
		}
	}
}

func TestParseCertificates(t *testing.T) {
	a, b := selfSign(t, caRequest()).Cert, selfSign(t, caRequest()).Cert
	text := append([]byte("# the CA\n"), pki.EncodeCertificates(a, b)...)
	if got, err := pki.ParseCertificates(text); err != nil || !slices.EqualFunc(got, []*x509.Certificate{a, b}, (*x509.Certificate).Equal) {
		t.Errorf("%d certificates, %v", len(got), err)
	}
	cut := pki.EncodeCertificates(a, b)
	if got, err := pki.ParseCertificates(append(cut, block("CERTIFICATE", a.Raw[:40])...)); err == nil {
		t.Errorf("a malformed one among %d certificates goes unnoticed", len(got))
	}
}

func TestBundle(t *testing.T) {
	a, b := selfSign(t, caRequest()).Cert, selfSign(t, caRequest()).Cert
	text, err := pki.Bundle([]*x509.Certificate{b, a, b, a})
	if err != nil || string(text) != string(pki.EncodeCertificates(b, a)) || !strings.HasSuffix(string(text), "-----END CERTIFICATE-----\n") {
		t.Errorf("the bundle is not each certificate once, in order: %v\n%s", err, text)
	}
	if _, err := pki.Bundle(nil); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("an empty bundle: %v", err)
	}
	var names []string
	for i := range 20_000 {
		names = append(names, "name-"+big.NewInt(int64(i)).String()+".example.com")
	}
	huge := selfSign(t, caRequest(func(r *pki.CertificateSpec) { r.SANs.DNSNames = names })).Cert
	if _, err := pki.Bundle([]*x509.Certificate{a, huge}); err == nil || !strings.Contains(err.Error(), "remove certificates") {
		t.Errorf("a bundle of %d bytes: %v", len(pki.EncodeCertificates(a, huge)), err)
	}
}

func TestDifference(t *testing.T) {
	ca := selfSign(t, caRequest())
	base := leafRequest(func(r *pki.CertificateSpec) {
		r.Subject.Organizations, r.SANs = []string{"a", "b"}, sans("k8s-master", "localhost", "10.96.0.1", "fd00::1")
	})
	with := func(mod func(*pki.CertificateSpec)) pki.CertificateSpec { r := base; mod(&r); return r }
	cert := issue(t, base, ca).Cert
	for name, r := range map[string]pki.CertificateSpec{
		"itself":            base,
		"order of O":        with(func(r *pki.CertificateSpec) { r.Subject.Organizations = []string{"b", "a", "b"} }),
		"order of SANs":     with(func(r *pki.CertificateSpec) { r.SANs = sans("fd00:0::1", "localhost", "10.96.0.1", "k8s-master.") }),
		"usages repeated":   with(func(r *pki.CertificateSpec) { r.Usages = []pki.Usage{pki.ServerAuth, pki.ServerAuth} }),
		"length of life":    with(func(r *pki.CertificateSpec) { r.Validity *= 2 }),
		"no fields changed": with(func(*pki.CertificateSpec) {}),
	} {
		if diff := r.Difference(cert); diff != "" {
			t.Errorf("%s makes a difference: %s", name, diff)
		}
		if reissued := issue(t, r, ca).Cert; r.Difference(reissued) != "" { // else it would be issued again without end
			t.Errorf("%s: what was issued is not what was requested: %s", name, r.Difference(reissued))
		}
	}
	for want, mod := range map[string]func(*pki.CertificateSpec){
		`its subject is "CN=k8s-master, O=a, O=b" instead of "CN=other, O=a, O=b"`: func(r *pki.CertificateSpec) {
			r.Subject.CommonName = "other"
		},
		`instead of "CN=k8s-master, O=a"`:                     func(r *pki.CertificateSpec) { r.Subject.Organizations = []string{"a"} },
		"its SANs are not [k8s-master, 10.96.0.1, fd00::1]":   func(r *pki.CertificateSpec) { r.SANs = sans("k8s-master", "10.96.0.1", "fd00::1") },
		"its SANs are not [k8s-master, localhost, 10.96.0.1]": func(r *pki.CertificateSpec) { r.SANs = sans("k8s-master", "localhost", "10.96.0.1") },
		"localhost, 10.96.0.2, fd00::1]":                      func(r *pki.CertificateSpec) { r.SANs = sans("k8s-master", "localhost", "10.96.0.2", "fd00::1") },
		"its SANs are not []":                                 func(r *pki.CertificateSpec) { r.SANs = pki.SANs{} },
		"its key usages are not [ClientAuth]":                 func(r *pki.CertificateSpec) { r.Usages = []pki.Usage{pki.ClientAuth} },
		"its key usages are not [ClientAuth ServerAuth]":      func(r *pki.CertificateSpec) { r.Usages = []pki.Usage{pki.ClientAuth, pki.ServerAuth} },
		"its key is ECDSA-256 instead of ECDSA-384":           func(r *pki.CertificateSpec) { r.Key = ecdsa384 },
		"its key is ECDSA-256 instead of Ed25519":             func(r *pki.CertificateSpec) { r.Key = ed25519k },
	} {
		if diff := with(mod).Difference(cert); !strings.Contains(diff, want) {
			t.Errorf("the difference reads %q, want %q", diff, want)
		}
	}
}

// A certificate that this package did not make may say more than a request can ask for.
func TestDifferenceNoticesForeignUsages(t *testing.T) {
	ca, key := selfSign(t, caRequest()), keyOf(t, ecdsa256)
	for name, usages := range map[string][]x509.ExtKeyUsage{
		"any":          {x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageAny},
		"code signing": {x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageCodeSigning},
		"none":         nil,
		"the others":   {x509.ExtKeyUsageClientAuth},
	} {
		r := leafRequest()
		tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: r.Subject.Name(), DNSNames: r.SANs.DNSNames, ExtKeyUsage: usages}
		for _, a := range r.SANs.IPAddresses {
			tmpl.IPAddresses = append(tmpl.IPAddresses, a.AsSlice())
		}
		cert := sign(t, tmpl, ca.Cert, key.Public(), ca.Key.Signer())
		if diff := r.Difference(cert); !strings.Contains(diff, "key usages") {
			t.Errorf("usage %s: difference %q", name, diff)
		}
	}
}

func TestFactsInWords(t *testing.T) {
	for n, want := range map[int64]string{1: "01", 15: "0F", 16: "10", 0xabc: "0ABC"} {
		if got := pki.SerialOf(&x509.Certificate{SerialNumber: big.NewInt(n)}); got != want {
			t.Errorf("serial %d reads %q, want %q", n, got, want)
		}
	}
	cert := selfSign(t, caRequest()).Cert
	sum := sha256.Sum256(cert.Raw)
	if got := pki.FingerprintOf(cert); got != hex.EncodeToString(sum[:]) {
		t.Errorf("fingerprint %q", got)
	}
}

func TestVerify(t *testing.T) {
	ca, other := selfSign(t, caRequest()), selfSign(t, caRequest()) // one name, two keys
	pair := issue(t, leafRequest(), ca)
	roots := []*x509.Certificate{other.Cert, ca.Cert}
	for name, tc := range map[string]struct {
		at    time.Time
		roots []*x509.Certificate
		ok    bool
	}{
		"now":          {now, roots, true},
		"first second": {pair.Cert.NotBefore, roots, true},
		"too early":    {pair.Cert.NotBefore.Add(-time.Second), roots, false},
		"last second":  {pair.Cert.NotAfter, roots, true},
		"too late":     {pair.Cert.NotAfter.Add(time.Second), roots, false},
		"another root": {now, roots[:1], false},
		"no root":      {now, nil, false},
	} {
		if err := pair.Verify(tc.at, tc.roots); (err == nil) != tc.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !pki.SignedBy(pair.Cert, ca.Cert) || pki.SignedBy(pair.Cert, other.Cert) || pki.SignedBy(ca.Cert, pair.Cert) {
		t.Error("SignedBy must hold for the CA whose key signed, and not for one of the same name")
	}
}

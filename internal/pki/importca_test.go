package pki_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"
	"strings"
	"testing"

	"clusterpki.io/operator/internal/pki"
)

// foreignBelow makes an intermediate as other programs do, with what mods change of it.
func foreignBelow(t testing.TB, name string, parent pki.CA, mods ...func(*x509.Certificate)) pki.CA {
	t.Helper()
	key := must(pki.GenerateKey(ecdsa256))
	return pki.CA{Key: key, Cert: sign(t, foreignTemplate(name, mods...), parent.Cert, key.Public(), parent.Key.Signer())}
}

func foreignWithKey(t testing.TB, signer crypto.Signer, mods ...func(*x509.Certificate)) []byte {
	t.Helper()
	tmpl := foreignTemplate("foreign", mods...)
	return pki.EncodeCertificates(sign(t, tmpl, tmpl, signer.Public(), signer))
}

func usages(u ...x509.ExtKeyUsage) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.ExtKeyUsage = u }
}

func extra(critical bool, value []byte, id ...int) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: id, Critical: critical, Value: value})
	}
}

// noSKI makes crypto/x509 leave the identifier out: it sets one in every CA that it knows to be one.
func noSKI(c *x509.Certificate) {
	c.SubjectKeyId, c.IsCA, c.BasicConstraintsValid = nil, false, false
	extra(true, []byte{0x30, 3, 1, 1, 0xff}, 2, 5, 29, 19)(c) // CA:TRUE
}

func TestCheckCAAccepts(t *testing.T) {
	root := foreignCA(t)
	upper := foreignBelow(t, "upper", root)
	lower := foreignBelow(t, "lower", upper)
	chain := pki.EncodeCertificates(lower.Cert, upper.Cert, root.Cert)
	rekeyed := foreignBelow(t, "foreign", root, func(c *x509.Certificate) {
		c.SubjectKeyId, c.AuthorityKeyId = []byte("new key"), root.Cert.SubjectKeyId
	})
	for name, tc := range map[string]struct {
		certs []byte
		pair  pki.CA
		root  *x509.Certificate
		chain []*x509.Certificate
	}{
		"a root":       {root.CertPEM(), root, nil, nil},
		"our own root": {nil, selfSign(t, caRequest()), nil, nil},
		"depth 1":      {pki.EncodeCertificates(upper.Cert, root.Cert), upper, root.Cert, nil},
		"depth 2":      {chain, lower, root.Cert, []*x509.Certificate{upper.Cert}},
		"a new key, signed by the old one of the same name": {pki.EncodeCertificates(rekeyed.Cert, root.Cert), rekeyed, root.Cert, nil},
		"Windows' line ends":         {bytes.ReplaceAll(chain, []byte("\n"), []byte("\r\n")), lower, root.Cert, []*x509.Certificate{upper.Cert}},
		"no line end":                {bytes.TrimSpace(chain), lower, root.Cert, []*x509.Certificate{upper.Cert}},
		"text between the blocks":    {bytes.ReplaceAll(chain, []byte("-----BEGIN"), []byte("Bag Attributes\n    friendlyName: ca\nsubject=CN = x\n-----BEGIN")), lower, root.Cert, []*x509.Certificate{upper.Cert}},
		"a path length":              {nil, foreignCA(t, pathLen(0)), nil, nil},
		"client and server and more": {nil, foreignCA(t, usages(x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageCodeSigning)), nil, nil},
	} {
		if tc.certs == nil {
			tc.certs = tc.pair.CertPEM()
		}
		for form, key := range forms(tc.pair.Key) {
			for _, key := range [][]byte{key, bytes.ReplaceAll(key, []byte("\n"), []byte("\r\n"))} {
				got, err := pki.CheckCA(now, tc.certs, key)
				if err != nil {
					t.Errorf("%s, key as %s: %v", name, form, err)
					continue
				}
				if !got.Cert.Equal(tc.pair.Cert) || !pki.SamePublicKey(got.Key.Public(), tc.pair.Key.Public()) || !got.Root.Equal(tc.root) ||
					!slices.EqualFunc(got.Chain, tc.chain, (*x509.Certificate).Equal) || len(got.CrossSigned) > 0 {
					t.Errorf("%s: another CA came back", name)
				}
			}
		}
		ca := must(pki.CheckCA(now, tc.certs, reveal(t, tc.pair.Key)))
		check(t, name, true, issue(t, leafRequest(), ca), ca.Anchor())
	}
}

func TestCheckCARefuses(t *testing.T) {
	root, other := foreignCA(t), foreignCA(t)
	upper := foreignBelow(t, "upper", root)
	lower := foreignBelow(t, "lower", upper)
	issued := issue(t, leafRequest(), root)
	leaf := pki.CA{Cert: issued.Cert, Key: issued.Key} // as somebody could take it for one
	key := func(p pki.CA) []byte { return reveal(t, p.Key) }
	weakRSA := must(rsa.GenerateKey(rand.Reader, 1024))
	modulus := new(big.Int).SetBit(big.NewInt(1), 9215, 1)
	long := pki.CA{Cert: sign(t, foreignTemplate("long"), root.Cert, &rsa.PublicKey{N: modulus, E: 65537}, root.Key.Signer())}
	rsaKey := keyOf(t, rsa2048)
	encode := func(cas ...pki.CA) (out []byte) {
		for _, ca := range cas {
			out = append(out, pki.EncodeCertificates(ca.Cert)...)
		}
		return out
	}
	with := func(mods ...func(*x509.Certificate)) []byte { return foreignWithKey(t, rsaKey.Signer(), mods...) }
	rsaPEM := reveal(t, rsaKey)
	// The right names and key identifiers, and another signer.
	forged := sign(t, foreignTemplate("upper"), other.Cert, upper.Key.Public(), other.Key.Signer())
	template := foreignTemplate("foreign", func(c *x509.Certificate) { c.NotAfter = now.Add(-day) })
	expired := sign(t, template, template, root.Key.Public(), root.Key.Signer())
	noSign := func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }
	otherSKI, otherName := clone(root.Cert), clone(root.Cert)
	otherSKI.SubjectKeyId = []byte("another SKI")
	otherName.RawSubject, otherName.Subject = nil, pkix.Name{CommonName: "another name"}
	oddAKI := foreignBelow(t, "odd", pki.CA{Cert: otherSKI, Key: root.Key})
	oddIssuer := foreignBelow(t, "odd", pki.CA{Cert: otherName, Key: root.Key})
	restricted := foreignBelow(t, "upper", root, usages(x509.ExtKeyUsageServerAuth))
	belowRestricted := foreignBelow(t, "lower", restricted)
	pathZero := foreignBelow(t, "upper", root, pathLen(0))
	belowPathZero := foreignBelow(t, "lower", pathZero)
	for name, tc := range map[string]struct {
		certs, key []byte
		want       string
	}{
		"no certificate":         {nil, key(root), "no PEM certificate found"},
		"no key":                 {encode(root), nil, "no PEM private key found"},
		"the key among them":     {append(encode(root), key(root)...), key(root), "(EC PRIVATE KEY, line 12) stands among the certificates: remove it"},
		"another key":            {encode(root), key(other), "does not match the certificate: store the two together"},
		"root first":             {encode(root, upper), key(upper), "the private key is that of certificate 2: put that one first"},
		"encrypted PKCS #8":      {encode(root), block("ENCRYPTED PRIVATE KEY", []byte("SECRETSECRET")), "decrypt it with `openssl pkey -in encrypted.key -out tls.key`"},
		"encrypted PKCS #1":      {encode(root), encryptedPEM("RSA PRIVATE KEY"), "decrypt it with `openssl pkey -in encrypted.key -out tls.key`"},
		"encrypted SEC 1":        {encode(root), encryptedPEM("EC PRIVATE KEY"), "decrypt it with `openssl pkey -in encrypted.key -out tls.key`"},
		"garbage for a key":      {encode(root), block("PRIVATE KEY", []byte("SECRETSECRET")), "(PRIVATE KEY, line 1) is malformed"},
		"a leaf":                 {leaf.CertPEM(), key(leaf), `certificate 1 of 1, "CN=k8s-master", is not the certificate of a CA, and says so`},
		"no basic constraints":   {with(func(c *x509.Certificate) { c.BasicConstraintsValid, c.IsCA = false, false }), rsaPEM, "it has no basicConstraints. Sign the same key anew"},
		"no keyCertSign":         {with(noSign), rsaPEM, "key usage keyCertSign, so that it may not sign certificates. Sign the same key anew"},
		"no key usage":           {with(func(c *x509.Certificate) { c.KeyUsage = 0 }), rsaPEM, "has no keyUsage, which strict verifiers refuse"},
		"expired":                {with(func(c *x509.Certificate) { c.NotAfter = now.Add(-day) }), rsaPEM, "expired at 2026-03-13T14:09:26Z. Sign the same key anew"},
		"not yet valid":          {with(func(c *x509.Certificate) { c.NotBefore = now.Add(day) }), rsaPEM, "is not valid before 2026-03-15T14:09:26Z"},
		"no SKI":                 {with(noSKI), rsaPEM, "has no subjectKeyIdentifier, which strict verifiers refuse"},
		"RSA 1024":               {foreignWithKey(t, weakRSA), block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(weakRSA)), "weak key, RSA-1024: use a CA with 2048 bits or more"},
		"RSA 9216":               {encode(lower, long, root), key(lower), `"CN=long,OU=PKI,C=DE", has a key of 9216 bits, and verifiers refuse RSA keys of more than 8192 bits there`},
		"name constraints":       {with(func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"example.com"} }), rsaPEM, "has name constraints"},
		"serverAuth alone":       {with(usages(x509.ExtKeyUsageServerAuth)), rsaPEM, "forbids ClientAuth by its extendedKeyUsage, which must be absent or hold both"},
		"clientAuth alone":       {with(usages(x509.ExtKeyUsageClientAuth)), rsaPEM, "forbids ServerAuth by"},
		"any usage":              {with(usages(x509.ExtKeyUsageAny)), rsaPEM, "forbids ClientAuth by"},
		"unknown usages":         {with(func(c *x509.Certificate) { c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 2, 3}} }), rsaPEM, "forbids ClientAuth by"},
		"unknown and critical":   {with(extra(true, []byte{5, 0}, 1, 2, 3)), rsaPEM, `what "CN=foreign,OU=PKI,C=DE" signs does not verify: x509: unhandled critical extension`},
		"no root":                {encode(lower, upper), key(lower), `certificate 2 of 2, "CN=upper,OU=PKI,C=DE", is signed by "CN=foreign,OU=PKI,C=DE", which is missing: append it and`},
		"an intermediate alone":  {encode(upper), key(upper), `is signed by "CN=foreign,OU=PKI,C=DE", which is missing`},
		"a gap":                  {encode(lower, root), key(lower), `certificate 1 of 2, "CN=lower,OU=PKI,C=DE", is not signed by the next one, "CN=foreign,OU=PKI,C=DE": let each be followed by its signer, "CN=upper,OU=PKI,C=DE" by name`},
		"out of order":           {encode(lower, root, upper), key(lower), "certificate 1 of 3"},
		"twice":                  {encode(lower, lower, upper, root), key(lower), "certificate 1 of 4"},
		"another root":           {encode(upper, other), key(upper), "is not signed by the next one"},
		"a forged link":          {pki.EncodeCertificates(lower.Cert, forged, root.Cert), key(lower), "certificate 2 of 3"},
		"more above a root":      {encode(root, other), key(root), `certificate 1 of 2, "CN=foreign,OU=PKI,C=DE", is a root, above which there is nothing: remove what follows it`},
		"another name above":     {encode(oddIssuer, root), key(oddIssuer), `let each be followed by its signer, "CN=another name" by name`},
		"another SKI above":      {encode(oddAKI, root), key(oddAKI), "names its signer's key as 616E6F7468657220534B49, which"},
		"a path length above":    {encode(belowPathZero, pathZero, root), key(belowPathZero), `certificate 2 of 3, "CN=upper,OU=PKI,C=DE", allows a path length of 0, and 1 CAs are to stand below it`},
		"an expired one above":   {pki.EncodeCertificates(upper.Cert, expired), key(upper), `certificate 2 of 2, "CN=foreign,OU=PKI,C=DE", expired at`},
		"no CA above":            {encode(lower, leaf), key(lower), `certificate 2 of 2, "CN=k8s-master", is not the certificate of a CA`},
		"a restricted one above": {encode(belowRestricted, restricted, root), key(belowRestricted), "certificate 2 of 3, \"CN=upper,OU=PKI,C=DE\", forbids ClientAuth"},
	} {
		got, err := pki.CheckCA(now, tc.certs, tc.key)
		if err == nil || got.Cert != nil || got.Key.Public() != nil {
			t.Errorf("%s: accepted, %v", name, err)
			continue
		}
		if !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %q does not say %q", name, err, tc.want)
		}
		for _, secret := range secretsIn(tc.key) {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: error quotes the key: %q", name, err)
			}
		}
		if k, kerr := pki.ParsePrivateKey(tc.key); kerr == nil && leaks(err.Error(), k) != "" {
			t.Errorf("%s: error holds the key in %s: %q", name, leaks(err.Error(), k), err)
		}
	}
}

package pki_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"clusterpki.io/operator/internal/pki"
)

// kubelet asks for a client's certificate, as most hosts do.
func kubelet(mods ...func(*pki.CertificateSpec)) pki.CertificateSpec {
	return leafRequest(append([]func(*pki.CertificateSpec){func(r *pki.CertificateSpec) {
		r.Subject = pki.Subject{CommonName: "system:node:k8s-node1", Organizations: []string{"system:nodes"}}
		r.SANs, r.Usages = pki.SANs{}, []pki.Usage{pki.ClientAuth}
	}}, mods...)...)
}

// csrOf is a request in PEM that package pki would not make.
func csrOf(t testing.TB, key crypto.Signer, mods ...func(*x509.CertificateRequest)) []byte {
	t.Helper()
	tmpl := &x509.CertificateRequest{Subject: pkix.Name{CommonName: "system:node:k8s-node1", Organization: []string{"system:nodes"}}}
	for _, mod := range mods {
		mod(tmpl)
	}
	return block("CERTIFICATE REQUEST", must(x509.CreateCertificateRequest(rand.Reader, tmpl, key)))
}

func asking(value any, id ...int) func(*x509.CertificateRequest) {
	return func(c *x509.CertificateRequest) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: id, Value: must(asn1.Marshal(value))})
	}
}

func TestCSRIsParsedAndNotRefused(t *testing.T) {
	for _, spec := range []pki.KeySpec{rsa2048, ecdsa256, ecdsa384, ecdsa521, ed25519k} {
		for role, r := range everyRole(t, spec) {
			key := keyOf(t, spec)
			csr, err := pki.ParseCSR(must(pki.NewCSR(r, key)))
			if err != nil {
				t.Fatalf("%s %s: %v", role, spec, err)
			}
			if err := r.Refuses(csr); err != nil || !pki.SamePublicKey(csr.PublicKey, key.Public()) {
				t.Errorf("%s %s: its own request is refused, or for another key: %v", role, spec, err)
			}
		}
	}
}

func TestParseCSRRefuses(t *testing.T) {
	key := keyOf(t, ecdsa256)
	good := must(pki.NewCSR(kubelet(), key))
	der, _ := pem.Decode(good)
	forged := bytes.Clone(der.Bytes)
	forged[len(forged)-1] ^= 1
	spki := func(k pki.PrivateKey) []byte { return must(x509.MarshalPKIXPublicKey(k.Public())) }
	anothers := bytes.Replace(der.Bytes, spki(key), spki(must(pki.GenerateKey(ecdsa256))), 1)
	for name, tc := range map[string]struct {
		text []byte
		want string // in the error
	}{
		"nothing":            {nil, "one PEM block"},
		"two":                {append(bytes.Clone(good), good...), "one PEM block"},
		"a certificate":      {selfSign(t, caRequest()).CertPEM(), "one PEM block"},
		"one that is broken": {append([]byte("-----BEGIN CERTIFICATE REQUEST-----\nx!\n-----END CERTIFICATE REQUEST-----\n"), good...), "block 1 (CERTIFICATE REQUEST, line 1) cannot be read"},
		"a header":           {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Headers: map[string]string{"a": "b"}, Bytes: der.Bytes}), "one PEM block"},
		"a key":              {reveal(t, key), "private key"},
		"a key after":        {append(bytes.Clone(good), reveal(t, key)...), "private key (block 2, line 9)"},
		"a key before":       {append(reveal(t, key), good...), "private key (block 1, line 1)"},
		"a key inside":       {bytes.Replace(good, []byte("\n"), append([]byte("\n"), reveal(t, key)...), 1), "private key"},
		"the key's bytes":    {block("CERTIFICATE REQUEST", must(x509.MarshalPKCS8PrivateKey(key.Signer()))), "malformed"},
		"too long":           {append(bytes.Clone(good), bytes.Repeat([]byte("\n"), pki.MaxCSRBytes)...), "at most 16384 bytes"},
		"cut":                {block("CERTIFICATE REQUEST", der.Bytes[:len(der.Bytes)-9]), "malformed"},
		"forged":             {block("CERTIFICATE REQUEST", forged), "signature"},
		"a weak key":         {csrOf(t, must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))), "ECDSA key size must be 256"},
		"another's key":      {block("CERTIFICATE REQUEST", anothers), "signature"},
	} {
		csr, err := pki.ParseCSR(tc.text)
		if err == nil || !strings.Contains(err.Error(), tc.want) || csr.PublicKey != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if leaks(err.Error(), key) != "" {
			t.Errorf("%s: the error holds the key: %v", name, err)
		}
		quotesNothing(t, err, tc.text)
	}
	for name, text := range map[string][]byte{
		"the other name": bytes.ReplaceAll(good, []byte(" CERTIFICATE"), []byte(" NEW CERTIFICATE")),
		"of Windows":     bytes.ReplaceAll(good, []byte("\n"), []byte("\r\n")),
		"text before":    append([]byte("Certificate Request:\n    Data:\n"), good...),
		"text after":     append(bytes.Clone(good), "x"...),
		"indented":       bytes.ReplaceAll(good, []byte("\n"), []byte("\n    ")),
		"a mark":         append([]byte("\xef\xbb\xbf"), good...),
		"white space":    append([]byte("\n\n"), append(bytes.Clone(good), " \n"...)...),
	} {
		if _, err := pki.ParseCSR(text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRefuses(t *testing.T) {
	key := keyOf(t, ecdsa256)
	spiffe := must(url.Parse("spiffe://cluster/node"))
	anyUse, code := asn1.ObjectIdentifier{2, 5, 29, 37, 0}, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 3}
	client, server := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 2}, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 1}
	ids := func(of ...asn1.ObjectIdentifier) func(*x509.CertificateRequest) { return asking(of, 2, 5, 29, 37) }
	directory := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: must(asn1.Marshal(pkix.Name{CommonName: "x"}.ToRDNSequence()))}
	dns := func(names ...string) func(*x509.CertificateRequest) {
		return func(c *x509.CertificateRequest) { c.DNSNames = names }
	}
	ip := func(text string) func(*x509.CertificateRequest) {
		return func(c *x509.CertificateRequest) { c.IPAddresses = []net.IP{net.ParseIP(text)} }
	}
	subject := func(change func(*pkix.Name)) func(*x509.CertificateRequest) {
		return func(c *x509.CertificateRequest) { change(&c.Subject) }
	}
	serving := func(r *pki.CertificateSpec) {
		r.SANs, r.Usages = sans("k8s-node1", "10.0.0.11", "fd00::11"), []pki.Usage{pki.ClientAuth, pki.ServerAuth}
	}
	const yes, other, ca = "", "names or addresses", "a CA"
	for name, tc := range map[string]struct {
		r    func(*pki.CertificateSpec)
		csr  func(*x509.CertificateRequest)
		want string
	}{
		"nothing more":           {nil, nil, yes},
		"nothing of what serves": {serving, nil, yes},
		"some names":             {serving, dns("K8s-Node1."), yes},
		"an address":             {serving, ip("10.0.0.11"), yes},
		"an IPv6 address":        {serving, ip("fd00:0::11"), yes},
		"another name":           {serving, dns("k8s-node1", "k8s-master"), other},
		"a wider name":           {serving, dns("*"), other},
		"another address":        {serving, ip("10.0.0.12"), other},
		"a name for a client":    {nil, dns("k8s-node1"), other},
		"a mail address":         {serving, func(c *x509.CertificateRequest) { c.EmailAddresses = []string{"a@b.c"} }, other},
		"a URI":                  {serving, func(c *x509.CertificateRequest) { c.URIs = []*url.URL{spiffe} }, other},
		"a directory's name":     {serving, asking([]asn1.RawValue{directory}, 2, 5, 29, 17), other},

		"the other order of O": {func(r *pki.CertificateSpec) { r.Subject.Organizations = []string{"b", "system:nodes"} }, subject(func(n *pkix.Name) { n.Organization = append(n.Organization, "b", "b") }), yes},
		"another CN":           {nil, subject(func(n *pkix.Name) { n.CommonName = "system:node:k8s-node2" }), "-subj '/O=system:nodes/CN=system:node:k8s-node1'"},
		"no CN":                {nil, subject(func(n *pkix.Name) { n.CommonName = "" }), "its subject must be"},
		"no O":                 {nil, subject(func(n *pkix.Name) { n.Organization = nil }), "its subject must be"},
		"one O more":           {nil, subject(func(n *pkix.Name) { n.Organization = append(n.Organization, "system:masters") }), "its subject must be"},
		"a country":            {nil, subject(func(n *pkix.Name) { n.Country = []string{"AU"} }), "its subject must be"},
		"two CN": {nil, subject(func(n *pkix.Name) {
			n.ExtraNames = []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "admin"}, {Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: n.CommonName}}
		}), "its subject must be"},
		"characters of openssl": {func(r *pki.CertificateSpec) { r.Subject.CommonName = `a/b+c\d` }, nil, `/CN=a\/b\+c\\d'`},

		"another kind of key":  {func(r *pki.CertificateSpec) { r.Key = rsa2048 }, nil, "its key must be RSA-2048, not ECDSA-256"},
		"another size of key":  {func(r *pki.CertificateSpec) { r.Key = ecdsa384 }, nil, "its key must be ECDSA-384, not ECDSA-256"},
		"the usage":            {nil, ids(client), yes},
		"one of two usages":    {serving, ids(server), yes},
		"another usage":        {nil, ids(client, server), "extended key usages"},
		"any usage":            {nil, ids(anyUse), "extended key usages"},
		"usage of programs":    {nil, ids(code), "extended key usages"},
		"usages of what else":  {nil, asking("x", 2, 5, 29, 37), "extended key usages"},
		"to be no CA":          {nil, asking(struct{}{}, 2, 5, 29, 19), yes},
		"to be a CA":           {nil, asking(struct{ CA bool }{true}, 2, 5, 29, 19), ca},
		"to sign":              {nil, asking(asn1.BitString{Bytes: []byte{0x84}, BitLength: 6}, 2, 5, 29, 15), ca},
		"to sign CRLs":         {nil, asking(asn1.BitString{Bytes: []byte{0x82}, BitLength: 7}, 2, 5, 29, 15), ca},
		"the usual key usages": {nil, asking(asn1.BitString{Bytes: []byte{0xe0}, BitLength: 3}, 2, 5, 29, 15), yes},
		"a key identifier":     {nil, asking([]byte{1, 2}, 2, 5, 29, 14), yes},
		"what nobody knows":    {nil, asking("x", 1, 2, 3, 4), "an extension that the certificate will not have"},
	} {
		if tc.r == nil {
			tc.r = func(*pki.CertificateSpec) {}
		}
		if tc.csr == nil {
			tc.csr = func(*x509.CertificateRequest) {}
		}
		csr, err := pki.ParseCSR(csrOf(t, key.Signer(), tc.csr))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		err = kubelet(tc.r).Refuses(csr)
		if tc.want == yes && err != nil || tc.want != yes && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

// The certificate for a public key is the one that would be made with the key, whatever the request asked for.
func TestIssueFor(t *testing.T) {
	ca := selfSign(t, caRequest())
	for _, spec := range []pki.KeySpec{rsa2048, ecdsa256, ed25519k} {
		r := leafRequest(func(r *pki.CertificateSpec) { r.Key = spec })
		key := keyOf(t, spec)
		csr := must(pki.ParseCSR(must(pki.NewCSR(r, key))))
		pair, err := pki.IssueFor(now, r, csr.PublicKey, ca)
		if err != nil {
			t.Fatal(err)
		}
		if diff := r.Difference(pair.Cert); diff != "" || !pki.SamePublicKey(pair.Cert.PublicKey, key.Public()) || pair.Key.Public() != nil {
			t.Errorf("%s: %s, or it is for another key", spec, diff)
		}
		own := issue(t, r, ca)
		for _, c := range []*x509.Certificate{pair.Cert, own.Cert} {
			checkFacts(t, c)
		}
		if pair.Cert.KeyUsage != own.Cert.KeyUsage || !pair.Cert.NotAfter.Equal(own.Cert.NotAfter) || !cmp.Equal(pair.Cert.ExtKeyUsage, own.Cert.ExtKeyUsage) {
			t.Errorf("%s: it differs from a certificate whose key was made with it", spec)
		}
		stored, err := pki.ParseLeafCertificate(pair.CertPEM())
		if err != nil || !stored.Cert.Equal(pair.Cert) || stored.Key.Public() != nil {
			t.Errorf("%s: another pair comes back from storage: %v", spec, err)
		}
	}
	for name, err := range map[string]error{
		"another kind of key": second(pki.IssueFor(now, leafRequest(), keyOf(t, rsa2048).Public(), ca)),
		"no key":              second(pki.IssueFor(now, leafRequest(), nil, ca)),
		"no usage":            second(pki.IssueFor(now, leafRequest(func(r *pki.CertificateSpec) { r.Usages = nil }), keyOf(t, ecdsa256).Public(), ca)),
		"the CA's name":       second(pki.IssueFor(now, leafRequest(func(r *pki.CertificateSpec) { r.Subject.CommonName = "kubernetes" }), keyOf(t, ecdsa256).Public(), ca)),
		"a request of no key": second(pki.NewCSR(leafRequest(), pki.PrivateKey{})),
		"of another key":      second(pki.NewCSR(leafRequest(), keyOf(t, rsa2048))),
		"of no name":          second(pki.NewCSR(leafRequest(func(r *pki.CertificateSpec) { r.Subject.CommonName = "" }), keyOf(t, ecdsa256))),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// What parses is for a key that can be made and signed itself, is refused or not without a panic, and gives a certificate of what
// was asked of the operator, and of nothing else; what doesn't parse gives an error that quotes nothing.
func FuzzParseCSR(f *testing.F) {
	key := must(pki.GenerateKey(ecdsa256))
	ca := selfSign(f, caRequest())
	f.Add(must(pki.NewCSR(kubelet(), key)))
	f.Add(must(pki.NewCSR(leafRequest(), key)))
	f.Add(must(pki.NewCSR(leafRequest(func(r *pki.CertificateSpec) { r.Key = ed25519k }), must(pki.GenerateKey(ed25519k)))))
	f.Add(csrOf(f, key.Signer(), asking("x", 2, 5, 29, 37), asking("x", 2, 5, 29, 15), asking("x", 2, 5, 29, 19)))
	f.Add(csrOf(f, key.Signer(), asking([]asn1.RawValue{{Class: 2, Tag: 0, Bytes: []byte{1}}}, 2, 5, 29, 17)))
	f.Add(reveal(f, key))
	f.Add(append(must(pki.NewCSR(kubelet(), key)), reveal(f, key)...))
	f.Add(ca.CertPEM())
	f.Fuzz(func(t *testing.T, text []byte) {
		csr, err := pki.ParseCSR(text)
		if err != nil {
			if csr.PublicKey != nil {
				t.Fatalf("a key in spite of %v", err)
			}
			quotesNothing(t, err, text)
			return
		}
		spec := pki.SpecOf(csr.PublicKey)
		if err := spec.Validate(); err != nil {
			t.Fatal(err)
		}
		for _, r := range []pki.CertificateSpec{kubelet(), leafRequest()} {
			r.Key = spec
			if r.Refuses(csr) != nil {
				continue
			}
			pair, err := pki.IssueFor(now, r, csr.PublicKey, ca)
			if err != nil || r.Difference(pair.Cert) != "" || pair.Cert.IsCA || !slices.Equal(pair.Cert.DNSNames, r.SANs.DNSNames) {
				t.Fatalf("%v: %v", err, pair.Cert)
			}
		}
	})
}

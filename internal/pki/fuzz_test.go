package pki_test

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"clusterpki.io/operator/internal/pki"
)

// What parses is a pair that belongs together and survives being stored; what doesn't gives no pair, and an
// error that quotes none of the key.
func FuzzParseLeaf(f *testing.F) {
	ca := selfSign(f, caRequest())
	pair := issue(f, leafRequest(), ca)
	cert, key := pair.CertPEM(), reveal(f, pair.Key)
	for name, text := range forms(pair.Key) {
		f.Add(cert, text)
		f.Add(append(slices.Clone(cert), ca.CertPEM()...), append([]byte(name), text...))
	}
	f.Add(ca.CertPEM(), key)
	f.Add([]byte{}, []byte{})
	f.Add(key, cert)
	f.Add(cert[:len(cert)/2], key[:len(key)/2])
	f.Add(cert, encryptedPEM("RSA PRIVATE KEY"))
	f.Add(cert, block("PRIVATE KEY", x25519PKCS8()))
	f.Fuzz(func(t *testing.T, cert, key []byte) {
		pair, err := pki.ParseLeaf(cert, key)
		if err != nil {
			if pair.Cert != nil || pair.Key.Public() != nil {
				t.Fatalf("a pair in spite of %v", err)
			}
			quotesNothing(t, err, key)
			return
		}
		if !pki.SamePublicKey(pair.Cert.PublicKey, pair.Key.Public()) {
			t.Fatal("the key is not the certificate's")
		}
		back, err := pki.ParseLeaf(pair.CertPEM(), reveal(t, pair.Key))
		if err != nil || !back.Cert.Equal(pair.Cert) || len(back.Chain) != len(pair.Chain) ||
			!pki.SamePublicKey(back.Key.Public(), pair.Key.Public()) {
			t.Fatalf("another pair comes back from storage: %v", err)
		}
		if serial, ok := new(big.Int).SetString(pki.SerialOf(pair.Cert), 16); !ok || serial.Cmp(pair.Cert.SerialNumber) != 0 {
			t.Fatalf("serial number %v reads %q", pair.Cert.SerialNumber, pki.SerialOf(pair.Cert))
		}
		_ = leafRequest().Difference(pair.Cert) // must not panic on what others made
	})
}

func quotesNothing(t *testing.T, err error, key []byte) {
	t.Helper()
	for line := range strings.Lines(string(key)) {
		if line = strings.TrimSpace(line); len(line) >= 24 && !strings.HasPrefix(line, "-----") && strings.Contains(err.Error(), line) {
			t.Fatalf("the error quotes the key: %v", err)
		}
	}
}

// A CA that passes the check signs leaves that verify from their first to their last second, for clients and servers,
// also after it has been stored; what doesn't pass gives no pair, and an error that quotes none of the key.
func FuzzCheckCA(f *testing.F) {
	root := foreignCA(f)
	upper := foreignBelow(f, "upper", root)
	lower := foreignBelow(f, "lower", upper)
	chain := pki.EncodeCertificates(lower.Cert, upper.Cert, root.Cert)
	for _, key := range forms(lower.Key) {
		f.Add(chain, key)
	}
	for _, ca := range []pki.CA{
		root, foreignCA(f, pathLen(0)), foreignCA(f, noSKI), foreignCA(f, usages(x509.ExtKeyUsageServerAuth)), selfSign(f, caRequest()),
		foreignCA(f, extra(true, []byte{5, 0}, 1, 2, 3)), foreignCA(f, func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"a.b"} }),
		foreignCA(f, func(c *x509.Certificate) { c.Subject = pkix.Name{} }), foreignCA(f, func(c *x509.Certificate) { c.NotAfter = now }),
	} {
		f.Add(ca.CertPEM(), reveal(f, ca.Key))
	}
	f.Add(pki.EncodeCertificates(upper.Cert, root.Cert), reveal(f, upper.Key))
	f.Add(pki.EncodeCertificates(lower.Cert, upper.Cert), reveal(f, lower.Key))
	f.Add(pki.EncodeCertificates(root.Cert, upper.Cert), reveal(f, upper.Key))
	f.Add(bytes.ReplaceAll(chain, []byte("\n"), []byte("\r\n")), append([]byte("Bag Attributes\n"), reveal(f, lower.Key)...))
	f.Add(chain, encryptedPEM("EC PRIVATE KEY"))
	f.Add(chain, []byte{})
	f.Add([]byte{}, reveal(f, root.Key))
	f.Fuzz(func(t *testing.T, cert, key []byte) {
		ca, err := pki.CheckCA(now, cert, key)
		if err != nil {
			if ca.Cert != nil || ca.Key.Public() != nil {
				t.Fatalf("a CA in spite of %v", err)
			}
			quotesNothing(t, err, key)
			return
		}
		stored, err := pki.ParseCACertificate(ca.CertPEM())
		if err == nil {
			stored.Key, err = pki.ParsePrivateKey(reveal(t, ca.Key))
		}
		if err != nil || len(stored.Chain) != len(ca.Chain) {
			t.Fatalf("another CA comes back from storage: %v", err)
		}
		stored.Root = ca.Root
		leaf := issue(t, leafRequest(func(r *pki.CertificateSpec) { r.Usages = []pki.Usage{pki.ClientAuth, pki.ServerAuth} }), stored)
		opts := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool()}
		opts.Roots.AddCert(ca.Anchor())
		for _, c := range leaf.Chain {
			opts.Intermediates.AddCert(c)
		}
		for _, usage := range purposes {
			for _, at := range []time.Time{now, leaf.Cert.NotAfter} {
				opts.KeyUsages, opts.CurrentTime = []x509.ExtKeyUsage{usage}, at
				if _, err := leaf.Cert.Verify(opts); err != nil {
					t.Fatalf("at %v: %v", at, err)
				}
			}
		}
	})
}

// A name that is accepted is what a certificate says it is, to Go and to who reads it, and the same after each preparation that RFC 4518 asks
// for but that of case.
func FuzzNames(f *testing.F) {
	for _, name := range []string{
		"jane", "Jane Doe", "Zoë", "jane\n", "jane\x00x", " jane", "jane\u200b", "j\u0430ne", "front-proxy-client", "fr0nt-proxy-client", "system:masters",
		"10.0.10.2", "cn-hangzhou.192.168.0.12", "kubernetes.default.svc.cluster.local", "ﬁ", "\xff", "",
	} {
		f.Add(name)
	}
	key := must(pki.GenerateKey(pki.KeySpec{Algorithm: pki.Ed25519}))
	f.Fuzz(func(t *testing.T, name string) {
		own, host := pki.CheckOwnName(name), pki.CheckHostName(name)
		if err := pki.CheckName(name); err != nil {
			if own == nil || host == nil || strings.ContainsFunc(err.Error(), unicode.IsControl) {
				t.Fatalf("%q is no name, and yet %v, %v: %v", name, own, host, err)
			}
			return
		}
		if strings.TrimSpace(name) != name || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("%q is taken for a name", name)
		}
		r := leafRequest(func(r *pki.CertificateSpec) {
			r.Key, r.Subject.CommonName, r.Subject.Organizations = pki.SpecOf(key.Public()), name, []string{name}
		})
		if r.Validate() != nil { // it is too long
			return
		}
		csr, err := pki.ParseCSR(must(pki.NewCSR(r, key)))
		if err != nil || r.Refuses(csr) != nil {
			t.Fatalf("%q is not what a certificate says: %v, %v", name, err, r.Refuses(csr))
		}
	})
}

// What is accepted is canonical, so taking it again changes nothing, and covers what was given.
func FuzzNewSANs(f *testing.F) {
	for _, s := range [][2]string{
		{"k8s-master,localhost", "10.96.0.1,::1"}, {"*.example.com,a", "::ffff:10.0.0.1"}, {"xn--fiq228c.example.", "fd00:0::1"},
		{"K8S", "010.0.0.1"}, {"a_b", "fe80::1%eth0"}, {"10.0.0.1", ""}, {"010.0.0.1", "10.0.0.1,10.0.0.1"}, {"", ""}, {"中国", "[::1]"},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, nameList, addressList string) {
		names, addresses := fields(nameList), fields(addressList)
		s, err := pki.NewSANs(names, addresses)
		if err != nil {
			return
		}
		var texts []string
		for _, a := range s.IPAddresses {
			if a.Zone() != "" || a.Is4In6() || !a.IsValid() {
				t.Fatalf("address %v is not canonical", a)
			}
			texts = append(texts, a.String())
		}
		again, err := pki.NewSANs(s.DNSNames, texts)
		if err != nil || again.String() != s.String() {
			t.Fatalf("[%s] becomes [%s], %v", s, again, err)
		}
		if !slices.IsSorted(s.DNSNames) || !slices.IsSortedFunc(s.IPAddresses, netip.Addr.Compare) {
			t.Fatalf("[%s] is not in order", s)
		}
		for _, n := range s.DNSNames {
			if _, err := netip.ParseAddr(n); err == nil || n != strings.ToLower(n) || strings.ContainsFunc(n, func(r rune) bool { return r > 127 }) {
				t.Fatalf("%q is taken for a DNS name", n)
			}
		}
		for _, host := range append(names, addresses...) {
			if !strings.HasPrefix(host, "*") && !s.Covers(host) {
				t.Fatalf("[%s] does not cover %q", s, host)
			}
		}
	})
}

func fields(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}

// What is accepted has room for eight services, holds its first address, and says the same of itself again.
func FuzzFirstServiceIP(f *testing.F) {
	for _, s := range []string{
		"10.96.5.7/16", "10.1.10.248/29", "fd00:10:96::/112", "10.96.0.0/30", "::ffff:10.96.0.0/112", "0.0.0.0/0", "::/0",
		"10.96.0.0/012", "", "/", "fe80::%eth0/64",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, cidr string) {
		first, err := pki.FirstServiceIP(cidr)
		if err != nil {
			if first.IsValid() {
				t.Fatalf("%v in spite of %v", first, err)
			}
			return
		}
		prefix := netip.MustParsePrefix(cidr)
		if !prefix.Contains(first) || first.Zone() != "" || first.Is4In6() || first.Prev() != prefix.Masked().Addr() {
			t.Fatalf("%v is not the first of %s", first, cidr)
		}
		if prefix.Addr().BitLen()-prefix.Bits() < 3 {
			t.Fatalf("%s is too small", cidr)
		}
		again, err := pki.FirstServiceIP(netip.PrefixFrom(first, prefix.Bits()).String())
		if err != nil || again != first {
			t.Fatalf("the network of %v has the first address %v, %v", first, again, err)
		}
	})
}

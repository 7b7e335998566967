package pki_test

import (
	"bytes"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"clusterpki.io/operator/internal/pki"
)

// files adds what other programs made: the files of testdata.
func files(f *testing.F) {
	f.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", "files", "*"))
	if err != nil || len(names) == 0 {
		f.Fatalf("there are no files of others: %v", err)
	}
	for _, name := range names {
		f.Add(must(os.ReadFile(name)))
	}
}

// A text is read as no fewer blocks than other programs find, or says which it cannot read; what it says quotes nothing; and what was read can be
// written so that everybody reads it.
func FuzzReadPEM(f *testing.F) {
	files(f)
	ca := foreignCA(f)
	for _, text := range asPeopleHave(append(ca.CertPEM(), reveal(f, ca.Key)...)) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		read := pki.ReadPEM(text)
		if read.Strict && len(read.Faults) > 0 {
			t.Fatal("everybody reads it, and it has a fault")
		}
		last := 0
		for _, b := range read.Blocks {
			if b.Number <= last || b.Line < 1 {
				t.Fatalf("block %d follows block %d, on line %d", b.Number, last, b.Line)
			}
			last = b.Number
			again := pki.ReadPEM(block(b.Type, b.Bytes))
			if len(again.Blocks) != 1 || !again.Strict || !bytes.Equal(again.Blocks[0].Bytes, b.Bytes) {
				t.Fatalf("a block of %q is not read again", b.Type)
			}
		}
		for _, fault := range read.Faults {
			quotesNothing(t, fault, text)
		}
		if certs, err := pki.ParseCertificates(text); err == nil && (len(certs) != len(read.Blocks) || !read.Strict) {
			t.Fatalf("%d certificates of %d blocks", len(certs), len(read.Blocks))
		}
	})
}

// A key is read, or an error quotes nothing of it; what was read comes back from storage.
func FuzzParsePrivateKey(f *testing.F) {
	files(f)
	for _, spec := range []pki.KeySpec{ecdsa256, ed25519k} {
		for _, text := range forms(must(pki.GenerateKey(spec))) {
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		key, err := pki.ParsePrivateKey(text)
		if err != nil {
			quotesNothing(t, err, text)
			return
		}
		again, err := pki.ParsePrivateKey(reveal(t, key))
		if err != nil || !pki.SamePublicKey(key.Public(), again.Public()) {
			t.Fatalf("another key comes back from storage: %v", err)
		}
	})
}

// The extension by which a certificate names its signer is anybody's bytes: whatever they are, the judgement is an answer, and what
// openssl's extension names is what is compared.
func FuzzAuthorityKeyIdentifier(f *testing.F) {
	root := foreignCA(f)
	middle := foreignBelow(f, "middle", root)
	for _, c := range []*x509.Certificate{root.Cert, middle.Cert} {
		for _, e := range c.Extensions {
			f.Add(e.Value)
		}
	}
	f.Add([]byte{0x30, 0})
	f.Fuzz(func(t *testing.T, value []byte) {
		tmpl := foreignTemplate("middle", extra(false, value, 2, 5, 29, 35))
		der, err := x509.CreateCertificate(nil, tmpl, root.Cert, middle.Key.Public(), root.Key.Signer())
		if err != nil {
			return
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return
		}
		ca, err := pki.CheckCA(now, pki.EncodeCertificates(cert, root.Cert), reveal(t, middle.Key))
		if err != nil {
			if !strings.Contains(err.Error(), "certificate 1 of 2") {
				t.Fatalf("the error is about another: %v", err)
			}
			return
		}
		if len(cert.AuthorityKeyId) > 0 && !bytes.Equal(cert.AuthorityKeyId, root.Cert.SubjectKeyId) {
			t.Fatal("it names another key, and is accepted")
		}
		if err := issue(t, leafRequest(), ca).Verify(now, []*x509.Certificate{root.Cert}); err != nil {
			t.Fatal(err)
		}
	})
}

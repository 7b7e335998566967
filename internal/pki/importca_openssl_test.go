package pki_test

import (
	"bytes"
	"crypto/sha1" // the digest that makes OpenSSL's key identifiers
	"crypto/x509"
	"encoding/asn1"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clusterpki.io/operator/internal/pki"
)

const opensslConfig = `
[req]
distinguished_name = name
prompt = no
string_mask = nombstr
[name]
C = DE
O = Example
OU = PKI
CN = Example Root
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always,issuer:always
`

func run(t *testing.T, args ...string) {
	t.Helper()
	if out, err := openssl(t, args...); err != nil {
		t.Fatalf("openssl %q: %v\n%s", args, err, out)
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	return must(os.ReadFile(file))
}

// opensslRoot makes a root with openssl alone, and returns the files of its certificate and key.
func opensslRoot(t *testing.T, dir string, args ...string) (certFile, keyFile string) {
	t.Helper()
	certFile, keyFile = filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key")
	config := write(t, dir, "openssl.cnf", []byte(opensslConfig))
	run(t, append([]string{"req", "-x509", "-nodes", "-days", "1000", "-config", config, "-extensions", "ca",
		"-keyout", keyFile, "-out", certFile}, args...)...)
	return certFile, keyFile
}

// A root of openssl's own making: its name in four parts and PrintableStrings, its SKI a SHA-1, its AKI with name and
// serial number. It is taken over, renewed with its key, cross-signed both ways, and put above an intermediate.
func TestOpenSSLsRootIsTakenOver(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"RSA":     {"-newkey", "rsa:2048"},
		"P-384":   {"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"},
		"Ed25519": {"-newkey", "ed25519"},
	} {
		certFile, keyFile := opensslRoot(t, t.TempDir(), args...)
		cert := must(pki.ParseCertificates(read(t, certFile)))[0]
		at := cert.NotBefore.Add(time.Hour)
		root, err := pki.CheckCA(at, read(t, certFile), read(t, keyFile))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var spki struct {
			Algorithm asn1.RawValue
			Key       asn1.BitString
		}
		if _, err := asn1.Unmarshal(cert.RawSubjectPublicKeyInfo, &spki); err != nil {
			t.Fatal(err)
		}
		if sum := sha1.Sum(spki.Key.Bytes); !bytes.Equal(cert.SubjectKeyId, sum[:]) {
			t.Fatalf("%s: this test is about an SKI by SHA-1, not %x", name, cert.SubjectKeyId)
		}
		renewed := must(pki.RenewRoot(at, 2000*day, root))
		if !bytes.Equal(renewed.Cert.SubjectKeyId, cert.SubjectKeyId) || !bytes.Equal(renewed.Cert.RawSubject, cert.RawSubject) {
			t.Errorf("%s: the SKI %x became %x, or the name's bytes changed", name, cert.SubjectKeyId, renewed.Cert.SubjectKeyId)
		}
		ours := must(pki.SelfSign(at, caRequest()))
		crossSigned := ours
		crossSigned.CrossSigned = []*x509.Certificate{must(pki.CrossSign(at, ours.Cert, root))}
		taken := root
		taken.CrossSigned = []*x509.Certificate{must(pki.CrossSign(at, root.Cert, ours))}
		middle := must(pki.SignCA(pki.GenerateKey, at, caRequest(), root))
		later := at.Add(2 * time.Hour)
		for what, tc := range map[string]struct {
			issuer       pki.CA
			theirs, ours bool
		}{
			"the root": {root, true, false}, "the root, renewed": {renewed, true, false}, "an intermediate": {middle, true, false},
			"our root, cross-signed by it": {crossSigned, true, true}, "the root, cross-signed by ours": {taken, true, true},
			"our root": {ours, false, true},
		} {
			leaf := must(pki.Issue(at, leafRequest(), tc.issuer))
			checkAt(t, later, name+": a leaf of "+what+" below openssl's root", tc.theirs, leaf, root.Cert)
			checkAt(t, later, name+": a leaf of "+what+" below that root, renewed", tc.theirs, leaf, renewed.Cert)
			checkAt(t, later, name+": a leaf of "+what+" below our root", tc.ours, leaf, ours.Cert)
			checkAt(t, later, name+": a leaf of "+what+" below all", true, leaf, root.Cert, ours.Cert, renewed.Cert)
		}
	}
}

// What the error says of an encrypted key works.
func TestEncryptedKeyIsDecryptedAsTheErrorSays(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := opensslRoot(t, dir, "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
	at := must(pki.ParseCertificates(read(t, certFile)))[0].NotBefore.Add(time.Hour)
	for kind, args := range map[string][]string{"ENCRYPTED PRIVATE KEY": {"pkey", "-aes256"}, "Proc-Type: 4,ENCRYPTED": {"ec", "-aes256"}} {
		encrypted, plain := filepath.Join(dir, "encrypted.key"), filepath.Join(dir, "tls.key")
		run(t, append(args, "-in", keyFile, "-out", encrypted, "-passout", "pass:secret")...)
		if !strings.Contains(string(read(t, encrypted)), kind) {
			t.Fatalf("openssl wrote no %q", kind)
		}
		_, err := pki.CheckCA(at, read(t, certFile), read(t, encrypted))
		if err == nil {
			t.Fatalf("%s: accepted", kind)
		}
		_, command, _ := strings.Cut(err.Error(), "`openssl ")
		command, _, ok := strings.Cut(command, "`")
		if !ok {
			t.Fatalf("%s: the error names no command: %v", kind, err)
		}
		words := strings.Fields(strings.NewReplacer("encrypted.key", encrypted, "tls.key", plain).Replace(command))
		run(t, append(words, "-passin", "pass:secret")...)
		if _, err := pki.CheckCA(at, read(t, certFile), read(t, plain)); err != nil {
			t.Errorf("%s: after %q: %v", kind, command, err)
		}
	}
}

// What Go cannot make, openssl can.
func TestCheckCARefusesWhatOpenSSLMakes(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"or holds no key of RSA, ECDSA or Ed25519": {"-newkey", "ed448"},
	} {
		certFile, keyFile := opensslRoot(t, t.TempDir(), args...)
		at := must(pki.ParseCertificates(read(t, certFile)))[0].NotBefore.Add(time.Hour)
		if _, err := pki.CheckCA(at, read(t, certFile), read(t, keyFile)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
	certFile, _ := opensslRoot(t, t.TempDir(), "-newkey", "ed448")
	ed448 := must(pki.ParseCertificates(read(t, certFile)))
	at := ed448[0].NotBefore.Add(time.Hour)
	ca := must(pki.SelfSign(at, caRequest()))
	if _, err := pki.CheckCA(at, pki.EncodeCertificates(ca.Cert, ed448[0]), reveal(t, ca.Key)); err == nil ||
		!strings.Contains(err.Error(), "has a kind of key that this operator does not know: use RSA, ECDSA or Ed25519") {
		t.Errorf("a root with an Ed448 key: %v", err)
	}
}

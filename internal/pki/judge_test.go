package pki_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"clusterpki.io/operator/internal/pki"
)

// judged is a CA as others make it, and the source of what verifiers make of it.
type judged struct {
	name, source string
	ca           pki.CA
	above        []pki.CA // from the CA that signed it up to the root
	fault        string   // in the message; "": it is accepted
	mended       bool     // the command in the message mends it
}

// lasting gives a certificate dates around the time of the clock: what a command of a message makes begins then.
func lasting(c *x509.Certificate) {
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(1000*day)
}

func withoutSKI(ca pki.CA) pki.CA { // crypto/x509 then names no signer by key
	ca.Cert = clone(ca.Cert)
	ca.Cert.SubjectKeyId = nil
	return ca
}

// authorityKeyIdentifier makes the extension of RFC 5280 §4.2.1.1 with what is not nil.
func authorityKeyIdentifier(key, issuer []byte, serial *big.Int) func(*x509.Certificate) {
	var parts []asn1.RawValue
	if key != nil {
		parts = append(parts, asn1.RawValue{Class: 2, Tag: 0, Bytes: key})
	}
	if issuer != nil {
		name := must(asn1.Marshal(asn1.RawValue{Class: 2, Tag: 4, IsCompound: true, Bytes: issuer}))
		parts = append(parts, asn1.RawValue{Class: 2, Tag: 1, IsCompound: true, Bytes: name})
	}
	if serial != nil {
		number := must(asn1.Marshal(serial))
		parts = append(parts, asn1.RawValue{Class: 2, Tag: 2, Bytes: number[2:]})
	}
	return extra(false, must(asn1.Marshal(parts)), 2, 5, 29, 35)
}

func rootWith(t *testing.T, mods ...func(*x509.Certificate)) pki.CA {
	return foreignCA(t, append([]func(*x509.Certificate){lasting}, mods...)...)
}

func middleWith(t *testing.T, parent pki.CA, mods ...func(*x509.Certificate)) pki.CA {
	return foreignBelow(t, "middle", parent, append([]func(*x509.Certificate){lasting}, mods...)...)
}

// rootOfKey is a root with a key of another kind.
func rootOfKey(t *testing.T, key pki.PrivateKey, mods ...func(*x509.Certificate)) pki.CA {
	tmpl := foreignTemplate("foreign", append([]func(*x509.Certificate){lasting}, mods...)...)
	return pki.CA{Key: key, Cert: sign(t, tmpl, tmpl, key.Public(), key.Signer())}
}

var (
	noKeyUsage    = func(c *x509.Certificate) { c.KeyUsage = 0 }
	crlSignAlone  = func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }
	withSHA1      = func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA1WithRSA }
	withECDSASHA1 = func(c *x509.Certificate) { c.SignatureAlgorithm = x509.ECDSAWithSHA1 }
	noName        = func(c *x509.Certificate) { c.Subject = pkix.Name{} }
	notCritical   = extra(false, []byte{0x30, 3, 1, 1, 0xff}, 2, 5, 29, 19)
	ended         = func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }
	aheadOfTime   = func(c *x509.Certificate) { c.NotBefore = time.Now().Add(day) }
	emptySAN      = extra(false, []byte{0x30, 0}, 2, 5, 29, 17)
	permitDNS     = func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"k8s-master"} }
	withPolicy    = extra(true, []byte{0x30, 3, 0x80, 1, 0}, 2, 5, 29, 36) // requireExplicitPolicy
	unknown       = extra(true, []byte{5, 0}, 1, 2, 3)
	unknownToo    = extra(false, []byte{5, 0}, 1, 2, 3)
	netscape      = extra(false, []byte{3, 2, 7, 0x80}, 2, 16, 840, 1, 113730, 1, 1)
	longSerial    = func(c *x509.Certificate) { c.SerialNumber = new(big.Int).Lsh(big.NewInt(1), 20*8+3) }
)

const (
	usageSource  = "RFC 5280 §4.2.1.3, §6.1.4(n); OpenSSL check_extensions"
	keyIDSource  = "RFC 5280 §4.2.1.2; OpenSSL check_extensions"
	akiSource    = "RFC 5280 §4.2.1.1; OpenSSL X509_check_akid"
	rootSource   = "RFC 5280 §6.1, §6.1.1(d)"
	basicSource  = "RFC 5280 §4.2.1.9, §6.1.4(k)"
	lengthSource = "RFC 5280 §4.2.1.9, §6.1.4(m)"
	extSource    = "RFC 5280 §4.2.1.12; OpenSSL check_purpose_ssl_server"
)

// roots are the rows of CAs that stand alone.
func roots(t *testing.T) []judged {
	long := keyOf(t, rsa2048)
	self := rootWith(t).Cert
	name := self.RawSubject
	row := func(name, source, fault string, ca pki.CA) judged {
		return judged{name: name, source: source, fault: fault, ca: ca, mended: fault != ""}
	}
	unmended := func(name, source, fault string, ca pki.CA) judged {
		return judged{name: name, source: source, fault: fault, ca: ca}
	}
	return []judged{
		row("root", rootSource, "", rootWith(t)),
		row("no keyUsage (openssl req -x509)", usageSource, "has no keyUsage", rootWith(t, noKeyUsage)),
		row("keyUsage without keyCertSign", usageSource, "the key usage keyCertSign", rootWith(t, crlSignAlone)),
		row("no SKI", keyIDSource, "has no subjectKeyIdentifier", rootWith(t, noSKI)),
		row("basicConstraints alone", usageSource, "has no keyUsage", rootWith(t, noSKI, noKeyUsage)),
		row("basicConstraints not critical", basicSource, "are not critical", rootWith(t, notCritical)),
		row("no basicConstraints", basicSource, "has no basicConstraints", rootWith(t, func(c *x509.Certificate) { c.BasicConstraintsValid, c.IsCA = false, false })),
		row("SHA-1 self-signature, RSA", rootSource, "", rootOfKey(t, long, withSHA1)),
		row("SHA-1 self-signature, ECDSA", rootSource, "", rootWith(t, withECDSASHA1)),
		row("MD5 self-signature", rootSource, "", byMD5(t, rootOfKey(t, long))),
		row("a self-signature by another key", rootSource, "", signedByAnother(t, rootWith(t))),
		row("expired", "RFC 5280 §6.1.3(a)(2)", "expired at", rootWith(t, ended)),
		unmended("not yet valid", "RFC 5280 §6.1.3(a)(2)", "is not valid before", rootWith(t, aheadOfTime)),
		row("pathlen 0", lengthSource, "", rootWith(t, pathLen(0))),
		unmended("no name", "RFC 5280 §4.1.2.6", "has no subject", rootWith(t, noName)),
		row("an empty SAN", "RFC 5280 §4.2.1.6", "without a name", rootWith(t, emptySAN)),
		row("serverAuth alone", extSource, "forbids ClientAuth", rootWith(t, usages(x509.ExtKeyUsageServerAuth))),
		row("clientAuth alone", extSource, "forbids ServerAuth", rootWith(t, usages(x509.ExtKeyUsageClientAuth))),
		row("any usage", extSource, "forbids ClientAuth", rootWith(t, usages(x509.ExtKeyUsageAny))),
		row("both usages", extSource, "", rootWith(t, usages(x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth))),
		row("names constrained", "RFC 5280 §4.2.1.10", "has name constraints", rootWith(t, permitDNS)),
		row("an explicit policy required", "RFC 5280 §6.1.1(d): not of an anchor", "", rootWith(t, withPolicy)),
		unmended("unknown and critical", "RFC 5280 §4.2", "does not verify", rootWith(t, unknown)),
		row("unknown and not critical", "RFC 5280 §4.2", "", rootWith(t, unknownToo)),
		row("netscape's certificate type", "OpenSSL check_ssl_ca", "", rootWith(t, netscape)),
		row("a serial number of 21 octets", "RFC 5280 §4.1.2.2; no verifier counts", "", rootWith(t, longSerial)),
		row("AKI: key, issuer and serial, its own", akiSource, "", rootWith(t, authorityKeyIdentifier(self.SubjectKeyId, name, self.SerialNumber))),
		row("AKI: serial number of the one before it", akiSource, "by the serial number", rootWith(t, authorityKeyIdentifier(nil, name, big.NewInt(6)))),
		row("AKI: another key", akiSource, "names its signer's key", rootWith(t, authorityKeyIdentifier([]byte("another"), nil, nil))),
		unmended("RSA-1024", "OpenSSL check_key_level", "has a weak key", rootOfKey(t, rsaKey(t, 1024))),
		unmended("RSA-1962", "OpenSSL check_key_level", "has a weak key", rootOfKey(t, rsaKey(t, 1962))),
		row("RSA-1963", "OpenSSL check_key_level", "", rootOfKey(t, rsaKey(t, 1963))),
		row("P-224", "OpenSSL check_key_level", "", rootOfKey(t, p224(t))),
	}
}

// belowRoots are the rows of CAs with others above them.
func belowRoots(t *testing.T) []judged {
	root := rootWith(t)
	rsaRoot := rootOfKey(t, keyOf(t, rsa2048))
	name, serial, key := root.Cert.RawSubject, root.Cert.SerialNumber, root.Cert.SubjectKeyId
	otherCase := must(asn1.Marshal(pkix.Name{Country: []string{"de"}, OrganizationalUnit: []string{"pki"}, CommonName: "FOREIGN"}.ToRDNSequence()))
	otherName := must(asn1.Marshal(pkix.Name{CommonName: "other"}.ToRDNSequence()))
	sameName := func(c *x509.Certificate) { c.Subject = root.Cert.Subject }
	ofRoot := authorityKeyIdentifier(key, nil, nil)
	row := func(name, source, fault string, parent pki.CA, mods ...func(*x509.Certificate)) judged {
		ca := middleWith(t, parent, mods...)
		return judged{name: name, source: source, fault: fault, ca: ca, above: []pki.CA{parent}, mended: fault != ""}
	}
	short := rootWith(t, pathLen(0))
	plain := rootWith(t, noKeyUsage)
	sha1Root := rootOfKey(t, keyOf(t, rsa2048), withSHA1)
	unmended := func(j judged) judged { j.mended = false; return j }
	noAKI := row("no AKI", akiSource, "has no authorityKeyIdentifier", withoutSKI(root))
	noAKI.above[0] = root
	rekeyed := row("self-issued, a new key, AKI of the old", akiSource, "", root, sameName, ofRoot)
	unnamed := unmended(row("self-issued, a new key, no AKI", "OpenSSL ossl_x509v3_cache_extensions (EXFLAG_SS)", "is a root, above which", withoutSKI(root), sameName))
	unnamed.above[0] = root
	return []judged{
		row("below a root", rootSource, "", root),
		noAKI, rekeyed, unnamed,
		{name: "self-issued, a new key, no AKI, alone", source: rootSource, ca: unnamed.ca},
		row("AKI: key, issuer and serial", akiSource, "", root, authorityKeyIdentifier(key, name, serial)),
		row("AKI: issuer and serial alone", akiSource, "has no authorityKeyIdentifier with", root, authorityKeyIdentifier(nil, name, serial)),
		row("AKI: serial number of the root before its renewal", akiSource, "by the serial number", root, authorityKeyIdentifier(key, name, big.NewInt(6))),
		row("AKI: the issuer's name in other letters", "RFC 5280 §7.1; OpenSSL X509_NAME_cmp", "", root, authorityKeyIdentifier(key, otherCase, serial)),
		row("AKI: another issuer's name", akiSource, "names the signer of its signer otherwise", root, authorityKeyIdentifier(key, otherName, serial)),
		row("AKI: another key", akiSource, "names its signer's key", root, authorityKeyIdentifier([]byte("another"), nil, nil)),
		row("no keyUsage", usageSource, "has no keyUsage", root, noKeyUsage),
		row("no keyUsage on the root above", usageSource, "certificate 2 of 2", plain),
		row("no SKI", keyIDSource, "has no subjectKeyIdentifier", root, noSKI),
		row("basicConstraints not critical", basicSource, "are not critical", root, notCritical),
		row("pathlen 0 above", lengthSource, "allows a path length of 0", short),
		row("SHA-1", "OpenSSL check_sig_level; Go InsecureAlgorithmError", "is signed with SHA1-RSA", rsaRoot, withSHA1),
		row("SHA-1 self-signature on the root above", rootSource, "", sha1Root),
		row("expired", "RFC 5280 §6.1.3(a)(2)", "expired at", root, ended),
		row("serverAuth alone", extSource, "forbids ClientAuth", root, usages(x509.ExtKeyUsageServerAuth)),
	}
}

// threeDeep are the rows in which a path length counts.
func threeDeep(t *testing.T) []judged {
	row := func(name, fault string, parent, above pki.CA, lowerName string) judged {
		ca := foreignBelow(t, lowerName, parent, lasting, authorityKeyIdentifier(parent.Cert.SubjectKeyId, nil, nil), func(c *x509.Certificate) {
			c.SubjectKeyId = []byte("the lower one")
		})
		return judged{name: name, source: lengthSource, fault: fault, ca: ca, above: []pki.CA{parent, above}, mended: strings.HasPrefix(fault, "allows")}
	}
	root, one, two, policy := rootWith(t), rootWith(t, pathLen(1)), rootWith(t, pathLen(2)), rootWith(t)
	return []judged{
		row("two CAs below a root", "", middleWith(t, root), root, "lower"),
		row("pathlen 1 above two", "allows a path length of 1", middleWith(t, one), one, "lower"),
		row("pathlen 2 above two", "", middleWith(t, two), two, "lower"),
		row("an explicit policy required in the middle", "does not verify", middleWith(t, policy, withPolicy), policy, "lower"),
		row("pathlen 0 above one", "allows a path length of 0", middleWith(t, root, pathLen(0)), root, "lower"),
		row("pathlen 0 above one of the same name", "allows a path length of 0", middleWith(t, root, pathLen(0)), root, "middle"),
	}
}

// TestJudged accepts a CA if and only if OpenSSL, strict and otherwise, and Go verify leaves below it; and what the message says
// of one that is refused makes it acceptable, with the same key. All of it is asked of the real openssl.
func TestJudged(t *testing.T) {
	rows := slices.Concat(roots(t), belowRoots(t), threeDeep(t))
	for _, row := range rows {
		certs := row.certs()
		key := reveal(t, row.ca.Key)
		_, err := pki.CheckCA(time.Now(), pki.EncodeCertificates(certs...), key)
		lax, strict, golang := verdicts(t, time.Now(), row.ca, certs)
		t.Logf("%-50s openssl %-5v strict %-5v Go %-5v here %-5v %s", row.name, lax, strict, golang, err == nil, row.source)
		if ours := err == nil; ours != (lax && strict && golang) {
			t.Errorf("%s: accepted %v, and openssl says %v, strictly %v, Go %v: %v", row.name, ours, lax, strict, golang, err)
		}
		switch {
		case err == nil && row.fault == "":
		case err == nil || row.fault == "" || !strings.Contains(err.Error(), row.fault):
			t.Errorf("%s: the error is %v, want %q", row.name, err, row.fault)
		case row.mended:
			mend(t, row, err.Error())
		}
	}
}

// verdicts are what verifiers say of a server and a client below a CA: whether they take both.
func verdicts(t *testing.T, at time.Time, ca pki.CA, certs []*x509.Certificate) (lax, strict, golang bool) {
	t.Helper()
	dir := t.TempDir()
	root := certs[len(certs)-1]
	args := []string{"verify", "-no-CApath", "-no-CAstore", "-attime", strconv.FormatInt(at.Unix(), 10), "-auth_level", "2", "-CAfile", write(t, dir, "root", pki.EncodeCertificates(root))}
	if len(certs) > 1 {
		args = append(args, "-untrusted", write(t, dir, "chain", pki.EncodeCertificates(certs[:len(certs)-1]...)))
	}
	lax, strict, golang = true, true, true
	for purpose, usage := range purposes {
		leaf := plainLeaf(t, at, ca, usage)
		file := write(t, dir, purpose, pki.EncodeCertificates(leaf))
		_, err := openssl(t, append(args, "-purpose", purpose, file)...)
		lax = lax && err == nil
		_, err = openssl(t, append(args, "-x509_strict", "-purpose", purpose, file)...)
		strict = strict && err == nil
		opts := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{usage}}
		opts.Roots.AddCert(root)
		for _, c := range certs[:len(certs)-1] {
			opts.Intermediates.AddCert(c)
		}
		_, err = leaf.Verify(opts)
		golang = golang && err == nil
	}
	return lax, strict, golang
}

// plainLeaf is a leaf as the operator would make it, made without the operator's own code.
func plainLeaf(t *testing.T, at time.Time, ca pki.CA, usage x509.ExtKeyUsage) *x509.Certificate {
	t.Helper()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(77), Subject: pkix.Name{CommonName: "system:node:n", Organization: []string{"system:nodes"}},
		NotBefore: at.Add(-time.Minute), NotAfter: at.Add(time.Minute), KeyUsage: x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true, ExtKeyUsage: []x509.ExtKeyUsage{usage},
	}
	if usage == x509.ExtKeyUsageServerAuth {
		tmpl.DNSNames, tmpl.IPAddresses = []string{"other.example"}, []net.IP{{10, 96, 0, 1}}
	}
	return sign(t, tmpl, ca.Cert, must(pki.GenerateKey(ecdsa256)).Public(), ca.Key.Signer())
}

func (j judged) certs() []*x509.Certificate {
	out := []*x509.Certificate{j.ca.Cert}
	for _, above := range j.above {
		out = append(out, above.Cert)
	}
	return out
}

// mend does what the message says, and expects that the CA is accepted then, and that a leaf from before verifies below it.
func mend(t *testing.T, row judged, message string) {
	t.Helper()
	_, command, _ := strings.Cut(message, "`")
	command, _, ok := strings.Cut(command, "`")
	if !ok {
		t.Errorf("%s: the message names no command: %s", row.name, message)
		return
	}
	cas, at := append([]pki.CA{row.ca}, row.above...), 0
	if _, err := fmt.Sscanf(message, "certificate %d of", &at); err != nil {
		t.Fatal(err)
	}
	at--
	pairs := map[string]pki.CA{"ca": row.ca, "root": cas[len(cas)-1], "middle": cas[min(1, len(cas)-1)], "parent": cas[min(at+1, len(cas)-1)]}
	certs := row.certs()
	next, err := obeyed(t, command, pairs)
	if err != nil {
		t.Errorf("%s: %s: %v", row.name, command, err)
		return
	}
	certs[at] = next
	when := certs[at].NotBefore.Add(time.Minute)
	if _, err := pki.CheckCA(when, pki.EncodeCertificates(certs...), reveal(t, row.ca.Key)); err != nil {
		t.Errorf("%s: after %s: %v", row.name, command, err)
	}
	before := row.certs()[at]
	if len(before.SubjectKeyId) > 0 && !bytes.Equal(before.SubjectKeyId, certs[at].SubjectKeyId) {
		t.Errorf("%s: the identifier of the key changed from %X to %X", row.name, before.SubjectKeyId, certs[at].SubjectKeyId)
	}
	if lax, _, golang := verdicts(t, when, row.ca, certs); !lax || !golang {
		t.Errorf("%s: what the CA signed before is not verified: openssl %v, Go %v", row.name, lax, golang)
	}
	for name := range pairs {
		pairs[name] = rootWith(t)
	}
	if other, err := obeyed(t, command, pairs); err == nil {
		t.Errorf("%s: the command signed the key of another CA, %q", row.name, other.Subject)
	}
}

// obeyed runs the command of a message beside certificates and keys, and returns what it signed.
func obeyed(t *testing.T, command string, pairs map[string]pki.CA) (*x509.Certificate, error) {
	t.Helper()
	dir := t.TempDir()
	for name, ca := range pairs {
		write(t, dir, name+".crt", pki.EncodeCertificates(ca.Cert))
		write(t, dir, name+".key", reveal(t, ca.Key))
	}
	run := exec.CommandContext(t.Context(), "sh", "-ec", command)
	run.Dir = dir
	if out, err := run.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	return must(pki.ParseCertificates(must(os.ReadFile(filepath.Join(dir, "new.crt")))))[0], nil
}

// byMD5 is a root that says of its signature by SHA-256 that it is one by MD5.
func byMD5(t *testing.T, root pki.CA) pki.CA {
	t.Helper()
	id := func(last byte) []byte { return []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, last} } // RFC 8017, appendix C; RFC 3279 §2.2.1
	raw := bytes.ReplaceAll(root.Cert.Raw, id(11), id(4))
	root.Cert = must(x509.ParseCertificate(raw))
	if root.Cert.SignatureAlgorithm != x509.MD5WithRSA {
		t.Fatalf("it is signed by %s", root.Cert.SignatureAlgorithm)
	}
	return root
}

// signedByAnother is a root with its own name and key, and a signature by another key.
func signedByAnother(t *testing.T, root pki.CA) pki.CA {
	t.Helper()
	tmpl := foreignTemplate("foreign", lasting)
	root.Cert = sign(t, tmpl, tmpl, root.Key.Public(), must(pki.GenerateKey(ecdsa256)).Signer())
	return root
}

// keyFrom is a key that the operator would not make.
func keyFrom(der []byte, err error) pki.PrivateKey {
	return must(pki.ParsePrivateKey(block("PRIVATE KEY", must(der, err))))
}

func rsaKey(t *testing.T, bits int) pki.PrivateKey {
	t.Helper()
	return keyFrom(x509.MarshalPKCS8PrivateKey(must(rsa.GenerateKey(rand.Reader, bits))))
}

func p224(t *testing.T) pki.PrivateKey {
	t.Helper()
	return keyFrom(x509.MarshalPKCS8PrivateKey(must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))))
}

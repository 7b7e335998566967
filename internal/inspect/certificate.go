package inspect

import (
	"crypto/x509"
	"encoding/hex"
	"net"

	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/status"
)

// describe says what a certificate says.
func describe(c *x509.Certificate) Certificate {
	d := Certificate{
		Subject: status.Printable(c.Subject.String()), Issuer: status.Printable(c.Issuer.String()),
		SerialNumber: pki.SerialOf(c), SHA256Fingerprint: pki.FingerprintOf(c),
		NotBefore: c.NotBefore.UTC(), NotAfter: c.NotAfter.UTC(),
		DNSNames: allPrintable(c.DNSNames), IPAddresses: addresses(c.IPAddresses), OtherNames: allPrintable(c.EmailAddresses),
		CA: c.BasicConstraintsValid && c.IsCA, KeyUsages: keyUsages(c.KeyUsage), ExtendedKeyUsages: extendedKeyUsages(c),
		Key: kindOf(c.PublicKey), SignatureAlgorithm: c.SignatureAlgorithm.String(), SelfSigned: pki.SelfSigned(c),
		SubjectKeyID: hex.EncodeToString(c.SubjectKeyId), AuthorityKeyID: hex.EncodeToString(c.AuthorityKeyId),
	}
	for _, u := range c.URIs {
		d.OtherNames = append(d.OtherNames, status.Printable(u.Redacted()))
	}
	if d.CA && (c.MaxPathLen > 0 || c.MaxPathLenZero) {
		d.PathLength = &c.MaxPathLen
	}
	return d
}

// keyUsages are the names of RFC 5280, 4.2.1.3.
func keyUsages(u x509.KeyUsage) []string {
	var out []string
	for i, name := range []string{
		"digitalSignature", "nonRepudiation", "keyEncipherment", "dataEncipherment", "keyAgreement", "keyCertSign", "cRLSign", "encipherOnly", "decipherOnly",
	} {
		if u&(1<<i) != 0 {
			out = append(out, name)
		}
	}
	return out
}

// extendedKeyUsages are the names of RFC 5280, 4.2.1.12, and numbers for others.
func extendedKeyUsages(c *x509.Certificate) []string {
	names := map[x509.ExtKeyUsage]string{
		x509.ExtKeyUsageAny: "any", x509.ExtKeyUsageServerAuth: "serverAuth", x509.ExtKeyUsageClientAuth: "clientAuth",
		x509.ExtKeyUsageCodeSigning: "codeSigning", x509.ExtKeyUsageEmailProtection: "emailProtection",
		x509.ExtKeyUsageTimeStamping: "timeStamping", x509.ExtKeyUsageOCSPSigning: "OCSPSigning",
	}
	var out []string
	for _, u := range c.ExtKeyUsage {
		name := names[u]
		if name == "" {
			name = "other"
		}
		out = append(out, name)
	}
	for _, oid := range c.UnknownExtKeyUsage {
		out = append(out, oid.String())
	}
	return out
}

func addresses(ips []net.IP) []string {
	var out []string
	for _, ip := range ips {
		out = append(out, ip.String())
	}
	return out
}

func allPrintable(texts []string) []string {
	var out []string
	for _, t := range texts {
		out = append(out, status.Printable(t))
	}
	return out
}

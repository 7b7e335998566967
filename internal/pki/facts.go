package pki

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// SubjectOf returns the CN and O of a certificate.
func SubjectOf(cert *x509.Certificate) Subject {
	return Subject{CommonName: cert.Subject.CommonName, Organizations: sorted(cert.Subject.Organization)}
}

// SerialOf returns the serial number as `openssl x509 -serial` prints it.
func SerialOf(cert *x509.Certificate) string {
	text := strings.ToUpper(cert.SerialNumber.Text(16))
	if len(text)%2 == 1 {
		text = "0" + text
	}
	return text
}

// FingerprintOf returns the SHA-256 of a certificate in lower-case hexadecimal.
func FingerprintOf(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}

// IdentityOf returns the SHA-256 of what makes a CA the same CA to a verifier, in lower-case hexadecimal: its key, its
// subject and its subject key identifier. Certificates of one identity can stand for each other.
func IdentityOf(cert *x509.Certificate) string {
	h := sha256.New()
	for _, part := range [][]byte{cert.RawSubjectPublicKeyInfo, cert.RawSubject, cert.SubjectKeyId} {
		fmt.Fprintf(h, "%d:", len(part))
		h.Write(part)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// WithIdentity is the certificate of an identity, nil where it is not among them.
func WithIdentity(certs []*x509.Certificate, identity string) *x509.Certificate {
	i := slices.IndexFunc(certs, func(c *x509.Certificate) bool { return IdentityOf(c) == identity })
	if i < 0 {
		return nil
	}
	return certs[i]
}

// ParseCertificates reads every certificate of a PEM text that programs are to read; there must be at least one. What only ReadPEM
// finds is an error: those programs would pass over it.
func ParseCertificates(text []byte) ([]*x509.Certificate, error) {
	read := ReadPEM(text)
	certs, err := certificates(read)
	if err != nil {
		return nil, err
	}
	if !read.Strict {
		return nil, errors.New("not every program finds all of its PEM blocks: write them anew, each line ended and at its beginning, in UTF-8")
	}
	return certs, nil
}

// certificates are those of a text, which must hold nothing else.
func certificates(text PEMText) ([]*x509.Certificate, error) {
	if err := text.FirstFault(); err != nil {
		return nil, err
	}
	var certs []*x509.Certificate
	for _, b := range text.Blocks {
		if b.Type != certBlock && b.Type != "X509 CERTIFICATE" {
			return nil, fmt.Errorf("block %d (%s, line %d) stands among the certificates: %s", b.Number, knownKind(b.Type), b.Line, notACertificate(b.Type))
		}
		cert, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, fmt.Errorf("block %d (%s, line %d) is a malformed certificate: %w", b.Number, certBlock, b.Line, err)
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, fmt.Errorf("no PEM certificate found: %s", text.empty)
	}
	return certs, nil
}

// notACertificate says what to do about another block.
func notACertificate(kind string) string {
	switch kind {
	case "PKCS7", "CMS":
		return "take the certificates out of it, by `openssl pkcs7 -print_certs -in FILE -out NEW`"
	case "TRUSTED CERTIFICATE":
		return "it holds what OpenSSL alone reads; write it anew, by `openssl x509 -in FILE -out NEW`"
	default:
		return "remove it"
	}
}

// EncodeCertificates writes certificates as PEM in the order given.
func EncodeCertificates(certs ...*x509.Certificate) []byte {
	var b bytes.Buffer
	for _, c := range certs {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return b.Bytes()
}

// Difference names the first respect in which a certificate is not what was requested, "" for none.
// The length of its life is not among them: a life cut short by the CA is not a difference.
func (r CertificateSpec) Difference(cert *x509.Certificate) string {
	var addresses []netip.Addr
	for _, ip := range cert.IPAddresses {
		addr, _ := netip.AddrFromSlice(ip)
		addresses = append(addresses, addr.Unmap())
	}
	slices.SortFunc(addresses, netip.Addr.Compare)
	var usages []Usage
	for name, u := range extKeyUsage {
		if slices.Contains(cert.ExtKeyUsage, u) {
			usages = append(usages, name)
		}
	}
	switch {
	case !r.Subject.Equal(SubjectOf(cert)):
		return fmt.Sprintf("its subject is %q instead of %q", SubjectOf(cert), r.Subject)
	case !slices.Equal(sorted(cert.DNSNames), sorted(r.SANs.DNSNames)) || !slices.Equal(addresses, r.SANs.IPAddresses):
		return fmt.Sprintf("its SANs are not [%s]", r.SANs)
	case !slices.Equal(sorted(usages), sorted(r.Usages)) || len(cert.ExtKeyUsage) != len(usages) || len(cert.UnknownExtKeyUsage) > 0:
		return fmt.Sprintf("its key usages are not %v", r.Usages)
	case SpecOf(cert.PublicKey) != r.Key:
		return fmt.Sprintf("its key is %s instead of %s", SpecOf(cert.PublicKey), r.Key)
	default:
		return ""
	}
}

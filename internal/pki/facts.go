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

// ParseCertificates reads every certificate of a PEM text; there must be at least one.
func ParseCertificates(text []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("a %s block stands among the certificates: remove it", block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("malformed certificate: %w", err)
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, errors.New("no PEM certificate found")
	}
	return certs, nil
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

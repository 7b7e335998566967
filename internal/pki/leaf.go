package pki

import (
	"bytes"
	"crypto/x509"
	"errors"
	"slices"
	"time"
)

// Leaf is a certificate that signs nothing, with the certificates above it and, where that is known, its key.
type Leaf struct {
	Cert *x509.Certificate
	// Chain holds the intermediates above Cert, from the one that signed it upwards, root left out. It ends with the
	// cross-signed certificates of its CA.
	Chain []*x509.Certificate
	Key   PrivateKey
}

// IssuedBy says whether verifiers take a CA, as it is now, for the signer of the certificate: by key, name and, as OpenSSL
// has it, key identifier; and, where the CA is an intermediate, whether the certificates of CAs that stand beside it are
// these, because by others it may lead to another root, or end earlier.
func (l Leaf) IssuedBy(ca CA) bool {
	if !bytes.Equal(l.Cert.RawIssuer, ca.Cert.RawSubject) ||
		len(l.Cert.AuthorityKeyId) > 0 && !bytes.Equal(l.Cert.AuthorityKeyId, ca.Cert.SubjectKeyId) || !SignedBy(l.Cert, ca.Cert) {
		return false
	}
	if isRoot(ca.Cert) {
		return true
	}
	above := append([]*x509.Certificate{ca.Cert}, ca.Chain...)
	return len(l.Chain) >= len(above) && slices.EqualFunc(l.Chain[:len(above)], above, (*x509.Certificate).Equal)
}

// ErrKeyMismatch says that a private key is not the one that a certificate certifies.
var ErrKeyMismatch = errors.New("the private key does not match the certificate")

// ParseLeaf reads a certificate chain, leaf first, and its private key, and checks that they belong together.
func ParseLeaf(certPEM, keyPEM []byte) (Leaf, error) {
	leaf, err := ParseLeafCertificate(certPEM)
	if err != nil {
		return Leaf{}, err
	}
	leaf.Key, err = parseKeyOf(leaf.Cert, keyPEM)
	if err != nil {
		return Leaf{}, err
	}
	return leaf, nil
}

// ParseLeafCertificate reads a certificate chain, leaf first, whose private key is elsewhere.
func ParseLeafCertificate(certPEM []byte) (Leaf, error) {
	chain, err := ParseCertificates(certPEM)
	if err != nil {
		return Leaf{}, err
	}
	return Leaf{Cert: chain[0], Chain: chain[1:]}, nil
}

// parseKeyOf reads the private key of a certificate.
func parseKeyOf(cert *x509.Certificate, keyPEM []byte) (PrivateKey, error) {
	key, err := ParsePrivateKey(keyPEM)
	if err != nil {
		return PrivateKey{}, err
	}
	if !SamePublicKey(cert.PublicKey, key.Public()) {
		return PrivateKey{}, ErrKeyMismatch
	}
	return key, nil
}

// CertPEM is the certificate followed by its intermediates.
func (l Leaf) CertPEM() []byte { return chainPEM(l.Cert, l.Chain) }

// Verify checks that the chain leads to one of the roots at the given time.
func (l Leaf) Verify(now time.Time, roots []*x509.Certificate) error {
	return verify(now, l.Cert, l.Chain, roots)
}

func chainPEM(cert *x509.Certificate, chain []*x509.Certificate) []byte {
	return EncodeCertificates(slices.Concat([]*x509.Certificate{cert}, chain)...)
}

func verify(now time.Time, cert *x509.Certificate, chain, roots []*x509.Certificate) error {
	return verifyFor(now, cert, chain, roots, x509.ExtKeyUsageAny)
}

func verifyFor(now time.Time, cert *x509.Certificate, chain, roots []*x509.Certificate, usage x509.ExtKeyUsage) error {
	opts := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(),
		CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage},
	}
	for _, r := range roots {
		opts.Roots.AddCert(r)
	}
	for _, c := range chain {
		opts.Intermediates.AddCert(c)
	}
	_, err := cert.Verify(opts)
	return err //nolint:wrapcheck // callers add what was being verified
}

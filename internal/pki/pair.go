package pki

import (
	"bytes"
	"crypto/x509"
	"errors"
	"slices"
	"time"
)

// KeyPair is a certificate and its key, with the certificates above it. CertPEM and ParseKeyPair store and
// read Cert, Chain and Key; the other two, which only a CA has, are stored apart.
type KeyPair struct {
	Cert *x509.Certificate
	// Chain holds the intermediates above Cert, from the one that signed it upwards, root left out. A leaf's
	// chain ends with the cross-signed certificates of its CA.
	Chain []*x509.Certificate
	Key   PrivateKey
	// Root is the root above an intermediate CA: nil for a root, and where it is not known.
	Root *x509.Certificate
	// CrossSigned lead from a CA's root on to older roots: what CrossSign made, then the ChainBelow of the CA that
	// signed it. Whatever the CA signs carries them, for trusters that have only an older root. They shorten
	// no life: who trusts the CA's own root does without them, also once they have expired.
	CrossSigned []*x509.Certificate
}

// Anchor is what a truster of a CA has to hold, and all that it has to hold: the CA's own certificate if it is a
// root, else the root above it, nil if that is not known or there is no CA. An intermediate is no anchor: Go would take it for one,
// OpenSSL would not (error 2). So who trusts an intermediate CA trusts all that its root has signed: CAs
// whose clients must be kept apart need roots of their own.
func (p KeyPair) Anchor() *x509.Certificate {
	if p.Cert != nil && isRoot(p.Cert) {
		return p.Cert
	}
	return p.Root
}

// ChainBelow is the chain of a certificate that p signs: p's own unless that is a root, p's chain and p's cross-signed certificates.
func (p KeyPair) ChainBelow() []*x509.Certificate {
	if isRoot(p.Cert) {
		return slices.Clone(p.CrossSigned)
	}
	return slices.Concat([]*x509.Certificate{p.Cert}, p.Chain, p.CrossSigned)
}

// IssuedBy says whether verifiers take a CA, as it is now, for the signer of the certificate: by key, name and, as OpenSSL
// has it, key identifier; and, where the CA is an intermediate, whether the certificate of the CA that stands beside it is
// this one, because by another it may lead to another root.
func (p KeyPair) IssuedBy(ca KeyPair) bool {
	if !bytes.Equal(p.Cert.RawIssuer, ca.Cert.RawSubject) ||
		len(p.Cert.AuthorityKeyId) > 0 && !bytes.Equal(p.Cert.AuthorityKeyId, ca.Cert.SubjectKeyId) || !SignedBy(p.Cert, ca.Cert) {
		return false
	}
	return isRoot(ca.Cert) || len(p.Chain) > 0 && p.Chain[0].Equal(ca.Cert)
}

// path is p's certificate and every CA known above it, up to its root.
func (p KeyPair) path() []*x509.Certificate {
	path := append([]*x509.Certificate{p.Cert}, p.Chain...)
	if p.Root != nil {
		path = append(path, p.Root)
	}
	return path
}

func isRoot(cert *x509.Certificate) bool {
	return bytes.Equal(cert.RawSubject, cert.RawIssuer) && SignedBy(cert, cert)
}

// firstEnd is when the first of some certificates ends, but no later than end.
func firstEnd(end time.Time, certs ...*x509.Certificate) time.Time {
	for _, c := range certs {
		if c.NotAfter.Before(end) {
			end = c.NotAfter
		}
	}
	return end
}

// ErrKeyMismatch says that a private key is not the one that a certificate certifies.
var ErrKeyMismatch = errors.New("the private key does not match the certificate")

// ParseKeyPair reads a certificate chain, leaf first, and its private key, and checks that they
// belong together.
func ParseKeyPair(certPEM, keyPEM []byte) (KeyPair, error) {
	pair, err := ParseKeyless(certPEM)
	if err != nil {
		return KeyPair{}, err
	}
	key, err := ParsePrivateKey(keyPEM)
	if err != nil {
		return KeyPair{}, err
	}
	if !SamePublicKey(pair.Cert.PublicKey, key.Public()) {
		return KeyPair{}, ErrKeyMismatch
	}
	pair.Key = key
	return pair, nil
}

// ParseKeyless reads a certificate chain, leaf first, whose private key is elsewhere: the pair has no key.
func ParseKeyless(certPEM []byte) (KeyPair, error) {
	chain, err := ParseCertificates(certPEM)
	if err != nil {
		return KeyPair{}, err
	}
	return KeyPair{Cert: chain[0], Chain: chain[1:]}, nil
}

// CertPEM is the certificate followed by its intermediates.
func (p KeyPair) CertPEM() []byte {
	return EncodeCertificates(append([]*x509.Certificate{p.Cert}, p.Chain...)...)
}

// Verify checks that a chain leads to one of the roots at the given time.
func (p KeyPair) Verify(now time.Time, roots []*x509.Certificate) error {
	opts := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(),
		CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}
	for _, r := range roots {
		opts.Roots.AddCert(r)
	}
	for _, c := range p.Chain {
		opts.Intermediates.AddCert(c)
	}
	_, err := p.Cert.Verify(opts)
	return err //nolint:wrapcheck // callers add what was being verified
}

package pki

import (
	"bytes"
	"crypto/x509"
	"slices"
	"time"
)

// CA is a certificate authority: its certificate, those above it, and the key by which it signs.
type CA struct {
	Cert *x509.Certificate
	// Chain holds the intermediates above Cert, from the one that signed it upwards, root left out.
	Chain []*x509.Certificate
	// Key signs. It is zero where only the certificates are known: such a CA can be verified by, and signs nothing.
	Key PrivateKey
	// Root is the root above an intermediate CA: nil for a root, and where it is not known.
	Root *x509.Certificate
	// CrossSigned lead from a CA's root on to older roots: what CrossSign made, then the ChainBelow of the CA that
	// signed it. Whatever the CA signs carries them, for relying parties that have only an older root. They shorten
	// no life: who trusts the CA's own root does without them, also once they have expired.
	CrossSigned []*x509.Certificate
}

// ParseCACertificate reads a CA's certificate chain, its own certificate first. What stands above the chain is stored apart: Root and
// CrossSigned stay empty.
func ParseCACertificate(certPEM []byte) (CA, error) {
	chain, err := ParseCertificates(certPEM)
	if err != nil {
		return CA{}, err
	}
	return CA{Cert: chain[0], Chain: chain[1:]}, nil
}

// WithoutKey is the CA for those who do not sign.
func (c CA) WithoutKey() CA {
	c.Key = PrivateKey{}
	return c
}

// CertPEM is the CA's certificate followed by its intermediates.
func (c CA) CertPEM() []byte { return chainPEM(c.Cert, c.Chain) }

// Verify checks that the chain leads to one of the roots at the given time.
func (c CA) Verify(now time.Time, roots []*x509.Certificate) error {
	return verify(now, c.Cert, c.Chain, roots)
}

// Anchor is what a relying party of a CA has to hold, and all that it has to hold: the CA's own certificate if it is a
// root, else the root above it, nil if that is not known or there is no CA. An intermediate is no anchor: Go would take it for one,
// OpenSSL would not (error 2). So who trusts an intermediate CA trusts all that its root has signed: CAs
// whose clients must be kept apart need roots of their own.
func (c CA) Anchor() *x509.Certificate {
	if c.Cert != nil && isRoot(c.Cert) {
		return c.Cert
	}
	return c.Root
}

// ChainBelow is the chain of a certificate that the CA signs: its own certificate unless that is a root, its chain and its
// cross-signed certificates.
func (c CA) ChainBelow() []*x509.Certificate {
	if isRoot(c.Cert) {
		return slices.Clone(c.CrossSigned)
	}
	return slices.Concat([]*x509.Certificate{c.Cert}, c.Chain, c.CrossSigned)
}

// path is the CA's certificate and every CA known above it, up to its root.
func (c CA) path() []*x509.Certificate {
	path := append([]*x509.Certificate{c.Cert}, c.Chain...)
	if c.Root != nil {
		path = append(path, c.Root)
	}
	return path
}

// isRoot says whether a certificate names itself as its signer. As to verifiers, what counts of a root is that it is
// trusted: its signature is looked at by nobody (RFC 5280 §6.1), and may be by SHA-1.
func isRoot(cert *x509.Certificate) bool {
	if !bytes.Equal(cert.RawSubject, cert.RawIssuer) {
		return false
	}
	e := extension(cert, authorityKeyID)
	if e != nil && misnames(e.Value, cert) != "" {
		return false
	}
	by := signerKind(cert.SignatureAlgorithm)
	return by == x509.UnknownPublicKeyAlgorithm || by == cert.PublicKeyAlgorithm
}

// signerKind is the kind of key that makes a signature.
func signerKind(a x509.SignatureAlgorithm) x509.PublicKeyAlgorithm {
	switch a {
	case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA,
		x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS:
		return x509.RSA
	case x509.ECDSAWithSHA1, x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512:
		return x509.ECDSA
	case x509.PureEd25519:
		return x509.Ed25519
	default:
		return x509.UnknownPublicKeyAlgorithm
	}
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

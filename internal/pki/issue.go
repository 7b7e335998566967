package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"slices"
	"time"
)

// ClockSkew is how far before now a certificate becomes valid, for hosts whose clock is behind.
const ClockSkew = 5 * time.Minute

// Issue makes a leaf with a new key, signed by issuer. Its life is cut to what the issuer's chain has
// left. A subject equal to the issuer's is refused: OpenSSL would take the leaf for a root (error 18).
func Issue(now time.Time, r CertificateSpec, issuer CA) (Leaf, error) {
	if err := issuer.MayIssue(r); err != nil {
		return Leaf{}, err
	}
	key, err := GenerateKey(r.Key)
	if err != nil {
		return Leaf{}, err
	}
	leaf, err := IssueFor(now, r, key.Public(), issuer)
	if err != nil {
		return Leaf{}, err
	}
	leaf.Key = key
	return leaf, nil
}

// IssueFor makes a leaf as Issue does, for a public key whose private half is elsewhere: the leaf has no key.
func IssueFor(now time.Time, r CertificateSpec, public crypto.PublicKey, issuer CA) (Leaf, error) {
	if err := issuer.MayIssue(r); err != nil {
		return Leaf{}, err
	}
	if err := r.rightKey(public); err != nil {
		return Leaf{}, fmt.Errorf("sign %q: %w", r.Subject.CommonName, err)
	}
	tmpl, err := template(now, r, public)
	if err != nil {
		return Leaf{}, err
	}
	cert, err := signBelow(tmpl, public, issuer)
	if err != nil {
		return Leaf{}, err
	}
	return Leaf{Cert: cert, Chain: issuer.ChainBelow()}, nil
}

// MayIssue says why a leaf must not be made, before a key is spent on it.
func (c CA) MayIssue(r CertificateSpec) error {
	if err := r.Validate(); err != nil {
		return err
	}
	if len(r.Usages) == 0 {
		return fmt.Errorf("%q asks for no key usage: its certificate would be good for any", r.Subject)
	}
	if r.Subject.Equal(SubjectOf(c.Cert)) {
		return &SubjectEqualsIssuerError{Subject: r.Subject}
	}
	return nil
}

// Expiry is the end of a certificate that is asked for now: never after any parent CA, because a leaf under
// an expired CA does not verify whatever it says itself.
func Expiry(now time.Time, validity time.Duration, issuer CA) time.Time {
	return firstEnd(now.UTC().Add(validity).Truncate(time.Second), issuer.path()...)
}

// SubjectEqualsIssuerError says that a certificate asks for the name of a CA of its chain.
type SubjectEqualsIssuerError struct{ Subject Subject }

func (e *SubjectEqualsIssuerError) Error() string {
	return fmt.Sprintf("the subject %q is the CA's own: OpenSSL would take the certificate for self-signed (error 18); "+
		"give the CA or this certificate another common name", e.Subject)
}

func template(now time.Time, r CertificateSpec, public crypto.PublicKey) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	tmpl := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               r.Subject.Name(),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		DNSNames:              r.SANs.DNSNames,
	}
	tmpl.NotBefore, tmpl.NotAfter = life(now, r.Validity)
	if SpecOf(public).Algorithm == RSA && slices.Contains(r.Usages, ServerAuth) { // key transport exists for RSA alone, and to servers (RFC 5280 §4.2.1.12)
		tmpl.KeyUsage |= x509.KeyUsageKeyEncipherment
	}
	for _, addr := range r.SANs.IPAddresses {
		tmpl.IPAddresses = append(tmpl.IPAddresses, net.IP(addr.AsSlice()))
	}
	for _, u := range sorted(r.Usages) {
		tmpl.ExtKeyUsage = append(tmpl.ExtKeyUsage, extKeyUsage[u])
	}
	return tmpl, nil
}

var extKeyUsage = map[Usage]x509.ExtKeyUsage{ClientAuth: x509.ExtKeyUsageClientAuth, ServerAuth: x509.ExtKeyUsageServerAuth}

// life is the first and the last second of what is made now: X.509 times have whole seconds.
func life(now time.Time, validity time.Duration) (time.Time, time.Time) {
	now = now.UTC().Truncate(time.Second)
	return now.Add(-ClockSkew), now.Add(validity).Truncate(time.Second)
}

// newSerial draws a positive number of up to 128 bits (RFC 5280 §4.1.2.2).
func newSerial() (*big.Int, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("draw a serial number: %w", err)
	}
	return serial.Add(serial, big.NewInt(1)), nil
}

// signBelow signs with issuer's key, and keeps the life within those of issuer and of every parent CA.
func signBelow(tmpl *x509.Certificate, public crypto.PublicKey, issuer CA) (*x509.Certificate, error) {
	if tmpl.NotBefore.Before(issuer.Cert.NotBefore) {
		tmpl.NotBefore = issuer.Cert.NotBefore
	}
	tmpl.NotAfter = firstEnd(tmpl.NotAfter, issuer.path()...)
	tmpl.AuthorityKeyId = issuer.Cert.SubjectKeyId
	return sign(tmpl, issuer.Cert, public, issuer.Key.Signer())
}

// sign returns what was signed, read back.
func sign(tmpl, parent *x509.Certificate, public crypto.PublicKey, signer crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, public, signer)
	if err != nil {
		return nil, fmt.Errorf("sign %q: %w", tmpl.Subject.CommonName, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse the signed %q: %w", tmpl.Subject.CommonName, err)
	}
	if parent.RawSubjectPublicKeyInfo != nil { // CreateCertificate has verified what it signed, and that the signer is the parent's
		signatures.Add(signature(cert, parent))
	}
	return cert, nil
}

package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"math/big"
	"net"
	"time"
)

// ClockSkew is how far before now a certificate becomes valid, for hosts whose clock is behind.
const ClockSkew = 5 * time.Minute

// KeyPair is a certificate, the intermediates above it (leaf to root, root left out), and its key.
type KeyPair struct {
	Cert  *x509.Certificate
	Chain []*x509.Certificate
	Key   PrivateKey
}

// SelfSign makes a root CA. It sets no path length, so that a later root can be cross-signed by this
// one. The returned certificate is parsed back from what was signed.
func SelfSign(now time.Time, r Request) (KeyPair, error) {
	if err := r.Validate(); err != nil {
		return KeyPair{}, err
	}
	key, err := GenerateKey(r.Key)
	if err != nil {
		return KeyPair{}, err
	}
	tmpl, err := template(now, r, key.Public())
	if err != nil {
		return KeyPair{}, err
	}
	tmpl.IsCA = true
	tmpl.MaxPathLen = -1
	tmpl.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature
	// The SKI is pinned here: Go's own choice of digest changed in 1.25, and a CA re-signed with the
	// same key must keep it, or OpenSSL no longer finds the issuer.
	tmpl.SubjectKeyId, err = subjectKeyID(key.Public())
	if err != nil {
		return KeyPair{}, err
	}
	tmpl.AuthorityKeyId = tmpl.SubjectKeyId
	cert, err := sign(tmpl, tmpl, key.Public(), key.Signer())
	if err != nil {
		return KeyPair{}, err
	}
	return KeyPair{Cert: cert, Key: key}, nil
}

// Issue makes a leaf with a new key, signed by issuer. Its life is cut to what the issuer's chain has
// left. A subject equal to the issuer's is refused: OpenSSL would take the leaf for a root (error 18).
func Issue(now time.Time, r Request, issuer KeyPair) (KeyPair, error) {
	if err := r.Validate(); err != nil {
		return KeyPair{}, err
	}
	if len(r.Usages) == 0 {
		return KeyPair{}, fmt.Errorf("%q asks for no key usage: its certificate would be good for any", r.Subject)
	}
	if r.Subject.Equal(SubjectOf(issuer.Cert)) {
		return KeyPair{}, &SubjectEqualsIssuerError{Subject: r.Subject}
	}
	key, err := GenerateKey(r.Key)
	if err != nil {
		return KeyPair{}, err
	}
	tmpl, err := template(now, r, key.Public())
	if err != nil {
		return KeyPair{}, err
	}
	if tmpl.NotBefore.Before(issuer.Cert.NotBefore) {
		tmpl.NotBefore = issuer.Cert.NotBefore
	}
	tmpl.NotAfter = Expiry(now, r.Validity, issuer)
	tmpl.AuthorityKeyId = issuer.Cert.SubjectKeyId
	cert, err := sign(tmpl, issuer.Cert, key.Public(), issuer.Key.Signer())
	if err != nil {
		return KeyPair{}, err
	}
	pair := KeyPair{Cert: cert, Key: key}
	if !SignedBy(issuer.Cert, issuer.Cert) { // the issuer is an intermediate: peers need it to reach the root
		pair.Chain = append([]*x509.Certificate{issuer.Cert}, issuer.Chain...)
	}
	return pair, nil
}

// Expiry is the end of a leaf that is asked for now: never after any CA above it, because a leaf under
// an expired CA does not verify whatever it says itself.
func Expiry(now time.Time, validity time.Duration, issuer KeyPair) time.Time {
	end := now.UTC().Add(validity).Truncate(time.Second)
	for _, ca := range append([]*x509.Certificate{issuer.Cert}, issuer.Chain...) {
		if ca.NotAfter.Before(end) {
			end = ca.NotAfter
		}
	}
	return end
}

// SubjectEqualsIssuerError says that a leaf asks for its CA's own name.
type SubjectEqualsIssuerError struct{ Subject Subject }

func (e *SubjectEqualsIssuerError) Error() string {
	return fmt.Sprintf("the subject %q is the CA's own: OpenSSL would take the certificate for self-signed (error 18); "+
		"give the CA or this certificate another common name", e.Subject)
}

func template(now time.Time, r Request, public crypto.PublicKey) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("draw a serial number: %w", err)
	}
	now = now.UTC().Truncate(time.Second) // X.509 times have whole seconds
	tmpl := &x509.Certificate{
		SerialNumber:          serial.Add(serial, big.NewInt(1)), // positive (RFC 5280 §4.1.2.2)
		Subject:               r.Subject.Name(),
		NotBefore:             now.Add(-ClockSkew),
		NotAfter:              now.Add(r.Validity).Truncate(time.Second),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true,
		DNSNames:              r.SANs.DNSNames,
	}
	if SpecOf(public).Algorithm == RSA { // key transport exists for RSA alone
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

func sign(tmpl, parent *x509.Certificate, public crypto.PublicKey, signer crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, public, signer)
	if err != nil {
		return nil, fmt.Errorf("sign %q: %w", tmpl.Subject.CommonName, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse the signed %q: %w", tmpl.Subject.CommonName, err)
	}
	return cert, nil
}

// subjectKeyID is the leftmost 160 bits of the SHA-256 of the public key's bits (RFC 7093 §2, method 1).
func subjectKeyID(public crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("encode public key: %w", err)
	}
	var spki struct {
		Algorithm asn1.RawValue
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &spki); err != nil {
		return nil, fmt.Errorf("decode public key: %w", err)
	}
	sum := sha256.Sum256(spki.Key.Bytes)
	return sum[:20], nil
}

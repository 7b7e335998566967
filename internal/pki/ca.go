package pki

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"time"
)

// SelfSign makes a root CA. It sets no path length, so that a later root can be cross-signed by this
// one. The returned certificate is parsed back from what was signed.
func SelfSign(now time.Time, r CertificateSpec) (CA, error) { return SelfSignWith(GenerateKey, now, r) }

// SelfSignWith is SelfSign with a key from elsewhere.
func SelfSignWith(keys KeySource, now time.Time, r CertificateSpec) (CA, error) {
	key, tmpl, err := newCA(keys, now, r)
	if err != nil {
		return CA{}, err
	}
	tmpl.AuthorityKeyId = tmpl.SubjectKeyId
	cert, err := sign(tmpl, tmpl, key.Public(), key.Signer())
	if err != nil {
		return CA{}, err
	}
	return CA{Cert: cert, Key: key}, nil
}

// SignCA makes an intermediate CA, signed by parent, with a key from keys, which is asked for once nothing else is in the way. Its
// life is cut to what the parent's chain has left. It sets no path length of its own: the lengths above it hold for what it signs too. Refused are a
// parent that may not sign a CA, and the name of a parent CA (SubjectEqualsIssuerError).
func SignCA(keys KeySource, now time.Time, r CertificateSpec, parent CA) (CA, error) {
	if err := maySignCA(now, parent); err != nil {
		return CA{}, err
	}
	for _, ca := range parent.path() {
		if r.Subject.Equal(SubjectOf(ca)) {
			return CA{}, &SubjectEqualsIssuerError{Subject: r.Subject}
		}
	}
	key, tmpl, err := newCA(keys, now, r)
	if err != nil {
		return CA{}, err
	}
	cert, err := signBelow(tmpl, key.Public(), parent)
	if err != nil {
		return CA{}, err
	}
	ca := CA{Cert: cert, Key: key, Root: parent.Anchor(), CrossSigned: parent.CrossSigned}
	if !isRoot(parent.Cert) {
		ca.Chain = append([]*x509.Certificate{parent.Cert}, parent.Chain...)
	}
	return ca, nil
}

// RenewRoot makes a root's certificate anew for the same key: with another serial number and life, and all else
// copied from the old one. The subject and the SKI are copied byte by byte, whoever made them, because they are
// how verifiers find the issuer: so the leaves of either certificate verify below the other. The old one may have expired.
func RenewRoot(now time.Time, validity time.Duration, old CA) (CA, error) {
	if err := checkValidity(validity); err != nil {
		return CA{}, err
	}
	if !isRoot(old.Cert) {
		return CA{}, fmt.Errorf("%q is not a root: only the CA that signed it can renew it", old.Cert.Subject)
	}
	tmpl, err := sameCA(old.Cert)
	if err != nil {
		return CA{}, err
	}
	tmpl.NotBefore, tmpl.NotAfter = life(now, validity)
	tmpl.AuthorityKeyId = tmpl.SubjectKeyId
	cert, err := sign(tmpl, tmpl, old.Cert.PublicKey, old.Key.Signer())
	if err != nil {
		return CA{}, err
	}
	return CA{Cert: cert, Key: old.Key, CrossSigned: old.CrossSigned}, nil
}

// CrossSign makes a cross-signed certificate: the CA that of certifies, certified by another one as well. Who trusts only that other
// CA's root verifies what the first signs, if it carries that (CA.CrossSigned). It lives as long as
// both do. Refused are a CA that may not sign another one, and one with the same key: it needs none.
func CrossSign(now time.Time, of *x509.Certificate, by CA) (*x509.Certificate, error) {
	if err := maySign(now, of, 0); err != nil {
		return nil, fmt.Errorf("%q %w", of.Subject, err)
	}
	if err := maySignCA(now, by); err != nil {
		return nil, err
	}
	if SamePublicKey(of.PublicKey, by.Cert.PublicKey) {
		return nil, fmt.Errorf("%q and %q have the same key: who trusts one verifies what the other signs", of.Subject, by.Cert.Subject)
	}
	tmpl, err := sameCA(of)
	if err != nil {
		return nil, err
	}
	tmpl.NotBefore, _ = life(now, 0)
	if tmpl.NotBefore.Before(of.NotBefore) {
		tmpl.NotBefore = of.NotBefore
	}
	return signBelow(tmpl, of.PublicKey, by)
}

// newCA takes a key and says what is to be signed for it.
func newCA(keys KeySource, now time.Time, r CertificateSpec) (PrivateKey, *x509.Certificate, error) {
	if err := r.Validate(); err != nil {
		return PrivateKey{}, nil, err
	}
	key, err := keys(r.Key)
	if err != nil {
		return PrivateKey{}, nil, err
	}
	tmpl, err := template(now, r, key.Public())
	if err != nil {
		return PrivateKey{}, nil, err
	}
	tmpl.IsCA = true
	tmpl.MaxPathLen = -1 // none
	tmpl.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature
	// The SKI is pinned here: Go's own choice of digest changed in 1.25, and a CA re-signed with the
	// same key must keep it, or OpenSSL no longer finds the issuer.
	tmpl.SubjectKeyId, err = subjectKeyID(key.Public())
	return key, tmpl, err
}

// sameCA is what is to be signed for a CA that has a certificate already: that certificate, with its restrictions,
// under a new serial number. Where to ask for its signer and its revocation is left out: that was its old signer's.
func sameCA(cert *x509.Certificate) (*x509.Certificate, error) {
	if len(cert.SubjectKeyId) == 0 {
		return nil, fmt.Errorf("%q has no subject key identifier: OpenSSL could not tell its certificates apart", cert.Subject)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	tmpl := *cert
	tmpl.SerialNumber = serial
	tmpl.SignatureAlgorithm = x509.UnknownSignatureAlgorithm // the one that suits the key that signs now
	tmpl.OCSPServer, tmpl.IssuingCertificateURL, tmpl.CRLDistributionPoints = nil, nil, nil
	return &tmpl, nil
}

// maySignCA says why a CA may not sign a CA, itself or because of a parent CA.
func maySignCA(now time.Time, p CA) error {
	for i, ca := range p.path() {
		if err := maySign(now, ca, i+1); err != nil {
			return fmt.Errorf("%q cannot sign a CA: %q %w", p.Cert.Subject, ca.Subject, err)
		}
	}
	return nil
}

// maySign says why a certificate is not that of a CA which may sign now, with a number of CAs below it. The error
// continues a sentence that begins with the certificate.
func maySign(now time.Time, cert *x509.Certificate, below int) error {
	switch {
	case !cert.BasicConstraintsValid || !cert.IsCA:
		return errors.New("is not the certificate of a CA: make one with basicConstraints=critical,CA:TRUE")
	case cert.KeyUsage&x509.KeyUsageCertSign == 0:
		return errors.New("does not have the key usage keyCertSign: make one with keyUsage=critical,keyCertSign,cRLSign")
	case now.Before(cert.NotBefore):
		return fmt.Errorf("is not valid before %s: wait, or set the clock right", cert.NotBefore.Format(time.RFC3339))
	case now.After(cert.NotAfter):
		return fmt.Errorf("expired at %s: renew it", cert.NotAfter.Format(time.RFC3339))
	case cert.MaxPathLen >= 0 && cert.MaxPathLen < below:
		return fmt.Errorf("allows a path length of %d, and %d CAs are to stand below it: make one with a greater pathlen or none",
			cert.MaxPathLen, below)
	default:
		return nil
	}
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

package pki

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"

	"clusterpki.io/operator/internal/pki/verified"
)

// signatures are those that were found good, which they remain for ever: a CA's own is asked for with each of its leaves, and
// a leaf's at each visit.
var signatures verified.Set

// SignedBy says whether issuer's key signed the certificate. Names are not compared: they prove nothing.
func SignedBy(cert, issuer *x509.Certificate) bool {
	fact := signature(cert, issuer)
	if signatures.Holds(fact) {
		return true
	}
	if issuer.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature) != nil {
		return false
	}
	signatures.Add(fact)
	return true
}

// SelfSigned says whether a root's own key has signed it, be it by SHA-1, which crypto/x509 verifies where it is asked for one signature. By MD5 and
// what it does not know nobody has, as far as can be said. Verifiers do not ask: whoever has a root's public key can make a certificate that they take
// for it, with other dates.
func SelfSigned(cert *x509.Certificate) bool {
	return bytes.Equal(cert.RawSubject, cert.RawIssuer) && SignedBy(cert, cert)
}

// signature identifies what was signed, by which key, and the signature.
func signature(cert, issuer *x509.Certificate) verified.Digest {
	h := sha256.New()
	for _, part := range [][]byte{cert.RawTBSCertificate, issuer.RawSubjectPublicKeyInfo, cert.Signature} { // the first two are DER, which says where it ends
		h.Write(part)
	}
	return verified.Digest(h.Sum(nil))
}

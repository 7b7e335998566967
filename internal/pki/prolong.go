package pki

import (
	"bytes"
	"crypto/x509"
	"slices"
)

// Prolongs says whether a CA is the same one as before with later dates: every key, subject and subject key identifier of
// its chain is one of the chain in force, every certificate ends no earlier, and none constrains more. What trusts the one
// verifies what the other signs.
func Prolongs(old, next CA) bool {
	if old.Cert == nil || next.Cert == nil || !same(old.Cert, next.Cert) {
		return false
	}
	before := old.path()
	for _, cert := range next.path() {
		i := slices.IndexFunc(before, func(o *x509.Certificate) bool { return same(o, cert) })
		if i < 0 || cert.NotAfter.Before(before[i].NotAfter) || constrains(before[i], cert) {
			return false
		}
	}
	return len(next.path()) == len(before)
}

// same says whether two certificates are of one CA.
func same(a, b *x509.Certificate) bool {
	return bytes.Equal(a.RawSubjectPublicKeyInfo, b.RawSubjectPublicKeyInfo) && bytes.Equal(a.RawSubject, b.RawSubject) &&
		bytes.Equal(a.SubjectKeyId, b.SubjectKeyId)
}

// constrains says whether a certificate forbids what the one before allows.
func constrains(before, cert *x509.Certificate) bool {
	shorter := cert.MaxPathLen >= 0 && (before.MaxPathLen < 0 || cert.MaxPathLen < before.MaxPathLen)
	usages := cert.KeyUsage&before.KeyUsage != before.KeyUsage
	extended := len(cert.ExtKeyUsage)+len(cert.UnknownExtKeyUsage) > 0 && !slices.Equal(cert.ExtKeyUsage, before.ExtKeyUsage)
	return shorter || usages || extended
}

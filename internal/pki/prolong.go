package pki

import (
	"bytes"
	"crypto/x509"
	"slices"
	"time"
)

// Renewed says whether a CA is the same one as before with later dates: every key, subject and subject key identifier of its
// chain is one of the chain in force, every certificate ends no earlier, none constrains more, and a root that is another certificate has signed itself.
// Then what trusts the one verifies what the other signs, and whoever has the keys wants it so.
func Renewed(old, next CA) bool {
	if old.Cert == nil || !same(old.Cert, next.Cert) || len(next.path()) != len(old.path()) {
		return false
	}
	before := old.path()
	for _, cert := range next.path() {
		i := slices.IndexFunc(before, func(o *x509.Certificate) bool { return same(o, cert) })
		if i < 0 || cert.NotAfter.Before(before[i].NotAfter) || constrains(before[i], cert) || isRoot(cert) && !cert.Equal(before[i]) && !SelfSigned(cert) {
			return false
		}
	}
	return true
}

// ChainDigest tells one chain from another, root and all: as BundleDigest, of the CA's certificate and those above it.
func (c CA) ChainDigest() string { return BundleDigest(c.path()) }

// End is when the first certificate of the CA's chain ends: nothing that it signed verifies after that.
func (c CA) End() time.Time { return firstEnd(c.Cert.NotAfter, c.path()...) }

// same says whether two certificates are of one CA.
func same(a, b *x509.Certificate) bool {
	return bytes.Equal(a.RawSubjectPublicKeyInfo, b.RawSubjectPublicKeyInfo) && bytes.Equal(a.RawSubject, b.RawSubject) &&
		bytes.Equal(a.SubjectKeyId, b.SubjectKeyId)
}

// constrains says whether a certificate forbids what the one before allows.
func constrains(before, cert *x509.Certificate) bool {
	shorter := cert.MaxPathLen >= 0 && (before.MaxPathLen < 0 || cert.MaxPathLen < before.MaxPathLen)
	usages := cert.KeyUsage&before.KeyUsage != before.KeyUsage
	return shorter || usages || forbidsUsage(before, cert)
}

// forbidsUsage says whether the extended key usages of a certificate lack one of those before. None at all allow every one.
func forbidsUsage(before, cert *x509.Certificate) bool {
	restricted := func(c *x509.Certificate) bool { return len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) > 0 }
	if !restricted(cert) {
		return false
	}
	return !restricted(before) ||
		slices.ContainsFunc(before.ExtKeyUsage, func(u x509.ExtKeyUsage) bool { return !slices.Contains(cert.ExtKeyUsage, u) }) ||
		len(cert.UnknownExtKeyUsage) < len(before.UnknownExtKeyUsage)
}

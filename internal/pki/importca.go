package pki

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// CheckCA reads a CA that was made elsewhere. It is accepted if and only if OpenSSL, strict and otherwise, and Go verify
// what it signs, for clients and for servers, of whatever names. certPEM is its certificate, followed by those above it in
// order up to and including the root; a root stands alone. keyPEM is its key, unencrypted. The root above an intermediate
// becomes Root, not part of Chain. The error is the first thing that is wrong, and says what to change.
func CheckCA(now time.Time, certPEM, keyPEM []byte) (CA, error) {
	certs, err := certificates(ReadPEM(certPEM)) // whatever its form: what is kept is written anew
	if err != nil {
		return CA{}, err
	}
	key, err := ParsePrivateKey(keyPEM)
	if err != nil {
		return CA{}, err
	}
	switch i := slices.IndexFunc(certs, func(c *x509.Certificate) bool { return SamePublicKey(c.PublicKey, key.Public()) }); {
	case i < 0:
		return CA{}, fmt.Errorf("%w: store the two together", ErrKeyMismatch)
	case i > 0:
		return CA{}, fmt.Errorf("the private key is that of certificate %d: put that one first, then each one's signer", i+1)
	}
	if err := checkChain(now, certs); err != nil {
		return CA{}, err
	}
	pair := CA{Cert: certs[0], Key: key}
	if last := len(certs) - 1; last > 0 {
		pair.Chain, pair.Root = certs[1:last:last], certs[last]
	}
	if err := trial(now, pair); err != nil {
		return CA{}, err
	}
	return pair, nil
}

// checkChain judges certificates from a CA's own up to its root.
func checkChain(now time.Time, certs []*x509.Certificate) error {
	named := func(i int, fault string) error {
		return fmt.Errorf("certificate %d of %d, %q, %s", i+1, len(certs), certs[i].Subject, fault) //nolint:err113 // it is for a person
	}
	for i, cert := range certs {
		p := place{cert: cert, below: i, root: i == len(certs)-1}
		fault := notOfACA(p)
		if fault == "" {
			fault = keyStrength(p) // before a signature is verified: that may take long with a key of any size
		}
		if fault != "" {
			return named(i, fault)
		}
	}
	for i := range certs {
		if fault := outOfOrder(certs, i); fault != "" {
			return named(i, fault)
		}
	}
	for i, cert := range certs {
		p := place{cert: cert, signer: cert, below: i, root: i == len(certs)-1}
		if !p.root {
			p.signer = certs[i+1]
		}
		if fault := judge(now, p); fault != "" {
			return named(i, fault)
		}
	}
	return nil
}

// notOfACA says why a certificate is no CA's. One that says so itself is no CA; one that says nothing may have been meant to be.
func notOfACA(p place) string {
	switch {
	case p.cert.BasicConstraintsValid && p.cert.IsCA:
		return ""
	case p.cert.BasicConstraintsValid:
		return "is not the certificate of a CA, and says so (basicConstraints=CA:FALSE): use that of the CA"
	default:
		p.root = bytes.Equal(p.cert.RawSubject, p.cert.RawIssuer)
		return "is not the certificate of a CA: it has no basicConstraints" + anew(p)
	}
}

// outOfOrder says why a certificate is not signed by the next one, or the last one is no root.
func outOfOrder(certs []*x509.Certificate, i int) string {
	cert, last := certs[i], i == len(certs)-1
	self := SelfSigned(cert) // what names itself wrongly is told by the rules
	switch {
	case (self || isRoot(cert)) && !last:
		return "is a root, above which there is nothing: remove what follows it"
	case last && (self || isRoot(cert)):
		return ""
	case last:
		return fmt.Sprintf("is signed by %q, which is missing: append it and what is above it, up to the root", cert.Issuer)
	case !bytes.Equal(cert.RawIssuer, certs[i+1].RawSubject) || !SignedBy(cert, certs[i+1]):
		return fmt.Sprintf("is not signed by the next one, %q: let each be followed by its signer, %q by name", certs[i+1].Subject, cert.Issuer)
	default:
		return ""
	}
}

// trial signs something that goes nowhere and verifies it, for what the rules did not think of: extensions and policies.
func trial(now time.Time, ca CA) error {
	for _, usage := range []Usage{ServerAuth, ClientAuth} {
		leaf, err := Issue(now, CertificateSpec{
			Subject: Subject{CommonName: "clusterpki.io/trial"}, Usages: []Usage{usage}, Key: KeySpec{Algorithm: ECDSA, Size: 256}, Validity: MinValidity,
		}, ca)
		if err == nil {
			err = verifyFor(now, leaf.Cert, leaf.Chain, []*x509.Certificate{ca.Anchor()}, extKeyUsage[usage])
		}
		if err != nil {
			return fmt.Errorf("what %q signs does not verify: %w", ca.Cert.Subject, err)
		}
	}
	return nil
}

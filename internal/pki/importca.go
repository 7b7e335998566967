package pki

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"
)

// CheckCA reads a CA that was made elsewhere and checks that what it signs will verify, in Go and in OpenSSL.
// certPEM is its certificate, followed by those above it in order up to and including the root; a root stands
// alone. keyPEM is its key, unencrypted. Text between the blocks does not count. The root above an intermediate
// becomes Root, not part of Chain. The error is the first thing that is wrong, and says what to change.
func CheckCA(now time.Time, certPEM, keyPEM []byte) (CA, error) {
	certs, err := ParseCertificates(certPEM)
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
	for i, cert := range certs {
		if err := checkCA(now, cert, i); err != nil {
			return CA{}, fmt.Errorf("certificate %d of %d, %q, %w", i+1, len(certs), cert.Subject, err)
		}
	}
	if err := checkOrder(certs); err != nil {
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

// checkCA looks at one certificate by itself; below is the number of CAs that stand below it.
func checkCA(now time.Time, cert *x509.Certificate, below int) error {
	if err := maySign(now, cert, below); err != nil {
		return err
	}
	if len(cert.SubjectKeyId) == 0 {
		return errors.New("has no subject key identifier, by which OpenSSL tells CAs apart: make one with subjectKeyIdentifier=hash")
	}
	if len(cert.SerialNumber.Bytes()) > 20 {
		return errors.New("has a serial number of more than 20 octets, which RFC 5280 forbids (section 4.1.2.2): make one with a shorter number")
	}
	if err := checkStrength(cert); err != nil {
		return err
	}
	if slices.ContainsFunc(cert.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(nameConstraints) }) {
		return errors.New("has name constraints, which can forbid names and addresses that a cluster needs: use a CA without them")
	}
	// Go takes the usage "any" for both; OpenSSL does not, on a CA (error 26).
	for _, u := range []Usage{ClientAuth, ServerAuth} {
		if len(cert.ExtKeyUsage)+len(cert.UnknownExtKeyUsage) > 0 && !slices.Contains(cert.ExtKeyUsage, extKeyUsage[u]) {
			return fmt.Errorf("forbids %s by its extended key usages: make one that has none, or both clientAuth and serverAuth", u)
		}
	}
	return nil
}

// maxRSABits is the longest RSA key that crypto/tls takes in a chain. It bounds how long a signature takes to be verified, too.
const maxRSABits = 8192

func checkStrength(cert *x509.Certificate) error {
	switch spec := SpecOf(cert.PublicKey); {
	case spec == KeySpec{}:
		return errors.New("has a kind of key that this operator does not know: use RSA, ECDSA or Ed25519")
	case spec.Algorithm == RSA && spec.Size < 2048:
		return fmt.Errorf("has a weak key, %s: use 2048 bits or more", spec)
	case spec.Algorithm == RSA && spec.Size > maxRSABits:
		return fmt.Errorf("has a key of %d bits, and programs written in Go, as Kubernetes is, refuse RSA keys of more than %d bits: "+
			"use a shorter one", spec.Size, maxRSABits)
	case spec.Algorithm == ECDSA && spec.Size < 256:
		return fmt.Errorf("has a weak key, %s: use P-256, P-384 or P-521", spec)
	}
	switch cert.SignatureAlgorithm {
	case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
		return fmt.Errorf("is signed with %s, which verifiers refuse: have it signed again with SHA-256 or better", cert.SignatureAlgorithm)
	default:
		return nil
	}
}

// checkOrder says whether each certificate is signed by the next one and the last one by itself.
func checkOrder(certs []*x509.Certificate) error {
	for i, cert := range certs {
		name := fmt.Sprintf("certificate %d of %d, %q,", i+1, len(certs), cert.Subject)
		last := i == len(certs)-1
		signer := cert
		switch {
		case isRoot(cert) && !last:
			return fmt.Errorf("%s is a root, above which there is nothing: remove what follows it", name)
		case !isRoot(cert) && last:
			return fmt.Errorf("%s is signed by %q, which is missing: append it and what is above it, up to the root", name, cert.Issuer)
		case !last:
			signer = certs[i+1]
		}
		if !bytes.Equal(cert.RawIssuer, signer.RawSubject) || !SignedBy(cert, signer) {
			return fmt.Errorf("%s is not signed by the next one, %q: let each be followed by its signer, %q by name", name, signer.Subject, cert.Issuer)
		}
		if len(cert.AuthorityKeyId) > 0 && !bytes.Equal(cert.AuthorityKeyId, signer.SubjectKeyId) {
			return fmt.Errorf("%s names its signer's key as %X, which %q calls %X, so that OpenSSL does not find it: "+
				"use the signer's certificate with that subject key identifier", name, cert.AuthorityKeyId, signer.Subject, signer.SubjectKeyId)
		}
	}
	return nil
}

// trial signs something that goes nowhere and verifies it, for what the other checks did not think of.
func trial(now time.Time, ca CA) error {
	leaf, err := Issue(now, CertificateSpec{
		Subject: Subject{CommonName: "clusterpki.io/trial"}, Usages: []Usage{ServerAuth},
		Key: KeySpec{Algorithm: ECDSA, Size: 256}, Validity: MinValidity,
	}, ca)
	if err == nil {
		err = leaf.Verify(now, []*x509.Certificate{ca.Anchor()})
	}
	if err != nil {
		return fmt.Errorf("what %q signs does not verify: %w", ca.Cert.Subject, err)
	}
	return nil
}

// nameConstraints is the extension of RFC 5280 §4.2.1.10.
var nameConstraints = asn1.ObjectIdentifier{2, 5, 29, 30}

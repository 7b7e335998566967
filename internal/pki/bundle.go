package pki

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
)

// MaxBundleBytes bounds a trust bundle well below the 1 MiB that an object may hold.
const MaxBundleBytes = 512 << 10

// Bundle renders a trust bundle: each certificate once, in the order given, certificates only, never
// empty.
func Bundle(certs []*x509.Certificate) ([]byte, error) {
	var unique []*x509.Certificate
	for _, c := range certs {
		if !slices.ContainsFunc(unique, c.Equal) {
			unique = append(unique, c)
		}
	}
	if len(unique) == 0 {
		return nil, errors.New("a trust bundle must not be empty")
	}
	text := EncodeCertificates(unique...)
	if len(text) > MaxBundleBytes {
		return nil, fmt.Errorf("the trust bundle has %d bytes, more than %d: remove certificates that are no longer needed", len(text), MaxBundleBytes)
	}
	return text, nil
}

// BundleDigest tells one set of certificates from another, whatever their order: the SHA-256, in lower-case hexadecimal, of
// the sorted SHA-256 sums of the DER certificates, each once.
func BundleDigest(certs []*x509.Certificate) string {
	sums := make([]string, 0, len(certs))
	for _, c := range certs {
		sum := sha256.Sum256(c.Raw)
		sums = append(sums, string(sum[:]))
	}
	slices.Sort(sums)
	h := sha256.New()
	for _, sum := range slices.Compact(sums) {
		h.Write([]byte(sum))
	}
	return hex.EncodeToString(h.Sum(nil))
}

package pki

import (
	"crypto/x509"
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

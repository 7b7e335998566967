package authority

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"time"

	"clusterpki.io/operator/internal/pki"
)

// Signer signs by the key of one generation of a CA, wherever that key is kept. Who decides what is signed never holds the key.
type Signer interface {
	// Sign issues a certificate for a public key.
	Sign(ctx context.Context, now time.Time, spec pki.CertificateSpec, public crypto.PublicKey) (pki.Leaf, error)
	// SignCA makes a subordinate CA, with a new key from keys.
	SignCA(ctx context.Context, now time.Time, spec pki.CertificateSpec, keys pki.KeySource) (pki.CA, error)
}

// Signer is that of the active generation, by the key that was read with the record. The error says why there is none.
func (r *Record) Signer() (Signer, error) {
	if r.WithoutKeys {
		return nil, errors.New("the key of a CA is not read from a cache")
	}
	ca, err := r.Active()
	if err != nil {
		return nil, err
	}
	return storedKey{ca}, nil
}

// storedKey signs by a key of the authority namespace.
type storedKey struct{ ca pki.CA }

// Sign implements Signer.
func (k storedKey) Sign(ctx context.Context, now time.Time, spec pki.CertificateSpec, public crypto.PublicKey) (pki.Leaf, error) {
	if err := ctx.Err(); err != nil {
		return pki.Leaf{}, fmt.Errorf("sign %q: %w", spec.Subject.CommonName, err)
	}
	return pki.IssueFor(now, spec, public, k.ca)
}

// SignCA implements Signer.
func (k storedKey) SignCA(ctx context.Context, now time.Time, spec pki.CertificateSpec, keys pki.KeySource) (pki.CA, error) {
	if err := ctx.Err(); err != nil {
		return pki.CA{}, fmt.Errorf("sign %q: %w", spec.Subject.CommonName, err)
	}
	return pki.SignCAWith(keys, now, spec, k.ca)
}

package authority

import (
	"context"
	"crypto"
	"crypto/x509"
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
	// Renew makes another certificate of the same root, with the same key.
	Renew(ctx context.Context, now time.Time, validity time.Duration) (pki.CA, error)
	// CrossSign makes a certificate that leads from another root to this one.
	CrossSign(ctx context.Context, now time.Time, of *x509.Certificate) (*x509.Certificate, error)
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
	if err := wanted(ctx, spec.Subject.CommonName); err != nil {
		return pki.Leaf{}, err
	}
	return pki.IssueFor(now, spec, public, k.ca)
}

// SignCA implements Signer.
func (k storedKey) SignCA(ctx context.Context, now time.Time, spec pki.CertificateSpec, keys pki.KeySource) (pki.CA, error) {
	if err := wanted(ctx, spec.Subject.CommonName); err != nil {
		return pki.CA{}, err
	}
	return pki.SignCA(keys, now, spec, k.ca)
}

// Renew implements Signer.
func (k storedKey) Renew(ctx context.Context, now time.Time, validity time.Duration) (pki.CA, error) {
	if err := wanted(ctx, k.ca.Cert.Subject.CommonName); err != nil {
		return pki.CA{}, err
	}
	return pki.RenewRoot(now, validity, k.ca)
}

// CrossSign implements Signer.
func (k storedKey) CrossSign(ctx context.Context, now time.Time, of *x509.Certificate) (*x509.Certificate, error) {
	if err := wanted(ctx, of.Subject.CommonName); err != nil {
		return nil, err
	}
	return pki.CrossSign(now, of, k.ca)
}

// wanted says whether anybody waits for a signature still.
func wanted(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("sign %q: %w", name, err)
	}
	return nil
}

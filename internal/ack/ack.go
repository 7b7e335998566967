// Package ack is what an agent on a host says of one object, in the Lease that the operator made for it: which
// contents of its Secrets it has installed, and which it has seen in use. The agent writes it, signed by the key of the certificate
// that it has installed; the operator reads it, and verifies it by the public key that it recorded when it issued that certificate.
package ack

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/internal/delivery"
	"clusterpki.io/operator/internal/pki"
)

// State is what the Secrets of one object hold, or what of them a host has.
type State struct {
	// SerialNumber is that of the certificate, as `openssl x509 -serial` prints it.
	SerialNumber string `json:"serialNumber,omitempty"`
	// Contents are, by '<Secret>/<key>', the digests of what is there: of 'tls.crt' the SHA-256 of its first certificate, of a bundle
	// pki.BundleDigest, of PublicKeysKey the SHA-256 of the file. They say what is there, whoever put it there.
	Contents map[string]string `json:"contents,omitempty"`
}

// Covers says whether a host has all of some contents, and nothing else in their place. None has nothing.
func (s *State) Covers(desired State) bool {
	if s == nil {
		return false
	}
	for key, digest := range desired.Contents {
		if !s.Has(key, digest) {
			return false
		}
	}
	return true
}

// Has says whether a host has contents of a digest in place of a key of a Secret.
func (s *State) Has(key, digest string) bool {
	return s != nil && digest != "" && s.Contents[key] == digest
}

// ContentKey is how a key of a Secret is called in Contents.
func ContentKey(secret, key string) string { return secret + "/" + key }

// PublicKeysKey is the key of a Secret that holds the public keys by which service account tokens are verified.
const PublicKeysKey = "sa.pub"

// bundleKeys are the keys of an object's Secrets that hold trust bundles.
var bundleKeys = []string{"ca.crt", "client-ca.crt", "requestheader-ca.crt", "apiserver-ca.crt"}

// StateOf reads what Secrets of one object hold from their bytes. tls is the one with the certificate.
func StateOf(tls *corev1.Secret, others ...*corev1.Secret) (State, error) {
	s := State{Contents: map[string]string{}}
	for i, secret := range append([]*corev1.Secret{tls}, others...) {
		if text, there := secret.Data[corev1.TLSCertKey]; there || i == 0 {
			certs, err := pki.ParseCertificates(text)
			if err != nil {
				return State{}, fmt.Errorf("in Secret %q: %w", secret.Name, err)
			}
			s.Contents[ContentKey(secret.Name, corev1.TLSCertKey)] = pki.FingerprintOf(certs[0])
			if i == 0 {
				s.SerialNumber = pki.SerialOf(certs[0])
			}
		}
		if text, there := secret.Data[PublicKeysKey]; there && i > 0 {
			s.Contents[ContentKey(secret.Name, PublicKeysKey)] = delivery.DigestOf(text)
		}
		for _, key := range bundleKeys {
			text, there := secret.Data[key]
			if !there {
				continue
			}
			certs, err := pki.ParseCertificates(text)
			if err != nil {
				return State{}, fmt.Errorf("in Secret %q: %s: %w", secret.Name, key, err)
			}
			s.Contents[ContentKey(secret.Name, key)] = pki.BundleDigest(certs)
		}
	}
	return s, nil
}

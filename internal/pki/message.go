package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
)

// SignMessage signs a message, in a context: a text that no other use of the same key has, so that what is signed here can be
// taken for nothing else, such as a part of a TLS handshake. RSA keys sign by RSASSA-PSS (RFC 8017) with SHA-256, ECDSA keys
// SHA-256 in ASN.1, Ed25519 keys the message itself (RFC 8032).
func SignMessage(key PrivateKey, context string, message []byte) ([]byte, error) {
	text := inContext(context, message)
	digest := sha256.Sum256(text)
	var signature []byte
	var err error
	switch public := key.Public().(type) {
	case *rsa.PublicKey:
		signature, err = key.Signer().Sign(rand.Reader, digest[:], pssOptions())
	case *ecdsa.PublicKey:
		signature, err = key.Signer().Sign(rand.Reader, digest[:], crypto.SHA256)
	case ed25519.PublicKey:
		signature, err = key.Signer().Sign(rand.Reader, text, crypto.Hash(0))
	default:
		err = fmt.Errorf("a %T signs no message", public)
	}
	if err != nil {
		return nil, fmt.Errorf("sign a message: %w", err)
	}
	return signature, nil
}

// VerifyMessage says whether the holder of a key signed a message in a context.
func VerifyMessage(key crypto.PublicKey, context string, message, signature []byte) bool {
	text := inContext(context, message)
	digest := sha256.Sum256(text)
	switch key := key.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPSS(key, crypto.SHA256, digest[:], signature, pssOptions()) == nil
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(key, digest[:], signature)
	case ed25519.PublicKey:
		return ed25519.Verify(key, text, signature)
	default:
		return false
	}
}

func pssOptions() *rsa.PSSOptions {
	return &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
}

// inContext is what is signed. No context holds a NUL, so that none is the beginning of another one with its message.
func inContext(context string, message []byte) []byte {
	return append(append([]byte(context), 0), message...)
}

// MaxPublicKey bounds an encoded public key, in bytes: one of RSA with 16384 bits has 2.1 KiB.
const MaxPublicKey = 4 << 10

// EncodePublicKey is a public key as a SubjectPublicKeyInfo (RFC 5280 §4.1.2.7), in DER.
func EncodePublicKey(key crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode a public key: %w", err)
	}
	return der, nil
}

// DecodePublicKey reads a SubjectPublicKeyInfo.
func DecodePublicKey(der []byte) (crypto.PublicKey, error) {
	if len(der) > MaxPublicKey {
		return nil, fmt.Errorf("the public key has %d bytes, more than %d", len(der), MaxPublicKey)
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, errors.New("malformed public key")
	}
	return key, nil
}

// PublicKeyDigest is the SHA-256 of a public key's SubjectPublicKeyInfo, in hexadecimal: what
// `openssl pkey -pubout -outform DER | sha256sum` prints. It is "" for what is no public key.
func PublicKeyDigest(key crypto.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

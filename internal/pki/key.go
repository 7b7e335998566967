package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// Algorithm names a public key algorithm.
type Algorithm string

// The algorithms that Kubernetes components accept in certificates.
const (
	RSA     Algorithm = "RSA"
	ECDSA   Algorithm = "ECDSA"
	Ed25519 Algorithm = "Ed25519"
)

// KeySpec says what kind of key to generate.
type KeySpec struct {
	Algorithm Algorithm
	Size      int // RSA: modulus bits; ECDSA: curve bits; Ed25519: 0
}

// String reads as in "ECDSA-256" or "Ed25519".
func (s KeySpec) String() string {
	if s.Size == 0 {
		return string(s.Algorithm)
	}
	return fmt.Sprintf("%s-%d", s.Algorithm, s.Size)
}

// Validate says whether a key of this kind can be generated.
func (s KeySpec) Validate() error {
	switch s.Algorithm {
	case RSA:
		if s.Size == 2048 || s.Size == 3072 || s.Size == 4096 {
			return nil
		}
		return fmt.Errorf("RSA key size must be 2048, 3072 or 4096, not %d", s.Size)
	case ECDSA:
		if _, err := curve(s.Size); err != nil {
			return err
		}
		return nil
	case Ed25519:
		if s.Size == 0 {
			return nil
		}
		return fmt.Errorf("an Ed25519 key has only one size: leave it out instead of %d", s.Size)
	default:
		return fmt.Errorf("key algorithm must be RSA, ECDSA or Ed25519, not %q", s.Algorithm)
	}
}

func curve(size int) (elliptic.Curve, error) {
	switch size {
	case 256:
		return elliptic.P256(), nil
	case 384:
		return elliptic.P384(), nil
	case 521:
		return elliptic.P521(), nil
	default:
		return nil, fmt.Errorf("ECDSA key size must be 256, 384 or 521, not %d", size)
	}
}

// PrivateKey is a private key that cannot be printed by accident: its bytes are
// reachable only through Reveal and its operations through Signer. It holds a function, because
// package fmt prints the unexported fields of a struct within a struct, and prints functions as addresses.
type PrivateKey struct{ signer func() crypto.Signer }

func holding(signer crypto.Signer) PrivateKey {
	return PrivateKey{signer: func() crypto.Signer { return signer }}
}

// KeySource is where new keys come from. Its errors are returned as they are.
type KeySource func(KeySpec) (PrivateKey, error)

// ErrKeyPending is of a source that makes a key in the background: whoever asks again gets it.
var ErrKeyPending = errors.New("a key is being made")

// GenerateKey makes a new key from the system's random source.
func GenerateKey(spec KeySpec) (PrivateKey, error) {
	if err := spec.Validate(); err != nil {
		return PrivateKey{}, err
	}
	var (
		signer crypto.Signer
		err    error
	)
	switch spec.Algorithm {
	case RSA:
		signer, err = rsa.GenerateKey(rand.Reader, spec.Size)
	case ECDSA:
		c, cerr := curve(spec.Size)
		if cerr != nil {
			return PrivateKey{}, cerr
		}
		signer, err = ecdsa.GenerateKey(c, rand.Reader)
	case Ed25519:
		_, signer, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		return PrivateKey{}, fmt.Errorf("generate %s key: %w", spec, err)
	}
	return holding(signer), nil
}

// maxKeyText bounds the text of a private key, in bytes: how long an RSA key takes to be checked grows with the square of its
// size. One of 8192 bits has 6.4 KiB.
const maxKeyText = 8 << 10

// ParsePrivateKey reads the private key of a PEM text: PKCS #8, SEC 1 or PKCS #1, unencrypted. There must be one; other blocks
// may stand beside it. Its errors never quote the text.
func ParsePrivateKey(text []byte) (PrivateKey, error) {
	if len(text) > maxKeyText {
		return PrivateKey{}, fmt.Errorf("the private key has more than %d KiB: use an RSA key of at most 8192 bits, or an ECDSA key", maxKeyText>>10)
	}
	read := ReadPEM(text)
	var found *Block
	for i, b := range read.Blocks {
		switch {
		case !strings.HasSuffix(b.Type, "PRIVATE KEY"): // such as EC PARAMETERS, which openssl writes before the key
		case found != nil:
			return PrivateKey{}, fmt.Errorf("blocks %d and %d (lines %d and %d) are private keys: leave the one that is meant",
				found.Number, b.Number, found.Line, b.Line)
		default:
			found = &read.Blocks[i]
		}
	}
	if err := read.FirstFault(); err != nil {
		return PrivateKey{}, err
	}
	if found == nil {
		return PrivateKey{}, fmt.Errorf("no PEM private key found%s", because(read.empty))
	}
	return keyIn(*found)
}

func because(cause string) string {
	if cause == "" {
		return ""
	}
	return ": " + cause
}

// keyIn reads the key of a block. Which of the three forms it has is looked at, and not taken from its label, which people change.
func keyIn(b Block) (PrivateKey, error) {
	if b.Type == "ENCRYPTED PRIVATE KEY" || b.Headers["DEK-Info"] != "" {
		return PrivateKey{}, errors.New("the private key is encrypted: decrypt it with `openssl pkey -in encrypted.key -out tls.key`")
	}
	for _, parse := range []func([]byte) (any, error){
		x509.ParsePKCS8PrivateKey,
		func(der []byte) (any, error) { return x509.ParseECPrivateKey(der) },
		func(der []byte) (any, error) { return x509.ParsePKCS1PrivateKey(der) },
	} {
		key, err := parse(b.Bytes)
		if err != nil { // it would quote the key
			continue
		}
		signer, ok := key.(crypto.Signer)
		if !ok {
			return PrivateKey{}, fmt.Errorf("a %T cannot sign", key)
		}
		return holding(signer), nil
	}
	return PrivateKey{}, fmt.Errorf("block %d (%s, line %d) is malformed, or holds no key of RSA, ECDSA or Ed25519", b.Number, knownKind(b.Type), b.Line)
}

// Reveal returns the key as PEM in the form that kubeadm writes and every component reads:
// PKCS #1 for RSA, SEC 1 for ECDSA, PKCS #8 for Ed25519.
func (k PrivateKey) Reveal() ([]byte, error) {
	var block pem.Block
	var err error
	switch key := k.Signer().(type) {
	case *rsa.PrivateKey:
		block = pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	case *ecdsa.PrivateKey:
		block.Type = "EC PRIVATE KEY"
		block.Bytes, err = x509.MarshalECPrivateKey(key)
	default:
		block.Type = "PRIVATE KEY"
		block.Bytes, err = x509.MarshalPKCS8PrivateKey(key)
	}
	if err != nil {
		return nil, fmt.Errorf("encode %s key: %w", SpecOf(k.Public()), err)
	}
	return pem.EncodeToMemory(&block), nil
}

// Signer gives the key's operations, nil for the zero PrivateKey.
func (k PrivateKey) Signer() crypto.Signer {
	if k.signer == nil {
		return nil
	}
	return k.signer()
}

// Public returns the public half, nil for the zero PrivateKey.
func (k PrivateKey) Public() crypto.PublicKey {
	if k.signer == nil {
		return nil
	}
	return k.signer().Public()
}

// PublicPEM returns the public half as a PKIX "PUBLIC KEY" block, the form of sa.pub.
func (k PrivateKey) PublicPEM() ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		return nil, fmt.Errorf("encode public key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

const redacted = "[REDACTED]"

// String hides the key from %v and %s.
func (PrivateKey) String() string { return redacted }

// GoString hides the key from %#v.
func (PrivateKey) GoString() string { return redacted }

// MarshalText hides the key from JSON and structured logs.
func (PrivateKey) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// SpecOf describes a public key; the zero KeySpec stands for a kind that this package does not make.
func SpecOf(public crypto.PublicKey) KeySpec {
	switch key := public.(type) {
	case *rsa.PublicKey:
		return KeySpec{Algorithm: RSA, Size: key.N.BitLen()}
	case *ecdsa.PublicKey:
		return KeySpec{Algorithm: ECDSA, Size: key.Curve.Params().BitSize}
	case ed25519.PublicKey:
		return KeySpec{Algorithm: Ed25519}
	default:
		return KeySpec{}
	}
}

// SamePublicKey says whether two public keys are equal.
func SamePublicKey(a, b crypto.PublicKey) bool {
	e, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && b != nil && e.Equal(b)
}

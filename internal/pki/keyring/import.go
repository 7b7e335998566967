package keyring

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"clusterpki.io/operator/internal/pki"
)

// MaxPublicText bounds an imported sa.pub, in bytes: eight certificates fit.
const MaxPublicText = 64 << 10

// Imported are keys that somebody else made.
type Imported struct {
	Private pki.PrivateKey     // signs
	Former  []crypto.PublicKey // are trusted too, in the order of sa.pub
}

// Import reads sa.key, the key that signs, and sa.pub, every key that is trusted, as kube-apiserver reads them: each block of sa.pub is a
// public key, a certificate or a private key, of which the public half counts. Its errors quote nothing of either.
// Where kube-apiserver passes over a block that it cannot read, nothing is imported: tokens of that key might be meant to stay valid.
func Import(private, public []byte) (Imported, error) {
	key, err := pki.ParsePrivateKey(private)
	if err == nil {
		err = usable(key.Public())
	}
	if err != nil {
		return Imported{}, fmt.Errorf("sa.key: %w", err)
	}
	keys, err := ParsePublic(public)
	if err != nil {
		return Imported{}, fmt.Errorf("sa.pub: %w", err)
	}
	out := Imported{Private: key}
	for _, k := range keys {
		if !pki.SamePublicKey(k, key.Public()) {
			out.Former = append(out.Former, k)
		}
	}
	if len(out.Former) == len(keys) {
		return Imported{}, errors.New("sa.pub does not hold the public half of sa.key: the API server would refuse the tokens that it signs")
	}
	return out, nil
}

// ParsePublic reads the public keys of sa.pub in their order, each once.
func ParsePublic(text []byte) ([]crypto.PublicKey, error) {
	if len(text) > MaxPublicText {
		return nil, fmt.Errorf("it has more than %d KiB", MaxPublicText>>10)
	}
	read := pki.ReadPEM(text)
	if err := read.FirstFault(); err != nil {
		return nil, err
	}
	var out []crypto.PublicKey
	for _, b := range read.Blocks {
		if b.Type == "EC PARAMETERS" { // which openssl writes before a key
			continue
		}
		key, err := publicIn(b)
		if err == nil {
			err = usable(key)
		}
		if err != nil {
			return nil, fmt.Errorf("block %d (line %d): %w", b.Number, b.Line, err)
		}
		if slices.ContainsFunc(out, func(k crypto.PublicKey) bool { return pki.SamePublicKey(k, key) }) {
			continue
		}
		if out = append(out, key); len(out) > MaxKeys {
			return nil, fmt.Errorf("it holds more than %d keys: remove those of which no token is left", MaxKeys)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("it holds no public key in PEM")
	}
	return out, nil
}

// publicIn reads the public key of a block. Which form it has is looked at, and not taken from its label.
func publicIn(b pki.Block) (crypto.PublicKey, error) {
	if strings.HasSuffix(b.Type, "PRIVATE KEY") {
		key, err := pki.ParsePrivateKey(pem.EncodeToMemory(&b.Block))
		return key.Public(), err
	}
	if len(b.Bytes) > MaxPublicText/MaxKeys {
		return nil, fmt.Errorf("it has more than %d KiB", MaxPublicText/MaxKeys>>10)
	}
	if key, err := x509.ParsePKIXPublicKey(b.Bytes); err == nil {
		return key, nil
	}
	if cert, err := x509.ParseCertificate(b.Bytes); err == nil {
		return cert.PublicKey, nil
	}
	if _, err := x509.ParsePKCS1PublicKey(b.Bytes); err == nil {
		return nil, errors.New("it is in PKCS #1, and kube-apiserver passes over it: remove it, since its tokens are refused already, or, to have them " +
			"accepted, convert it with `openssl rsa -RSAPublicKey_in -in old.pub -pubout`")
	}
	return nil, errors.New("it is malformed, or holds neither a public key nor a certificate")
}

package keyring

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"

	"clusterpki.io/operator/internal/pki"
)

// KeyID is the 'kid' by which Kubernetes names a key in tokens and in the JSON Web Key Set: the SHA-256 of its
// SubjectPublicKeyInfo, in base64url.
func KeyID(key crypto.PublicKey) (string, error) {
	der, err := pki.EncodePublicKey(key)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(der)
	return base64.RawURLEncoding.EncodeToString(sum[:]), nil
}

// PublicPEM is sa.pub: the keys as PKIX "PUBLIC KEY" blocks, in their order.
func PublicPEM(keys []crypto.PublicKey) ([]byte, error) {
	var out bytes.Buffer
	for _, key := range keys {
		der, err := pki.EncodePublicKey(key)
		if err != nil {
			return nil, err
		}
		out.Write(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	}
	return out.Bytes(), nil
}

// jwk is a JSON Web Key (RFC 7517, RFC 7518 §6), with the members that an API server serves, in their order.
type jwk struct {
	Use string `json:"use"`
	Kty string `json:"kty"`
	Kid string `json:"kid"`
	Crv string `json:"crv,omitempty"`
	Alg string `json:"alg"`
	N   string `json:"n,omitempty"`
	E   string `json:"e,omitempty"`
	X   string `json:"x,omitempty"`
	Y   string `json:"y,omitempty"`
}

// JWKS is the JSON Web Key Set of the keys, as an API server serves it that has them in that order.
func JWKS(keys []crypto.PublicKey) ([]byte, error) {
	set := struct {
		Keys []jwk `json:"keys"`
	}{Keys: []jwk{}}
	for _, key := range keys {
		k, err := jwkOf(key)
		if err != nil {
			return nil, err
		}
		set.Keys = append(set.Keys, k)
	}
	text, err := json.Marshal(set)
	if err != nil {
		return nil, fmt.Errorf("encode a JSON Web Key Set: %w", err)
	}
	return text, nil
}

func jwkOf(key crypto.PublicKey) (jwk, error) {
	id, err := KeyID(key)
	if err != nil {
		return jwk{}, err
	}
	if err := usable(key); err != nil {
		return jwk{}, err
	}
	k := jwk{Use: "sig", Kid: id}
	switch key := key.(type) {
	case *rsa.PublicKey:
		k.Kty, k.Alg = "RSA", "RS256"
		k.N, k.E = unsigned(key.N.Bytes()), unsigned(big.NewInt(int64(key.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := key.Bytes() // uncompressed: 4, X, Y
		if err != nil {
			return jwk{}, fmt.Errorf("encode a public key: %w", err)
		}
		half := len(point) / 2
		k.Kty, k.Crv, k.Alg = "EC", key.Curve.Params().Name, ecdsaAlgorithms[key.Curve]
		k.X, k.Y = unsigned(point[1:1+half]), unsigned(point[1+half:])
	}
	return k, nil
}

func unsigned(number []byte) string { return base64.RawURLEncoding.EncodeToString(number) }

// ecdsaAlgorithms are what an API server signs by, by curve (RFC 7518 §3.4).
var ecdsaAlgorithms = map[elliptic.Curve]string{elliptic.P256(): "ES256", elliptic.P384(): "ES384", elliptic.P521(): "ES512"}

// The bounds of an RSA key, in bits: what the API server's own library signs and verifies by, and how long that may take.
const minRSA, maxRSA = 1024, 8192

// usable says why an API server cannot use a key for service account tokens.
func usable(key crypto.PublicKey) error {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < minRSA || bits > maxRSA {
			return fmt.Errorf("an RSA key of %d bits: from %d to %d are allowed", bits, minRSA, maxRSA)
		}
		return nil
	case *ecdsa.PublicKey:
		if ecdsaAlgorithms[key.Curve] == "" {
			return fmt.Errorf("an ECDSA key of curve %s: kube-apiserver reads P-256, P-384 and P-521", key.Curve.Params().Name)
		}
		return nil
	default:
		return errors.New("a key that is neither RSA nor ECDSA, which kube-apiserver refuses")
	}
}

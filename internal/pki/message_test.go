package pki_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os/exec"
	"strings"
	"testing"

	"clusterpki.io/operator/internal/pki"
)

// TestMessages signs and verifies by each kind of key. What differs in anything does not verify.
func TestMessages(t *testing.T) {
	for _, spec := range []pki.KeySpec{
		{Algorithm: pki.RSA, Size: 2048}, {Algorithm: pki.ECDSA, Size: 256}, {Algorithm: pki.ECDSA, Size: 384}, {Algorithm: pki.ECDSA, Size: 521},
		{Algorithm: pki.Ed25519},
	} {
		t.Run(spec.String(), func(t *testing.T) {
			key, err := pki.GenerateKey(spec)
			if err != nil {
				t.Fatal(err)
			}
			other, err := pki.GenerateKey(spec)
			if err != nil {
				t.Fatal(err)
			}
			signature, err := pki.SignMessage(key, "context", []byte("message"))
			if err != nil {
				t.Fatal(err)
			}
			der, err := pki.EncodePublicKey(key.Public())
			if err != nil {
				t.Fatal(err)
			}
			public, err := pki.DecodePublicKey(der)
			if err != nil || !pki.SamePublicKey(public, key.Public()) {
				t.Fatal(public, err)
			}
			if !pki.VerifyMessage(public, "context", []byte("message"), signature) {
				t.Error("it does not verify")
			}
			damaged := append([]byte{}, signature...)
			damaged[len(damaged)-1] ^= 1
			for what, ok := range map[string]bool{
				"another message":      pki.VerifyMessage(public, "context", []byte("massage"), signature),
				"another context":      pki.VerifyMessage(public, "contexts", []byte("message"), signature),
				"a shifted boundary":   pki.VerifyMessage(public, "contextm", []byte("essage"), signature),
				"another key":          pki.VerifyMessage(other.Public(), "context", []byte("message"), signature),
				"a damaged signature":  pki.VerifyMessage(public, "context", []byte("message"), damaged),
				"no signature":         pki.VerifyMessage(public, "context", []byte("message"), nil),
				"no key":               pki.VerifyMessage(nil, "context", []byte("message"), signature),
				"something else's key": pki.VerifyMessage("key", "context", []byte("message"), signature),
			} {
				if ok {
					t.Errorf("%s verifies", what)
				}
			}
		})
	}
	if _, err := pki.SignMessage(pki.PrivateKey{}, "context", nil); err == nil {
		t.Error("no key signs")
	}
	if _, err := pki.DecodePublicKey(make([]byte, pki.MaxPublicKey+1)); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a large key: %v", err)
	}
}

// TestPublicKeyDigest is what OpenSSL says of the same key.
func TestPublicKeyDigest(t *testing.T) {
	key, err := pki.GenerateKey(pki.KeySpec{Algorithm: pki.ECDSA, Size: 256})
	if err != nil {
		t.Fatal(err)
	}
	text, err := key.PublicPEM()
	if err != nil {
		t.Fatal(err)
	}
	openssl := exec.CommandContext(t.Context(), "openssl", "pkey", "-pubin", "-outform", "DER")
	openssl.Stdin = strings.NewReader(string(text))
	der, err := openssl.Output()
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	if got := pki.PublicKeyDigest(key.Public()); got != hex.EncodeToString(sum[:]) {
		t.Errorf("it is %s", got)
	}
	if got := pki.PublicKeyDigest("key"); got != "" {
		t.Errorf("of no key it is %s", got)
	}
}

package pki_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"clusterpki.io/operator/internal/pki"
)

func block(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// forms writes a key in every PEM form that tools write for its algorithm.
func forms(key pki.PrivateKey) map[string][]byte {
	out := map[string][]byte{"PKCS #8": block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(key.Signer())))}
	switch k := key.Signer().(type) {
	case *rsa.PrivateKey:
		out["PKCS #1"] = block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(k))
	case *ecdsa.PrivateKey:
		sec1 := block("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(k)))
		out["SEC 1"] = sec1
		out["EC PARAMETERS first"] = append(block("EC PARAMETERS", []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7}), sec1...)
	}
	for name, text := range out {
		out[name+" after prose"] = append([]byte("Bag Attributes\n    friendlyName: x\n"), text...)
	}
	return out
}

func TestKeysRoundTrip(t *testing.T) {
	heads := map[pki.Algorithm]string{pki.RSA: "RSA PRIVATE KEY", pki.ECDSA: "EC PRIVATE KEY", pki.Ed25519: "PRIVATE KEY"}
	for _, spec := range allSpecs {
		key := keyOf(t, spec)
		if got := pki.SpecOf(key.Public()); got != spec {
			t.Errorf("a generated %v key is %v", spec, got)
		}
		text := reveal(t, key)
		if b, rest := pem.Decode(text); b == nil || b.Type != heads[spec.Algorithm] || len(rest) > 0 {
			t.Errorf("%v is revealed as %v with %d bytes after it, want one %s", spec, b, len(rest), heads[spec.Algorithm])
		}
		for form, text := range forms(key) {
			parsed, err := pki.ParsePrivateKey(text)
			if err != nil {
				t.Errorf("%v, %s: %v", spec, form, err)
				continue
			}
			if !pki.SamePublicKey(parsed.Public(), key.Public()) || !bytes.Equal(reveal(t, parsed), reveal(t, key)) {
				t.Errorf("%v, %s: another key came back", spec, form)
			}
		}
	}
}

func TestKeysSign(t *testing.T) {
	for _, spec := range []pki.KeySpec{rsa2048, ecdsa384, ed25519k} {
		key := keyOf(t, spec)
		digest, hash := []byte("message"), crypto.Hash(0)
		if spec.Algorithm != pki.Ed25519 {
			sum := sha256.Sum256(digest)
			digest, hash = sum[:], crypto.SHA256
		}
		if _, err := key.Signer().Sign(rand.Reader, digest, hash); err != nil {
			t.Errorf("%v: %v", spec, err)
		}
	}
}

func TestPublicPEMIsPKIX(t *testing.T) { // the form of sa.pub
	for _, spec := range allSpecs {
		key := keyOf(t, spec)
		b, rest := pem.Decode(must(key.PublicPEM()))
		if b == nil || b.Type != "PUBLIC KEY" || len(rest) > 0 {
			t.Fatalf("%v: got block %v", spec, b)
		}
		if public, err := x509.ParsePKIXPublicKey(b.Bytes); err != nil || !pki.SamePublicKey(public, key.Public()) {
			t.Errorf("%v: another public key came back: %v", spec, err)
		}
	}
}

// encryptedPEM is a key as `openssl … -aes256` once wrote it: the block says so only in its headers.
func encryptedPEM(kind string) []byte {
	return pem.EncodeToMemory(&pem.Block{
		Type: kind, Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00112233445566778899AABBCCDDEEFF"},
		Bytes: []byte("SECRETSECRETSECRETSECRET"),
	})
}

func TestParsePrivateKeyRefuses(t *testing.T) {
	ec := keyOf(t, ecdsa256)
	sec1 := must(x509.MarshalECPrivateKey(ec.Signer().(*ecdsa.PrivateKey)))
	pkcs8 := must(x509.MarshalPKCS8PrivateKey(ec.Signer()))
	ecdhKey := must(x509.MarshalPKCS8PrivateKey(must(ec.Signer().(*ecdsa.PrivateKey).ECDH())))
	if _, err := pki.ParsePrivateKey(block("PRIVATE KEY", ecdhKey)); err != nil {
		t.Errorf("PKCS #8 does not tell ECDH from ECDSA on P-256, so this must parse: %v", err)
	}
	for name, tc := range map[string]struct {
		text []byte
		want string
	}{
		"nothing":                {nil, "no PEM private key"},
		"no PEM":                 {[]byte("SECRETSECRET"), "no PEM private key"},
		"a certificate":          {block("CERTIFICATE", []byte("x")), "no PEM private key"},
		"a public key":           {must(ec.PublicPEM()), "no PEM private key"},
		"an OpenSSH key":         {block("OPENSSH PRIVATE KEY", []byte("SECRETSECRET")), "(OPENSSH PRIVATE KEY, line 1) is malformed"},
		"encrypted PKCS #8":      {block("ENCRYPTED PRIVATE KEY", []byte("SECRETSECRET")), "encrypted: decrypt it with `openssl pkey -in encrypted.key -out tls.key`"},
		"encrypted PKCS #1":      {encryptedPEM("RSA PRIVATE KEY"), "encrypted: decrypt it with `openssl pkey -in encrypted.key -out tls.key`"},
		"encrypted SEC 1":        {encryptedPEM("EC PRIVATE KEY"), "encrypted: decrypt it with `openssl pkey -in encrypted.key -out tls.key`"},
		"garbage PKCS #1":        {block("RSA PRIVATE KEY", []byte("SECRETSECRET")), "(RSA PRIVATE KEY, line 1) is malformed"},
		"garbage SEC 1":          {block("EC PRIVATE KEY", []byte("SECRETSECRET")), "(EC PRIVATE KEY, line 1) is malformed"},
		"garbage PKCS #8":        {block("PRIVATE KEY", []byte("SECRETSECRET")), "(PRIVATE KEY, line 1) is malformed"},
		"truncated SEC 1":        {block("EC PRIVATE KEY", sec1[:len(sec1)-9]), "(EC PRIVATE KEY, line 1) is malformed"},
		"truncated PKCS #8":      {block("PRIVATE KEY", pkcs8[:len(pkcs8)-9]), "(PRIVATE KEY, line 1) is malformed"},
		"two keys":               {append(block("EC PRIVATE KEY", sec1), block("PRIVATE KEY", pkcs8)...), "blocks 1 and 2 (lines 1 and 6) are private keys"},
		"a key that cannot sign": {block("PRIVATE KEY", x25519PKCS8()), "cannot sign"},
	} {
		key, err := pki.ParsePrivateKey(tc.text)
		if err == nil || key.Public() != nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		if !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %q does not say %q", name, err, tc.want)
		}
		for _, secret := range secretsIn(tc.text) {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: error quotes the text: %q", name, err)
			}
		}
	}
}

func x25519PKCS8() []byte { // RFC 8410 §10.3, with another scalar
	return append([]byte{0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x6e, 4, 0x22, 4, 0x20}, bytes.Repeat([]byte{7}, 32)...)
}

// secretsIn returns stretches of a PEM text's content, as text and as bytes.
func secretsIn(text []byte) []string {
	out := []string{"SECRET", "U0VDUkVU"}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); len(line) >= 16 && !strings.Contains(line, "-----") {
			out = append(out, line[:16])
		}
	}
	return out
}

func TestKeySpecs(t *testing.T) {
	for _, spec := range allSpecs {
		if err := spec.Validate(); err != nil {
			t.Errorf("%v: %v", spec, err)
		}
	}
	for want, spec := range map[string]pki.KeySpec{
		"2048, 3072 or 4096":     {Algorithm: pki.RSA, Size: 1024},
		"not 0":                  {Algorithm: pki.RSA},
		"256, 384 or 521":        {Algorithm: pki.ECDSA, Size: 224},
		"not 512":                {Algorithm: pki.ECDSA, Size: 512},
		"only one size":          {Algorithm: pki.Ed25519, Size: 256},
		`not "DSA"`:              {Algorithm: "DSA", Size: 2048},
		"RSA, ECDSA or Ed25519,": {},
	} {
		if _, err := pki.GenerateKey(spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: error %v does not say %q", spec, err, want)
		}
	}
	if got := ecdsa384.String() + " " + ed25519k.String(); got != "ECDSA-384 Ed25519" {
		t.Errorf("specs read as %q", got)
	}
	p224 := must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))
	if got := pki.SpecOf(p224.Public()).Validate(); got == nil {
		t.Error("a P-224 key is taken for one that this package makes")
	}
	if got := pki.SpecOf("no key"); got != (pki.KeySpec{}) {
		t.Errorf("SpecOf(no key) = %v", got)
	}
}

func TestSamePublicKey(t *testing.T) {
	a, b := keyOf(t, ecdsa256).Public(), keyOf(t, ed25519k).Public()
	if !pki.SamePublicKey(a, a) || pki.SamePublicKey(a, b) ||
		pki.SamePublicKey(a, nil) || pki.SamePublicKey(nil, a) || pki.SamePublicKey(nil, nil) {
		t.Error("SamePublicKey must hold for equal keys alone")
	}
	if another := must(pki.GenerateKey(ecdsa256)); pki.SamePublicKey(a, another.Public()) {
		t.Error("two generated keys are the same")
	}
}

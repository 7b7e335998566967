package keyring_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/keyring"
)

func file(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

var files = []string{"rsa.pub", "p256.pub", "p384.pub", "p521.pub"}

// all is sa.pub with a key of every kind.
func all(t testing.TB) []byte {
	t.Helper()
	var out []byte
	for _, name := range files {
		out = append(out, file(t, name)...)
	}
	return out
}

// TestJWKS: what an API server serves, of keys that OpenSSL made.
func TestJWKS(t *testing.T) {
	keys, err := keyring.ParsePublic(all(t))
	if err != nil || len(keys) != len(files) {
		t.Fatal(keys, err)
	}
	got, err := keyring.JWKS(keys)
	if err != nil {
		t.Fatal(err)
	}
	if want := file(t, "jwks.json"); !bytes.Equal(got, want) {
		t.Errorf("the JSON Web Key Set is\n%s, want\n%s", got, want)
	}
	if none, err := keyring.JWKS(nil); err != nil || string(none) != `{"keys":[]}` {
		t.Errorf("of no key it is %s, %v", none, err)
	}
	text, err := keyring.PublicPEM(keys)
	if err != nil || !bytes.Equal(text, all(t)) {
		t.Errorf("sa.pub comes back as\n%s, %v", text, err)
	}
}

func newKey(t testing.TB, spec pki.KeySpec) (key pki.PrivateKey, private, public []byte) {
	t.Helper()
	key, err := pki.GenerateKey(spec)
	if err != nil {
		t.Fatal(err)
	}
	if private, err = key.Reveal(); err != nil {
		t.Fatal(err)
	}
	if public, err = key.PublicPEM(); err != nil {
		t.Fatal(err)
	}
	return key, private, public
}

var ecKey = pki.KeySpec{Algorithm: pki.ECDSA, Size: 256}

// certificate is a certificate of a key.
func certificate(t *testing.T, key pki.PrivateKey) []byte {
	t.Helper()
	template := &x509.Certificate{NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key.Signer())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// TestImport takes over every form that kube-apiserver reads, and says what it cannot take.
func TestImport(t *testing.T) {
	key, private, public := newKey(t, ecKey)
	other, otherPrivate, otherPublic := newKey(t, ecKey)
	_, edPrivate, edPublic := newKey(t, pki.KeySpec{Algorithm: pki.Ed25519})
	relabelled := bytes.ReplaceAll(file(t, "rsa.pub"), []byte("PUBLIC KEY"), []byte("RSA PUBLIC KEY"))
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p224Public, err := x509.MarshalPKIXPublicKey(p224.Public())
	if err != nil {
		t.Fatal(err)
	}
	parameters := pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 1, 1}})
	var many [][]byte
	for range keyring.MaxKeys {
		_, _, one := newKey(t, ecKey)
		many = append(many, one)
	}
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for name, tc := range map[string]struct {
		private, public []byte
		former          int
		err             string
	}{
		"kubeadm's":                {private, public, 0, ""},
		"an older key before":      {private, join(otherPublic, public), 1, ""},
		"an older key after":       {private, join(public, otherPublic), 1, ""},
		"a key twice":              {private, join(public, otherPublic, public, otherPublic), 1, ""},
		"certificates":             {private, join(certificate(t, key), certificate(t, other)), 1, ""},
		"private keys":             {private, join(private, otherPrivate), 1, ""},
		"OpenSSL's parameters":     {join(parameters, private), join(parameters, private, public), 0, ""},
		"another label":            {private, join(public, relabelled), 1, ""},
		"every kind":               {private, join(public, all(t)), 4, ""},
		"eight keys":               {private, join(append(many[1:], public)...), 7, ""},
		"nine keys":                {private, join(append(many, public)...), 0, "more than 8 keys"},
		"no key that signs":        {nil, public, 0, "sa.key: no PEM private key"},
		"nothing that is trusted":  {private, nil, 0, "no public key"},
		"a key that is not in it":  {private, otherPublic, 0, "does not hold the public half of sa.key"},
		"Ed25519 signs":            {edPrivate, edPublic, 0, "sa.key: a key that is neither RSA nor ECDSA"},
		"Ed25519 is trusted":       {private, join(public, edPublic), 0, "block 2 (line 5): a key that is neither RSA nor ECDSA"},
		"a curve nobody reads":     {private, join(public, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: p224Public})), 0, "P-224"},
		"PKCS #1":                  {private, join(public, pkcs1(t)), 0, "kube-apiserver passes over it"},
		"a block of something":     {private, join(public, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")})), 0, "block 2"},
		"a block that is cut":      {private, join(public, otherPublic[:100]), 0, "block 2"},
		"too large":                {private, join(public, bytes.Repeat([]byte("#\n"), keyring.MaxPublicText)), 0, "64 KiB"},
		"two private keys, sa.key": {join(private, otherPrivate), public, 0, "are private keys"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := keyring.Import(tc.private, tc.public)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("the error is %v, want %q", err, tc.err)
				}
				return
			}
			if err != nil || !pki.SamePublicKey(got.Private.Public(), key.Public()) || len(got.Former) != tc.former {
				t.Errorf("%d keys beside it, want %d: %v", len(got.Former), tc.former, err)
			}
		})
	}
}

// pkcs1 is a key in the form that kube-apiserver does not read.
func pkcs1(t *testing.T) []byte {
	t.Helper()
	keys, err := keyring.ParsePublic(file(t, "rsa.pub"))
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(keys[0].(*rsa.PublicKey))})
}

// TestKeyIDOfNothing is an error, and no digest of nothing.
func TestKeyIDOfNothing(t *testing.T) {
	for _, key := range []crypto.PublicKey{nil, "text", ed25519.PrivateKey{}} {
		if id, err := keyring.KeyID(key); err == nil {
			t.Errorf("%T has the ID %q", key, id)
		}
	}
}

// FuzzImport: what is taken over is read by an API server in the same order, and nothing of a private key is in an error.
func FuzzImport(f *testing.F) {
	_, private, public := newKey(f, ecKey)
	f.Add(private, public)
	f.Add(private, append(all(f), public...))
	f.Add(all(f), private)
	f.Fuzz(func(t *testing.T, private, public []byte) {
		got, err := keyring.Import(private, public)
		if err != nil {
			return
		}
		keys := append([]crypto.PublicKey{got.Private.Public()}, got.Former...)
		text, err := keyring.PublicPEM(keys)
		if err != nil {
			t.Fatal(err)
		}
		back, err := keyring.ParsePublic(text)
		if err != nil || len(back) != len(keys) || !pki.SamePublicKey(back[0], keys[0]) {
			t.Fatalf("%d keys come back as %d, %v", len(keys), len(back), err)
		}
		if _, err := keyring.JWKS(keys); err != nil {
			t.Fatal(err)
		}
	})
}

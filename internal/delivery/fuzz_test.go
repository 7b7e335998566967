package delivery_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"unicode"

	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/internal/delivery"
	"clusterpki.io/operator/test/files"
)

// FuzzParsePublic reads whatever may stand in an agent's configuration, or in the ConfigMap that is written there from: what is taken is one key, whichever
// text it came from, and an error quotes nothing of what is not.
func FuzzParsePublic(f *testing.F) {
	public, private := newKey(f)
	text, err := delivery.EncodePublic(public)
	if err != nil {
		f.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	other, err := x509.MarshalPKIXPublicKey(ec.Public())
	if err != nil {
		f.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(files.Object[corev1.ConfigMap](f, "delivery.yaml").Data["delivery.pub"]))
	f.Add([]byte(strings.ReplaceAll(string(text), "\n", "\r\n")))
	f.Add(append([]byte("a text\n"), text...))
	f.Add(append(text, text...))
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: other}))
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: secret}))
	f.Fuzz(func(t *testing.T, text []byte) {
		key, err := delivery.ParsePublic(text)
		if err != nil {
			if len(err.Error()) > 512 || strings.ContainsFunc(err.Error(), unicode.IsControl) {
				t.Errorf("the error is %q", err)
			}
			return
		}
		alone, err := delivery.EncodePublic(key)
		if err != nil {
			t.Fatal(err)
		}
		again, err := delivery.ParsePublic(alone)
		if err != nil || !again.Equal(key) || len(delivery.KeyID(key)) != 32 {
			t.Errorf("written again, it is %x, and not %x: %v", again, key, err)
		}
	})
}

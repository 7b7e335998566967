package attacks_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/test/given"
)

// longKey is an RSA key of 32768 bits. It is a right one, of 32 primes: two primes of half the size take minutes to find.
var longKey = sync.OnceValues(func() (*rsa.PrivateKey, error) {
	return rsa.GenerateMultiPrimeKey(rand.Reader, 32, 32768) //nolint:staticcheck // the only quick way to a key of that size
})

// longPair is a certificate of that key, with its signer's, and the key.
func longPair(t *testing.T) (certPEM, keyPEM []byte) {
	t.Helper()
	key, err := longKey()
	if err != nil {
		t.Fatal(err)
	}
	signer, signerPEM, _ := evil(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: signer.Cert.Subject, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(9000 * time.Hour),
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	template.Subject.CommonName = "long"
	der, err := x509.CreateCertificate(rand.Reader, template, signer.Cert, key.Public(), signer.Key.Signer())
	if err != nil {
		t.Fatal(err)
	}
	certPEM = append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), signerPEM...)
	return certPEM, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
}

// importLongKey imports it into more CAs than there are workers, and as the key of a CA above one that has a short key. Each says
// what is wrong, and meanwhile somebody else's CA is made.
func importLongKey(v *victim, mallory client.Client) {
	long, longPEM := longPair(v.t)
	v.plants(long, longPEM)
	_, shortPEM, shortKey := v.evil()
	secret := func(name string, certPEM, keyPEM []byte) {
		v.must(mallory.Create(v.t.Context(), &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: v.ns, Name: name}, Type: corev1.SecretTypeTLS,
			Data: map[string][]byte{"tls.crt": certPEM, "tls.key": keyPEM},
		}))
	}
	secret("long", long, longPEM)
	secret("below", append(shortPEM, long...), shortKey)
	wants := map[string]string{}
	for i := range 8 {
		wants[fmt.Sprintf("long%d", i)] = "has a tls.key of more than 8 KiB: use an RSA key of at most 8192 bits"
	}
	wants["below"] = "has a key of 32768 bits"
	for name := range wants {
		ca := clusterCA(name)
		ca.Namespace = v.ns
		given.ImportedFrom(strings.TrimRight(name, "01234567"), strings.Repeat("0", 64))(ca)
		v.must(mallory.Create(v.t.Context(), ca))
	}
	newVictim(v.t).joins()
	for name, want := range wants {
		if got := v.told(&v1alpha1.ClusterCA{}, name, v1alpha1.StalledCondition, v1alpha1.ReasonImportInvalid); !strings.Contains(got, want) {
			v.t.Errorf("%s says %q, want %q", name, got, want)
		}
	}
}

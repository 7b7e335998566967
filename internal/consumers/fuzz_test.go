package consumers

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/test/files"
)

// sealed takes what begins with a word, as only the operator can write it.
type sealed struct{}

func (sealed) Of(...string) string                { return "seal" }
func (sealed) Fits(seal string, _ ...string) bool { return seal == "seal" }

// FuzzReadSecret reads whatever a user of the namespace may put into a Secret: what counts is what the bytes say, and without the
// operator's seal nothing is claimed.
func FuzzReadSecret(f *testing.F) {
	ca, err := pki.SelfSign(time.Now(), pki.CertificateSpec{
		Subject: pki.Subject{CommonName: "k8s"}, Key: pki.KeySpec{Algorithm: pki.ECDSA, Size: 256}, Validity: 8760 * time.Hour,
	})
	if err != nil {
		f.Fatal(err)
	}
	claim := Claim{UID: "u", Trust: map[string]map[string]int64{"ca.crt": {"k8s": 3}}, Issuer: "k8s", Generation: 1}.Text(sealed{}, kindSecret, "n", "s")
	f.Add(claim, ca.CertPEM(), ca.CertPEM())
	f.Add("other "+strings.TrimPrefix(claim, "seal "), ca.CertPEM(), []byte("x"))
	written := files.Object[corev1.Secret](f, "credential.yaml")
	_, said, _ := strings.Cut(written.Annotations[v1alpha1.ClaimAnnotation], " ")
	f.Add("seal "+said, written.Data[corev1.TLSCertKey], written.Data[BundleKey])
	f.Add("seal {}", []byte(nil), []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, annotation string, cert, bundle []byte) {
		s := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "s", Annotations: map[string]string{v1alpha1.ClaimAnnotation: annotation}},
			Data:       map[string][]byte{corev1.TLSCertKey: cert, BundleKey: bundle},
		}
		p := new(Reader).Read(s, sealed{})
		if p.Claimed && !strings.HasPrefix(annotation, "seal ") {
			t.Errorf("%q counts as claimed", annotation)
		}
		if !p.Claimed && (p.Leaf.Cert != nil || len(p.Bundles) > 0) {
			t.Error("what the operator did not make is read")
		}
		certs, err := pki.ParseCertificates(bundle)
		if got := p.Bundles[BundleKey]; len(got) > 0 && (err != nil || pki.BundleDigest(got) != pki.BundleDigest(certs)) {
			t.Errorf("the bundle is read as %d certificates, and is %d, %v", len(got), len(certs), err)
		}
	})
}

package consumers_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/pki"
)

// TestReplayedClaim puts claims beside contents that they were not made with: since when these stand there is then not known.
func TestReplayedClaim(t *testing.T) {
	bundle := func(ca pki.CA) map[string][]byte {
		return map[string][]byte{consumers.BundleKey: pki.EncodeCertificates(ca.Cert)}
	}
	was, is := bundle(root("was")), bundle(root("is"))
	for name, c := range map[string]struct {
		made, data map[string][]byte
		arrived    bool
	}{
		"the contents that it was made with": {is, is, true},
		"an older claim":                     {was, is, false},
		"older contents":                     {is, was, false},
	} {
		claim := consumers.Claim{UID: "node1", Changed: now.Add(-time.Hour), Contents: consumers.ContentsDigest(c.made)}
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
			Namespace: "prod", Name: "node1-tls", CreationTimestamp: metav1.NewTime(now.Add(-2 * time.Hour)),
			Annotations: map[string]string{v1alpha1.ClaimAnnotation: claim.Text(seal, "Secret", "prod", "node1-tls")},
		}, Data: c.data}
		p := (&consumers.Reader{}).Read(s, seal)
		if got := consumers.AcknowledgmentOf(mounted, consumers.Reported{}, "", now).Settled(p, now); !p.Claimed || got != c.arrived {
			t.Errorf("%s: claimed %v, counts as in use %v", name, p.Claimed, got)
		}
	}
}

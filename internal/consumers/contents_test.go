package consumers_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/pki"
)

// TestRead takes what a Secret holds from its bytes, and the claim only as far as it is sealed.
func TestRead(t *testing.T) {
	parent := root("root")
	ca := below("k8s", parent)
	pair := leaf(ca)
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "prod", Name: "a", UID: "s", CreationTimestamp: metav1.NewTime(now),
			Annotations: annotated(fullClaim().Text(seal, "Secret", "prod", "a")),
		},
		Data: map[string][]byte{
			"tls.crt": pair.CertPEM(), "ca.crt": pki.EncodeCertificates(parent.Cert), "client-ca.crt": []byte("x"), "requestheader-ca.crt": {},
			"other.crt": pki.EncodeCertificates(parent.Cert),
		},
	}
	var r consumers.Reader
	p := r.Read(s, seal)
	if !p.Claimed || p.Claim.UID != "u" || p.Name != "a" || p.UID != "s" || !p.Created.Equal(now) {
		t.Errorf("%+v", p)
	}
	if !p.Leaf.Cert.Equal(pair.Cert) || len(p.Leaf.Chain) != 1 || p.Leaf.Key.Public() != nil {
		t.Error("another certificate is read")
	}
	if len(p.Bundles) != 1 || !slices.EqualFunc(p.Bundles[consumers.BundleKey], anchors(parent), certificate.Equal) {
		t.Errorf("the bundles are %v", p.Bundles)
	}
	copied := s.DeepCopy()
	copied.Name = "b"
	if p := r.Read(copied, seal); p.Claimed || p.Claim.UID != "" || p.Leaf.Cert != nil || p.Bundles != nil {
		t.Error("a copy is taken for the operator's")
	}
	empty := r.Read(&corev1.Secret{}, seal)
	if empty.Claimed || empty.Leaf.Cert != nil || len(empty.Bundles) != 0 {
		t.Errorf("of nothing is read %+v", empty)
	}
}

// TestReaderIsBounded: what is too large is not parsed, and what was parsed once is not parsed again.
func TestReaderIsBounded(t *testing.T) {
	ca := root("k8s")
	text := pki.EncodeCertificates(ca.Cert)
	large := bytes.Repeat(text, (1<<20)/len(text)+1)
	var r consumers.Reader
	read := func(text []byte) []certificate {
		return r.ReadUnsealed(&corev1.Secret{Data: map[string][]byte{"ca.crt": text}}).Bundles["ca.crt"]
	}
	if got := read(large); got != nil {
		t.Errorf("%d certificates of %d bytes are read", len(got), len(large))
	}
	one, two := read(text), read(bytes.Clone(text))
	if len(one) != 1 || one[0] != two[0] {
		t.Error("the same text is parsed twice")
	}
	filler := make([]byte, 1<<19)
	for i := range 128 {
		read(fmt.Appendf(nil, "%d%s", i, filler))
	}
	if three := read(text); len(three) != 1 || three[0] == one[0] {
		t.Error("a reader never forgets")
	}
}

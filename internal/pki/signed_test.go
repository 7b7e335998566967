package pki

import (
	"slices"
	"testing"
	"time"
)

// TestSignedBy asks twice: what is remembered of one signature must not be said of another.
func TestSignedBy(t *testing.T) {
	now := time.Now()
	spec := CertificateSpec{Subject: Subject{CommonName: "ca"}, Key: KeySpec{Algorithm: ECDSA, Size: 256}, Validity: time.Hour}
	root, err := SelfSign(now, spec)
	if err != nil {
		t.Fatal(err)
	}
	other, err := SelfSign(now, spec)
	if err != nil {
		t.Fatal(err)
	}
	spec.Subject.CommonName, spec.Usages = "leaf", []Usage{ClientAuth}
	leaf, err := Issue(now, spec, root)
	if err != nil {
		t.Fatal(err)
	}
	if !signatures.Holds(signature(leaf.Cert, root.Cert)) {
		t.Error("what was just signed is not known to be signed")
	}
	text, sum := *leaf.Cert, *leaf.Cert
	text.RawTBSCertificate, sum.Signature = slices.Clone(text.RawTBSCertificate), slices.Clone(sum.Signature)
	text.RawTBSCertificate[len(text.RawTBSCertificate)/2]++
	sum.Signature[len(sum.Signature)-1]++
	for range 2 {
		if !SignedBy(leaf.Cert, root.Cert) || !SignedBy(root.Cert, root.Cert) {
			t.Error("a good signature is not found good")
		}
		if SignedBy(leaf.Cert, other.Cert) || SignedBy(leaf.Cert, leaf.Cert) || SignedBy(&text, root.Cert) || SignedBy(&sum, root.Cert) {
			t.Error("a bad signature is found good")
		}
	}
	if !signatures.Holds(signature(root.Cert, root.Cert)) || signatures.Holds(signature(leaf.Cert, other.Cert)) {
		t.Error("not what was found good is remembered")
	}
}

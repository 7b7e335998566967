package records

import (
	"testing"
	"time"

	"clusterpki.io/operator/internal/pki"
)

// TestIssues: which one was recorded last, and which certificate it is of. None is of no certificate, and for no key.
func TestIssues(t *testing.T) {
	made := func() (pki.CA, Issue) {
		t.Helper()
		ca, err := pki.SelfSign(now, pki.CertificateSpec{Subject: pki.Subject{CommonName: "x"}, Key: pki.KeySpec{Algorithm: pki.Ed25519}, Validity: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		i, err := NewIssue(Object{Kind: "NodeCredential", Name: "node1", UID: "u"}, pki.Leaf{Cert: ca.Cert}, now)
		if err != nil {
			t.Fatal(err)
		}
		return ca, i
	}
	first, one := made()
	second, two := made()
	issues := Issues{one, two}
	if last := issues.Last(); !last.Of(second.Cert) || last.Of(first.Cert) {
		t.Errorf("the last one is %s", last.SerialNumber)
	}
	if i := issues.Numbered(one.SerialNumber); !i.Of(first.Cert) || i.Of(second.Cert) {
		t.Errorf("%s is %s", one.SerialNumber, i.SerialNumber)
	}
	mixed := two
	mixed.PublicKey = one.PublicKey // a number alone is no certificate
	for name, i := range map[string]Issue{"none": Issues{}.Last(), "no such number": issues.Numbered("0A"), "of another key": mixed} {
		if i.Of(first.Cert) || i.Of(second.Cert) {
			t.Errorf("%s is one's", name)
		}
	}
	if none := (Issues{}).Last(); none.Key() != nil {
		t.Error("there is a key of none")
	}
}

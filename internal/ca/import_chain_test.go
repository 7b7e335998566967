package ca

import (
	"crypto/rand"
	"crypto/x509"
	"math/big"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testingclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/apitime"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/internal/stall"
	"clusterpki.io/operator/test/given"
)

var importedAt = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

// foreign is a root that somebody else made.
func foreign(t *testing.T, name string) pki.CA {
	t.Helper()
	pair, err := pki.SelfSign(importedAt, pki.CertificateSpec{
		Subject: pki.Subject{CommonName: name}, Key: pki.KeySpec{Algorithm: pki.ECDSA, Size: 256}, Validity: 50000 * time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// signedBy is a certificate of a CA's name and public key by another CA, or by itself. It takes no key of the former.
func signedBy(t *testing.T, signer, ca pki.CA, hours int) *x509.Certificate {
	t.Helper()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(int64(hours)), Subject: ca.Cert.Subject, SubjectKeyId: ca.Cert.SubjectKeyId, NotBefore: ca.Cert.NotBefore,
		NotAfter: importedAt.Add(time.Duration(hours) * time.Hour), KeyUsage: ca.Cert.KeyUsage, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, signer.Cert, ca.Cert.PublicKey, signer.Key.Signer())
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// chainOf is a CA with the certificates of its chain.
func chainOf(ca pki.CA, certs ...*x509.Certificate) pki.CA {
	ca.Cert = certs[0]
	if last := len(certs) - 1; last > 0 {
		ca.Chain, ca.Root = certs[1:last], certs[last]
	}
	return ca
}

// of are the digests of two certificates; nil is that of none.
func of(certificate, root *x509.Certificate) (e ends) {
	if certificate != nil {
		e.certificate = pki.FingerprintOf(certificate)
	}
	if root != nil {
		e.root = pki.FingerprintOf(root)
	}
	return e
}

// targetOf is what an import asks for, of a Secret that holds a chain, and of a spec that names one.
func targetOf(t *testing.T, secret pki.CA, named ends, record *authority.Record) (target, error) {
	t.Helper()
	key, err := secret.Key.Reveal()
	if err != nil {
		t.Fatal(err)
	}
	certs := secret.CertPEM()
	if secret.Root != nil {
		certs = append(certs, pki.EncodeCertificates(secret.Root)...)
	}
	live := fake.NewClientBuilder().WithObjects(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "prod", Name: "corporate"}, Data: map[string][]byte{"tls.crt": certs, "tls.key": key},
	}).Build()
	m := &Maker{Live: live, Clock: apitime.Of(testingclock.NewFakePassiveClock(importedAt))}
	o := given.CA("k8s", given.ImportedBelow("corporate", named.certificate, named.root))
	o.Namespace = "prod"
	return m.targetImport(t.Context(), o, record, target{})
}

// inForce is a record with generations that were imported: one is active, and a second is to be.
func inForce(pairs ...pki.CA) *authority.Record {
	r := &authority.Record{CAs: map[int32]pki.CA{}}
	for i, pair := range pairs {
		g := plan.Generation{Number: int32(i + 1), State: []plan.State{plan.Active, plan.Trusted}[i], SpecHash: importHash + pair.ChainDigest()}
		r.Ledger.Generations = append(r.Ledger.Generations, g)
		r.CAs[g.Number] = pair
	}
	return r
}

// TestWhichChainIsTaken has whoever writes the Secret put chains there, before the CA is made and later. He has no key but, at most, that of
// the CA and those of roots of his own. What is not taken is told with both ends of the chain that is there.
func TestWhichChainIsTaken(t *testing.T) {
	root, other, ca := foreign(t, "root"), foreign(t, "other"), foreign(t, "k8s")
	middle := foreign(t, "middle")
	own := signedBy(t, root, ca, 1000)
	genuine := chainOf(ca, own, root.Cert)
	// The name and public key of the root, signed by another one: what the root has signed verifies below that one.
	replanted := chainOf(ca, own, signedBy(t, other, root, 60000), other.Cert)
	forged := root // the root with a later end, by whoever knows its name and public key
	forged.Cert = signedBy(t, foreign(t, "root"), root, 60000)
	laterRoot, earlierRoot := signedBy(t, root, root, 60000), signedBy(t, root, root, 40000)
	later := chainOf(ca, signedBy(t, root, ca, 2000), root.Cert)
	below := signedBy(t, middle, ca, 1000)
	three := chainOf(ca, below, signedBy(t, root, middle, 3000), root.Cert)
	for name, tc := range map[string]struct {
		before *pki.CA // nil: the CA is to be made
		secret pki.CA
		named  ends
		taken  bool
	}{
		"a root":                                {nil, root, of(root.Cert, nil), true},
		"a root, and one named above it":        {nil, root, of(root.Cert, other.Cert), true},
		"another root":                          {nil, root, of(other.Cert, nil), false},
		"a root, of which nothing is said":      {nil, root, ends{}, false},
		"a root that is named as what is above": {nil, root, of(nil, root.Cert), false},
		"below a root":                          {nil, genuine, of(own, root.Cert), true},
		"below a root that is not named":        {nil, genuine, of(own, nil), false},
		"below another root":                    {nil, genuine, of(own, other.Cert), false},
		"below a root, itself not named":        {nil, genuine, of(nil, root.Cert), false},
		"below a root, named in turns":          {nil, genuine, of(root.Cert, own), false},
		"below two":                             {nil, three, of(below, root.Cert), true},
		"a root above the root":                 {nil, replanted, of(own, root.Cert), false},
		"a root above one that is not named":    {nil, replanted, of(own, nil), false},
		"a renewed root":                        {nil, chainOf(ca, own, laterRoot), of(own, root.Cert), false},

		"later: a root above the root":         {&genuine, replanted, of(own, root.Cert), false},
		"later: a root above one not named":    {&genuine, replanted, of(own, nil), false},
		"later: one with a later CA":           {&genuine, chainOf(ca, signedBy(t, root, ca, 2000), replanted.Chain[0], other.Cert), of(own, root.Cert), false},
		"later: another root, and it is named": {&genuine, replanted, of(own, other.Cert), true},
		"later: a later end":                   {&genuine, later, of(own, root.Cert), true},
		"later: a later end of the root":       {&genuine, chainOf(ca, own, laterRoot), of(own, root.Cert), true},
		"later: an earlier end":                {&later, genuine, of(later.Cert, root.Cert), false},
		"later: an earlier end, named":         {&later, genuine, of(own, root.Cert), true},
		"later: an earlier end of the root":    {&genuine, chainOf(ca, own, earlierRoot), of(own, root.Cert), false},
		"later: that, named":                   {&genuine, chainOf(ca, own, earlierRoot), of(own, earlierRoot), true},
		"later: a root that nobody has signed": {&root, forged, of(root.Cert, nil), false},
		"later: such a root, named":            {&root, forged, of(forged.Cert, nil), true},
		"later: such a root above":             {&genuine, chainOf(ca, own, forged.Cert), of(own, root.Cert), false},
		"later: another key":                   {&root, other, of(root.Cert, nil), false},
		"later: another key, named":            {&root, other, of(other.Cert, nil), true},
		"later: an earlier end between the two": {
			&three, chainOf(ca, below, signedBy(t, root, middle, 2500), root.Cert), of(below, root.Cert), true,
		},
		"later: a root above the middle": {
			&three, chainOf(ca, below, signedBy(t, other, middle, 4000), other.Cert), of(below, root.Cert), false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			record := inForce()
			if tc.before != nil {
				record = inForce(*tc.before)
			}
			w, err := targetOf(t, tc.secret, tc.named, record)
			if got := w.SpecHash == importHash+tc.secret.ChainDigest(); got != tc.taken {
				t.Errorf("it is taken: %t, %v", got, err)
			}
			reason, message := w.undecided.Reason, w.undecided.Message
			if st, ok := stall.Of(err); ok {
				reason, message = st.Reason, err.Error()
			} else if err != nil {
				t.Fatal(err)
			}
			want := ""
			switch {
			case tc.taken:
			case tc.before == nil:
				want = v1alpha1.ReasonImportInvalid
			default:
				want = v1alpha1.ReasonImportChanged
			}
			if there := endsOf(tc.secret); reason != want ||
				want != "" && (!strings.Contains(message, there.certificate) || !strings.Contains(message, there.root) || !strings.Contains(message, "compare")) {
				t.Errorf("the reason is %q: %s", reason, message)
			}
			if want != "" && strings.Contains(message, "signed itself") != tc.secret.Anchor().Equal(forged.Cert) {
				t.Errorf("of the root's own signature it says: %s", message)
			}
		})
	}
}

// TestTakenOverStays: a chain that is to be active next stays that where the spec names both its ends, whatever the Secret holds now.
func TestTakenOverStays(t *testing.T) {
	root, other, ca := foreign(t, "root"), foreign(t, "other"), foreign(t, "k8s")
	own := signedBy(t, other, ca, 1000)
	next := chainOf(ca, own, other.Cert)
	for named, stays := range map[ends]bool{of(own, other.Cert): true, of(own, root.Cert): false, of(own, nil): false, of(root.Cert, nil): false} {
		w, err := targetOf(t, root, named, inForce(root, next))
		if err != nil {
			t.Fatal(err)
		}
		if got := w.SpecHash == importHash+next.ChainDigest() && w.imported == nil; got != stays {
			t.Errorf("named %v: it stays: %t", named, got)
		}
	}
}

package authority_test

import (
	"context"
	"crypto/x509"
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

const home = "clusterpki-authority"

var (
	ctx   = context.Background()
	start = time.Date(2026, 3, 14, 15, 9, 26, 0, time.UTC)
)

func spec(name string) pki.CertificateSpec {
	return pki.CertificateSpec{Subject: pki.Subject{CommonName: name}, Key: pki.KeySpec{Algorithm: pki.Ed25519}, Validity: 1000 * time.Hour}
}

func root(t testing.TB, name string) pki.CA {
	t.Helper()
	ca, err := pki.SelfSign(start, spec(name))
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func below(t testing.TB, name string, parent pki.CA) pki.CA {
	t.Helper()
	ca, err := pki.SignCA(pki.GenerateKey, start, spec(name), parent)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func crossSigned(t testing.TB, ca, by pki.CA) pki.CA {
	t.Helper()
	cert, err := pki.CrossSign(start, ca.Cert, by)
	if err != nil {
		t.Fatal(err)
	}
	ca.CrossSigned = []*x509.Certificate{cert}
	return ca
}

func generation(number int32, ca pki.CA) plan.Generation {
	return plan.Generation{Number: number, SpecHash: "a", SHA256: pki.FingerprintOf(ca.Cert)}
}

// newRecord is that of ClusterCA prod/k8s, not stored yet.
func newRecord(ca pki.CA) *authority.Record {
	return &authority.Record{
		Identity: authority.Identity{Namespace: "prod", Name: "k8s", NamespaceUID: "ns", CRDUID: "crd", UID: "uid", HomeUID: "home"},
		Ledger:   plan.Bootstrap(start, plan.Ledger{}, generation(1, ca)),
		CAs:      map[int32]pki.CA{1: ca},
	}
}

// withNext is a record with one generation more.
func withNext(r *authority.Record, ca pki.CA) *authority.Record {
	next := r.Next()
	number := r.Ledger.NextNumber()
	g := generation(number, ca)
	g.SpecHash = "b"
	next.Ledger, _ = r.Ledger.Enter(start, g, plan.DesiredLedger{SpecHash: "b"})
	next.CAs[number] = ca
	return next
}

func newStore(objects ...client.Object) (*authority.Store, client.WithWatch) {
	c := fake.NewClientBuilder().WithObjects(objects...).Build()
	return authority.New(home, c, nil), c
}

// created is a record that is stored, and its store.
func created(t testing.TB, ca pki.CA) (*authority.Store, client.WithWatch, *authority.Record) {
	t.Helper()
	s, c := newStore()
	r, err := s.Create(ctx, newRecord(ca))
	if err != nil {
		t.Fatal(err)
	}
	return s, c, r
}

func secret(t testing.TB, c client.Client) *corev1.Secret {
	t.Helper()
	var s corev1.Secret
	if err := c.Get(ctx, client.ObjectKey{Namespace: home, Name: "ca.prod.k8s"}, &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

func reveal(t testing.TB, ca pki.CA) []byte {
	t.Helper()
	text, err := ca.Key.Reveal()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// isInvariant says whether an error is that an invariant would be broken.
func isInvariant(err error) bool {
	_, ok := errors.AsType[*authority.InvariantError](err)
	return ok
}

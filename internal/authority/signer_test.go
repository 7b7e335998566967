package authority_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

// stepped is a CA once its ledger has gone on until something is so. It has no consumers that anybody would wait for.
func stepped(t *testing.T, s *authority.Store, r *authority.Record, until func(plan.Ledger) bool) *authority.Record {
	t.Helper()
	for at := start; !until(r.Ledger); at = at.Add(time.Hour) {
		if at.Sub(start) > 100*time.Hour {
			t.Fatalf("it goes no further: %+v", r.Ledger)
		}
		next := r.Next()
		var did plan.Transition
		if next.Ledger, did = r.Ledger.Step(at, plan.DesiredLedger{SpecHash: "b"}, plan.Observation{}); did == plan.Nothing {
			continue
		}
		var err error
		if r, err = s.Commit(ctx, r, next); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// signs says which generation's key signs for a record; 0: none.
func signs(t *testing.T, r *authority.Record) int32 {
	t.Helper()
	signer, err := r.Signer()
	if err != nil {
		return 0
	}
	key, err := pki.GenerateKey(pki.KeySpec{Algorithm: pki.Ed25519})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := signer.Sign(ctx, start, pki.CertificateSpec{
		Subject: pki.Subject{CommonName: "node1"}, Usages: []pki.Usage{pki.ClientAuth}, Key: pki.KeySpec{Algorithm: pki.Ed25519}, Validity: 24 * time.Hour,
	}, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	for number, ca := range r.CAs {
		if leaf.IssuedBy(ca) {
			return number
		}
	}
	t.Fatal("it is signed by no generation of the CA")
	return 0
}

// TestSigner: what signs is the key of the generation that is active in the record that was read. Where that key is missing, no
// other one signs in its place; nor does anything of a cache.
func TestSigner(t *testing.T) {
	s, c, begun := created(t, root(t, "k8s"))
	entered, err := s.Commit(ctx, begun, withNext(begun, root(t, "k8s g2")))
	if err != nil {
		t.Fatal(err)
	}
	switched := stepped(t, s, entered, func(l plan.Ledger) bool { g, _ := l.Active(); return g.Number == 2 })
	ended := stepped(t, s, switched, func(l plan.Ledger) bool { return !l.Names(1) })
	for name, tc := range map[string]struct {
		record *authority.Record
		want   int32
	}{"begun": {begun, 1}, "entered": {entered, 1}, "switched": {switched, 2}, "ended": {ended, 2}} {
		if got := signs(t, tc.record); got != tc.want {
			t.Errorf("%s: generation %d signs, want %d", name, got, tc.want)
		}
	}

	cached, err := authority.WithoutKeys(secret(t, c))
	if err != nil {
		t.Fatal(err)
	}
	if r, err := authority.Decode(cached.(*corev1.Secret)); err != nil || signs(t, r) != 0 {
		t.Errorf("it signs from a cache: %v", err)
	}
	s, c, begun = created(t, root(t, "etcd"))
	if entered, err = s.Commit(ctx, begun, withNext(begun, root(t, "etcd g2"))); err != nil {
		t.Fatal(err)
	}
	stepped(t, s, entered, func(l plan.Ledger) bool { g, _ := l.Active(); return g.Number == 2 })
	damaged := secret(t, c)
	delete(damaged.Data, "g2.key")
	if r, err := authority.Decode(damaged); err != nil || signs(t, r) != 0 {
		t.Errorf("another generation signs in place of the one whose key is missing: %v", err)
	}
}

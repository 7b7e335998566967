package leaf_test

import (
	"bytes"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/leaf"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

// freeze lets the maker have a cache of the authority namespace that stands still from now on.
func (w *world) freeze() {
	w.t.Helper()
	stripped, err := authority.WithoutKeys(w.authority())
	if err != nil {
		w.t.Fatal(err)
	}
	w.Store = authority.New(home, w.api, fake.NewClientBuilder().WithObjects(stripped.(*corev1.Secret)).Build())
}

// authority is the CA's Secret, as it is stored.
func (w *world) authority() *corev1.Secret {
	w.t.Helper()
	var s corev1.Secret
	if err := w.api.Get(ctx, client.ObjectKey{Namespace: home, Name: authority.SecretName("prod", "k8s")}, &s); err != nil {
		w.t.Fatal(err)
	}
	return &s
}

// goesOn rotates the CA until something is so of its ledger.
func (w *world) goesOn(until func(plan.Ledger) bool) {
	w.t.Helper()
	r, err := w.Store.Live(ctx, "prod", "k8s")
	if err != nil {
		w.t.Fatal(err)
	}
	ca, err := pki.SelfSign(now, pki.CertificateSpec{Subject: pki.Subject{CommonName: "k8s g2"}, Key: p256, Validity: 1000 * time.Hour})
	if err != nil {
		w.t.Fatal(err)
	}
	want, next := plan.DesiredLedger{SpecHash: "b"}, r.Next()
	next.Ledger, _ = r.Ledger.Enter(now, plan.Generation{
		Number: 2, SpecHash: "b", SHA256: pki.FingerprintOf(ca.Cert), Anchor: pki.IdentityOf(ca.Cert), Root: true,
	}, want)
	next.CAs[2] = ca
	did := plan.NewKey
	for at := now; at.Sub(now) < 100*time.Hour; at = at.Add(time.Hour) {
		if did != plan.Nothing {
			if r, err = w.Store.Commit(ctx, r, next); err != nil {
				w.t.Fatal(err)
			}
		}
		if until(r.Ledger) {
			return
		}
		next = r.Next()
		next.Ledger, did = r.Ledger.Step(at, want, plan.Observation{})
	}
	w.t.Fatalf("it goes no further: %+v", r.Ledger)
}

// change writes the CA's record anew, in a way that no step leads to.
func (w *world) change(mod func(*authority.Record)) {
	w.t.Helper()
	r, err := w.Store.Live(ctx, "prod", "k8s")
	if err != nil {
		w.t.Fatal(err)
	}
	next := r.Next()
	mod(next)
	if _, err := w.Store.Commit(ctx, r, next); err != nil {
		w.t.Fatal(err)
	}
}

// TestFrozenCache lets the CA go on while the cache stands still, in which generation 1 signs. A leaf that is to be re-issued, and
// a new one, are signed by the generation that is active by now, or by none.
func TestFrozenCache(t *testing.T) {
	active := func(number int32) func(plan.Ledger) bool {
		return func(l plan.Ledger) bool { g, _ := l.Active(); return g.Number == number }
	}
	for name, tc := range map[string]struct {
		happens func(*world)
		signs   string // the CA's common name; "": none
	}{
		"nothing":               {func(*world) {}, "k8s"},
		"another one is there":  {func(w *world) { w.goesOn(active(1)) }, "k8s"},
		"another one is active": {func(w *world) { w.goesOn(active(2)) }, "k8s g2"},
		"the former one is gone": {func(w *world) {
			w.goesOn(func(l plan.Ledger) bool { return !l.Names(1) })
		}, "k8s g2"},
		"another ClusterCA has it": {func(w *world) { w.change(func(r *authority.Record) { r.UID = "another" }) }, ""},
		"it is deleted":            {func(w *world) { w.change(func(r *authority.Record) { r.Deleted = now }) }, ""},
		"it was copied here":       {func(w *world) { w.change(func(r *authority.Record) { r.HomeUID = "another" }) }, ""},
		"it is gone": {func(w *world) {
			if err := w.api.Delete(ctx, w.authority()); err != nil {
				w.t.Fatal(err)
			}
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if st, err := w.Make(ctx, w.request(), nil); err != nil || !st.Issued {
				t.Fatalf("%+v: %v", st.Decision, err)
			}
			w.freeze()
			tc.happens(w)
			before := w.secret().Data["tls.crt"]
			again := w.request()
			again.Desired.Spec.Validity += time.Hour
			fresh := w.request()
			fresh.Secret = "node2-tls"
			w.made(again, w.noted(), before, tc.signs)
			w.made(fresh, nil, nil, tc.signs)
		})
	}
}

// made makes a leaf. Where nobody signs, its Secret is as before.
func (w *world) made(r leaf.Request, seen *corev1.Secret, before []byte, by string) {
	w.t.Helper()
	st, err := w.Make(ctx, r, seen)
	if err != nil {
		w.t.Errorf("%s: %v", r.Secret, err)
	}
	s, err := w.Secrets.Live(ctx, "prod", r.Secret)
	if err != nil {
		w.t.Fatal(err)
	}
	var now []byte
	if s != nil {
		now = s.Data["tls.crt"]
	}
	if by == "" {
		if st.Issued || !bytes.Equal(before, now) {
			w.t.Errorf("%s is signed: %+v", r.Secret, st.Decision)
		}
		return
	}
	if !st.Issued || bytes.Equal(before, now) {
		w.t.Fatalf("%s is not signed: %+v", r.Secret, st.Decision)
	}
	certs, err := pki.ParseCertificates(now)
	if err != nil || certs[0].Issuer.CommonName != by {
		w.t.Errorf("%s is signed by %v, want %s", r.Secret, certs[0].Issuer, by)
	}
}

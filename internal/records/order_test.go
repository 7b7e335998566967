package records

import (
	"fmt"
	"testing"
	"time"

	"clusterpki.io/operator/internal/pki"
)

// TestLastIsLast: what is recorded last of an object is its last one, whatever the clock said and wherever it stands.
func TestLastIsLast(t *testing.T) {
	e := newEnv(t)
	a := e.object("a")
	for n, off := range []time.Duration{0, time.Hour, 0, 0, -time.Hour} {
		i := issue(a, fmt.Sprint(n))
		i.Time = now.Add(off)
		if err := e.store.Record(t.Context(), place, i); err != nil {
			t.Fatal(err)
		}
		for other := 0; n == 1 && other < 50; other++ { // they fill that Secret
			i := issue(e.object(fmt.Sprint("other", other)), "00")
			i.PublicKey = make([]byte, 3<<10)
			if err := e.store.Record(t.Context(), place, i); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, s := range []*Store{e.store, e.another()} {
		e.has(s, a, "0", "1", "2", "3", "4")
	}
}

// TestApprovalOutlivesItsObject: an approval that another key has taken the place of is remembered by the name of the object, when that is gone, when all
// its certificates have ended, and in a backup. It makes nobody a signer.
func TestApprovalOutlivesItsObject(t *testing.T) {
	e := newEnv(t)
	a, b := e.object("a"), e.object("b")
	keys := map[string]Issue{}
	for _, name := range []string{"first", "second"} {
		key, err := pki.GenerateKey(pki.KeySpec{Algorithm: pki.ECDSA, Size: 256})
		if err != nil {
			t.Fatal(err)
		}
		der, err := pki.EncodePublicKey(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		keys[name] = Issue{PublicKey: der, ApprovedKeySHA256: pki.PublicKeyDigest(key.Public())}
	}
	approved := keys["first"].ApprovedKeySHA256
	record := func(o Object, serial, key string) {
		t.Helper()
		i := issue(o, serial)
		i.PublicKey, i.ApprovedKeySHA256 = keys[key].PublicKey, approved
		if err := e.store.Record(t.Context(), place, i); err != nil {
			t.Fatal(err)
		}
	}
	spent := func(when string, s *Store, o Object, want bool) {
		t.Helper()
		for digest, want := range map[string]bool{approved: want, keys["second"].ApprovedKeySHA256: false, "": false} {
			if got, err := s.Spent(t.Context(), "prod", o, digest); err != nil || got != want {
				t.Errorf("%s: the approval of %.4q of %s is spent: %t, %v", when, digest, o.Name, got, err)
			}
		}
	}
	record(a, "01", "first")
	record(b, "02", "first")
	spent("its key is in force", e.store, a, false)
	record(a, "03", "second")
	c := e.object("c")
	record(c, "04", "first")
	other := issue(c, "05") // by an approval of its own, or by none
	other.PublicKey = keys["second"].PublicKey
	if err := e.store.Record(t.Context(), place, other); err != nil {
		t.Fatal(err)
	}
	spent("another key has an approval of its own", e.store, c, true)
	again := Object{UID: "again", Kind: a.Kind, Name: a.Name}
	spent("another key is", e.store, again, true)
	e.objects["NodeCredential/a"] = again.UID
	for _, later := range []time.Duration{0, 2 * time.Hour} {
		e.store.now = func() time.Time { return now.Add(later) }
		for n := range 3 { // each time what nobody needs goes
			i := issue(e.object("d"), fmt.Sprint(later, n))
			i.NotAfter = now.Add(9 * time.Hour)
			if err := e.store.Record(t.Context(), place, i); err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range []*Store{e.store, e.another()} {
			spent("it is another object", s, again, true)
			spent("it is another name", s, b, false)
			e.has(s, again)
			e.has(s, Object{Kind: a.Kind, Name: a.Name})
		}
	}
	_, issues, err := Decode(e.secret(0))
	if err != nil || len(issues) != 8 { // six of d, and what is remembered of a and c
		t.Fatalf("%d are kept: %v", len(issues), err)
	}
	restored := newEnv(t)
	if err := restored.store.Restore(t.Context(), place, issues); err != nil {
		t.Fatal(err)
	}
	spent("it is restored", restored.store, again, true)
	restored.has(restored.store, again)
	if err := restored.store.Release(t.Context(), Place{Namespace: "prod", NamespaceUID: "another", HomeUID: "home"}); err != nil {
		t.Fatal(err)
	}
	spent("it is released", restored.store, again, true)
	restored.has(restored.store, again)
}

// TestApprovalOutlivesItsIssue: an approval that another key has taken the place of is remembered when so many were issued since that its own issue went.
func TestApprovalOutlivesItsIssue(t *testing.T) {
	e := newEnv(t)
	a := e.object("a")
	record := func(n int, key string, approved Issue) {
		t.Helper()
		i := issue(a, fmt.Sprintf("%02X", n))
		i.PublicKey, i.ApprovedKeySHA256 = []byte(key), approved.keySHA256()
		if err := e.store.Record(t.Context(), place, i); err != nil {
			t.Fatal(err)
		}
	}
	x, y := Issue{PublicKey: []byte("x")}, Issue{PublicKey: []byte("y")}
	record(1, "x", x)
	for n := range 3 * MaxPerObject {
		record(n+2, "y", y)
		for _, s := range []*Store{e.store, e.another()} {
			for approval, want := range map[string]bool{x.keySHA256(): true, y.keySHA256(): false} {
				if got, err := s.Spent(t.Context(), "prod", a, approval); err != nil || got != want {
					t.Fatalf("after %d more: the approval of %.4q is spent: %t, %v", n+1, approval, got, err)
				}
			}
		}
	}
	_, issues, err := Decode(e.secret(0))
	if err != nil || len(issues) != MaxPerObject+1 {
		t.Errorf("%d are kept: %v", len(issues), err)
	}
}

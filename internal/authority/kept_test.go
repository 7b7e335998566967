package authority_test

import (
	"bytes"
	"testing"

	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/pki/keyring"
)

// TestAccountKeysEnd: marked, then destroyed; their numbers go on.
func TestAccountKeysEnd(t *testing.T) {
	s, c, k := after(t)
	if _, err := s.CommitKept(ctx, k, k.Destroyed()); !isInvariant(err) {
		t.Errorf("destroyed without a mark: %v", err)
	}
	marked, err := s.CommitKept(ctx, k, k.Given(k.Identity, start))
	if err != nil || !marked.MarkedAt().Equal(start) {
		t.Fatalf("%+v, %v", marked, err)
	}
	dead, err := s.CommitKept(ctx, marked, marked.Destroyed())
	if err != nil || !dead.Tombstone() || names(accountSecret(t, c)) != "ledger.json" {
		t.Fatalf("it holds %s, %v", names(accountSecret(t, c)), err)
	}
	next := newAccountKeys(t, accountKey(t))
	tombstone := dead.(*authority.AccountKeys)
	next.Ledger = keyring.Bootstrap(start, tombstone.Ledger, keyring.Origin{Active: next.Ledger.Keys[0].ID})
	next.Keys[2], next.Public[2] = next.Keys[1], next.Public[1]
	if again, err := s.CommitAccountKeys(ctx, tombstone, next); err != nil || again.Ledger.Keys[0].Number != 2 || len(again.Err) > 0 {
		t.Errorf("begun anew: %+v, %v", again, err)
	}
}

// TestRestoredAccountKeys are the same, byte by byte, and nobody has seen yet what they publish.
func TestRestoredAccountKeys(t *testing.T) {
	_, c, k := after(t, keyring.Publish, keyring.Switch)
	before := accountSecret(t, c)
	s, other := newStore()
	elsewhere := k.Rebound("prod", "another-ns", "another-home")
	if err := s.Restore(ctx, elsewhere); err != nil {
		t.Fatal(err)
	}
	now := accountSecret(t, other)
	for _, name := range []string{"k1.key", "k1.pub", "k2.key", "k2.pub"} {
		if !bytes.Equal(before.Data[name], now.Data[name]) {
			t.Errorf("%s is another one", name)
		}
	}
	there, err := s.KeptFor(ctx, k.Ref())
	if err != nil || !there.SameAs(k) || there.Whose().UID != "" || there.Whose().NamespaceUID != "another-ns" {
		t.Fatalf("%+v, %v", there, err)
	}
	restored, err := s.LiveAccountKeys(ctx, "prod", "k8s-sa")
	if err != nil {
		t.Fatal(err)
	}
	seen := restored.Next()
	seen.Ledger = seen.Ledger.Seen(start)
	if restored, err = s.CommitAccountKeys(ctx, restored, seen); err != nil || !restored.SameAs(k) {
		t.Errorf("once it was seen, it is another one: %v", err)
	}
	_, _, newcomer := after(t)
	if newcomer.SameAs(k) || k.SameAs(newRecord(root(t, "k8s"))) {
		t.Error("others are the same")
	}
	if err := s.Remove(ctx, restored); err != nil {
		t.Fatal(err)
	}
	if none, err := s.KeptFor(ctx, k.Ref()); err != nil || none != nil {
		t.Errorf("%+v is left, %v", none, err)
	}
}

// TestRefs of the command line.
func TestRefs(t *testing.T) {
	for text, want := range map[string]string{
		"prod/k8s": "prod/k8s", "clustercas/prod/k8s": "prod/k8s", "sak/prod/k8s-sa": "serviceaccountkeys/prod/k8s-sa",
		"ServiceAccountKey/prod/k8s-sa": "serviceaccountkeys/prod/k8s-sa", "k8s": "", "/k8s": "", "prod/": "", "a/b/c/d": "", "nodes/prod/k8s": "",
		"sak/prod": "sak/prod", // a namespace of that name
	} {
		of, err := authority.ParseRef(text)
		if (err == nil) != (want != "") || err == nil && of.String() != want {
			t.Errorf("%q is %s, %v; want %q", text, of, err, want)
		}
	}
}

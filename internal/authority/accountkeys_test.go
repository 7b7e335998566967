package authority_test

import (
	"bytes"
	"crypto"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/keyring"
)

func accountKey(t testing.TB) pki.PrivateKey {
	t.Helper()
	key, err := pki.GenerateKey(pki.KeySpec{Algorithm: pki.ECDSA, Size: 256})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func keyID(t testing.TB, key pki.PrivateKey) string {
	t.Helper()
	id, err := keyring.KeyID(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// newAccountKeys are those of ServiceAccountKey prod/k8s-sa, not stored yet.
func newAccountKeys(t testing.TB, key pki.PrivateKey) *authority.AccountKeys {
	t.Helper()
	return &authority.AccountKeys{
		Identity: authority.Identity{Namespace: "prod", Name: "k8s-sa", NamespaceUID: "ns", CRDUID: "crd", UID: "uid", HomeUID: "home"},
		Ledger:   keyring.Bootstrap(start, keyring.Ledger{}, keyring.Origin{Active: keyID(t, key)}),
		Keys:     map[int32]pki.PrivateKey{1: key}, Public: map[int32]crypto.PublicKey{1: key.Public()},
	}
}

var arrived = keyring.Inputs{
	Now: start, Trigger: "2", Retain: time.Hour, Consumers: []keyring.Consumer{{Name: "a", HasPublication: true}}, Tokens: keyring.Tokens{Listed: true},
}

// moved are the keys after the step that is due, not stored yet.
func moved(t testing.TB, was *authority.AccountKeys, in keyring.Inputs, want keyring.Transition) *authority.AccountKeys {
	t.Helper()
	next := was.Next()
	var got keyring.Transition
	if next.Ledger, got = was.Ledger.Step(in); got == keyring.NewKey {
		key := accountKey(t)
		next.Ledger, got = was.Ledger.Enter(in, keyID(t, key))
		next.Keys[next.Ledger.Last], next.Public[next.Ledger.Last] = key, key.Public()
	}
	if got != want {
		t.Fatalf("the step is %q, want %q", got, want)
	}
	return next
}

// after stores keys, and then the steps.
func after(t testing.TB, steps ...keyring.Transition) (*authority.Store, client.WithWatch, *authority.AccountKeys) {
	t.Helper()
	s, c := newStore()
	k, err := s.CreateAccountKeys(ctx, newAccountKeys(t, accountKey(t)))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range steps {
		if k, err = s.CommitAccountKeys(ctx, k, moved(t, k, arrived, want)); err != nil {
			t.Fatal(err)
		}
	}
	return s, c, k
}

func accountSecret(t testing.TB, c client.Client) *corev1.Secret {
	t.Helper()
	var s corev1.Secret
	if err := c.Get(ctx, client.ObjectKey{Namespace: home, Name: "sak.prod.k8s-sa"}, &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

// names are those of what a Secret holds.
func names(s *corev1.Secret) string {
	var out []string
	for name := range s.Data {
		out = append(out, name)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// TestAccountKeysGoThrough a rotation: a private half is stored as long as something may sign by it, and what is published follows the ledger.
func TestAccountKeysGoThrough(t *testing.T) {
	s, c, k := after(t)
	first := k.Public[1]
	for _, tc := range []struct {
		step      keyring.Transition
		names     string
		published []int32
	}{
		{keyring.Publish, "k1.key k1.pub k2.key k2.pub ledger.json", []int32{1, 2}},
		{keyring.Switch, "k1.key k1.pub k2.key k2.pub ledger.json", []int32{2, 1}},
		{keyring.Complete, "k1.pub k2.key k2.pub ledger.json", []int32{2, 1}},
	} {
		var err error
		if k, err = s.CommitAccountKeys(ctx, k, moved(t, k, arrived, tc.step)); err != nil {
			t.Fatal(err)
		}
		if got := names(accountSecret(t, c)); got != tc.names {
			t.Errorf("%s: it holds %s, want %s", tc.step, got, tc.names)
		}
		published, err := k.Published()
		if err != nil || len(published) != len(tc.published) {
			t.Fatalf("%s: %d keys are published, %v", tc.step, len(published), err)
		}
		for i, number := range tc.published {
			if !pki.SamePublicKey(published[i], k.Public[number]) {
				t.Errorf("%s: key %d is not at place %d", tc.step, number, i)
			}
		}
		active, err := k.Active()
		if err != nil || !pki.SamePublicKey(active.Public(), published[0]) {
			t.Errorf("%s: what signs is not the first of what is published, %v", tc.step, err)
		}
	}
	live, err := s.LiveAccountKeys(ctx, "prod", "k8s-sa")
	if err != nil || len(live.Err) > 0 || !pki.SamePublicKey(live.Public[1], first) || live.Version != k.Version {
		t.Errorf("%+v, %v", live, err)
	}
	text, err := live.PublicPEM()
	if keys, parseErr := keyring.ParsePublic(text); err != nil || parseErr != nil || len(keys) != 2 {
		t.Errorf("sa.pub holds %d keys, %v, %v", len(keys), err, parseErr)
	}
	if set, err := live.JWKS(); err != nil || bytes.Count(set, []byte(`"kid"`)) != 2 {
		t.Errorf("the JSON Web Key Set is %s, %v", set, err)
	}
	later := arrived
	later.Now = start.Add(2 * time.Hour)
	if k, err = s.CommitAccountKeys(ctx, k, moved(t, k, later, keyring.Withdraw)); err != nil {
		t.Fatal(err)
	}
	if _, err = s.CommitAccountKeys(ctx, k, moved(t, k, later, keyring.Forget)); err != nil {
		t.Fatal(err)
	}
	if got := names(accountSecret(t, c)); got != "k2.key k2.pub ledger.json" {
		t.Errorf("in the end it holds %s", got)
	}
}

// TestAccountKeyRolledBack: its private half goes in the same write.
func TestAccountKeyRolledBack(t *testing.T) {
	s, c, k := after(t, keyring.Publish)
	back := arrived
	back.Trigger = ""
	if _, err := s.CommitAccountKeys(ctx, k, moved(t, k, back, keyring.Rollback)); err != nil {
		t.Fatal(err)
	}
	if got := names(accountSecret(t, c)); got != "k1.key k1.pub k2.pub ledger.json" {
		t.Errorf("it holds %s", got)
	}
}

// TestCachedAccountKeys: without private halves, without damage because of that, and never to be written from.
func TestCachedAccountKeys(t *testing.T) {
	_, c, _ := after(t, keyring.Publish)
	stripped, err := authority.WithoutKeys(accountSecret(t, c))
	if err != nil {
		t.Fatal(err)
	}
	if got := names(stripped.(*corev1.Secret)); got != "k1.pub k2.pub ledger.json" {
		t.Errorf("the cache holds %s", got)
	}
	cache := fake.NewClientBuilder().WithObjects(stripped.(*corev1.Secret)).WithIndex(&corev1.Secret{}, authority.NamespaceIndex, authority.NamespaceOf).Build()
	s := authority.New(home, c, cache)
	one, err := s.CachedAccountKeys(ctx, "prod", "k8s-sa")
	if err != nil || !one.WithoutKeys || len(one.Err) > 0 || len(one.Keys) > 0 {
		t.Fatalf("%+v, %v", one, err)
	}
	if digest, err := one.PublicSHA256(); err != nil || len(digest) != 64 {
		t.Errorf("what is published has the digest %q, %v", digest, err)
	}
	if _, err := one.Active(); err == nil {
		t.Error("a private half is read from a cache")
	}
	if all, err := s.CachedAccountKeysIn(ctx, "prod"); err != nil || len(all) != 1 || all[0] != one {
		t.Errorf("of the namespace: %v, %v", all, err)
	}
	if cas, err := s.CachedIn(ctx, "prod"); err != nil || len(cas) != 0 {
		t.Errorf("as CAs: %v, %v", cas, err)
	}
	if _, err := s.CommitAccountKeys(ctx, one, one.Next()); !isInvariant(err) || !strings.Contains(err.Error(), "cache") {
		t.Errorf("written from the cache: %v", err)
	}
	of, ok := authority.KeptIn(stripped.(*corev1.Secret))
	if !ok || of.String() != "serviceaccountkeys/prod/k8s-sa" || of.SecretName() != "sak.prod.k8s-sa" {
		t.Errorf("it is kept for %s, %v", of, ok)
	}
}

// TestDamagedAccountKeys: damage of one key is told, leaves the others as they are, and is not written over.
func TestDamagedAccountKeys(t *testing.T) {
	other := accountKey(t)
	private, err := other.Reveal()
	if err != nil {
		t.Fatal(err)
	}
	public, err := other.PublicPEM()
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		key   string
		value []byte
		want  string
	}{
		"no private half":      {"k2.key", nil, "it is not there"},
		"a broken one":         {"k2.key", []byte("SECRET"), "no PEM private key"},
		"another one":          {"k2.key", private, pki.ErrKeyMismatch.Error()},
		"no public half":       {"k2.pub", nil, "public half"},
		"another public half":  {"k2.pub", public, "another one than the ledger's"},
		"a broken public half": {"k2.pub", []byte("SECRET"), "public half"},
	} {
		s, c, _ := after(t, keyring.Publish)
		damaged := accountSecret(t, c)
		if damaged.Data[tc.key] = tc.value; tc.value == nil {
			delete(damaged.Data, tc.key)
		}
		if err := c.Update(ctx, damaged); err != nil {
			t.Fatal(err)
		}
		k, err := s.LiveAccountKeys(ctx, "prod", "k8s-sa")
		if err != nil || k.Err[1] != nil || k.Err[2] == nil || !strings.Contains(k.Err[2].Error(), tc.want) || strings.Contains(k.Err[2].Error(), "SECRET") {
			t.Errorf("%s: %v, %v", name, k.Err, err)
			continue
		}
		if _, err := k.Active(); err != nil {
			t.Errorf("%s: the other key: %v", name, err)
		}
		if _, err := s.CommitKept(ctx, k, k.Given(k.Identity, start)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := accountSecret(t, c).Data[tc.key]; !bytes.Equal(got, tc.value) {
			t.Errorf("%s: it is written over by %q", name, got)
		}
		if _, err := s.CommitAccountKeys(ctx, k, moved(t, k, arrived, keyring.Switch)); !isInvariant(err) {
			t.Errorf("%s: it comes to sign: %v", name, err)
		}
	}
}

// FuzzDecodeAccountKeys reads whatever stands in the Secret of service account keys: what is taken is of the object that its name says, publishes what
// can be read, and comes back the same; what is not gives an error that quotes nothing of a key.
func FuzzDecodeAccountKeys(f *testing.F) {
	_, c, _ := after(f, keyring.Publish)
	good := accountSecret(f, c)
	document, private, public := good.Data["ledger.json"], good.Data["k1.key"], good.Data["k1.pub"]
	f.Add(good.Name, document, private, public)
	f.Add("sak.test.k8s-sa", document, private, public)
	f.Add(good.Name, document, public, private)
	f.Add(good.Name, document, []byte("x"), append(public, public...))
	f.Add("sak..", []byte(`{"ledger":{"revision":1}}`), private, public)
	f.Fuzz(func(t *testing.T, name string, document, private, public []byte) {
		s := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Type: authority.AccountKeysSecretType,
			Data: map[string][]byte{"ledger.json": document, "k1.key": private, "k1.pub": public, "k2.key": good.Data["k2.key"], "k2.pub": good.Data["k2.pub"]},
		}
		k, err := authority.DecodeAccountKeys(s)
		if err != nil {
			return
		}
		if id, ok := authority.AccountKeysIdentityOf(s); !ok || id != k.Identity || authority.AccountKeysName(k.Namespace, k.Name) != name {
			t.Errorf("it is taken for %s, as %q", k.Identity, name)
		}
		if strings.Contains(fmt.Sprintf("%v %+v %v", k.Keys, k, k.Err), "PRIVATE KEY-----") {
			t.Error("a key is printed")
		}
		if active, err := k.Active(); err == nil {
			if published, err := k.Published(); err == nil && !pki.SamePublicKey(published[0], active.Public()) {
				t.Error("what signs is not the first of what is published")
			}
		}
	})
}

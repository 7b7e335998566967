package authority_test

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"

	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/test/files"
)

// same says whether two CAs are, with all that is above them.
func same(a, b pki.CA) bool {
	equal := func(a, b *x509.Certificate) bool { return a == nil && b == nil || a != nil && b != nil && a.Equal(b) }
	return equal(a.Cert, b.Cert) && equal(a.Root, b.Root) && slices.EqualFunc(a.Chain, b.Chain, equal) &&
		slices.EqualFunc(a.CrossSigned, b.CrossSigned, equal) && pki.SamePublicKey(a.Key.Public(), b.Key.Public())
}

func TestARecordIsStoredAsItIs(t *testing.T) {
	old := root(t, "old")
	unrooted := below(t, "k8s", old)
	unrooted.Root = nil
	for name, ca := range map[string]pki.CA{
		"a root":                      root(t, "k8s"),
		"an intermediate":             below(t, "k8s", old),
		"one with a chain and a root": below(t, "k8s", below(t, "middle", old)),
		"a cross-signed root":         crossSigned(t, root(t, "k8s"), old),
		"one whose root is not known": unrooted,
	} {
		s, c := newStore()
		r := newRecord(ca)
		r.Copies, r.Deleted = []authority.Copy{{Name: "pair", UID: "u"}}, start
		written, err := s.Create(ctx, r)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		read, err := s.Live(ctx, "prod", "k8s")
		if err != nil || len(read.Err) > 0 {
			t.Errorf("%s: %v, %v", name, err, read.Err)
			continue
		}
		for _, got := range []*authority.Record{written, read} {
			if !same(got.CAs[1], ca) {
				t.Errorf("%s: another CA comes back", name)
			}
			if diff := cmp.Diff(r.Ledger, got.Ledger); diff != "" || got.Identity != r.Identity || !got.Deleted.Equal(start) || got.Copies[0] != r.Copies[0] {
				t.Errorf("%s: %+v comes back\n%s", name, got.Identity, diff)
			}
			if got.Version == "" || got.WithoutKeys || got.Tombstone() {
				t.Errorf("%s: version %q, without keys %v", name, got.Version, got.WithoutKeys)
			}
		}
		if active, err := read.Active(); err != nil || !same(active, ca) {
			t.Errorf("%s: the active CA is another, %v", name, err)
		}
		if kind := secret(t, c).Type; kind != authority.SecretType {
			t.Errorf("%s: the Secret is of type %q", name, kind)
		}
	}
}

// TestRecordFormat: the Secret is what a backup holds, so its keys and its document are as they are.
func TestRecordFormat(t *testing.T) {
	old := root(t, "old")
	_, c, _ := created(t, crossSigned(t, below(t, "k8s", old), root(t, "older")))
	s := secret(t, c)
	var keys []string
	for k := range s.Data {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	if want := []string{"g1-crosssigned.crt", "g1-root.crt", "g1.crt", "g1.key", "ledger.json"}; !slices.Equal(keys, want) {
		t.Errorf("its keys are %v", keys)
	}
	var document map[string]json.RawMessage
	if err := json.Unmarshal(s.Data["ledger.json"], &document); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"namespace": `"prod"`, "name": `"k8s"`, "namespaceUID": `"ns"`, "crdUID": `"crd"`, "uid": `"uid"`, "authorityNamespaceUID": `"home"`} {
		if string(document[key]) != want {
			t.Errorf("%s is %s", key, document[key])
		}
	}
	if len(document) != 7 {
		t.Errorf("the document is %s", s.Data["ledger.json"])
	}
}

// TestDamage: what is wrong with one key stops only that, and is told; the rest is as it was.
func TestDamage(t *testing.T) {
	ca, other := root(t, "k8s"), root(t, "other")
	for name, tc := range map[string]struct {
		mod  func(*corev1.Secret)
		err  string // of the record
		key  string // of the key
		cert bool   // the certificate is known all the same
	}{
		"the key is gone":               {func(s *corev1.Secret) { delete(s.Data, "g1.key") }, "", "not there", true},
		"another key":                   {func(s *corev1.Secret) { s.Data["g1.key"] = reveal(t, other) }, "", "does not match", true},
		"a key that is none":            {func(s *corev1.Secret) { s.Data["g1.key"] = []byte("x") }, "", "no PEM private key", true},
		"another certificate":           {func(s *corev1.Secret) { s.Data["g1.crt"] = other.CertPEM() }, "", "another one than the ledger's", false},
		"another pair":                  {func(s *corev1.Secret) { s.Data["g1.crt"], s.Data["g1.key"] = other.CertPEM(), reveal(t, other) }, "", "another one than the ledger's", false},
		"the certificate is gone":       {func(s *corev1.Secret) { delete(s.Data, "g1.crt") }, "", "Secret", false},
		"a root that is none":           {func(s *corev1.Secret) { s.Data["g1-root.crt"] = []byte("x") }, "", "g1-root.crt", true},
		"cross-signed ones are none":    {func(s *corev1.Secret) { s.Data["g1-crosssigned.crt"] = []byte("x") }, "", "g1-crosssigned.crt", true},
		"no ledger":                     {func(s *corev1.Secret) { delete(s.Data, "ledger.json") }, "malformed ledger.json", "", false},
		"a ledger cut short":            {func(s *corev1.Secret) { s.Data["ledger.json"] = s.Data["ledger.json"][:20] }, "malformed ledger.json", "", false},
		"an empty ledger":               {func(s *corev1.Secret) { s.Data["ledger.json"] = []byte("{}") }, "malformed ledger", "", false},
		"a ledger of nothing":           {func(s *corev1.Secret) { s.Data["ledger.json"] = []byte(`{"ledger":{}}`) }, "no revision", "", false},
		"copied under another name":     {func(s *corev1.Secret) { s.Name = "ca.prod.evil" }, "it was copied", "", false},
		"copied to another namespace's": {func(s *corev1.Secret) { s.Name = "ca.test.k8s" }, "it was copied", "", false},
	} {
		_, c, _ := created(t, ca)
		s := secret(t, c)
		tc.mod(s)
		r, err := authority.Decode(s)
		if tc.err != "" {
			if err == nil || !strings.Contains(err.Error(), tc.err) || r != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if keyErr := r.Err[1]; keyErr == nil || !strings.Contains(keyErr.Error(), tc.key) || strings.Contains(keyErr.Error(), "PRIVATE") {
			t.Errorf("%s: %v", name, keyErr)
		}
		if _, err := r.Active(); err == nil {
			t.Errorf("%s: it can sign", name)
		}
		if (r.CAs[1].Cert != nil) != tc.cert || r.CAs[1].Key.Public() != nil {
			t.Errorf("%s: the certificate is known: %v", name, r.CAs[1].Cert != nil)
		}
	}
}

// TestDamageIsKept: a write of something else neither mends what is damaged nor takes anything away of it.
func TestDamageIsKept(t *testing.T) {
	for _, gone := range []string{"g1.crt", "g1.key"} {
		s, c, _ := created(t, below(t, "k8s", root(t, "root")))
		stored := secret(t, c)
		delete(stored.Data, gone)
		if err := c.Update(ctx, stored); err != nil {
			t.Fatal(err)
		}
		r, err := s.Live(ctx, "prod", "k8s")
		if err != nil {
			t.Fatal(err)
		}
		next := r.Next()
		next.UID = "another"
		if _, err := s.Commit(ctx, r, next); err != nil {
			t.Errorf("without %s: %v", gone, err)
			continue
		}
		after := secret(t, c)
		for k, v := range stored.Data {
			if k != "ledger.json" && !bytes.Equal(after.Data[k], v) {
				t.Errorf("without %s: %s is changed", gone, k)
			}
		}
		if len(after.Data) != len(stored.Data) {
			t.Errorf("without %s: there are %d keys instead of %d", gone, len(after.Data), len(stored.Data))
		}
	}
}

func TestBounds(t *testing.T) {
	long := root(t, "k0")
	for i := range authority.MaxChain + 1 {
		long = below(t, "k"+string(rune('a'+i)), long)
	}
	if len(long.Chain) != authority.MaxChain {
		t.Fatalf("the chain has %d certificates", len(long.Chain))
	}
	tooLong := below(t, "last", long)
	crossed := root(t, "k8s")
	for range authority.MaxCrossSigned {
		crossed.CrossSigned = append(crossed.CrossSigned, crossSigned(t, crossed, root(t, "old")).CrossSigned[0])
	}
	tooCrossed := crossed
	tooCrossed.CrossSigned = append(slices.Clone(crossed.CrossSigned), crossed.CrossSigned[0])
	large := spec("k8s")
	for i := range 900 {
		large.Subject.Organizations = append(large.Subject.Organizations, fmt.Sprintf("%060d", i))
	}
	huge, err := pki.SelfSign(start, large)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		ca   pki.CA
		want string
	}{
		"the longest chain":          {long, ""},
		"a longer one":               {tooLong, "a chain of 9 certificates, more than 8"},
		"as many cross-signed":       {crossed, ""},
		"more cross-signed":          {tooCrossed, "5 cross-signed certificates, more than 4"},
		"a certificate that is huge": {huge, "bytes, more than 65536"},
	} {
		s, _ := newStore()
		_, err := s.Create(ctx, newRecord(tc.ca))
		large, isLarge := errors.AsType[*authority.TooLargeError](err)
		if tc.want == "" && err != nil || tc.want != "" && (!isLarge || !strings.Contains(large.Error(), tc.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWithoutKeys: no private key is left in what a cache holds, in no form, and the rest of the CA is.
func TestWithoutKeys(t *testing.T) {
	first, second := below(t, "k8s", root(t, "root")), root(t, "k8s g2")
	store, c, r := created(t, first)
	if _, err := store.Commit(ctx, r, withNext(r, second)); err != nil {
		t.Fatal(err)
	}
	s := secret(t, c)
	s.Annotations = map[string]string{"kubectl.kubernetes.io/last-applied-configuration": string(s.Data["g1.key"])}
	s.Data["backup.key"], s.Data["g2.key.old"] = s.Data["g1.key"], s.Data["g2.key"]
	cached, err := authority.WithoutKeys(s)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(cached)
	if err != nil {
		t.Fatal(err)
	}
	out := cached.(*corev1.Secret)
	everything := [][]byte{text}
	for _, v := range out.Data {
		everything = append(everything, v)
	}
	for _, ca := range []pki.CA{first, second} {
		key := reveal(t, ca)
		block, _ := pem.Decode(key)
		for _, part := range everything {
			if bytes.Contains(part, key) || bytes.Contains(part, block.Bytes) || bytes.Contains(part, []byte("PRIVATE KEY")) {
				t.Fatal("a private key is left")
			}
		}
	}
	if len(s.Data["g1.key"]) == 0 {
		t.Error("the Secret itself is changed")
	}
	read, err := authority.Decode(out)
	if err != nil || !read.WithoutKeys || len(read.Err) > 0 {
		t.Fatalf("%v, %+v", err, read)
	}
	for number, ca := range map[int32]pki.CA{1: first, 2: second} {
		ca.Key = pki.PrivateKey{}
		if got := read.CAs[number]; !got.Cert.Equal(ca.Cert) || len(got.Chain) != len(ca.Chain) || (got.Root == nil) != (ca.Root == nil) {
			t.Errorf("generation %d is another", number)
		}
	}
	for _, other := range []any{&corev1.ConfigMap{}, nil, "x"} {
		if got, err := authority.WithoutKeys(other); err != nil || got != other {
			t.Errorf("%v becomes %v, %v", other, got, err)
		}
	}
	seal, err := authority.WithoutKeys(&corev1.Secret{Type: authority.SealSecretType, Data: map[string][]byte{"key": []byte("k"), "a.crt": []byte("k")}})
	if err != nil || len(seal.(*corev1.Secret).Data) != 0 {
		t.Errorf("of another Secret %v is left, %v", seal, err)
	}
}

// TestOnlyACacheLeavesKeysOut: a key that is missing from what the API server holds is lost, whatever is written beside it.
func TestOnlyACacheLeavesKeysOut(t *testing.T) {
	_, c, _ := created(t, root(t, "k8s"))
	s := secret(t, c)
	cached, err := authority.WithoutKeys(s)
	if err != nil {
		t.Fatal(err)
	}
	marks := cached.(*corev1.Secret).Annotations
	for key := range marks {
		if refused := validation.ValidateAnnotations(map[string]string{key: "true"}, nil); len(refused) == 0 {
			t.Errorf("the API server takes %q", key)
		}
	}
	s.Annotations = map[string]string{"clusterpki.io/without-keys": "true"}
	delete(s.Data, "g1.key")
	if read, err := authority.Decode(s); err != nil {
		t.Fatal(err)
	} else if read.WithoutKeys || !errors.Is(read.Err[1], authority.ErrKeyMissing) || len(marks) != 1 {
		t.Errorf("the lost key is not missed: without keys: %t, %v", read.WithoutKeys, err)
	}
}

func TestIdentityOf(t *testing.T) {
	_, c, r := created(t, root(t, "k8s"))
	s := secret(t, c)
	if id, ok := authority.IdentityOf(s); !ok || id != r.Identity || !slices.Equal(authority.NamespaceOf(s), []string{"prod"}) {
		t.Errorf("%+v, %v", id, ok)
	}
	for name, mod := range map[string]func(*corev1.Secret){
		"another type": func(s *corev1.Secret) { s.Type = corev1.SecretTypeOpaque },
		"a copy":       func(s *corev1.Secret) { s.Name = "ca.test.k8s" },
		"no document":  func(s *corev1.Secret) { s.Data = nil },
	} {
		o := s.DeepCopy()
		mod(o)
		if _, ok := authority.IdentityOf(o); ok || authority.NamespaceOf(o) != nil {
			t.Errorf("%s is a CA's", name)
		}
	}
	if _, ok := authority.IdentityOf(&corev1.ConfigMap{}); ok {
		t.Error("a ConfigMap is a CA's")
	}
}

// What can be decoded can be written again and is the same, whatever was stored.
func FuzzDecode(f *testing.F) {
	ca := root(f, "k8s")
	_, c, _ := created(f, ca)
	s := secret(f, c)
	f.Add(s.Data["ledger.json"], s.Data["g1.crt"], s.Data["g1.key"])
	f.Add([]byte(`{"namespace":"prod","name":"k8s","ledger":{"revision":1}}`), []byte(nil), []byte("x"))
	written := files.Object[corev1.Secret](f, "authority.yaml").Data
	f.Add(bytes.Replace(written["ledger.json"], []byte(`"e2e"`), []byte(`"prod"`), 1), written["g1.crt"], s.Data["g1.key"])
	f.Add([]byte(`{"namespace":"prod.k8s","name":"","ledger":{"revision":1,"last":1,"generations":[{"number":1,"state":"Active"}]}}`), []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, document, cert, key []byte) {
		o := s.DeepCopy()
		o.Data = map[string][]byte{"ledger.json": document, "g1.crt": cert, "g1.key": key}
		r, err := authority.Decode(o)
		if err != nil {
			return
		}
		if id, ok := authority.IdentityOf(o); !ok || id.Namespace != r.Namespace || id.Name != r.Name {
			t.Fatalf("it is of %s/%s, and found as that of %+v", r.Namespace, r.Name, id)
		}
		for _, g := range r.Ledger.Generations {
			if r.Err[g.Number] == nil && !pki.SamePublicKey(r.CAs[g.Number].Cert.PublicKey, r.CAs[g.Number].Key.Public()) {
				t.Fatalf("generation %d has another key", g.Number)
			}
		}
		if _, err := r.Active(); r.Tombstone() && err == nil {
			t.Fatal("a tombstone signs")
		}
		if err := r.Ledger.Check(); err != nil || !strings.HasPrefix(authority.SecretName(r.Namespace, r.Name), "ca.prod") {
			t.Fatalf("%v of %s/%s", err, r.Namespace, r.Name)
		}
	})
}

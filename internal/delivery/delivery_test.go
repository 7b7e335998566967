package delivery_test

import (
	"crypto/ed25519"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/internal/delivery"
	"clusterpki.io/operator/test/files"
)

func newKey(t testing.TB) (ed25519.PublicKey, ed25519.PrivateKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return public, private
}

func document(mods ...func(*delivery.Document)) delivery.Document {
	d := delivery.Document{
		Statement: delivery.Statement{
			Kind: "NodeCredential", Namespace: "prod", Name: "k8s-node1-kubelet", UID: "0b7c", Host: "k8s-node1",
			Contents:   map[string]string{"tls.crt": delivery.DigestOf([]byte("certificate"))},
			Trust:      map[string]map[string]int64{"ca.crt": {"k8s": 3}},
			Kubeconfig: &delivery.Kubeconfig{Server: "https://k8s-master:6443", ClusterName: "k8s", ContextName: "default", UserName: "kubelet"},
		},
		Time: time.Date(2026, 11, 1, 12, 0, 0, 137e6, time.UTC),
	}
	for _, mod := range mods {
		mod(&d)
	}
	return d
}

func TestSignedIsOpened(t *testing.T) {
	public, private := newKey(t)
	another, _ := newKey(t)
	text, err := delivery.Sign(private, document())
	if err != nil {
		t.Fatal(err)
	}
	got, by, err := delivery.Open([]ed25519.PublicKey{another, public}, text)
	if diff := cmp.Diff(document(), got); diff != "" || err != nil || by != delivery.KeyID(public) {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if !got.Holds("tls.crt", []byte("certificate")) || got.Holds("tls.crt", []byte("another")) || got.Holds("ca.crt", nil) {
		t.Error("digests are not compared")
	}
}

// TestNothingElseIsOpened changes an envelope in each way.
func TestNothingElseIsOpened(t *testing.T) {
	public, private := newKey(t)
	another, anothers := newKey(t)
	sign := func(key ed25519.PrivateKey, d delivery.Document) []byte {
		text, err := delivery.Sign(key, d)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	type stored struct {
		KeyID               string
		Document, Signature []byte
	}
	edit := func(change func(*stored)) []byte {
		var e stored
		if err := json.Unmarshal(sign(private, document()), &e); err != nil {
			t.Fatal(err)
		}
		change(&e)
		text, err := json.Marshal(map[string]any{"keyID": e.KeyID, "document": e.Document, "signature": e.Signature})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	resign := func(text string) []byte {
		return edit(func(e *stored) {
			e.Document, e.Signature = []byte(text), ed25519.Sign(private, []byte("clusterpki.io delivery v1\x00"+text))
		})
	}
	whole := string(sign(private, document()))
	for name, c := range map[string]struct {
		text []byte
		says string
	}{
		"nothing":                  {nil, "it cannot be read"},
		"too much":                 {make([]byte, delivery.MaxEnvelope+1), "more than"},
		"something behind it":      {[]byte(whole + "{}"), "something follows it"},
		"another field":            {[]byte(`{"exec":1,` + whole[1:]), "no JSON of this version"},
		"another key":              {sign(anothers, document()), "a key that this host does not know"},
		"another key by its name":  {edit(func(e *stored) { e.KeyID = delivery.KeyID(another) }), "a key that this host does not know"},
		"another document":         {edit(func(e *stored) { e.Document = []byte(strings.Replace(string(e.Document), "k8s-master", "evil", 1)) }), "does not fit"},
		"half a signature":         {edit(func(e *stored) { e.Signature = e.Signature[:32] }), "does not fit"},
		"without the context":      {edit(func(e *stored) { e.Signature = ed25519.Sign(private, e.Document) }), "does not fit"},
		"signed, and no document":  {resign("null"), "of which object"},
		"signed, and of a version": {resign(`{"exec":"x"}`), "no JSON of this version"},
		"signed, and unprintable": {resign(`{"kind":"a","namespace":"b","name":"c\n","uid":"d","host":"e","contents":{},"time":"2026-11-01T12:00:00Z"}`),
			"not printable"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := delivery.Open([]ed25519.PublicKey{public}, c.text)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, and not %q", err, c.says)
			}
		})
	}
}

func TestSignRefuses(t *testing.T) {
	_, private := newKey(t)
	for name, mod := range map[string]func(*delivery.Document){
		"no host":    func(d *delivery.Document) { d.Host = "" },
		"no keys":    func(d *delivery.Document) { d.ServiceAccounts = &delivery.ServiceAccounts{} },
		"half a key": func(d *delivery.Document) { d.NextKey = make([]byte, 16) },
		"no time":    func(d *delivery.Document) { d.Time = time.Time{} },
		"a newline":  func(d *delivery.Document) { d.Kubeconfig.UserName = "a\nusers:" },
		"too long":   func(d *delivery.Document) { d.Kubeconfig.Server = strings.Repeat("x", 3000) },
		"too many": func(d *delivery.Document) {
			for i := range 70 {
				d.Contents[strings.Repeat("x", i)] = ""
			}
		},
	} {
		if text, err := delivery.Sign(private, document(mod)); err == nil {
			t.Errorf("%s is signed: %s", name, text)
		}
	}
}

// TestStatementDigest: it is another one for each thing that is said, and for another key, and the same at another time.
func TestStatementDigest(t *testing.T) {
	seen := map[string]string{}
	for name, mod := range map[string]func(*delivery.Document){
		"as it is":         func(*delivery.Document) {},
		"kind":             func(d *delivery.Document) { d.Kind = "APIServerCertificate" },
		"namespace":        func(d *delivery.Document) { d.Namespace = "x" },
		"name":             func(d *delivery.Document) { d.Name = "x" },
		"UID":              func(d *delivery.Document) { d.UID = "x" },
		"host":             func(d *delivery.Document) { d.Host = "x" },
		"contents":         func(d *delivery.Document) { d.Contents["tls.crt"] = "x" },
		"revision":         func(d *delivery.Document) { d.Trust["ca.crt"]["k8s"]++ },
		"endpoint":         func(d *delivery.Document) { d.Kubeconfig.Server = "x" },
		"service accounts": func(d *delivery.Document) { d.ServiceAccounts = &delivery.ServiceAccounts{SHA256: "x"} },
		"their switch": func(d *delivery.Document) {
			d.ServiceAccounts = &delivery.ServiceAccounts{SHA256: "x", SwitchedAt: time.Unix(1, 0)}
		},
		"next key": func(d *delivery.Document) { d.NextKey = make([]byte, ed25519.PublicKeySize) },
	} {
		digest, err := document(mod).Digest("key")
		if other, there := seen[digest]; there || err != nil {
			t.Errorf("%s and %s have one digest, %v", name, other, err)
		}
		seen[digest] = name
	}
	later, err := document(func(d *delivery.Document) { d.Time = d.Time.Add(time.Hour) }).Digest("key")
	other, err2 := document().Digest("other")
	if seen[later] != "as it is" || seen[other] != "" || err != nil || err2 != nil {
		t.Error("the time counts, or the key does not")
	}
}

func TestNextTime(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 137_999_999, time.UTC)
	cut := time.Date(2026, 11, 1, 12, 0, 0, 137e6, time.UTC)
	for _, c := range []struct{ last, want time.Time }{
		{time.Time{}, cut}, {cut.Add(-time.Millisecond), cut}, {cut, cut.Add(time.Millisecond)}, {cut.Add(time.Hour), cut.Add(time.Hour + time.Millisecond)},
		{now.Add(time.Hour + time.Millisecond), cut}, // the clock was wrong, and no host has taken that
	} {
		if got := delivery.NextTime(now, c.last); !got.Equal(c.want) {
			t.Errorf("after %v it is %v, want %v", c.last, got, c.want)
		}
	}
}

func TestPublicKey(t *testing.T) {
	public, _ := newKey(t)
	text, err := delivery.EncodePublic(public)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := delivery.ParsePublic(text); err != nil || !got.Equal(public) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "x", string(text) + string(text), strings.Replace(string(text), "PUBLIC", "PRIVATE", 2)} {
		if _, err := delivery.ParsePublic([]byte(bad)); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}

// FuzzOpen: no text without the signature is opened, and none makes it fail otherwise than by an error.
func FuzzOpen(f *testing.F) {
	public, private := newKey(f)
	whole, err := delivery.Sign(private, document())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte(`{"keyID":"` + delivery.KeyID(public) + `","document":"e30=","signature":""}`))
	f.Add([]byte(`{`))
	f.Add(files.Object[corev1.Secret](f, "credential.yaml").Data["delivery"])
	f.Fuzz(func(t *testing.T, text []byte) {
		d, _, err := delivery.Open([]ed25519.PublicKey{public}, text)
		if err == nil && cmp.Diff(document(), d) != "" {
			t.Errorf("%s is opened, and says %+v", text, d)
		}
	})
}

package ack_test

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/test/files"
)

var now = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func lease(report string) *coordinationv1.Lease {
	return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{v1alpha1.ReportAnnotation: report}}}
}

func TestReportComesBack(t *testing.T) {
	state := &ack.State{SerialNumber: "2C7F", Contents: map[string]string{"node1-tls/ca.crt": "aa", "node1-tls/tls.crt": "bb"}}
	want := ack.Report{Installed: state, Verified: &ack.State{SerialNumber: "2C7E"}, Problem: "kubelet: exit status 1", Version: "v1.2.3-rc.1+x", Credential: &ack.Credential{GrantedSeconds: 3600, Expires: now, Problem: "403"}, Tokens: &ack.Tokens{
		Listed: true, Before: now, Count: 2, Names: []string{"default/ci", "kube-system/robot"},
	}}
	text, err := want.Text()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, ack.Of(lease(text))); diff != "" {
		t.Error(diff)
	}
}

// TestDamage reads as nothing being said: half a report could say too much.
func TestDamage(t *testing.T) {
	for _, text := range []string{
		"", "null", "[]", "{", `{"verified":{"contents":{"k/ca.crt":"aa"}}`, `{"verified":{"contents":{"k/ca.crt":3}},"problem":"x"}`,
		`{"verified":{"serialNumber":1},"problem":"x"}`, `{"problem":1,"verified":{"serialNumber":"0A"}}`,
	} {
		if got := ack.Of(lease(text)); !cmp.Equal(got, ack.Report{}) {
			t.Errorf("%s reads as %+v", text, got)
		}
	}
	for _, l := range []*coordinationv1.Lease{nil, {}} {
		if got := ack.Of(l); !cmp.Equal(got, ack.Report{}) {
			t.Errorf("no report reads as %+v", got)
		}
	}
}

func TestProblemIsOneLine(t *testing.T) {
	long := strings.Repeat("é", ack.MaxProblem)
	for problem, want := range map[string]string{
		" two\nlines\r\n\tand more ":    "two lines and more",
		"\x1b[31mred\x07 \u202eback":    "?[31mred? ?back",
		"not \xff UTF-8":                "not ? UTF-8",
		long:                            strings.Repeat("é", (ack.MaxProblem-3)/2) + "...",
		strings.Repeat("x", 1024):       strings.Repeat("x", 1024),
		strings.Repeat("x", 1025):       strings.Repeat("x", 1021) + "...",
		"nothing to change, über alles": "nothing to change, über alles",
	} {
		text, err := ack.Report{Problem: problem}.Text()
		if err != nil {
			t.Fatal(err)
		}
		if got := ack.Of(lease(text)).Problem; got != want {
			t.Errorf("%.40q reads as %.40q", problem, got)
		}
	}
	if got := ack.Of(lease(`{"problem":"a\nb\u001b"}`)).Problem; got != "a b?" {
		t.Errorf("what another agent wrote reads as %q", got)
	}
}

// TestTokens come back in order, bounded and printable, whoever wrote them.
func TestTokens(t *testing.T) {
	long := make([]string, 100)
	for i := range long {
		long[i] = fmt.Sprintf("%063d/%0253d", i, i)
	}
	for name, c := range map[string]struct{ said, want ack.Tokens }{
		"none":        {ack.Tokens{Listed: true, Before: now}, ack.Tokens{Listed: true, Before: now}},
		"not listed":  {ack.Tokens{}, ack.Tokens{}},
		"some":        {ack.Tokens{Listed: true, Count: 2, Names: []string{"b/c", "a/b.c-d"}}, ack.Tokens{Listed: true, Count: 2, Names: []string{"a/b.c-d", "b/c"}}},
		"one twice":   {ack.Tokens{Count: 1, Names: []string{"a/b", "a/b"}}, ack.Tokens{Count: 1, Names: []string{"a/b"}}},
		"fewer":       {ack.Tokens{Count: -1, Names: []string{"a/b"}}, ack.Tokens{Count: 1, Names: []string{"a/b"}}},
		"more":        {ack.Tokens{Count: 7, Names: []string{"a/b"}}, ack.Tokens{Count: 7, Names: []string{"a/b"}}},
		"other texts": {ack.Tokens{Count: 9, Names: []string{"a", "a/", "/b", "a/b/c", "a/b\x1b[31m", "a/B", "a/b\n", "é/x"}}, ack.Tokens{Count: 9}},
		"too long":    {ack.Tokens{Count: 100, Names: long}, ack.Tokens{Count: 100, Names: long[:ack.MaxTokenNames/317]}},
		"a long one":  {ack.Tokens{Count: 1, Names: []string{"a/" + strings.Repeat("b", 316)}}, ack.Tokens{Count: 1}},
	} {
		written, err := json.Marshal(ack.Report{Tokens: &c.said}) // as an agent that bounds nothing would
		if err != nil {
			t.Fatal(err)
		}
		text, err := ack.Report{Tokens: &c.said}.Text()
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{string(written), text} {
			if diff := cmp.Diff(&c.want, ack.Of(lease(text)).Tokens); diff != "" && len(text) < 32<<10 {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
	}
}

// TestVersion reads as none where it is no version: it is shown to people.
func TestVersion(t *testing.T) {
	for said, want := range map[string]string{
		"v0.3.1": "v0.3.1", "devel": "devel", "v0.0.0-20261129-abc+dirty": "v0.0.0-20261129-abc+dirty",
		"v1\n2": "", "v1 2": "", "\x1b[31m": "", "é": "", strings.Repeat("1", 65): "", "": "",
	} {
		written, err := json.Marshal(ack.Report{Version: said})
		if err != nil {
			t.Fatal(err)
		}
		if got := ack.Of(lease(string(written))).Version; got != want {
			t.Errorf("%q reads as %q", said, got)
		}
	}
}

// FuzzOf reads whatever a host may write: what comes out fits into an event and is one printable line.
func FuzzOf(f *testing.F) {
	for _, seed := range []string{"", `{"problem":"a\nb"}`, `{"verified":{"serialNumber":"0A","contents":{"k/ca.crt":"aa"}}}`, `{"problem":"\ud800\u202e"}`,
		`{"tokens":{"listed":true,"before":"2026-11-25T12:00:00Z","count":-1,"names":["b/c","a/b","a/b","\u001b/x"]}}`} {
		f.Add(seed)
	}
	f.Add(files.Object[coordinationv1.Lease](f, "lease.yaml").Annotations[v1alpha1.ReportAnnotation])
	f.Fuzz(func(t *testing.T, text string) {
		r := ack.Of(lease(text))
		bad := func(c rune) bool { return !unicode.IsPrint(c) }
		if tokens := r.Tokens; tokens != nil {
			names := strings.Join(tokens.Names, "")
			if len(names) > ack.MaxTokenNames || strings.ContainsFunc(names, bad) || tokens.Count < len(tokens.Names) {
				t.Errorf("the tokens are %+v", tokens)
			}
		}
		if len(r.Problem) > ack.MaxProblem || !utf8.ValidString(r.Problem) || strings.ContainsFunc(r.Problem, bad) {
			t.Errorf("the problem is %q", r.Problem)
		}
		again, err := r.Text()
		if err != nil {
			t.Fatal(err)
		}
		back := ack.Of(lease(again))
		if diff := cmp.Diff(r.Problem, back.Problem) + cmp.Diff(r.Tokens, back.Tokens); diff != "" {
			t.Error(diff)
		}
	})
}

func TestCovers(t *testing.T) {
	have := func() ack.State {
		return ack.State{SerialNumber: "2C7F", Contents: map[string]string{"node1-tls/tls.crt": "aa", "node1-tls/ca.crt": "bb", "node1-kubeconfig/ca.crt": "cc"}}
	}
	desired := have()
	for name, c := range map[string]struct {
		change func(*ack.State)
		want   bool
	}{
		"the same":            {func(*ack.State) {}, true},
		"no serial number":    {func(s *ack.State) { s.SerialNumber = "" }, true}, // the digest says which certificate it is
		"a further Secret":    {func(s *ack.State) { s.Contents["sa/ca.crt"] = "dd" }, true},
		"another bundle":      {func(s *ack.State) { s.Contents["node1-tls/ca.crt"] = "cc" }, false},
		"a bundle less":       {func(s *ack.State) { delete(s.Contents, "node1-kubeconfig/ca.crt") }, false},
		"another certificate": {func(s *ack.State) { s.Contents["node1-tls/tls.crt"] = "bb" }, false},
		"nothing":             {func(s *ack.State) { *s = ack.State{} }, false},
	} {
		s := have()
		c.change(&s)
		if got := s.Covers(desired); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
	if (*ack.State)(nil).Covers(ack.State{}) {
		t.Error("none covers nothing")
	}
	if unknown := (&ack.State{Contents: map[string]string{"a/ca.crt": ""}}); unknown.Has("a/ca.crt", "") || unknown.Has("b/ca.crt", "") {
		t.Error("what cannot be read is there")
	}
}

// TestStateOf reads from bytes what Secrets hold, whatever their annotations say.
func TestStateOf(t *testing.T) {
	signed := func(name string) pki.CA {
		t.Helper()
		pair, err := pki.SelfSign(now, pki.CertificateSpec{
			Subject: pki.Subject{CommonName: name}, Validity: time.Hour, Key: pki.KeySpec{Algorithm: pki.ECDSA, Size: 256},
		})
		if err != nil {
			t.Fatal(err)
		}
		return pair
	}
	leaf, ca, next := signed("x"), signed("k8s"), signed("k8s")
	secret := func(name string, data map[string][]byte) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{v1alpha1.ClaimAnnotation: "damaged"}}, Data: data}
	}
	tls := secret("a", map[string][]byte{"tls.crt": leaf.CertPEM(), "ca.crt": ca.CertPEM(), "client-ca.crt": pki.EncodeCertificates(ca.Cert, next.Cert)})
	beside := secret("b", map[string][]byte{"tls.crt": leaf.CertPEM(), "ca.crt": next.CertPEM(), "value": []byte("a kubeconfig")})
	keys := secret("k", map[string][]byte{"sa.key": []byte("the private one"), "sa.pub": []byte("public ones")})
	tls.Data["sa.pub"] = []byte("nothing that is delivered from there")
	got, err := ack.StateOf(tls, beside, secret("c", nil), keys)
	digest := func(certs ...*x509.Certificate) string { return pki.BundleDigest(certs) }
	want := ack.State{SerialNumber: pki.SerialOf(leaf.Cert), Contents: map[string]string{
		"a/tls.crt": pki.FingerprintOf(leaf.Cert), "a/ca.crt": digest(ca.Cert), "a/client-ca.crt": digest(ca.Cert, next.Cert),
		"b/tls.crt": pki.FingerprintOf(leaf.Cert), "b/ca.crt": digest(next.Cert),
		"k/sa.pub": "7a0c31b02b711f60d82334400d930283af0260f6be2d66bbd580be41f505c3a6",
	}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}

	damaged := map[string][]byte{"tls.crt": leaf.CertPEM(), "ca.crt": []byte("damaged")}
	for name, c := range map[string]struct {
		secrets []*corev1.Secret
		want    string
	}{
		"no certificate":               {[]*corev1.Secret{secret("a", nil)}, `in Secret "a": `},
		"a damaged bundle":             {[]*corev1.Secret{secret("a", damaged)}, `in Secret "a": ca.crt: `},
		"a damaged bundle beside":      {[]*corev1.Secret{tls, secret("b", damaged)}, `in Secret "b": ca.crt: `},
		"a damaged certificate beside": {[]*corev1.Secret{tls, secret("b", map[string][]byte{"tls.crt": nil})}, `in Secret "b": `},
	} {
		got, err := ack.StateOf(c.secrets[0], c.secrets[1:]...)
		if err == nil || !strings.Contains(err.Error(), c.want) || !cmp.Equal(got, ack.State{}) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

package pki_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"clusterpki.io/operator/internal/pki"
)

// These texts are stored beside every certificate in use. If one of them changes, the next version of
// the operator re-issues every certificate there is: change the code until this test passes again, never
// the texts.
func TestHashesNeverChange(t *testing.T) {
	for name, tc := range map[string]struct {
		request pki.CertificateSpec
		want    string
	}{
		"CA":        {caRequest(), "v1:fe3604ea9458c8f4083c0b861f6dff70"},
		"CA of RSA": {caRequest(func(r *pki.CertificateSpec) { r.Key, r.Subject.Organizations = rsa4096, []string{"b", "a"} }), "v1:2320c2712a54b669bb6401047190b052"},
		"server":    {leafRequest(), "v1:eacdcf6aa9ef845163ab75a4125a7571"},
		"etcd": {leafRequest(func(r *pki.CertificateSpec) {
			r.Usages, r.Key = []pki.Usage{pki.ClientAuth, pki.ServerAuth}, rsa2048
			r.SANs = sans("etcd-1", "localhost", "::1", "127.0.0.1", "fd00::1")
		}), "v1:1b894e992a1691659a5a55327953b83d"},
		"kubelet": {leafRequest(func(r *pki.CertificateSpec) {
			r.Subject = pki.Subject{CommonName: "system:node:k8s-node1", Organizations: []string{"system:nodes"}}
			r.SANs, r.Usages, r.Key, r.Validity = pki.SANs{}, []pki.Usage{pki.ClientAuth}, ed25519k, 90*day
		}), "v1:0bf7e507311a6860d08da27d3c35a6ba"},
	} {
		if got := tc.request.Hash(); got != tc.want {
			t.Errorf("%s: the hash is %s instead of %s: every such certificate in use would be re-issued", name, got, tc.want)
		}
	}
}

func TestHashNoticesEveryField(t *testing.T) {
	mods := map[string]func(*pki.CertificateSpec){
		"nothing":            func(*pki.CertificateSpec) {},
		"common name":        func(r *pki.CertificateSpec) { r.Subject.CommonName = "k8s-other" },
		"an organization":    func(r *pki.CertificateSpec) { r.Subject.Organizations = []string{"a"} },
		"two organizations":  func(r *pki.CertificateSpec) { r.Subject.Organizations = []string{"a", "b"} },
		"one of both names":  func(r *pki.CertificateSpec) { r.Subject.Organizations = []string{"a,b"} },
		"a quoted line":      func(r *pki.CertificateSpec) { r.Subject.Organizations = []string{"a\"\no=\"b"} },
		"a DNS name more":    func(r *pki.CertificateSpec) { r.SANs = sans("k8s-master", "localhost", "10.96.0.1") },
		"a DNS name less":    func(r *pki.CertificateSpec) { r.SANs = sans("10.96.0.1") },
		"another DNS name":   func(r *pki.CertificateSpec) { r.SANs = sans("k8s-m", "10.96.0.1") },
		"another IP address": func(r *pki.CertificateSpec) { r.SANs = sans("k8s-master", "10.96.0.2") },
		"an address more":    func(r *pki.CertificateSpec) { r.SANs = sans("k8s-master", "10.96.0.1", "::1") },
		"client usage":       func(r *pki.CertificateSpec) { r.Usages = []pki.Usage{pki.ClientAuth} },
		"both usages":        func(r *pki.CertificateSpec) { r.Usages = []pki.Usage{pki.ClientAuth, pki.ServerAuth} },
		"algorithm":          func(r *pki.CertificateSpec) { r.Key = ed25519k },
		"size":               func(r *pki.CertificateSpec) { r.Key = ecdsa384 },
		"validity":           func(r *pki.CertificateSpec) { r.Validity += time.Second },
	}
	seen := map[string]string{}
	for name, mod := range mods {
		hash := leafRequest(mod).Hash()
		if other, ok := seen[hash]; ok {
			t.Errorf("the hash does not tell %q from %q", name, other)
		}
		seen[hash] = name
	}
}

// What means the same has the same hash.
func TestHashIgnoresOrderAndSpelling(t *testing.T) {
	name := rapid.SampledFrom([]string{"a", "b", "c.d", "e"})
	addr := rapid.SampledFrom([]string{"10.0.0.1", "::1", "fd00::1", "10.0.0.2"})
	usage := rapid.SampledFrom([]pki.Usage{pki.ClientAuth, pki.ServerAuth})
	rapid.Check(t, func(t *rapid.T) {
		names, addresses := rapid.SliceOf(name).Draw(t, "names"), rapid.SliceOf(addr).Draw(t, "addresses")
		orgs, usages := rapid.SliceOf(name).Draw(t, "orgs"), rapid.SliceOf(usage).Draw(t, "usages")
		request := func(names, addresses, orgs []string, usages []pki.Usage) pki.CertificateSpec {
			return leafRequest(func(r *pki.CertificateSpec) {
				r.SANs, r.Usages = must(pki.NewSANs(names, addresses)), usages
				r.Subject.Organizations = orgs
			})
		}
		a := request(names, addresses, orgs, usages)
		b := request(shuffled(t, names), shuffled(t, addresses), shuffled(t, orgs), shuffled(t, usages))
		if a.Hash() != b.Hash() {
			t.Fatalf("%+v and %+v differ", a, b)
		}
		before := slices.Clone(orgs)
		if _ = a.Hash(); !slices.Equal(before, orgs) {
			t.Fatal("Hash reorders its receiver")
		}
	})
}

// shuffled returns the elements in another order, some of them twice, none missing.
func shuffled[T any](t *rapid.T, in []T) []T {
	out := rapid.Permutation(in).Draw(t, "order")
	if len(out) > 0 && rapid.Bool().Draw(t, "repeat") {
		out = append(out, out[0])
	}
	return out
}

func TestValidate(t *testing.T) {
	for name, mod := range map[string]func(*pki.CertificateSpec){
		"shortest":          func(r *pki.CertificateSpec) { r.Validity = 10 * time.Minute },
		"longest":           func(r *pki.CertificateSpec) { r.Validity = 876_000 * time.Hour },
		"64 bytes":          func(r *pki.CertificateSpec) { r.Subject.CommonName = strings.Repeat("x", 64) },
		"32 runes of two":   func(r *pki.CertificateSpec) { r.Subject.CommonName = strings.Repeat("é", 32) },
		"no organizations":  func(r *pki.CertificateSpec) { r.Subject.Organizations = nil },
		"usages of a CA":    func(r *pki.CertificateSpec) { r.Usages = nil },
		"no SANs, a client": func(r *pki.CertificateSpec) { r.SANs = pki.SANs{} },
	} {
		if err := leafRequest(mod).Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for want, mod := range map[string]func(*pki.CertificateSpec){
		"common name is empty":        func(r *pki.CertificateSpec) { r.Subject.CommonName = "" },
		"is 65 bytes long":            func(r *pki.CertificateSpec) { r.Subject.CommonName = strings.Repeat("x", 65) },
		"is 66 bytes long":            func(r *pki.CertificateSpec) { r.Subject.CommonName = strings.Repeat("é", 33) },
		"at least 10m0s, not 9m59s":   func(r *pki.CertificateSpec) { r.Validity = 10*time.Minute - time.Second },
		"at least 10m0s, not 0s":      func(r *pki.CertificateSpec) { r.Validity = 0 },
		"at least 10m0s, not -1h0m0s": func(r *pki.CertificateSpec) { r.Validity = -time.Hour },
		"(100 years)":                 func(r *pki.CertificateSpec) { r.Validity = 876_000*time.Hour + time.Second },
		"2048, 3072 or 4096":          func(r *pki.CertificateSpec) { r.Key = pki.KeySpec{Algorithm: pki.RSA, Size: 1024} },
		`not "CodeSigning"`:           func(r *pki.CertificateSpec) { r.Usages = append(r.Usages, "CodeSigning") },
	} {
		r := leafRequest(mod)
		_, issued := pki.Issue(now, r, pki.CA{})
		_, signed := pki.SelfSign(now, r)
		for _, err := range []error{r.Validate(), issued, signed} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v does not say %q", err, want)
			}
		}
	}
}

func TestSubject(t *testing.T) {
	s := pki.Subject{CommonName: "n", Organizations: []string{"b", "a", "b"}}
	if got := s.String(); got != "CN=n, O=a, O=b" {
		t.Errorf("the subject reads %q", got)
	}
	if !s.Equal(pki.Subject{CommonName: "n", Organizations: []string{"a", "b"}}) {
		t.Error("order or repetition of organizations makes a difference")
	}
	for _, other := range []pki.Subject{
		{}, {CommonName: "n"}, {CommonName: "n", Organizations: []string{"a"}}, {CommonName: "m", Organizations: []string{"a", "b"}},
	} {
		if s.Equal(other) || other.Equal(s) {
			t.Errorf("%v equals %v", s, other)
		}
	}
}

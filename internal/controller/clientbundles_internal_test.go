package controller

import (
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/leaf"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/stall"
)

// TestBundlesStayApart: of two bundles, what the API server has after each visit holds no key in common, whichever CA comes first, goes, or is
// named later. Each bundle is named by what it holds; "" is one that cannot be had, or is not there.
func TestBundlesStayApart(t *testing.T) {
	root := map[string]*x509.Certificate{}
	for _, name := range []string{"a", "b", "c"} {
		ca, err := pki.SelfSign(time.Now(), pki.CertificateSpec{
			Subject: pki.Subject{CommonName: name}, Key: pki.KeySpec{Algorithm: pki.ECDSA, Size: 256}, Validity: time.Hour,
		})
		if err != nil {
			t.Fatal(err)
		}
		root[name] = ca.Cert
	}
	certs := func(names string) (out []*x509.Certificate) {
		for _, n := range names {
			out = append(out, root[string(n)])
		}
		return out
	}
	known := func(names string) joined {
		if names == "" {
			return joined{Issuer: leaf.Issuer{}}
		}
		out := newJoined()
		out.Bundle = pki.EncodeCertificates(certs(names)...)
		out.add("ClusterCA", leaf.Issuer{Roots: certs(names)})
		return out
	}
	for _, tc := range []struct {
		clients, proxy     string // as their CAs publish them now
		stood, stoodHeader string // in the Secret
		after, afterHeader string
		refused            bool
	}{
		{"a", "b", "", "", "a", "b", false},
		{"a", "", "", "", "a", "", false},
		{"", "b", "", "", "", "", false},  // not before the others are known,
		{"b", "b", "", "", "b", "", true}, // because they may come with its key
		{"b", "b", "a", "b", "a", "b", true},
		{"a", "ab", "a", "b", "a", "b", true},
		{"ac", "a", "a", "b", "ac", "b", true},
		{"ac", "ab", "a", "b", "ac", "b", true},
		{"ab", "bc", "a", "b", "a", "b", true},
		{"ab", "", "a", "b", "a", "b", true},
		{"ac", "", "a", "b", "ac", "b", false},
		{"", "ab", "a", "b", "a", "b", true},
		{"", "bc", "a", "b", "a", "bc", false},
		{"b", "a", "a", "b", "b", "a", false}, // in one write
		{"", "", "a", "b", "a", "b", false},
	} {
		s, was := &corev1.Secret{Data: map[string][]byte{}}, consumers.Claim{Keys: map[string][]string{}}
		for key, names := range map[string]string{clientBundleKey: tc.stood, headerBundleKey: tc.stoodHeader} {
			if names != "" {
				s.Data[key], was.Keys[key] = pki.EncodeCertificates(certs(names)...), known(names).Rendered().Keys
			}
		}
		clients, proxy := known(tc.clients), known(tc.proxy)
		out := clientBundles{rendered: map[string]leaf.Rendered{clientBundleKey: clients.Rendered(), headerBundleKey: proxy.Rendered()}}
		out.keepApart(clients, proxy, was)
		for key, rendered := range out.rendered {
			if rendered.Data != nil {
				s.Data[key] = rendered.Data
			}
		}
		if got := held(s, clientBundleKey) + "/" + held(s, headerBundleKey); got != tc.after+"/"+tc.afterHeader {
			t.Errorf("%+v: it has %s", tc, got)
		}
		if st, ok := stall.Of(out.refused); ok != tc.refused || ok && st.Reason != v1alpha1.ReasonClientCAShared {
			t.Errorf("%+v: refused: %v", tc, out.refused)
		}
	}
}

// held names the CAs of a bundle.
func held(s *corev1.Secret, key string) string {
	certs, err := pki.ParseCertificates(s.Data[key])
	if err != nil {
		return ""
	}
	var names []string
	for _, c := range certs {
		names = append(names, c.Subject.CommonName)
	}
	slices.Sort(names)
	return strings.Join(names, "")
}

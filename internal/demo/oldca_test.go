package demo

import (
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	testingclock "k8s.io/utils/clock/testing"

	"clusterpki.io/operator/internal/pki"
)

// TestRefuses: a server that is still of the old CA, or still takes its certificates, is found out.
func TestRefuses(t *testing.T) {
	ca := func(name string) pki.CA {
		ca, err := pki.SelfSign(time.Now(), pki.CertificateSpec{Subject: pki.Subject{CommonName: name}, Key: bootstrapKey, Validity: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		return ca
	}
	leaf := func(by pki.CA) tls.Certificate {
		sans, err := pki.NewSANs(nil, []string{"127.0.0.1"})
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := pki.Issue(time.Now(), pki.CertificateSpec{
			Subject: pki.Subject{CommonName: "leaf"}, SANs: sans, Usages: []pki.Usage{pki.ServerAuth, pki.ClientAuth}, Key: bootstrapKey, Validity: time.Hour,
		}, by)
		if err != nil {
			t.Fatal(err)
		}
		key, err := leaf.Key.Reveal()
		if err != nil {
			t.Fatal(err)
		}
		cert, err := tls.X509KeyPair(leaf.CertPEM(), key)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	old, current := ca("old"), ca("new")
	for name, tc := range map[string]struct {
		server tls.Certificate
		status int
		want   string
	}{
		"of the new CA":                  {leaf(current), http.StatusUnauthorized, ""},
		"takes old certificates":         {leaf(current), http.StatusOK, "answers 200 to an old certificate"},
		"takes old ones for nobody's":    {leaf(current), http.StatusForbidden, "answers 403 to an old certificate"},
		"of the old CA":                  {leaf(old), http.StatusUnauthorized, "asked with an old certificate: ask: "},
		"of a CA that both sides accept": {leaf(current), http.StatusUnauthorized, "but: <nil>"},
	} {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(tc.status) }))
		s.TLS = &tls.Config{Certificates: []tls.Certificate{tc.server}, MinVersion: tls.VersionTLS13}
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.StartTLS()
		d := &demo{progress: newProgress(io.Discard, testingclock.NewFakePassiveClock(noon))}
		outdated := old.CertPEM()
		if tc.want == "but: <nil>" {
			outdated = append(outdated, current.CertPEM()...)
		}
		err := d.refuses(t.Context(), "it", s.URL, current.CertPEM(), outdated, leaf(old))
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want an error with %q", name, err, tc.want)
		}
		s.Close()
	}
}

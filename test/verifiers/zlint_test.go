package verifiers_test

import (
	"crypto/x509"
	"testing"
	"time"

	zx509 "github.com/zmap/zcrypto/x509"
	"github.com/zmap/zlint/v3"
	"github.com/zmap/zlint/v3/lint"

	"clusterpki.io/operator/internal/pki"
)

// waived are the lints that do not apply, each with its reason. The sources of lints that bind public CAs alone (the CA/Browser Forum and the
// programs of browsers) are not asked at all: a private PKI is none of theirs.
var waived = map[string]string{
	"w_ext_subject_key_identifier_missing_sub_cert": "RFC 5280 §4.2.1.2 says SHOULD of leaves: the identifier finds the issuer of a certificate, and a leaf issues none",
	"n_san_iana_pub_suffix_empty":                   "hosts of a cluster have names of one label, such as k8s-node1 and kubernetes: they are no public suffixes",
}

// TestZlint lets zlint look at everything that is issued: CAs of each source and leaves of every role, with each kind of key.
func TestZlint(t *testing.T) {
	registry, err := lint.GlobalRegistry().Filter(lint.FilterOptions{
		IncludeSources: lint.SourceList{lint.RFC3279, lint.RFC5280, lint.RFC5480, lint.RFC5891, lint.RFC6960, lint.RFC6962, lint.RFC8813, lint.Community},
	})
	if err != nil {
		t.Fatal(err)
	}
	now, looked, used := time.Now(), 0, map[string]bool{}
	look := func(what string, certs ...*x509.Certificate) {
		for _, c := range certs {
			looked++
			parsed, err := zx509.ParseCertificate(c.Raw)
			if err != nil {
				t.Errorf("%s: zcrypto does not parse it: %v", what, err)
				continue
			}
			for name, result := range zlint.LintCertificateEx(parsed, registry).Results {
				if result.Status <= lint.Pass {
					continue
				}
				if waived[name] != "" {
					used[name] = true
					continue
				}
				t.Errorf("%s: %s %s: %s", what, name, result.Status, result.Details)
			}
		}
	}
	for _, key := range algorithms {
		for name, s := range sources(now, key) {
			what := key.String() + ", " + name
			if !s.others {
				look(what+", the CA", s.ca.Cert)
				look(what+", a root", s.roots...)
				look(what+", cross-signed", s.ca.CrossSigned...)
			}
			for role, r := range leaves() {
				r.Key = key
				look(what+", "+role, must(pki.Issue(now, r, s.ca)).Cert)
			}
		}
	}
	for name := range waived {
		if !used[name] {
			t.Errorf("the lint %s is waived, and finds nothing", name)
		}
	}
	t.Logf("%d certificates, %d lints", looked, len(registry.Names()))
}

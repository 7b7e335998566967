package pki

import (
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
)

// MaxCommonNameBytes is ub-common-name of RFC 5280 appendix A.1. Go would issue a longer one; OpenSSL refuses it.
const MaxCommonNameBytes = 64

// MinValidity and MaxValidity bound what may be asked of a certificate.
const (
	MinValidity = 10 * time.Minute
	MaxValidity = 100 * 365 * 24 * time.Hour
)

// Subject is a distinguished name of one CN and any number of O.
type Subject struct {
	CommonName    string
	Organizations []string
}

// Name is the subject as crypto/x509 takes it. Organizations are sorted: DER orders the SET that
// holds them, so any other order would not survive encoding (golang/go#24254).
func (s Subject) Name() pkix.Name {
	return pkix.Name{CommonName: s.CommonName, Organization: sorted(s.Organizations)}
}

// Equal compares two subjects; the order of organizations does not count.
func (s Subject) Equal(o Subject) bool {
	return s.CommonName == o.CommonName && slices.Equal(sorted(s.Organizations), sorted(o.Organizations))
}

// String reads as in "CN=system:node:n1, O=system:nodes".
func (s Subject) String() string {
	parts := []string{"CN=" + s.CommonName}
	for _, o := range sorted(s.Organizations) {
		parts = append(parts, "O="+o)
	}
	return strings.Join(parts, ", ")
}

// CertificateSpec is everything that is asked of a certificate. Two requests that mean the same have the
// same Hash, and only a change of Hash is a change of what was asked.
type CertificateSpec struct {
	Subject  Subject
	SANs     SANs
	Usages   []Usage // empty for a CA
	Key      KeySpec
	Validity time.Duration
}

// Validate says what is wrong with a request before a key is spent on it.
func (r CertificateSpec) Validate() error {
	if r.Subject.CommonName == "" {
		return fmt.Errorf("the common name is empty: the API server takes the user from it")
	}
	for _, name := range append([]string{r.Subject.CommonName}, r.Subject.Organizations...) {
		if err := CheckName(name); err != nil {
			return err
		}
	}
	if n := len(r.Subject.CommonName); n > MaxCommonNameBytes {
		return fmt.Errorf("common name %q is %d bytes long, and X.509 allows %d (RFC 5280, ub-common-name): use a shorter name; "+
			"a kubelet takes one by --hostname-override, before its Node is made", r.Subject.CommonName, n, MaxCommonNameBytes)
	}
	if err := checkValidity(r.Validity); err != nil {
		return err
	}
	for _, u := range r.Usages {
		if _, ok := extKeyUsage[u]; !ok {
			return fmt.Errorf("key usage must be ClientAuth or ServerAuth, not %q", u)
		}
	}
	return r.Key.Validate()
}

func checkValidity(d time.Duration) error {
	if d < MinValidity {
		return fmt.Errorf("validity must be at least %v, not %v", MinValidity, d)
	}
	if d > MaxValidity {
		return fmt.Errorf("validity must be at most %v (100 years), not %v", MaxValidity, d)
	}
	return nil
}

// Hash is a versioned digest of the normalised request. It is stored beside the certificate, so its
// text must never change for the same request: a change would re-issue every certificate there is.
func (r CertificateSpec) Hash() string {
	var b strings.Builder
	line := func(key, value string) { fmt.Fprintf(&b, "%s=%q\n", key, value) }
	line("cn", r.Subject.CommonName)
	for _, o := range sorted(r.Subject.Organizations) {
		line("o", o)
	}
	for _, name := range sorted(r.SANs.DNSNames) {
		line("dns", name)
	}
	for _, addr := range r.SANs.IPAddresses {
		line("ip", addr.String())
	}
	for _, u := range sorted(r.Usages) {
		line("usage", string(u))
	}
	line("key", r.Key.String())
	line("validity", fmt.Sprint(int64(r.Validity/time.Second)))
	sum := sha256.Sum256([]byte(b.String()))
	return "v1:" + hex.EncodeToString(sum[:16])
}

func sorted[S ~[]E, E ~string](s S) S {
	s = slices.Clone(s)
	slices.Sort(s)
	return slices.Compact(s)
}

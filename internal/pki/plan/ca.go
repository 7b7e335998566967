package plan

import (
	"crypto/x509"
	"fmt"
	"strconv"
	"strings"
	"time"

	"clusterpki.io/operator/internal/pki"
)

// DesiredCA is what a CA should be. The common name in Spec is that of generation 1.
type DesiredCA struct {
	Spec        pki.CertificateSpec
	RenewBefore time.Duration // 0: 20 % of the validity
	Seed        uint32
}

// Fits says whether a CA's certificate can go on with its key: nothing but its dates is asked to be another.
func (d DesiredCA) Fits(cert *x509.Certificate) bool {
	own := pki.SubjectOf(cert)
	if i := strings.LastIndex(own.CommonName, " g"); i > 0 {
		if n, err := strconv.Atoi(own.CommonName[i+2:]); err == nil && n > 1 {
			own.CommonName = own.CommonName[:i]
		}
	}
	return pki.SpecOf(cert.PublicKey) == d.Spec.Key && (own.Equal(d.Spec.Subject) || pki.SubjectOf(cert).Equal(d.Spec.Subject))
}

// RenewalTime is when a CA with these dates is due for rotation.
func (d DesiredCA) RenewalTime(notBefore, end time.Time) time.Time {
	before := d.RenewBefore
	if before == 0 {
		before = d.Spec.Validity / 5
	}
	return RenewAt(notBefore, end, before, d.Seed)
}

// GenerationSpec is the request for one generation: from the second on its common name says the
// generation. Two keys never share a subject, because some verifiers look an issuer up by name.
func (d DesiredCA) GenerationSpec(number int32) pki.CertificateSpec {
	r := d.Spec
	if number > 1 {
		r.Subject.CommonName = fmt.Sprintf("%s g%d", r.Subject.CommonName, number)
	}
	return r
}

package plan

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"clusterpki.io/operator/internal/pki"
)

// DesiredCA is what a CA should be. The common name in Request is that of generation 1.
type DesiredCA struct {
	Request     pki.Request
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
	return pki.SpecOf(cert.PublicKey) == d.Request.Key && (own.Equal(d.Request.Subject) || pki.SubjectOf(cert).Equal(d.Request.Subject))
}

// RenewalTime is when the CA is due for replacement.
func (d DesiredCA) RenewalTime(cert *x509.Certificate) time.Time {
	before := d.RenewBefore
	if before == 0 {
		before = d.Request.Validity / 5
	}
	return RenewAt(cert.NotBefore, cert.NotAfter, before, d.Seed)
}

// GenerationRequest is the request for one generation: from the second on its common name says the
// generation. Two keys never share a subject, because some verifiers look an issuer up by name.
func (d DesiredCA) GenerationRequest(number int32) pki.Request {
	r := d.Request
	if number > 1 {
		r.Subject.CommonName = fmt.Sprintf("%s g%d", r.Subject.CommonName, number)
	}
	return r
}

// GenerationSecretName is the name of a generation's Secret. It follows from the CA's name, the
// generation and what was asked for, so that an attempt cut short is found again and not repeated.
func GenerationSecretName(ca string, number int32, requestHash string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d/%s", ca, number, requestHash))
	return fmt.Sprintf("%s-g%d-%s", ca, number, hex.EncodeToString(sum[:4]))
}

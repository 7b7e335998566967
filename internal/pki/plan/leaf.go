package plan

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"clusterpki.io/operator/internal/pki"
)

// Desired is what a leaf should be.
type Desired struct {
	Spec        pki.CertificateSpec
	RenewBefore time.Duration // 0: a third of the validity
	Seed        uint32
	Issuer      *pki.CA // nil: no CA can sign now
	// Accepted are roots that are good enough beside Issuer's, as long as the leaf's turn to be re-issued by
	// another key of its CA has not come.
	Accepted []*x509.Certificate
	// KeyOnHost says that the host has the key. HostKey is its public half, for which every certificate is issued; nil
	// as long as the host has not asked, and then nothing is issued.
	KeyOnHost bool
	HostKey   crypto.PublicKey
	// RenewalTrigger is the text by which a person asks for another certificate; "" asks for nothing.
	RenewalTrigger string
	// Awaits is until when a Secret that is not there may still come, because its object was restored; zero: it will not.
	Awaits time.Time
}

// Observed is what a leaf's Secret holds.
type Observed struct {
	Leaf     pki.Leaf // without its key where that is on the host
	Err      error    // why Leaf could not be read; pki.ErrKeyMismatch among others
	SpecHash string   // of the request that was issued
	// RenewalTriggers are the digests of the texts that asked for a certificate of late, the last one last: see Answered.
	RenewalTriggers []string
	// Unrecorded says that it is not the certificate that was recorded last, and has to be: an agent signs by its key, or it was put back.
	Unrecorded bool
}

// Decide says what to do about a leaf. A nil Observed stands for a Secret that is not there.
func Decide(now time.Time, d Desired, o *Observed) Decision {
	reason, message := check(now, d, o)
	if reason == Issued {
		return Decision{Action: Keep, Reason: Issued, NextCheck: NextCheck(now, d, o)}
	}
	if o == nil && now.Before(d.Awaits) {
		return Decision{
			Action: Wait, Reason: RestoreIncomplete, NextCheck: d.Awaits,
			Message: "this object was restored, and its Secret may still be: a certificate is issued if it does not come",
		}
	}
	if reason == RequestMissing || !canSign(now, d) {
		return Decision{Action: Wait, Reason: reason, Message: message, NextCheck: expiry(now, o)}
	}
	return Decision{Action: Issue, Reason: reason, Message: message}
}

// rule says what is wrong with a certificate that o holds: a reason and a message, or "".
type rule func(now time.Time, d Desired, o *Observed) (Reason, string)

// rules run in order and the first that finds something decides; each may rely on those before it.
var rules = []rule{readable, asRequested, untampered, forHostKey, recorded, signedByIssuer, notExpired, notAskedFor, notDueForRenewal}

func check(now time.Time, d Desired, o *Observed) (Reason, string) {
	if d.KeyOnHost && d.HostKey == nil {
		return RequestMissing, "the host has not asked for a certificate"
	}
	if o == nil {
		return SecretMissing, "the Secret does not exist"
	}
	for _, r := range rules {
		if reason, message := r(now, d, o); reason != "" {
			return reason, message
		}
	}
	return Issued, ""
}

func readable(_ time.Time, _ Desired, o *Observed) (Reason, string) {
	switch {
	case o.Err == nil:
		return "", ""
	case errors.Is(o.Err, pki.ErrKeyMismatch):
		return KeyMismatch, o.Err.Error()
	default:
		return SecretInvalid, o.Err.Error()
	}
}

// asRequested compares what was asked for, never the length that was issued: a leaf cut short by its
// CA would otherwise be re-issued for ever.
func asRequested(_ time.Time, d Desired, o *Observed) (Reason, string) {
	if o.SpecHash == d.Spec.Hash() {
		return "", ""
	}
	if diff := d.Spec.Difference(o.Leaf.Cert); diff != "" {
		return RequestChanged, diff
	}
	return RequestChanged, "it was issued for another validity"
}

func untampered(_ time.Time, d Desired, o *Observed) (Reason, string) {
	if diff := d.Spec.Difference(o.Leaf.Cert); diff != "" {
		return Tampered, diff
	}
	return "", ""
}

func forHostKey(_ time.Time, d Desired, o *Observed) (Reason, string) {
	if !d.KeyOnHost || pki.SamePublicKey(o.Leaf.Cert.PublicKey, d.HostKey) {
		return "", ""
	}
	return KeyChanged, "the host asks for a certificate for another key"
}

func recorded(_ time.Time, _ Desired, o *Observed) (Reason, string) {
	if !o.Unrecorded {
		return "", ""
	}
	return NotRecorded, "it is not the certificate that was recorded last for this object"
}

func signedByIssuer(now time.Time, d Desired, o *Observed) (Reason, string) {
	if d.Issuer == nil || o.Leaf.IssuedBy(*d.Issuer) {
		return "", ""
	}
	if len(d.Accepted) > 0 && o.Leaf.Verify(now, d.Accepted) == nil {
		return "", ""
	}
	return IssuerChanged, "it is not signed by the active CA"
}

func notExpired(now time.Time, _ Desired, o *Observed) (Reason, string) {
	if now.Before(o.Leaf.Cert.NotAfter) {
		return "", ""
	}
	return Expired, "it has expired"
}

// notAskedFor compares texts: one that was there before, as after a tool has reverted a command, and one that is taken out ask for nothing.
func notAskedFor(_ time.Time, d Desired, o *Observed) (Reason, string) {
	if d.RenewalTrigger == "" || slices.Contains(o.RenewalTriggers, triggerDigest(d.RenewalTrigger)) {
		return "", ""
	}
	return RenewalTriggered, "spec.renewal.trigger was changed"
}

// maxRenewals is how many texts are remembered that have asked for a certificate. More often than they are paced (Paced) none is issued anyway.
const maxRenewals = 64

// Answered are the texts that have asked for a certificate, once one is issued: those before, and the present one.
func Answered(before []string, trigger string) []string {
	digest := triggerDigest(trigger)
	if trigger == "" || slices.Contains(before, digest) {
		return before
	}
	out := append(slices.Clone(before), digest)
	return out[max(0, len(out)-maxRenewals):]
}

// triggerDigest stands for a text where it is noted down.
func triggerDigest(trigger string) string {
	sum := sha256.Sum256([]byte(trigger))
	return hex.EncodeToString(sum[:8])
}

func notDueForRenewal(now time.Time, d Desired, o *Observed) (Reason, string) {
	if at := RenewalTime(d, o.Leaf.Cert); at.IsZero() || now.Before(at) {
		return "", ""
	}
	return RenewalDue, "its renewal time has come"
}

// RenewalTime is when to renew a certificate, zero where renewing would not make it last longer
// because the active CA ends no later.
func RenewalTime(d Desired, cert *x509.Certificate) time.Time {
	if d.Issuer != nil && Capped(cert, d.Issuer) {
		return time.Time{}
	}
	before := d.RenewBefore
	if before == 0 {
		before = d.Spec.Validity / 3
	}
	return RenewAt(cert.NotBefore, cert.NotAfter, before, d.Seed)
}

// Capped says whether a certificate lasts as long as its issuer lets any certificate last.
func Capped(cert *x509.Certificate, issuer *pki.CA) bool {
	return !cert.NotAfter.Before(pki.Expiry(cert.NotAfter, pki.MaxValidity, *issuer))
}

func canSign(now time.Time, d Desired) bool {
	return d.Issuer != nil && CanSign(now, d.Issuer)
}

// CanSign says whether a CA has enough life left to sign a leaf that is worth having.
func CanSign(now time.Time, issuer *pki.CA) bool {
	return !pki.Expiry(now, pki.MinValidity, *issuer).Before(now.UTC().Add(pki.MinValidity).Truncate(time.Second))
}

// NextCheck is when the answer for a certificate that is as it should be changes by itself.
func NextCheck(now time.Time, d Desired, o *Observed) time.Time {
	if at := RenewalTime(d, o.Leaf.Cert); !at.IsZero() {
		return at
	}
	return expiry(now, o)
}

// expiry is when a certificate stops being usable; zero where that is past or there is none.
func expiry(now time.Time, o *Observed) time.Time {
	if o == nil || o.Err != nil || !now.Before(o.Leaf.Cert.NotAfter) {
		return time.Time{}
	}
	return o.Leaf.Cert.NotAfter
}

// Usable says why a leaf cannot be used now, or nil: it is readable, within its dates, and leads to
// a published root. Being due for renewal does not make it unusable.
func Usable(now time.Time, o *Observed, roots []*x509.Certificate) error {
	switch {
	case o == nil:
		return errors.New("there is no certificate yet")
	case o.Err != nil:
		return o.Err
	case !now.Before(o.Leaf.Cert.NotAfter): // crypto/x509 counts the last second as valid
		return errors.New("it has expired")
	default:
		return o.Leaf.Verify(now, roots)
	}
}

package agent

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"time"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/delivery"
)

// ring are the delivery keys that a host trusts, in the order in which they sign. What one has signed, once it is taken, retires those before
// it. What was taken under a key that is not among them counts for nothing: so to replace a key that is in other hands is a way out.
type ring struct {
	keys   []ed25519.PublicKey
	newest int // of those that have signed what was taken
}

// ringOf is the ring of a host that has taken some documents.
func ringOf(keys []ed25519.PublicKey, latest map[string]signedAt) ring {
	r := ring{keys: keys}
	for _, at := range latest {
		r.newest = max(r.newest, r.place(at.Key))
	}
	return r
}

// place is where a key of an ID stands, -1 where it is not trusted.
func (r ring) place(id string) int {
	return slices.IndexFunc(r.keys, func(k ed25519.PublicKey) bool { return delivery.KeyID(k) == id })
}

const clockFormat = "2006-01-02T15:04:05.000Z07:00"

// takes says why a document of a Secret is not taken. last is what was taken of that object: that is taken again, whatever has happened since.
func (r ring) takes(now time.Time, at, last signedAt, secret string) error {
	clock := func(t time.Time) string { return t.UTC().Format(clockFormat) }
	switch {
	case at.Key == last.Key && sameDocument(at, last):
		return nil
	case delivery.Ahead(now, at.Time):
		return fmt.Errorf("%s: Secret %q holds what was signed as of %s, and it is %s here: if the clock of this host is behind, or that of the operator was "+
			"ahead, set it right; if not, somebody else has the delivery key: change that", v1alpha1.ReasonDeliveryAhead, secret, clock(at.Time), clock(now))
	case r.place(at.Key) < r.newest:
		return fmt.Errorf("%s: Secret %q holds what delivery key %s has signed, and this host has what a later key has signed, so an older state of it was "+
			"put back: delete the Secret, and the operator makes it anew", v1alpha1.ReasonDeliveryOutdated, secret, at.Key)
	case at.Key != last.Key || at.Time.After(last.Time):
		return nil
	case last.Time.After(now):
		return fmt.Errorf("%s: Secret %q holds what was signed at %s, and what is installed here was signed as of %s, which is yet to come: wait until then "+
			"and delete the Secret, or change the delivery key, in the configuration of this host's agent too", v1alpha1.ReasonDeliveryOutdated, secret,
			clock(at.Time), clock(last.Time))
	default:
		return fmt.Errorf("%s: Secret %q holds what was signed at %s, and what is installed here was signed at %s, so an older state of it was "+
			"put back: delete the Secret, and the operator makes it anew", v1alpha1.ReasonDeliveryOutdated, secret, clock(at.Time), clock(last.Time))
	}
}

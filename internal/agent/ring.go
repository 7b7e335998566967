package agent

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"time"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/delivery"
)

// named are the delivery keys that a host has got to know from what the keys before them have signed.
type named struct {
	// Configured are the IDs of the keys of the configuration at that time. One that names others counts alone.
	Configured []string            `json:"configured"`
	Keys       []ed25519.PublicKey `json:"keys"`
	// By has named the last of them, in a document of a time.
	By string    `json:"by"`
	At time.Time `json:"at"`
}

func (n named) same(m named) bool {
	return slices.Equal(n.Configured, m.Configured) && slices.EqualFunc(n.Keys, m.Keys, sameKey) && n.By == m.By && n.At.Equal(m.At)
}

func sameKey(a, b ed25519.PublicKey) bool { return a.Equal(b) }

// ring are the delivery keys that a host trusts, in the order in which they sign: those of the configuration, then those that were named. What
// one has signed, once it is taken, retires those before it. What was taken under a key that is not among them counts for nothing, so a key that
// is in other hands can be changed.
type ring struct {
	keys       []ed25519.PublicKey
	configured []string
	named      named
	latest     map[string]signedAt
	newest     int // of those that have signed what was taken
}

// ring is that of a host which has taken some documents.
func (c *Config) ring(n named, latest map[string]signedAt) (ring, error) {
	keys, err := c.deliveryKeys()
	if err != nil {
		return ring{}, fmt.Errorf("deliveryKeys: %w", err)
	}
	return ringOf(keys, n, latest), nil
}

func ringOf(configured []ed25519.PublicKey, n named, latest map[string]signedAt) ring {
	r := ring{latest: latest}
	for _, k := range configured {
		r.configured = append(r.configured, delivery.KeyID(k))
	}
	if slices.Equal(n.Configured, r.configured) {
		r.named = n
	}
	r.keys = append(without(configured, r.named.Keys), r.named.Keys...)
	for _, at := range latest {
		r.newest = max(r.newest, r.place(at.Key))
	}
	return r
}

// without are keys that are not among some others.
func without(keys, others []ed25519.PublicKey) []ed25519.PublicKey {
	return slices.DeleteFunc(slices.Clone(keys), func(k ed25519.PublicKey) bool {
		return slices.ContainsFunc(others, func(o ed25519.PublicKey) bool { return o.Equal(k) })
	})
}

// trusted are the IDs of those that are not retired.
func (r ring) trusted() []string {
	var out []string
	for _, k := range r.keys[r.newest:] {
		out = append(out, delivery.KeyID(k))
	}
	return out
}

// learn is what is to be remembered of keys, once some documents were opened. The latest by the newest key says which one comes after it:
// another one that was to come is forgotten. So are retired ones, but for those that have signed what is installed.
func (r ring) learn(signed map[string]delivered) named {
	next := r.named
	next.Keys = slices.DeleteFunc(slices.Clone(next.Keys), func(k ed25519.PublicKey) bool { return r.retired(delivery.KeyID(k)) && !r.signs(k) })
	last := delivered{}
	for _, d := range signed {
		place, least := r.place(d.at.Key), r.place(last.at.Key)
		if len(d.NextKey) > 0 && place >= r.newest && (place > least || place == least && d.at.Time.After(last.at.Time)) {
			last = d
		}
	}
	by := r.place(last.at.Key)
	if by < 0 || last.at.Key == delivery.KeyID(last.NextKey) || last.at.Key == next.By && !last.at.Time.After(next.At) {
		return next
	}
	after := func(k ed25519.PublicKey) bool { return r.place(delivery.KeyID(k)) > by || k.Equal(last.NextKey) }
	next.Keys = append(slices.DeleteFunc(next.Keys, after), last.NextKey)
	next.Configured, next.By, next.At = r.configured, last.at.Key, last.at.Time
	return next
}

// place is where a key of an ID stands, -1 where it is not trusted.
func (r ring) place(id string) int {
	return slices.IndexFunc(r.keys, func(k ed25519.PublicKey) bool { return delivery.KeyID(k) == id })
}

// retired says whether a key after the one of an ID has signed what was taken.
func (r ring) retired(id string) bool { return r.place(id) < r.newest }

// signs says whether something was taken last that a key has signed.
func (r ring) signs(key ed25519.PublicKey) bool {
	for _, at := range r.latest {
		if at.Key == delivery.KeyID(key) {
			return true
		}
	}
	return false
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
	case r.retired(at.Key):
		return fmt.Errorf("%s: Secret %q holds what delivery key %s has signed, and this host has what a later key has signed: delete the Secret. If "+
			"the operator signs it by that key again, a backup from before the later one was restored: `clusterpki authority rotate-delivery-key "+
			"-n NAMESPACE --now`, then "+
			"`clusterpki agent config -n NAMESPACE --host HOST` for each host, and restart the agents", v1alpha1.ReasonDeliveryOutdated, secret, at.Key)
	case at.Key != last.Key || at.Time.After(last.Time):
		return nil
	case last.Time.After(now):
		return fmt.Errorf("%s: Secret %q holds what was signed at %s, and what is installed here was signed as of %s, which is yet to come: wait until then "+
			"and delete the Secret, or change the delivery key, in the configuration of this host's agent too", v1alpha1.ReasonDeliveryOutdated, secret,
			clock(at.Time), clock(last.Time))
	default:
		return fmt.Errorf("%s: Secret %q holds what was signed at %s, and what is installed here was signed at %s, so an older state of it was "+
			"put back: the operator signs it again by itself; if this stays, delete the Secret",
			v1alpha1.ReasonDeliveryOutdated, secret, clock(at.Time), clock(last.Time))
	}
}

package agent

import (
	"crypto/ed25519"
	"fmt"
	"testing"
	"time"

	"clusterpki.io/operator/internal/delivery"
)

// deliveryKey is one of the keys of tests, its public half as a configuration has it, and its ID.
func deliveryKey(t testing.TB, n int) (private ed25519.PrivateKey, public, id string) {
	t.Helper()
	private = ed25519.NewKeyFromSeed(fmt.Appendf(nil, "delivery key number %02d of tests.", n)[:ed25519.SeedSize])
	half := private.Public().(ed25519.PublicKey)
	text, err := delivery.EncodePublic(half)
	if err != nil {
		t.Fatal(err)
	}
	return private, string(text), delivery.KeyID(half)
}

// TestWhatIsTaken of what some keys have signed at some time, after something else was taken.
func TestWhatIsTaken(t *testing.T) {
	now, far := at(), at().AddDate(973, 0, 0)
	ids, keys := make([]string, 4), make([]ed25519.PublicKey, 4)
	for n := range keys {
		var private ed25519.PrivateKey
		private, _, ids[n] = deliveryKey(t, n)
		keys[n] = private.Public().(ed25519.PublicKey)
	}
	by := func(key int, when time.Time, says string) signedAt {
		return signedAt{Time: when, Statement: says, Key: ids[key]}
	}
	was := by(1, now.Add(-time.Hour), "x")
	for name, c := range map[string]struct {
		latest map[string]signedAt // "a" is the object in question
		is     signedAt
		told   []string // nothing: it is taken
	}{
		"the first":                        {nil, by(0, now, "x"), nil},
		"a later one":                      {map[string]signedAt{"a": was}, by(1, now, "x"), nil},
		"the same again":                   {map[string]signedAt{"a": was}, was, nil},
		"another one of that time":         {map[string]signedAt{"a": was}, by(1, was.Time, "y"), []string{"DeliveryOutdated", "delete the Secret"}},
		"an earlier one":                   {map[string]signedAt{"a": was}, by(1, was.Time.Add(-1), "x"), []string{"DeliveryOutdated", "delete the Secret"}},
		"an hour ahead":                    {map[string]signedAt{"a": was}, by(1, now.Add(time.Hour), "x"), nil},
		"more than an hour ahead":          {map[string]signedAt{"a": was}, by(1, now.Add(time.Hour+1), "x"), []string{"DeliveryAhead", "clock", "change"}},
		"the first, and far ahead":         {nil, by(1, far, "x"), []string{"DeliveryAhead"}},
		"by a later key, far ahead":        {map[string]signedAt{"a": was}, by(2, far, "x"), []string{"DeliveryAhead"}},
		"after one that was far ahead":     {map[string]signedAt{"a": by(1, far, "x")}, by(1, now, "x"), []string{"DeliveryOutdated", "2999", "change the delivery key"}},
		"the same, once the clock is back": {map[string]signedAt{"a": by(1, far, "x")}, by(1, far, "x"), nil},
		"by a later key, as of before":     {map[string]signedAt{"a": was}, by(2, was.Time.Add(-time.Hour), "x"), nil},
		"by a later key, after a far one":  {map[string]signedAt{"a": by(1, far, "x")}, by(2, now, "x"), nil},
		"by an earlier key":                {map[string]signedAt{"a": was}, by(0, now, "x"), []string{"DeliveryOutdated", ids[0], "delete the Secret"}},
		"by an earlier key than another's": {map[string]signedAt{"b": was}, by(0, now, "x"), []string{"DeliveryOutdated", ids[0]}},
		"taken before the other's key":     {map[string]signedAt{"a": by(0, was.Time, "x"), "b": was}, by(0, was.Time, "x"), nil},
		"after one by a forgotten key":     {map[string]signedAt{"a": by(3, far, "x")}, by(0, now, "x"), nil},
		"after others by a forgotten key":  {map[string]signedAt{"a": was, "b": by(3, far, "x")}, by(1, now, "x"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			says(t, ringOf(keys[:3], c.latest).takes(now, c.is, c.latest["a"], "node1-tls"), c.told...)
		})
	}
}

// TestReplacedKeyIsAWayOut: what was signed of a far time, with a key that was out, and taken while the clock of the host was ahead, holds
// nothing up once the configuration names another key; and what that key signs is not taken any more.
func TestReplacedKeyIsAWayOut(t *testing.T) {
	d := newFixture(t)
	before := d.installed()
	was := d.facts.latest["kubelet-tls"]
	was.Time = at().AddDate(973, 0, 0)
	d.facts.latest["kubelet-tls"] = was
	d.issue("kubelet", kubeletRequest())
	d.keepsItsFiles(before, "kubelet-tls", "DeliveryOutdated", "2999", "configuration of this host's agent")
	private, public, id := deliveryKey(t, 0)
	d.config.DeliveryKeys = []string{public}
	d.keepsItsFiles(before, "kubelet-tls", "SignatureInvalid", "deliveryKeys")
	for _, s := range d.facts.secrets {
		signedBy(t, private, s, reaching(server), trusting(map[string]map[string]int64{bundleKey: {"k8s": 1}, serverKey: {"k8s": 1}}))
	}
	d.installed()
	if w, _ := d.desired(); len(w.problems) > 0 || d.facts.latest["kubelet-tls"].Key != id {
		t.Errorf("%+v, and %+v was taken", w.problems, d.facts.latest)
	}
}

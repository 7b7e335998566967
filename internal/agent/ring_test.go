package agent

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/delivery"
	"clusterpki.io/operator/internal/pki"
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

// deliveryKeys are the public halves of some keys of tests, and their IDs.
func deliveryKeys(t testing.TB, n int) (keys []ed25519.PublicKey, ids []string) {
	t.Helper()
	for i := range n {
		private, _, id := deliveryKey(t, i)
		keys, ids = append(keys, private.Public().(ed25519.PublicKey)), append(ids, id)
	}
	return keys, ids
}

// TestWhatIsTaken of what some keys have signed at some time, after something else was taken.
func TestWhatIsTaken(t *testing.T) {
	now, far := at(), at().AddDate(973, 0, 0)
	keys, ids := deliveryKeys(t, 4)
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
		"by an earlier key":                {map[string]signedAt{"a": was}, by(0, now, "x"), []string{"DeliveryOutdated", ids[0], "delete the Secret", "rotate-delivery-key -n NAMESPACE --now", "agent config -n NAMESPACE"}},
		"by an earlier key than another's": {map[string]signedAt{"b": was}, by(0, now, "x"), []string{"DeliveryOutdated", ids[0]}},
		"taken before the other's key":     {map[string]signedAt{"a": by(0, was.Time, "x"), "b": was}, by(0, was.Time, "x"), nil},
		"after one by a forgotten key":     {map[string]signedAt{"a": by(3, far, "x")}, by(0, now, "x"), nil},
		"after others by a forgotten key":  {map[string]signedAt{"a": was, "b": by(3, far, "x")}, by(1, now, "x"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			says(t, ringOf(keys[:3], named{}, c.latest).takes(now, c.is, c.latest["a"], "node1-tls"), c.told...)
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

// TestWhichKeyComesNext: what a host remembers of the keys that are named in what it opens, and which it trusts then. Keys are numbers.
func TestWhichKeyComesNext(t *testing.T) {
	keys, ids := deliveryKeys(t, 6)
	clock := func(n int) time.Time { return at().Add(time.Duration(n-100) * time.Second) }
	type doc struct{ by, when, next int } // next: -1 for none
	type step struct {
		configured []int // nil: as before
		opened     []doc // each of another object, in this order
		taken      bool
		trusted    []int
	}
	for name, steps := range map[string][]step{
		"none is named":                  {{[]int{0}, []doc{{0, 1, -1}}, true, []int{0}}},
		"one is named":                   {{[]int{0}, []doc{{0, 1, 1}}, true, []int{0, 1}}},
		"in what cannot be installed":    {{[]int{0}, []doc{{0, 1, 1}}, false, []int{0, 1}}},
		"in one of two":                  {{[]int{0}, []doc{{0, 1, -1}, {0, 2, 1}}, true, []int{0, 1}}},
		"itself":                         {{[]int{0}, []doc{{0, 1, 0}}, true, []int{0}}},
		"it signs":                       {{[]int{0}, []doc{{0, 1, 1}}, true, []int{0, 1}}, {nil, []doc{{1, 2, -1}}, true, []int{1}}},
		"it signs what is not installed": {{[]int{0}, []doc{{0, 1, 1}}, true, []int{0, 1}}, {nil, []doc{{1, 2, -1}}, false, []int{0, 1}}},
		"a chain": {
			{[]int{0}, []doc{{0, 1, 1}}, true, []int{0, 1}}, {nil, []doc{{1, 2, -1}}, true, []int{1}}, {nil, []doc{{1, 3, 2}}, true, []int{1, 2}},
			{nil, []doc{{2, 4, 3}}, true, []int{2, 3}}, {nil, []doc{{3, 5, -1}}, true, []int{3}},
		},
		"another one instead": {{[]int{0}, []doc{{0, 1, 1}}, true, []int{0, 1}}, {nil, []doc{{0, 2, 2}}, true, []int{0, 2}}},
		"the later word":      {{[]int{0}, []doc{{0, 2, 2}, {0, 1, 1}}, true, []int{0, 2}}, {nil, []doc{{0, 2, 2}, {0, 1, 1}}, true, []int{0, 2}}},
		"no word later":       {{[]int{0}, []doc{{0, 1, 1}}, true, []int{0, 1}}, {nil, []doc{{0, 2, -1}}, true, []int{0, 1}}},
		"what an older key says is no word": {
			{[]int{0}, []doc{{0, 1, 1}, {0, 1, 1}}, true, []int{0, 1}}, {nil, []doc{{1, 2, -1}, {0, 1, 1}}, true, []int{1}},
			{nil, []doc{{1, 3, 2}, {0, 1, 1}}, true, []int{1, 2}},
		},
		"both are configured":            {{[]int{0, 1}, []doc{{0, 1, 1}}, true, []int{0, 1}}, {nil, []doc{{1, 2, -1}}, true, []int{1}}},
		"both, and the next is not seen": {{[]int{0, 1}, []doc{{1, 2, -1}}, true, []int{1}}},
		"both, in the wrong order":       {{[]int{1, 0}, []doc{{0, 1, 1}}, true, []int{0, 1}}, {nil, []doc{{1, 2, -1}}, true, []int{1}}},
		"the new one is configured then": {
			{[]int{0}, []doc{{0, 1, 1}}, true, []int{0, 1}}, {nil, []doc{{1, 2, -1}}, true, []int{1}}, {[]int{1}, []doc{{1, 2, -1}}, true, []int{1}},
		},
		"a thief named one, and the configuration another": {
			{[]int{0}, []doc{{0, 9, 5}}, true, []int{0, 5}}, {nil, []doc{{5, 9, -1}}, true, []int{5}}, {[]int{2}, []doc{}, true, []int{2}},
			{nil, []doc{{2, 3, -1}}, true, []int{2}},
		},
		"the old one is configured on purpose": {
			{[]int{0}, []doc{{0, 1, 1}}, true, []int{0, 1}}, {nil, []doc{{1, 2, -1}}, true, []int{1}}, {[]int{0, 3}, nil, true, []int{0, 3}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var configured []ed25519.PublicKey
			n, latest := named{}, map[string]signedAt{}
			for i, s := range steps {
				if s.configured != nil {
					configured = nil
					for _, k := range s.configured {
						configured = append(configured, keys[k])
					}
				}
				opened := map[string]delivered{}
				for object, d := range s.opened {
					one := delivered{at: signedAt{Time: clock(d.when), Key: ids[d.by]}}
					if d.next >= 0 {
						one.NextKey = keys[d.next]
					}
					lease := fmt.Sprint(object)
					if err := ringOf(configured, n, latest).takes(at(), one.at, latest[lease], lease); err != nil {
						t.Fatalf("step %d: %v", i, err)
					}
					opened[lease] = one
				}
				n = ringOf(configured, n, latest).learn(opened)
				for lease, d := range opened {
					if s.taken {
						latest[lease] = d.at
					}
				}
				var want []string
				for _, k := range s.trusted {
					want = append(want, ids[k])
				}
				if diff := cmp.Diff(want, ringOf(configured, n, latest).trusted()); diff != "" {
					t.Errorf("step %d (-want +got):\n%s", i, diff)
				}
				if len(n.Keys) > 3 {
					t.Errorf("step %d: %d keys are kept", i, len(n.Keys))
				}
			}
		})
	}
}

// TestNextKeyReachesTheHost: an agent that took what names the next key trusts it, also after a restart, and says so; what the next one signs
// retires the old one, which its configuration still names; and a changed configuration counts by itself.
func TestNextKeyReachesTheHost(t *testing.T) {
	w := newEnv(t)
	_, _ = w.reloads()
	next, public, nextID := deliveryKey(t, 1)
	half := next.Public().(ed25519.PublicKey)
	oldID := delivery.KeyID(operatorKey.Public().(ed25519.PublicKey))
	deliver := func(key ed25519.PrivateKey, names ed25519.PublicKey) pki.Leaf {
		pair := w.put(kubeletRequest())
		s := w.store.facts().secrets["kubelet-tls"].DeepCopy()
		first := map[string]int64{"k8s": 1}
		signedBy(t, key, s, reaching(w.server.URL), trusting(map[string]map[string]int64{bundleKey: first, serverKey: first}),
			func(d *delivery.Document) { d.NextKey = names })
		s.ResourceVersion += "-signed"
		w.store.put(s.Name, s, "")
		w.steps()
		return pair
	}
	trusts := func(pair pki.Leaf, want ...string) {
		t.Helper()
		l, proof := w.says(at(), "", pair)
		if got := ack.Of(l).DeliveryKeys; proof != ack.Signed || !slices.Equal(got, want) {
			t.Errorf("it trusts %q (%d), want %q", got, proof, want)
		}
	}
	trusts(deliver(operatorKey, nil), oldID)
	trusts(deliver(operatorKey, half), oldID, nextID)
	w.Agent = w.restarted(w.cfg)
	second := deliver(next, nil)
	w.is(second, true, "")
	trusts(second, nextID)
	w.Agent = w.restarted(w.cfg)
	deliver(operatorKey, nil)
	w.is(second, true, "DeliveryOutdated")
	trusts(second, nextID)
	third := deliver(next, nil)
	w.is(third, true, "")
	cfg := w.cfg
	cfg.DeliveryKeys = []string{public}
	w.Agent = w.restarted(cfg)
	w.steps()
	w.is(third, true, "")
	trusts(third, nextID)
	if rec, _ := w.rec(); len(rec.Named.Keys) > 0 {
		t.Errorf("it remembers %+v", rec.Named)
	}
	deliver(operatorKey, nil)
	w.is(third, true, "SignatureInvalid")
	now, public, nowID := deliveryKey(t, 2)
	cfg.DeliveryKeys = []string{public}
	w.Agent = w.restarted(cfg)
	fourth := deliver(now, nil)
	w.is(fourth, true, "")
	trusts(fourth, nowID)
}

// TestNextKeyOutlivesAFailure: that what names the next key does not work here, and is rolled back, changes nothing about the key.
func TestNextKeyOutlivesAFailure(t *testing.T) {
	w := newEnv(t)
	first := w.put(kubeletRequest())
	w.steps()
	_, failing := w.reloads()
	*failing = fmt.Errorf("exit status 1")
	next, _, nextID := deliveryKey(t, 1)
	w.put(kubeletRequest())
	s := w.store.facts().secrets["kubelet-tls"].DeepCopy()
	signed(t, s, reaching(w.server.URL), func(d *delivery.Document) { d.NextKey = next.Public().(ed25519.PublicKey) })
	s.ResourceVersion += "-signed"
	w.store.put(s.Name, s, "")
	w.steps()
	w.is(first, true, "rolled back")
	if l, proof := w.says(at(), "", first); proof != ack.Signed || !slices.Contains(ack.Of(l).DeliveryKeys, nextID) {
		t.Errorf("it trusts %q", ack.Of(l).DeliveryKeys)
	}
}

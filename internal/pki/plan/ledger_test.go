package plan_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"clusterpki.io/operator/internal/pki/plan"
	"clusterpki.io/operator/test/files"
)

// at is a moment in whole seconds, so many after the beginning of these tests.
func at(after time.Duration) time.Time { return start.UTC().Truncate(time.Second).Add(after) }

// ledger has generations 1, 2, ... in some states. The last that is not out of the bundle was made for spec "b", all others for "a".
func ledger(states ...plan.State) plan.Ledger {
	l := plan.Ledger{Revision: 10, BundleRevision: 9, Last: int32(len(states)), Since: at(0)}
	for i, s := range states {
		g := plan.Generation{Number: int32(i + 1), State: s, SpecHash: "a", SHA256: "00"}
		if i == len(states)-1 && len(states) > 1 && s != plan.Withdrawn {
			g.SpecHash = "b"
		}
		l.Generations = append(l.Generations, g)
	}
	return l
}

func stored(t testing.TB, l plan.Ledger) []byte {
	t.Helper()
	text, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// full has every field of a ledger.
func full() plan.Ledger {
	l := ledger(plan.Retiring, plan.Active)
	l.Wave, l.Settled, l.Arrival, l.Triggers = plan.Everyone, 7, at(time.Minute), []string{"2fad13a1d0f9f8ef4f1bbd4d8a9a5dca"}
	l.FormerRevision, l.Turn, l.Undone, l.TakenUp = 7, "k8s-master1", "k8s-master2", "c"
	l.Generations[1].Anchor, l.Generations[1].Root, l.Generations[1].Trigger = "ab", true, "2026-11"
	l.Generations[1].Parent, l.Generations[1].NotAfter = plan.Parent{Name: "root", UID: "u", Generation: 3}, at(day)
	l.Generations[1].Above = []plan.Ancestor{{Name: "root", Until: at(day)}}
	l.Rotation = &plan.Rotation{
		From: 1, To: 2, Cause: plan.TriggerChanged, Trigger: "2026-11", Start: at(0), SameKey: true, Emergency: true,
		Phases: []plan.PhaseTime{{Name: plan.DistributingTrust, Start: at(0), End: at(time.Second)}, {Name: plan.Reissuing, Start: at(time.Second)}},
	}
	l.LastRotation = &plan.Rotation{From: 1, To: 1, Cause: plan.SpecChanged, Start: at(-day), End: at(0), Result: plan.RolledBack}
	return l
}

func TestLedgerRoundTrip(t *testing.T) {
	for _, l := range []plan.Ledger{ledger(plan.Active), ledger(plan.Retiring, plan.Active), ledger(plan.Active, plan.Trusted), full(), full().Tombstone()} {
		text := stored(t, l)
		back, err := plan.ParseLedger(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if diff := cmp.Diff(l, back); diff != "" {
			t.Errorf("another ledger comes back:\n%s", diff)
		}
	}
}

// The ledger is stored: the next version of the operator must read what this one wrote.
func TestLedgerFormat(t *testing.T) {
	const text = `{"revision":10,"bundleRevision":9,"formerRevision":7,"last":2,"turn":"k8s-master1","undone":"k8s-master2","since":"2026-03-14T14:09:26Z","generations":[` +
		`{"number":1,"state":"Retiring","specHash":"a","sha256":"00"},` +
		`{"number":2,"state":"Active","specHash":"b","sha256":"00","anchor":"ab","root":true,"parent":{"name":"root","uid":"u","generation":3},"above":[{"name":"root","until":"2026-03-15T14:09:26Z"}],` +
		`"trigger":"2026-11","notAfter":"2026-03-15T14:09:26Z"}],` +
		`"wave":4294967296,"arrival":"2026-03-14T14:10:26Z","settled":7,` +
		`"rotation":{"from":1,"to":2,"cause":"TriggerChanged","trigger":"2026-11","start":"2026-03-14T14:09:26Z","sameKey":true,"emergency":true,"phases":[` +
		`{"name":"DistributingTrust","start":"2026-03-14T14:09:26Z","end":"2026-03-14T14:09:27Z"},{"name":"Reissuing","start":"2026-03-14T14:09:27Z"}]},` +
		`"lastRotation":{"from":1,"to":1,"cause":"SpecChanged","start":"2026-03-13T14:09:26Z","end":"2026-03-14T14:09:26Z","result":"RolledBack"},` +
		`"takenUp":"c","triggers":["2fad13a1d0f9f8ef4f1bbd4d8a9a5dca"]}`
	if diff := cmp.Diff(text, string(stored(t, full()))); diff != "" {
		t.Errorf("the ledger is written otherwise:\n%s", diff)
	}
	if got := string(stored(t, ledger(plan.Active).Tombstone())); got != `{"revision":11,"bundleRevision":9,"last":1}` {
		t.Errorf("a tombstone is written as %s", got)
	}
}

func TestParseLedgerRefuses(t *testing.T) {
	changed := func(mod func(*plan.Ledger)) string {
		l := ledger(plan.Active, plan.Trusted)
		mod(&l)
		return string(stored(t, l))
	}
	for name, tc := range map[string]struct{ text, want string }{
		"nothing":            {"", "malformed ledger"},
		"no JSON":            {"revision: 1", "malformed ledger"},
		"cut short":          {string(stored(t, ledger(plan.Active)))[:30], "malformed ledger"},
		"something after it": {string(stored(t, ledger(plan.Active))) + "{}", "malformed ledger"},
		"a list":             {"[]", "malformed ledger"},
		"a number too large": {`{"revision":1,"generations":[{"number":2147483648,"state":"Active"}]}`, "malformed ledger"},
		"null":               {"null", "no revision"},
		"empty":              {"{}", "no revision"},
		"revision 0":         {changed(func(l *plan.Ledger) { l.Revision = 0 }), "no revision"},
		"none is active":     {changed(func(l *plan.Ledger) { l.Generations[0].State = plan.Retiring }), "0 active generations"},
		"two are active":     {changed(func(l *plan.Ledger) { l.Generations[1].State = plan.Active }), "2 active generations"},
		"unknown state":      {changed(func(l *plan.Ledger) { l.Generations[1].State = "Revoked" }), `generation 2 of the ledger has the unknown state "Revoked"`},
		"no state":           {changed(func(l *plan.Ledger) { l.Generations[1].State = "" }), "unknown state"},
		"a generation twice": {changed(func(l *plan.Ledger) { l.Generations[1].Number = 1 }), "generation 1 twice"},
		"generation 0":       {changed(func(l *plan.Ledger) { l.Generations[1].Number = 0 }), "generation 0"},
		"generation -1":      {changed(func(l *plan.Ledger) { l.Generations[1].Number = -1 }), "generation -1"},
		"beyond the last":    {changed(func(l *plan.Ledger) { l.Last = 1 }), "generation 2"},
		"too many": {string(stored(t, ledger(plan.Active, plan.Withdrawn, plan.Withdrawn, plan.Withdrawn, plan.Withdrawn, plan.Withdrawn, plan.Withdrawn,
			plan.Withdrawn, plan.Withdrawn))), "9 generations, more than 8"},
	} {
		if l, err := plan.ParseLedger([]byte(tc.text)); err == nil || !strings.Contains(err.Error(), tc.want) || len(l.Generations) > 0 {
			t.Errorf("%s: %v, %v; want an error with %q", name, l, err, tc.want)
		}
	}
}

func TestPublished(t *testing.T) {
	for name, tc := range map[string]struct {
		l      plan.Ledger
		want   []int32
		active int32
	}{
		"one":                 {ledger(plan.Active), []int32{1}, 1},
		"the next is trusted": {ledger(plan.Active, plan.Trusted), []int32{1, 2}, 1},
		"the next is active":  {ledger(plan.Retiring, plan.Active), []int32{1, 2}, 2},
		"one is withdrawn":    {ledger(plan.Withdrawn, plan.Active), []int32{2}, 2},
		"rolled back":         {ledger(plan.Active, plan.Withdrawn), []int32{1}, 1},
		"a tombstone":         {ledger(plan.Active).Tombstone(), nil, 0},
	} {
		slices.Reverse(tc.l.Generations)
		before := slices.Clone(tc.l.Generations)
		var got []int32
		for _, g := range tc.l.Published() {
			got = append(got, g.Number)
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: published %v, want %v", name, got, tc.want)
		}
		if g, ok := tc.l.Active(); g.Number != tc.active || ok != (tc.active != 0) {
			t.Errorf("%s: %d is active (%v), want %d", name, g.Number, ok, tc.active)
		}
		if !cmp.Equal(before, tc.l.Generations) {
			t.Errorf("%s: Published reorders the ledger", name)
		}
	}
}

// TestNumbersGoOn through the life of a CA, its end and the next CA of its name. So do revisions and former triggers.
func TestNumbersGoOn(t *testing.T) {
	l := plan.Bootstrap(start, plan.Ledger{}, plan.Generation{Number: 1, SpecHash: "a", Trigger: "t1"})
	if err := l.Check(); err != nil || l.Revision != 1 || l.BundleRevision != 1 || l.Last != 1 || l.NextNumber() != 2 {
		t.Fatalf("%+v, %v", l, err)
	}
	if !l.Since.Equal(at(time.Second)) {
		t.Errorf("a fraction of a second is rounded to %v", l.Since)
	}
	l, _ = l.Enter(start, plan.Generation{Number: l.NextNumber(), SpecHash: "b"}, plan.DesiredLedger{SpecHash: "b", Trigger: "t1"})
	gone := l.Tombstone()
	if err := gone.Check(); err != nil || gone.Revision != 3 || len(gone.Generations) != 0 || gone.NextNumber() != 3 {
		t.Fatalf("%+v, %v", gone, err)
	}
	if _, tr := gone.Step(start, plan.DesiredLedger{SpecHash: "c", Trigger: "t2"}, plan.Observation{}); tr != plan.Nothing {
		t.Errorf("a tombstone makes the step %q", tr)
	}
	again := plan.Bootstrap(start, gone, plan.Generation{Number: gone.NextNumber(), SpecHash: "b"})
	if err := again.Check(); err != nil || again.Revision != 4 || again.Last != 3 || again.Names(1) || !again.Names(3) {
		t.Fatalf("%+v, %v", again, err)
	}
	if c := again.CauseOf(plan.DesiredLedger{SpecHash: "b", Trigger: "t1"}); c != "" {
		t.Errorf("a trigger of the CA that was destroyed starts a rotation: %s", c)
	}
}

// What parses has one active generation, publishes it and each once, in order, survives being stored, and can be stepped.
func FuzzParseLedger(f *testing.F) {
	for _, l := range []plan.Ledger{
		ledger(plan.Active), ledger(plan.Retiring, plan.Active, plan.Trusted, plan.Withdrawn), ledger(plan.Active, plan.Active), full(), {},
	} {
		f.Add(stored(f, l))
	}
	f.Add([]byte(""))
	f.Add([]byte("null"))
	var document struct{ Ledger json.RawMessage }
	if err := json.Unmarshal(files.Object[corev1.Secret](f, "authority.yaml").Data["ledger.json"], &document); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(document.Ledger))
	f.Add([]byte(`{"GENERATIONS":[{"number":1,"state":"Active","specHash":"\ud800"}],"revision":9223372036854775807,"last":2147483647}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := plan.ParseLedger(text)
		if err != nil {
			return
		}
		active, ok := l.Active()
		published := l.Published()
		if ok != (len(l.Generations) > 0) || ok && !slices.ContainsFunc(published, func(g plan.Generation) bool { return cmp.Equal(g, active) }) {
			t.Fatalf("%+v is active, %+v is published", active, published)
		}
		for i, g := range published {
			if g.State == plan.Withdrawn || i > 0 && published[i-1].Number >= g.Number {
				t.Fatalf("published in the order %+v", published)
			}
		}
		once := stored(t, l)
		if back, err := plan.ParseLedger(once); err != nil || string(stored(t, back)) != string(once) {
			t.Fatalf("%s comes back as %+v, %v", once, back, err)
		}
		before := string(once)
		_, _ = l.Step(at(day), plan.DesiredLedger{SpecHash: "x", MaxUnavailable: 1}, plan.Observation{Consumers: []plan.Consumer{{Kind: "k", HasLeaf: true}}})
		if string(stored(t, l)) != before {
			t.Fatal("a step changes the ledger that it was made from")
		}
	})
}

// TestAncestors: a generation is below another CA for as long as the certificates that lead there are valid, and as what it signs.
func TestAncestors(t *testing.T) {
	root := plan.Generation{Number: 1}
	mid := plan.Generation{Number: 1, Above: root.Signed("root", at(2*day))}
	leaf := plan.Generation{Number: 1, Above: mid.Signed("mid", at(3*day))}
	short := plan.Generation{Number: 2, Above: mid.Signed("mid", at(day))}
	twice := plan.Generation{Number: 3, Above: slices.Concat(short.Above, leaf.Above)}
	for name, tc := range map[string]struct {
		g    plan.Generation
		now  time.Duration
		want string
	}{
		"a root":                {root, 0, ""},
		"below it":              {mid, 0, "root"},
		"further below":         {leaf, 2*day - time.Second, "mid root"},
		"one has ended":         {leaf, 2 * day, "mid"},
		"all have":              {leaf, 3 * day, ""},
		"it ends first":         {short, day - time.Second, "mid root"},
		"it has ended":          {short, day, ""},
		"by two ways":           {twice, 0, "mid root"},
		"the longer one counts": {twice, 2*day - time.Second, "mid root"},
	} {
		if got := strings.Join(tc.g.Ancestors(at(tc.now)), " "); got != tc.want {
			t.Errorf("%s: below %q, want %q", name, got, tc.want)
		}
	}
}

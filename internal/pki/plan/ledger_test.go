package plan_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"clusterpki.io/operator/internal/pki/plan"
)

func ledger(states ...plan.State) plan.Ledger {
	l := plan.Ledger{Revision: int64(len(states))}
	for i, s := range states {
		n := int32(i + 1)
		l.Generations = append(l.Generations, plan.Generation{
			Number: n, State: s, SecretName: plan.GenerationSecretName("ca", n, "v1:x"), RequestHash: "v1:x", SHA256: "00",
		})
	}
	return l
}

func TestLedgerRoundTrip(t *testing.T) {
	for _, l := range []plan.Ledger{
		ledger(plan.Signing), ledger(plan.Retiring, plan.Signing), ledger(plan.Signing, plan.Trusted),
		ledger(plan.Retiring, plan.Signing, plan.Trusted, plan.Staged),
	} {
		text, err := l.Encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := plan.ParseLedger(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if diff := cmp.Diff(l, back); diff != "" {
			t.Errorf("another ledger comes back:\n%s", diff)
		}
		if again, _ := back.Encode(); again != text {
			t.Errorf("equal ledgers give %s and %s", text, again)
		}
	}
}

// The ledger is stored in the cluster: the next version of the operator must read what this one wrote.
func TestLedgerFormat(t *testing.T) {
	const text = `{"revision":2,"generations":[` +
		`{"number":1,"state":"Retiring","secretName":"ca-g1-cfabe03d","requestHash":"v1:x","sha256":"00"},` +
		`{"number":2,"state":"Signing","secretName":"ca-g2-638483e0","requestHash":"v1:x","sha256":"00"}]}`
	if got, err := ledger(plan.Retiring, plan.Signing).Encode(); err != nil || got != text {
		t.Errorf("the ledger is written as\n%s instead of\n%s", got, text)
	}
}

func TestParseLedgerRefuses(t *testing.T) {
	encode := func(l plan.Ledger) string {
		text, err := l.Encode()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	numbered := func(numbers ...int32) plan.Ledger {
		l := ledger(plan.Signing, plan.Trusted)
		for i, n := range numbers {
			l.Generations[i].Number = n
		}
		return l
	}
	for name, tc := range map[string]struct{ text, want string }{
		"nothing":             {"", "malformed ledger"},
		"no JSON":             {"revision: 1", "malformed ledger"},
		"cut short":           {encode(ledger(plan.Signing))[:30], "malformed ledger"},
		"something after it":  {encode(ledger(plan.Signing)) + "{}", "malformed ledger"},
		"a list":              {"[]", "malformed ledger"},
		"a number too large":  {`{"generations":[{"number":2147483648,"state":"Signing"}]}`, "malformed ledger"},
		"null":                {"null", "names 0 signing"},
		"empty":               {"{}", "names 0 signing"},
		"none signs":          {encode(ledger(plan.Retiring, plan.Trusted)), "names 0 signing"},
		"two sign":            {encode(ledger(plan.Signing, plan.Signing)), "names 2 signing"},
		"unknown state":       {encode(ledger(plan.Signing, "Revoked")), `generation 2 of the ledger has the unknown state "Revoked"`},
		"no state":            {encode(ledger(plan.Signing, "")), "unknown state"},
		"a generation twice":  {encode(numbered(2, 2)), "generation 2 twice"},
		"generation 0":        {encode(numbered(1, 0)), "generation 0"},
		"negative generation": {encode(numbered(-1, 1)), "generation -1"},
	} {
		if l, err := plan.ParseLedger(tc.text); err == nil || !strings.Contains(err.Error(), tc.want) || len(l.Generations) > 0 {
			t.Errorf("%s: %v, %v; want an error with %q", name, l, err, tc.want)
		}
	}
}

func TestPublished(t *testing.T) {
	for name, tc := range map[string]struct {
		l    plan.Ledger
		want []int32
		sign int32
	}{
		"one":                 {ledger(plan.Signing), []int32{1}, 1},
		"the next is staged":  {ledger(plan.Signing, plan.Staged), []int32{1}, 1},
		"the next is trusted": {ledger(plan.Signing, plan.Trusted), []int32{1, 2}, 1},
		"the next signs":      {ledger(plan.Retiring, plan.Signing), []int32{1, 2}, 2},
		"many":                {ledger(plan.Retiring, plan.Retiring, plan.Signing, plan.Trusted, plan.Trusted), []int32{1, 2, 3, 4, 5}, 3},
		"nobody signs":        {ledger(plan.Trusted, plan.Retiring), []int32{1, 2}, 0},
		"nothing":             {plan.Ledger{}, nil, 0},
	} {
		var got []int32
		for _, g := range tc.l.Published() {
			got = append(got, g.Number)
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: published %v, want %v", name, got, tc.want)
		}
		if g, ok := tc.l.Signing(); g.Number != tc.sign || ok != (tc.sign != 0) {
			t.Errorf("%s: %d signs (%v), want %d", name, g.Number, ok, tc.sign)
		}
	}
	if l := ledger(plan.Retiring, plan.Signing); l.Published() == nil || l.Generations[0].Number != 1 {
		t.Error("Published reorders the ledger")
	}
}

// What parses has one signing generation, publishes it and each once, in order, and survives being stored.
func FuzzParseLedger(f *testing.F) {
	for _, l := range []plan.Ledger{
		ledger(plan.Signing), ledger(plan.Retiring, plan.Signing, plan.Trusted, plan.Staged), ledger(plan.Signing, plan.Signing), {},
	} {
		text, err := l.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add("")
	f.Add("null")
	f.Add(`{"GENERATIONS":[{"number":1,"state":"Signing","secretName":"\ud800"}],"revision":9223372036854775807}`)
	f.Add(`{"generations":[{"number":2147483647,"state":"Signing"},{"number":1,"state":"Trusted"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		l, err := plan.ParseLedger(text)
		if err != nil {
			return
		}
		signing, ok := l.Signing()
		published := l.Published()
		if !ok || !slices.Contains(published, signing) {
			t.Fatalf("%+v signs, %+v is published", signing, published)
		}
		for i, g := range published {
			if g.State == plan.Staged || g.State == plan.Withdrawn || g.State == plan.Abandoned || i > 0 && published[i-1].Number >= g.Number {
				t.Fatalf("published in the order %+v", published)
			}
		}
		stored, err := l.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := plan.ParseLedger(stored); err != nil || !cmp.Equal(back, l) {
			t.Fatalf("%+v comes back as %+v, %v", l, back, err)
		}
	})
}

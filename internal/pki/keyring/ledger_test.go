package keyring_test

import (
	"encoding/json"
	"strings"
	"testing"

	"clusterpki.io/operator/internal/pki/keyring"
)

func stored(t testing.TB, l keyring.Ledger) []byte {
	t.Helper()
	text, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestCheck: nothing is read of a ledger that says something impossible.
func TestCheck(t *testing.T) {
	many := make([]string, 0, 9)
	for _, n := range "abcdefgh" {
		many = append(many, string(n))
	}
	full := keyring.Bootstrap(start, keyring.Ledger{}, keyring.Origin{Active: "z", Former: many})
	for name, tc := range map[string]struct {
		change func(*keyring.Ledger)
		want   string
	}{
		"nothing":         {func(*keyring.Ledger) {}, ""},
		"no revision":     {func(l *keyring.Ledger) { l.Revision = 0 }, "no revision"},
		"a number twice":  {func(l *keyring.Ledger) { l.Keys[1].Number = 1 }, "key 1 twice"},
		"a number beyond": {func(l *keyring.Ledger) { l.Last = 1 }, "key 2"},
		"an ID twice":     {func(l *keyring.Ledger) { l.Keys[1].ID = l.Keys[0].ID }, "ID of key 2"},
		"no ID":           {func(l *keyring.Ledger) { l.Keys[1].ID = "" }, "ID of key 2"},
		"unknown state":   {func(l *keyring.Ledger) { l.Keys[1].State = "Odd" }, `"Odd"`},
		"two active":      {func(l *keyring.Ledger) { l.Keys[1].State = keyring.Active }, "2 active"},
		"none active":     {func(l *keyring.Ledger) { l.Keys[0].State = keyring.Retiring }, "0 active"},
		"no rotation":     {func(l *keyring.Ledger) { l.Rotation = nil }, "no rotation"},
		"another key":     {func(l *keyring.Ledger) { l.Rotation.To = 7 }, "to key 7"},
		"itself":          {func(l *keyring.Ledger) { l.Rotation.To = 1 }, "to key 1"},
		"withdrawn":       {func(l *keyring.Ledger) { l.Keys[1].State = keyring.Withdrawn }, "Withdrawn"},
		"triggers":        {func(l *keyring.Ledger) { l.Used = make([]string, 1001) }, "triggers"},
		"a long trigger":  {func(l *keyring.Ledger) { l.Keys[1].Trigger = strings.Repeat("x", 2000) }, "trigger of key 2"},
		"too many keys":   {func(l *keyring.Ledger) { *l = full }, "9 keys"},
	} {
		l := step(t, first(), inputs(trigger("2")), keyring.Publish)
		tc.change(&l)
		_, err := keyring.ParseLedger(stored(t, l))
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

// FuzzParseLedger: what is read is read back as it is, publishes the key that signs first, and a step changes nothing of it.
func FuzzParseLedger(f *testing.F) {
	l := first()
	f.Add(stored(f, l))
	f.Add([]byte(`{"KEYS":[{"number":1,"state":"Active","id":"\ud800"}],"revision":9223372036854775807,"last":2147483647}`))
	l, _ = l.Enter(inputs(trigger("2")), "k2")
	f.Add(stored(f, l))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := keyring.ParseLedger(text)
		if err != nil {
			return
		}
		active, ok := l.Active()
		published := l.Publication()
		if ok != (len(l.Keys) > 0) || ok && published[0] != active {
			t.Fatalf("%+v signs, %+v is published", active, published)
		}
		for i, k := range published {
			if k.State == keyring.Withdrawn || i > 1 && published[i-1].Number >= k.Number {
				t.Fatalf("published in the order %+v", published)
			}
		}
		once := stored(t, l)
		if back, err := keyring.ParseLedger(once); err != nil || string(stored(t, back)) != string(once) {
			t.Fatalf("%s comes back as %+v, %v", once, back, err)
		}
		before := string(once)
		for _, text := range []string{"", "x"} {
			if next, step := l.Step(inputs(trigger(text), when(100*365*day))); step == keyring.NewKey {
				next.Enter(inputs(trigger(text)), "new")
			}
		}
		if string(stored(t, l)) != before {
			t.Fatal("a step changes the ledger that it was made from")
		}
	})
}

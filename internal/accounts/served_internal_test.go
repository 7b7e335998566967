package accounts

import (
	"crypto"
	"testing"
	"time"

	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/consumers"
	"clusterpki.io/operator/internal/delivery"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/keyring"
)

// TestBefore: until its turn comes, a host is told to keep what it has, by what the operator has signed, or the host. Somebody who puts an older document
// back has nothing named that was published before the last step, nor what is published now.
func TestBefore(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	record := &authority.AccountKeys{Public: map[int32]crypto.PublicKey{}}
	newKey := func(number int32) string {
		key, err := pki.GenerateKey(pki.KeySpec{Algorithm: pki.ECDSA, Size: 256})
		if err != nil {
			t.Fatal(err)
		}
		record.Public[number] = key.Public()
		id, err := keyring.KeyID(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	digest := func() string {
		out, err := record.PublicSHA256()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	in := keyring.Inputs{Now: now, Trigger: "one", Consumers: []keyring.Consumer{{Name: "a", HasPublication: true}}}
	record.Ledger = keyring.Bootstrap(now, keyring.Ledger{}, keyring.Origin{Active: newKey(1)})
	first := digest()
	record.Ledger, _ = record.Ledger.Enter(in, newKey(2))
	second := digest()
	record.Ledger, _ = record.Ledger.Step(in)
	third := digest()
	signed := func(installed string) consumers.Reported {
		return consumers.Reported{Proof: ack.Signed, Report: ack.Report{Installed: &ack.State{Contents: map[string]string{"sa/sa.pub": installed}}}}
	}
	names := func(d string) document { return document{true, &delivery.ServiceAccounts{SHA256: d}} }
	present := &delivery.ServiceAccounts{SHA256: third, SwitchedAt: now}
	for what, c := range map[string]struct {
		named    document
		reported consumers.Reported
		want     string
		held     bool
	}{
		"it goes on":                     {names(second), signed(second), second, false},
		"it was told already":            {names(third), signed(second), third, false},
		"the host has it already":        {names(second), signed(third), third, false},
		"the document is gone":           {document{}, signed(second), second, false},
		"an older document is put back":  {names(first), signed(second), second, false},
		"and nobody knows what it has":   {names(first), consumers.Reported{}, "", true},
		"somebody else writes its Lease": {document{}, consumers.Reported{Proof: ack.Forged}, "", true},
		"nothing is known of the host":   {document{}, consumers.Reported{}, "", true},
		"it names the key anew":          {document{there: true}, signed(""), "", false},
	} {
		got, held := before(record, present, c.named, c.reported, "sa")
		if held != c.held || (got == nil) != (c.want == "") || got != nil && got.SHA256 != c.want {
			t.Errorf("%s: %+v, held: %t", what, got, held)
		}
	}
	back := *record // before the switch, the trigger is taken back
	back.Ledger = keyring.Bootstrap(now, keyring.Ledger{}, keyring.Origin{Active: record.Ledger.Keys[0].ID})
	back.Ledger, _ = back.Ledger.Enter(in, record.Ledger.Keys[1].ID)
	back.Ledger, _ = back.Ledger.Step(keyring.Inputs{Now: now, Consumers: []keyring.Consumer{{Name: "a"}}})
	if got, held := before(&back, &delivery.ServiceAccounts{SHA256: first}, document{}, consumers.Reported{}, "sa"); !held || got != nil {
		t.Errorf("nothing is known of the host, and the rotation is taken back: %+v, held: %t", got, held)
	}
	record.Ledger.Rotation = nil // then no host restarts because of it
	if got, held := before(record, present, document{}, consumers.Reported{}, "sa"); held || got == nil || got.SHA256 != third {
		t.Errorf("a new host, while no key is rotated: %+v, held: %t", got, held)
	}
}

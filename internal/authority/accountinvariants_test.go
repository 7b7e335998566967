package authority_test

import (
	"strings"
	"testing"
	"time"

	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/pki/keyring"
)

// TestAccountKeyInvariants: each rule refuses a write that is right without the one change that breaks it.
func TestAccountKeyInvariants(t *testing.T) {
	other := accountKey(t)
	for name, tc := range map[string]struct {
		before []keyring.Transition
		step   keyring.Transition
		mod    func(*authority.AccountKeys)
		want   string
	}{
		"the ledger is none":      {nil, keyring.Publish, func(k *authority.AccountKeys) { k.Ledger.Keys[0].State = keyring.Retiring }, "0 active keys"},
		"whose it is":             {nil, keyring.Publish, func(k *authority.AccountKeys) { k.NamespaceUID = "" }, "whose it is"},
		"where it is":             {nil, keyring.Publish, func(k *authority.AccountKeys) { k.HomeUID = "" }, "whose it is"},
		"another object's":        {nil, keyring.Publish, func(k *authority.AccountKeys) { k.Name = "other" }, "prod/k8s-sa"},
		"a revision is left out":  {nil, keyring.Publish, func(k *authority.AccountKeys) { k.Ledger.Revision++ }, "does not follow"},
		"the revision is the old": {nil, keyring.Publish, func(k *authority.AccountKeys) { k.Ledger.Revision-- }, "does not follow"},
		"seen before it is there": {nil, keyring.Publish, func(k *authority.AccountKeys) { k.Ledger.Published = start }, "already"},
		"no private half":         {nil, keyring.Publish, func(k *authority.AccountKeys) { delete(k.Keys, 2) }, "private half of key 2"},
		"another private half":    {nil, keyring.Publish, func(k *authority.AccountKeys) { k.Keys[2] = other }, "private half of key 2"},
		"no public half":          {nil, keyring.Publish, func(k *authority.AccountKeys) { delete(k.Public, 2) }, "public half of key 2"},
		"another public half":     {nil, keyring.Publish, func(k *authority.AccountKeys) { k.Public[2] = other.Public() }, "public half of key 2"},
		"another than before":     {nil, keyring.Publish, func(k *authority.AccountKeys) { k.Public[1] = other.Public() }, "another public half than before"},
		"another ID than before": {nil, keyring.Publish, func(k *authority.AccountKeys) { k.Ledger.Keys[0].ID = keyID(t, other) },
			"another public half than before"},
		"not marked": {nil, keyring.Publish, func(k *authority.AccountKeys) {
			k.Ledger = keyring.Ledger{Revision: k.Ledger.Revision, Last: k.Ledger.Last}
		}, "not marked"},
		"what would sign is gone": {[]keyring.Transition{keyring.Publish}, keyring.Switch, func(k *authority.AccountKeys) { delete(k.Keys, 2) }, "would sign"},
		"a key in force leaves": {[]keyring.Transition{keyring.Publish, keyring.Switch}, keyring.Complete, func(k *authority.AccountKeys) {
			k.Ledger.Keys = k.Ledger.Keys[1:]
		}, "key 1 is Retiring, and would be deleted"},
		"a key goes back": {[]keyring.Transition{keyring.Publish, keyring.Switch}, keyring.Complete, func(k *authority.AccountKeys) {
			k.Ledger.Keys[0].State, k.Ledger.Keys[1].State = keyring.Active, keyring.Retiring
		}, "key 1 is Retiring, and would be Active again"},
		"what signs is withdrawn": {[]keyring.Transition{keyring.Publish}, keyring.Switch, func(k *authority.AccountKeys) {
			k.Ledger.Keys[0].State, k.Ledger.Rotation = keyring.Withdrawn, nil
		}, "key 1 signs, and would not be trusted"},
		"a private half comes back": {[]keyring.Transition{keyring.Publish, keyring.Switch, keyring.Complete}, keyring.Withdraw, func(k *authority.AccountKeys) {
			k.Ledger.Keys[0].State, k.Ledger.Rotation = keyring.Retiring, &keyring.Rotation{From: 1, To: 2}
		}, "private half of key 1 is gone"},
		"the last number goes back": {[]keyring.Transition{keyring.Publish, keyring.Switch, keyring.Complete}, keyring.Withdraw, func(k *authority.AccountKeys) {
			k.Ledger.Keys[1].Number, k.Ledger.Last = 1, 1
			k.Ledger.Keys = k.Ledger.Keys[1:]
		}, "goes back from 2 to 1"},
	} {
		s, _, was := after(t, tc.before...)
		in := arrived
		if tc.step == keyring.Withdraw {
			in.Now = start.Add(time.Hour)
		}
		next := moved(t, was, in, tc.step)
		if err := checked(s, was, next); err != nil {
			t.Errorf("%s, without the change: %v", name, err)
		}
		tc.mod(next)
		if _, err := s.CommitAccountKeys(ctx, was, next); !isInvariant(err) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

// checked says whether a write would be made, and makes it in another place.
func checked(_ *authority.Store, was, next *authority.AccountKeys) error {
	other, _ := newStore()
	if err := other.Restore(ctx, was); err != nil {
		return err
	}
	there, err := other.LiveAccountKeys(ctx, "prod", "k8s-sa")
	if err != nil {
		return err
	}
	copied := *next
	copied.Version = there.Version
	_, err = other.CommitAccountKeys(ctx, there, &copied)
	return err
}

// TestNumberOfAnAccountKey is not given again.
func TestNumberOfAnAccountKey(t *testing.T) {
	s, _, was := after(t, keyring.Publish)
	back := arrived
	back.Trigger = ""
	for _, step := range []keyring.Transition{keyring.Rollback, keyring.Forget} {
		var err error
		if was, err = s.CommitAccountKeys(ctx, was, moved(t, was, back, step)); err != nil {
			t.Fatal(err)
		}
	}
	next := moved(t, was, arrived, keyring.Publish)
	next.Ledger.Keys[1].Number, next.Ledger.Rotation.To, next.Keys[2], next.Public[2] = 2, 2, next.Keys[3], next.Public[3]
	if _, err := s.CommitAccountKeys(ctx, was, next); !isInvariant(err) || !strings.Contains(err.Error(), "not given again") {
		t.Errorf("the error is %v", err)
	}
}

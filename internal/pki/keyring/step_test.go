package keyring_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"clusterpki.io/operator/internal/pki/keyring"
)

const day = 24 * time.Hour

// start has a fraction of a second and a zone other than UTC, as clocks do.
var start = time.Date(2026, 3, 14, 15, 9, 26, 535_897_932, time.FixedZone("CET", 3600))

func at(d time.Duration) time.Time { return start.UTC().Truncate(time.Second).Add(time.Second + d) }

func arrived() []keyring.Consumer { return []keyring.Consumer{{Name: "a", HasPublication: true}} }

// inputs are those of a cluster in which everything has arrived, and no token never ends.
func inputs(mods ...func(*keyring.Inputs)) keyring.Inputs {
	in := keyring.Inputs{Now: start, Retain: day, Consumers: arrived(), Tokens: keyring.Tokens{Listed: true}}
	for _, mod := range mods {
		mod(&in)
	}
	return in
}

func trigger(text string) func(*keyring.Inputs) {
	return func(in *keyring.Inputs) { in.Trigger = text }
}

func when(d time.Duration) func(*keyring.Inputs) { return func(in *keyring.Inputs) { in.Now = at(d) } }

func nobodyHasIt(in *keyring.Inputs) { in.Consumers[0].HasPublication = false }

// step makes the step that is due, and the key where one is needed.
func step(t *testing.T, l keyring.Ledger, in keyring.Inputs, want keyring.Transition) keyring.Ledger {
	t.Helper()
	next, got := l.Step(in)
	if got == keyring.NewKey {
		next, got = next.Enter(in, fmt.Sprintf("k%d", next.NextNumber()))
	}
	if got != want {
		t.Fatalf("the step is %q, want %q: %s", got, want, show(l))
	}
	if err := next.Check(); err != nil {
		t.Fatal(err)
	}
	if want != keyring.Nothing && next.Revision != l.Revision+1 {
		t.Fatalf("revision %d follows on %d", next.Revision, l.Revision)
	}
	return next
}

// show is what is published, and what is not, with the phase.
func show(l keyring.Ledger) string {
	var out []string
	for _, k := range l.Publication() {
		out = append(out, fmt.Sprintf("%s %s", k.ID, k.State))
	}
	for _, k := range l.Keys {
		if !k.Published() {
			out = append(out, fmt.Sprintf("(%s %s)", k.ID, k.State))
		}
	}
	return strings.TrimSpace(strings.Join(out, ", ") + " " + string(l.Phase()))
}

func expect(t *testing.T, l keyring.Ledger, want string) {
	t.Helper()
	if got := show(l); got != want {
		t.Fatalf("the ledger is %q, want %q", got, want)
	}
}

func first() keyring.Ledger {
	return keyring.Bootstrap(start, keyring.Ledger{}, keyring.Origin{Active: "k1", Trigger: "first"})
}

// TestRotation goes through a whole one, with each step refused until what is published has arrived.
func TestRotation(t *testing.T) {
	l := first().Seen(start)
	step(t, l, inputs(trigger("first")), keyring.Nothing)
	step(t, l, inputs(trigger("2")), keyring.Publish)
	step(t, l, inputs(trigger("2"), nobodyHasIt), keyring.Nothing)
	l = step(t, l, inputs(trigger("2")), keyring.Publish)
	expect(t, l, "k1 Active, k2 Trusted DistributingTrust")
	if l.Published != (time.Time{}) || l.RotationID("k8s") != "k8s/2.g2" || !l.KeepsPrivate(1) || !l.KeepsPrivate(2) {
		t.Errorf("%+v", l)
	}
	step(t, l, inputs(trigger("2"), nobodyHasIt), keyring.Nothing)
	l = step(t, l.Seen(start), inputs(trigger("2"), when(time.Hour)), keyring.Switch)
	expect(t, l, "k2 Active, k1 Retiring SwitchingSigner")
	if !l.Published.IsZero() || !l.KeepsPrivate(1) {
		t.Errorf("%+v", l)
	}
	step(t, l, inputs(trigger("2"), nobodyHasIt), keyring.Nothing)
	step(t, l, inputs(trigger("first"), nobodyHasIt), keyring.Nothing) // it is too late to take it back
	l = step(t, l.Seen(start), inputs(trigger("2"), when(2*time.Hour)), keyring.Complete)
	expect(t, l, "k2 Active, k1 Retiring")
	if l.Published.IsZero() || l.KeepsPrivate(1) || !l.SwitchedAt().Equal(at(2*time.Hour)) {
		t.Errorf("nobody signs by the old key since %v: %+v", l.SwitchedAt(), l)
	}
	step(t, l, inputs(when(26*time.Hour-time.Second)), keyring.Nothing)
	step(t, l, inputs(when(26*time.Hour), nobodyHasIt), keyring.Nothing)
	l = step(t, l, inputs(when(26*time.Hour)), keyring.Withdraw)
	expect(t, l, "k2 Active, (k1 Withdrawn)")
	step(t, l, inputs(when(27*time.Hour), nobodyHasIt), keyring.Nothing)
	l = step(t, l, inputs(when(27*time.Hour), trigger("3")), keyring.Forget)
	expect(t, l, "k2 Active")
	for _, former := range []string{"", "first", "2"} {
		step(t, l, inputs(trigger(former)), keyring.Nothing)
	}
	l = step(t, l, inputs(trigger("3")), keyring.Publish)
	expect(t, l, "k2 Active, k3 Trusted DistributingTrust")
}

// TestRollback: a trigger that is taken back before the new key signs gives it up at once, and may be given again.
func TestRollback(t *testing.T) {
	begun := step(t, first(), inputs(trigger("2")), keyring.Publish)
	for _, back := range []string{"first", "", "another"} {
		l := step(t, begun, inputs(trigger(back), nobodyHasIt), keyring.Rollback)
		expect(t, l, "k1 Active, (k2 Withdrawn)")
		if l.KeepsPrivate(2) {
			t.Error("the private half of a key that was given up is kept")
		}
		step(t, l, inputs(trigger("2"), nobodyHasIt), keyring.Nothing)
		l = step(t, l, inputs(trigger("2")), keyring.Forget)
		l = step(t, l, inputs(trigger("2")), keyring.Publish)
		expect(t, l, "k1 Active, k3 Trusted DistributingTrust")
	}
}

// TestAge rotates by rotateEvery, which a trigger does not take back.
func TestAge(t *testing.T) {
	every := func(in *keyring.Inputs) { in.RotateEvery = 10 * day }
	l := first()
	if got := l.Renewal(10 * day); !got.Equal(at(10 * day)) {
		t.Errorf("renewal at %v", got)
	}
	if got := l.NextCheck(inputs(every)); !got.Equal(at(10 * day)) {
		t.Errorf("the next look is at %v", got)
	}
	step(t, l, inputs(every, when(10*day-time.Second)), keyring.Nothing)
	l = step(t, l, inputs(every, when(10*day), trigger("first")), keyring.Publish)
	if l.RotationID("k8s") != "k8s/age.g2" || l.Rotation.Cause != keyring.RenewalDue {
		t.Errorf("%+v", l.Rotation)
	}
	l = step(t, l, inputs(trigger("2"), when(10*day)), keyring.Switch)
	l = step(t, l, inputs(trigger("2"), when(10*day)), keyring.Complete)
	l = step(t, l, inputs(trigger("2"), when(10*day)), keyring.Publish)
	expect(t, l, "k2 Active, k1 Retiring, k3 Trusted DistributingTrust")
}

// TestNobodyNamesIt: then nobody knows who uses the key, and nothing is rotated or withdrawn.
func TestNobodyNamesIt(t *testing.T) {
	nobody := func(in *keyring.Inputs) { in.Consumers = nil }
	step(t, first(), inputs(trigger("2"), nobody), keyring.Nothing)
	l := step(t, first(), inputs(trigger("2")), keyring.Publish)
	step(t, l, inputs(trigger("2"), nobody), keyring.Nothing)
	step(t, l, inputs(nobody), keyring.Rollback)
}

// TestHeld says what keeps an old key, and what does not.
func TestHeld(t *testing.T) {
	l := keyring.Bootstrap(start, keyring.Ledger{}, keyring.Origin{Active: "new", Former: []string{"old", "older"}, Imported: true})
	expect(t, l, "new Active, old Retiring, older Retiring")
	old, ok := l.NextRemoval()
	if !ok || old.ID != "old" || !old.Imported || !old.RetainUntil(day).Equal(at(day)) {
		t.Fatalf("%+v goes first", old)
	}
	assumed := func(accepts bool) func(*keyring.Inputs) {
		return func(in *keyring.Inputs) { in.Consumers[0].Assumed, in.Consumers[0].AcceptsAssumed = true, accepts }
	}
	for name, tc := range map[string]struct {
		in   keyring.Inputs
		want keyring.Hold
	}{
		"its time has not come":    {inputs(when(day - time.Second)), keyring.KeyRetained},
		"it has":                   {inputs(when(day)), keyring.NotHeld},
		"a shorter time":           {inputs(when(time.Hour), func(in *keyring.Inputs) { in.Retain = time.Hour }), keyring.NotHeld},
		"nobody lists":             {inputs(when(day), func(in *keyring.Inputs) { in.Tokens.Listed = false }), keyring.TokensUnlisted},
		"a token is left":          {inputs(when(day), func(in *keyring.Inputs) { in.Tokens.Left = 1 }), keyring.TokensLeft},
		"assumed":                  {inputs(when(day), assumed(false)), keyring.Assumed},
		"assumed, and accepted":    {inputs(when(day), assumed(true)), keyring.NotHeld},
		"assumed, and its time is": {inputs(when(0), assumed(false)), keyring.KeyRetained},
	} {
		if got := old.Held(tc.in); got != tc.want {
			t.Errorf("%s: held by %q, want %q", name, got, tc.want)
		}
		want := keyring.Nothing
		if tc.want == keyring.NotHeld {
			want = keyring.Withdraw
		}
		if next := step(t, l, tc.in, want); want == keyring.Withdraw {
			expect(t, next, "new Active, (old Withdrawn), (older Withdrawn)")
		}
	}
}

// TestFull: beyond eight keys a rotation waits, and goes on when one has left.
func TestFull(t *testing.T) {
	l, now := first(), time.Duration(0)
	for n := 2; n <= keyring.MaxKeys; n++ {
		text := trigger(fmt.Sprint(n))
		for _, want := range []keyring.Transition{keyring.Publish, keyring.Switch, keyring.Complete} {
			l = step(t, l, inputs(text, when(now)), want)
		}
		now += time.Hour
	}
	in := inputs(trigger("9"), when(now))
	step(t, l, in, keyring.Nothing)
	if !l.Full(in) || l.Full(inputs()) {
		t.Error("it is not said that the rotation waits")
	}
	in.Now = at(day)
	l = step(t, l, in, keyring.Withdraw)
	l = step(t, l, in, keyring.Forget)
	if l.Full(in) {
		t.Error("it is said that the rotation waits")
	}
	step(t, l, in, keyring.Publish)
}

// TestTombstone: numbers go on, former triggers start nothing, and the first key of the next one takes its trigger.
func TestTombstone(t *testing.T) {
	dead := first().Tombstone()
	if err := dead.Check(); err != nil {
		t.Fatal(err)
	}
	step(t, dead, inputs(trigger("2")), keyring.Nothing)
	l := keyring.Bootstrap(start, dead, keyring.Origin{Active: "k2", Trigger: "second"})
	if active, ok := l.Active(); !ok || active.Number != 2 || l.Revision != 3 {
		t.Errorf("%+v", l)
	}
	for _, former := range []string{"first", "second"} {
		step(t, l, inputs(trigger(former)), keyring.Nothing)
	}
}

// TestInPlaceOf: no number and no trigger is given again when a backup takes the place of what was made meanwhile.
func TestInPlaceOf(t *testing.T) {
	other := first()
	for _, want := range []keyring.Transition{keyring.Publish, keyring.Switch, keyring.Complete} {
		other = step(t, other, inputs(trigger("2")), want)
	}
	l := first().Seen(start).InPlaceOf(other)
	if l.Last != 2 || l.Revision != other.Revision+1 || !l.Published.IsZero() {
		t.Errorf("%+v", l)
	}
	step(t, l, inputs(trigger("2")), keyring.Nothing)
	if got := step(t, l, inputs(trigger("3")), keyring.Publish); got.Last != 3 {
		t.Errorf("the next key is number %d", got.Last)
	}
}

package plan_test

import (
	"slices"
	"testing"
	"time"

	"clusterpki.io/operator/internal/pki/plan"
)

const delay = 10 * time.Minute

// consumer has done all that any phase asks for, with its Secrets mounted for a long time.
func consumer(name string, mods ...func(*plan.Consumer)) plan.Consumer {
	c := plan.Consumer{Kind: "NodeCredential", Name: name, RelyingParty: true, Trusts: true, HasLeaf: true, Leaf: 2, Issued: 2}
	for _, mod := range mods {
		mod(&c)
	}
	return c
}

func mounted(changed time.Duration) func(*plan.Consumer) {
	return func(c *plan.Consumer) { c.Mounted, c.Delay, c.Changed = true, delay, at(changed) }
}

func leaf(inUse, issued int32) func(*plan.Consumer) {
	return func(c *plan.Consumer) { c.Leaf, c.Issued = inUse, issued }
}

func placed(seed uint32) func(*plan.Consumer) { return func(c *plan.Consumer) { c.Seed = seed } }

func seen(cs ...plan.Consumer) plan.Observation { return plan.Observation{Consumers: cs} }

// everyone lets all leaves of a ledger be re-issued.
func everyone(l plan.Ledger) plan.Ledger {
	l.Wave = plan.Everyone
	return l
}

// TestWhatEachPhaseAsks: whom a gate waits for, and what counts.
func TestWhatEachPhaseAsks(t *testing.T) {
	distributing, reissuing := ledger(plan.Active, plan.Trusted), everyone(ledger(plan.Retiring, plan.Active))
	withdrawing := ledger(plan.Withdrawn, plan.Active)
	emergency := ledger(plan.Withdrawn, plan.Active)
	emergency.Rotation = &plan.Rotation{From: 1, To: 2, Emergency: true}
	trusts := func(yes bool) func(*plan.Consumer) { return func(c *plan.Consumer) { c.Trusts = yes } }
	client := func(c *plan.Consumer) { c.RelyingParty, c.Trusts = false, false }
	verifier := func(c *plan.Consumer) { c.HasLeaf, c.Leaf, c.Issued = false, 0, 0 }
	for name, tc := range map[string]struct {
		ledger   plan.Ledger
		consumer plan.Consumer
		asked    int
		open     bool
	}{
		"distributing: it trusts":                           {distributing, consumer("c", leaf(1, 1)), 1, true},
		"distributing: it does not":                         {distributing, consumer("c", trusts(false)), 1, false},
		"distributing: it was seen to serve another":        {distributing, consumer("c", func(c *plan.Consumer) { c.Denied = true }), 1, false},
		"distributing: it verifies nobody":                  {distributing, consumer("c", client), 0, true},
		"reissuing: it has the new leaf":                    {reissuing, consumer("c"), 1, true},
		"reissuing: it uses the old":                        {reissuing, consumer("c", leaf(1, 2)), 1, false},
		"reissuing: it uses the new, and the old is back":   {reissuing, consumer("c", leaf(2, 1)), 1, false},
		"reissuing: it presents none":                       {reissuing, consumer("c", verifier, trusts(false)), 0, true},
		"withdrawing: it trusts the new alone":              {withdrawing, consumer("c", leaf(1, 1)), 1, true},
		"withdrawing: it trusts the old":                    {withdrawing, consumer("c", trusts(false)), 1, false},
		"withdrawing: it verifies nobody":                   {withdrawing, consumer("c", client, leaf(1, 1)), 0, true},
		"emergency: it has both":                            {emergency, consumer("c"), 1, true},
		"emergency: nobody has asked it for its leaf":       {emergency, consumer("c", leaf(1, 1)), 1, false},
		"emergency: a client alone is asked for its leaf":   {emergency, consumer("c", client, leaf(1, 2)), 1, false},
		"emergency: a client alone has it":                  {emergency, consumer("c", client), 1, true},
		"emergency: it verifies alone":                      {emergency, consumer("c", verifier), 1, true},
		"no rotation: nobody is asked":                      {ledger(plan.Active), consumer("c", trusts(false), leaf(0, 0)), 0, true},
		"reissuing: a Secret that nothing changes any more": {reissuing, consumer("c", leaf(0, 0), func(c *plan.Consumer) { c.Orphaned = true }), 1, false},
	} {
		g := tc.ledger.GateOf(at(time.Hour), seen(tc.consumer))
		if g.Required != tc.asked || g.Open() != tc.open || len(g.Pending) != g.Required-g.Acknowledged || g.Phase != tc.ledger.Phase() {
			t.Errorf("%s: %+v", name, g)
		}
	}
}

func TestPendingIsInOrder(t *testing.T) {
	l := ledger(plan.Active, plan.Trusted)
	no := func(c *plan.Consumer) { c.Trusts, c.Reason = false, "LeaseExpired" }
	server := func(c *plan.Consumer) { c.Kind = "APIServerCertificate" }
	g := l.GateOf(at(time.Hour), seen(consumer("b", no), consumer("yes"), consumer("a", no), consumer("z", no, server)))
	var names []string
	for _, c := range g.Pending {
		names = append(names, c.Name)
		if c.Reason != "LeaseExpired" {
			t.Errorf("the reason of %s is %q", c.Name, c.Reason)
		}
	}
	if !slices.Equal(names, []string{"z", "a", "b"}) || g.Required != 4 || g.Acknowledged != 1 {
		t.Errorf("pending are %v, %d of %d acknowledged", names, g.Acknowledged, g.Required)
	}
}

// TestWhenAMountedSecretIsInUse at one second before and at each boundary.
func TestWhenAMountedSecretIsInUse(t *testing.T) {
	distributing, reissuing := ledger(plan.Active, plan.Trusted), everyone(ledger(plan.Retiring, plan.Active))
	first := ledger(plan.Retiring, plan.Active)
	first.Wave = 100
	settled := first
	settled.Settled = 50
	for name, tc := range map[string]struct {
		ledger  plan.Ledger
		arrival time.Duration // 0: none
		seed    uint32
		changed time.Duration
		inUse   time.Duration // -1: never
	}{
		"not seen to be right by all":               {distributing, 0, 0, time.Minute, time.Minute + plan.LongestWrite + delay},
		"seen right after it was written":           {distributing, 70 * time.Second, 0, time.Minute, 70*time.Second + delay},
		"all are right much later":                  {distributing, time.Hour, 0, time.Minute, time.Minute + plan.LongestWrite + delay},
		"all are right as the longest write ends":   {distributing, 3 * time.Minute, 0, time.Minute, 3*time.Minute + delay},
		"made anew after all were right":            {distributing, time.Minute, 0, 2 * time.Minute, 2*time.Minute + delay},
		"its wave":                                  {first, time.Minute, 99, 0, time.Minute + delay},
		"a later wave, whatever it holds by chance": {first, time.Minute, 100, 0, -1},
		"an earlier wave, which has arrived":        {settled, 0, 49, 0, delay},
		"the same, and it was repaired since":       {settled, 0, 49, time.Hour, time.Hour + delay},
		"the present wave after that":               {settled, 0, 50, 0, plan.LongestWrite + delay},
		"everybody's wave":                          {reissuing, time.Minute, 1<<32 - 1, 0, time.Minute + delay},
	} {
		if tc.arrival > 0 {
			tc.ledger.Arrival = at(tc.arrival)
		}
		c := consumer("c", mounted(tc.changed), placed(tc.seed))
		open := func(after time.Duration) bool {
			g := tc.ledger.GateOf(at(after), seen(c))
			if !g.Open() && g.Pending[0].Reason != plan.ReasonPropagating {
				t.Errorf("%s: the reason is %q", name, g.Pending[0].Reason)
			}
			return g.Open()
		}
		switch {
		case tc.inUse < 0:
			if open(1000 * day) {
				t.Errorf("%s: it counts as in use", name)
			}
		case tc.inUse > 0 && open(tc.inUse-time.Second):
			t.Errorf("%s: it counts as in use a second early", name)
		case !open(tc.inUse):
			t.Errorf("%s: it does not count as in use %v after", name, tc.inUse)
		}
	}
}

// TestSettling: a gate stays shut at first where nobody is there, and where the ledger is older than what holds it.
func TestSettling(t *testing.T) {
	l := ledger(plan.Active, plan.Trusted)
	for name, tc := range map[string]struct {
		seen plan.Observation
		open time.Duration
	}{
		"nobody is there":                     {plan.Observation{}, plan.Settling},
		"somebody is":                         {seen(consumer("c")), 0},
		"restored":                            {plan.Observation{Consumers: seen(consumer("c")).Consumers, Created: at(time.Hour)}, time.Hour + plan.Settling},
		"restored, and nobody is there":       {plan.Observation{Created: at(time.Hour)}, time.Hour + plan.Settling},
		"created in the second of the ledger": {plan.Observation{Consumers: seen(consumer("c")).Consumers, Created: at(0)}, 0},
	} {
		if tc.open > 0 {
			if g := l.GateOf(at(tc.open-time.Second), tc.seen); g.Open() || !g.Settling {
				t.Errorf("%s: open a second early: %+v", name, g)
			}
		}
		if g := l.GateOf(at(tc.open), tc.seen); !g.Open() || g.Settling {
			t.Errorf("%s: shut after %v: %+v", name, tc.open, g)
		}
	}
}

// TestStoredIsTheLatest has a clock that is known within five seconds: every moment that a step stores is the latest that it may
// be, and what a gate compares with it is the earliest.
func TestStoredIsTheLatest(t *testing.T) {
	now, latest := at(time.Minute), at(time.Minute+5*time.Second)
	loose := func(consumers ...plan.Consumer) plan.Observation {
		o := seen(consumers...)
		o.Latest = latest
		return o
	}
	right, wrong := consumer("a"), consumer("a", func(c *plan.Consumer) { c.Trusts = false })
	b := plan.DesiredLedger{SpecHash: "b"}
	for name, tc := range map[string]struct {
		ledger plan.Ledger
		want   plan.DesiredLedger
		seen   plan.Observation
		step   plan.Transition
	}{
		"arrived":     {ledger(plan.Active, plan.Trusted), b, loose(consumer("a", mounted(0))), plan.Arrive},
		"switched":    {ledger(plan.Active, plan.Trusted), b, loose(right), plan.Switch},
		"rolled back": {ledger(plan.Active, plan.Trusted), plan.DesiredLedger{SpecHash: "a"}, loose(wrong), plan.Rollback},
		"withdrawn":   {ledger(plan.Retiring, plan.Active), b, loose(consumer("a", leaf(2, 2))), plan.Withdraw},
		"deleted":     {ledger(plan.Withdrawn, plan.Active), b, loose(right), plan.DeleteKey},
	} {
		next, step := tc.ledger.Step(now, tc.want, tc.seen)
		stored := next.Since
		if step == plan.Arrive {
			stored = next.Arrival
		}
		if step != tc.step || !stored.Equal(latest) {
			t.Errorf("%s: %q, stored as %v", name, step, stored)
		}
	}
	arrived := ledger(plan.Active, plan.Trusted)
	arrived.Arrival = at(0)
	if g := arrived.GateOf(now, loose(consumer("a", mounted(0), func(c *plan.Consumer) { c.Delay = time.Minute + time.Second }))); g.Open() {
		t.Error("a gate opens because it may be later")
	}
}

// TestArrive: the ledger notes when all mounted Secrets are seen to be right, and forgets it when one no longer is.
func TestArrive(t *testing.T) {
	wrong := func(c *plan.Consumer) { c.Trusts = false }
	arrived := ledger(plan.Active, plan.Trusted)
	arrived.Arrival, arrived.Settled = at(time.Minute), 3
	for name, tc := range map[string]struct {
		ledger  plan.Ledger
		seen    plan.Observation
		step    plan.Transition
		arrival time.Time
	}{
		"all are right":                              {ledger(plan.Active, plan.Trusted), seen(consumer("a", mounted(0)), consumer("b", mounted(0))), plan.Arrive, at(2 * time.Minute)},
		"one is not":                                 {ledger(plan.Active, plan.Trusted), seen(consumer("a", mounted(0)), consumer("b", mounted(0), wrong)), plan.Nothing, time.Time{}},
		"none is mounted":                            {ledger(plan.Active, plan.Trusted), seen(consumer("a", wrong)), plan.Nothing, time.Time{}},
		"they are still":                             {arrived, seen(consumer("a", mounted(0))), plan.Nothing, at(time.Minute)},
		"one no longer is":                           {arrived, seen(consumer("a", mounted(0)), consumer("b", mounted(0), wrong)), plan.Arrive, time.Time{}},
		"one was made anew, and is not yet":          {arrived, seen(consumer("a", mounted(0)), consumer("b", mounted(90*time.Second), wrong)), plan.Nothing, at(time.Minute)},
		"one changed as all were seen, and is wrong": {arrived, seen(consumer("a", mounted(time.Minute), wrong)), plan.Arrive, time.Time{}},
	} {
		now := at(2*time.Minute - 500*time.Millisecond) // rounded up
		next, step := tc.ledger.Step(now, plan.DesiredLedger{SpecHash: "b"}, tc.seen)
		if step != tc.step || !next.Arrival.Equal(tc.arrival) {
			t.Errorf("%s: %q, arrival %v", name, step, next.Arrival)
		}
		if grew := next.Revision - tc.ledger.Revision; grew != 0 && step == plan.Nothing || grew != 1 && step == plan.Arrive || next.BundleRevision != 9 || !next.Since.Equal(at(0)) {
			t.Errorf("%s: revision %d, bundle %d, since %v", name, next.Revision, next.BundleRevision, next.Since)
		}
		if step == plan.Arrive && next.Arrival.IsZero() && next.Settled != 0 {
			t.Errorf("%s: earlier waves are still settled", name)
		}
	}
}

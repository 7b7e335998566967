package plan_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"clusterpki.io/operator/internal/pki/plan"
)

// TestWaves: how many further leaves one step lets be re-issued.
func TestWaves(t *testing.T) {
	waits := func(seed uint32) plan.Consumer { return consumer(fmt.Sprint("w", seed), placed(seed), leaf(1, 1)) }
	flies := func(seed uint32) plan.Consumer { return consumer(fmt.Sprint("f", seed), placed(seed), leaf(1, 2)) }
	done := func(seed uint32) plan.Consumer { return consumer(fmt.Sprint("d", seed), placed(seed)) }
	mountedDone := consumer("m", placed(5), mounted(0))
	adrift := consumer("adrift", leaf(0, 0), func(c *plan.Consumer) { c.Orphaned = true })
	for name, tc := range map[string]struct {
		wave, settled uint64
		limit         int
		seen          plan.Observation
		step          plan.Transition
		want          uint64
	}{
		"the first":                        {0, 0, 1, seen(waits(30), waits(10), waits(20)), plan.Admit, 11},
		"two at once":                      {0, 0, 2, seen(waits(30), waits(10), waits(20)), plan.Admit, 21},
		"one is on its way":                {11, 0, 1, seen(flies(10), waits(20)), plan.Nothing, 11},
		"agents slide":                     {11, 0, 2, seen(flies(10), waits(20), waits(30)), plan.Admit, 21},
		"the next":                         {11, 0, 1, seen(done(10), waits(20), waits(30)), plan.Admit, 21},
		"the last":                         {11, 0, 1, seen(done(10), waits(20)), plan.Admit, plan.Everyone},
		"without a limit":                  {0, 0, 0, seen(waits(30), waits(10)), plan.Admit, plan.Everyone},
		"a limit above all":                {0, 0, 9, seen(waits(30), waits(10)), plan.Admit, plan.Everyone},
		"the highest seed":                 {0, 0, 1, seen(waits(1<<32-1), waits(1<<32-2)), plan.Admit, 1<<32 - 1},
		"one that came by itself counts":   {11, 0, 1, seen(flies(40), waits(20)), plan.Nothing, 11},
		"nothing changes an orphan":        {0, 0, 1, seen(adrift, waits(7), waits(9)), plan.Admit, 8},
		"a limit that was lowered":         {31, 0, 1, seen(flies(10), flies(20), flies(30), waits(40)), plan.Nothing, 31},
		"mounted Secrets are on their way": {11, 0, 5, seen(mountedDone, waits(20)), plan.Arrive, 11},
		"those of an earlier wave are not": {11, 6, 5, seen(mountedDone, waits(20)), plan.Admit, plan.Everyone},
		"unless one was repaired since":    {11, 6, 5, seen(consumer("m", placed(5), mounted(delay)), waits(20)), plan.Arrive, 11},
	} {
		l := ledger(plan.Retiring, plan.Active)
		l.Wave, l.Settled = tc.wave, tc.settled
		next, step := l.Step(at(delay), plan.DesiredLedger{SpecHash: "b", MaxUnavailable: tc.limit}, tc.seen)
		if step != tc.step || next.Wave != tc.want {
			t.Errorf("%s: %q, wave %d", name, step, next.Wave)
		}
		if step == plan.Admit && (next.Settled != tc.wave || !next.Arrival.IsZero() || next.Revision != l.Revision+1 || next.BundleRevision != l.BundleRevision) {
			t.Errorf("%s: %+v", name, next)
		}
	}
}

func TestAdmits(t *testing.T) {
	l := ledger(plan.Retiring, plan.Active)
	l.Wave = 10
	if !l.Admits(9) || l.Admits(10) {
		t.Error("a wave admits those of a lower seed")
	}
	if !everyone(l).Admits(1<<32 - 1) {
		t.Error("everyone's wave leaves one out")
	}
	for _, l := range []plan.Ledger{ledger(plan.Active), ledger(plan.Active, plan.Trusted), ledger(plan.Withdrawn, plan.Active)} {
		if !l.Admits(1<<32 - 1) {
			t.Errorf("%s: a leaf of a key that is not trusted any more waits for its turn", l.Phase())
		}
	}
}

// TestMountedWavesEnd: whatever the seeds and the limit, waves of mounted Secrets go through all, one after the other, and
// never more than the limit is on its way.
func TestMountedWavesEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 4).Draw(t, "limit")
		var cs []plan.Consumer
		for i, seed := range rapid.SliceOfNDistinct(rapid.Uint32(), 1, 9, rapid.ID[uint32]).Draw(t, "seeds") {
			cs = append(cs, consumer(fmt.Sprint(i), placed(seed), leaf(1, 1), mounted(0)))
			if rapid.Bool().Draw(t, "agent") {
				cs[i].Mounted = false
			}
		}
		l, now, want := ledger(plan.Retiring, plan.Active), at(0), plan.DesiredLedger{SpecHash: "b", MaxUnavailable: limit, WithdrawalApproved: true}
		for range 2000 {
			for i := range cs {
				c := &cs[i]
				switch {
				case l.Admits(c.Seed) && c.Issued == 1:
					c.Issued, c.Changed = 2, now
					if c.Mounted {
						c.Leaf = 2
					}
				case c.Issued == 2 && !c.Mounted:
					c.Leaf = 2
				}
			}
			flying := len(slices.DeleteFunc(l.GateOf(now, seen(cs...)).Pending, func(c plan.Consumer) bool { return c.Issued == 1 }))
			if flying > limit {
				t.Fatalf("%d are on their way at once, more than %d", flying, limit)
			}
			next, step := l.Step(now, want, seen(cs...))
			if step == plan.Withdraw {
				return
			}
			if next.Wave < l.Wave {
				t.Fatalf("wave %d follows on %d", next.Wave, l.Wave)
			}
			l, now = next, now.Add(time.Minute)
		}
		t.Fatalf("it never ends: %+v", l)
	})
}

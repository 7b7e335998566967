package plan_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

func TestRenewAt(t *testing.T) {
	begin := whole.Add(-pki.ClockSkew)
	for name, tc := range map[string]struct {
		life, before time.Duration
		seed         uint32
		want         time.Duration
	}{
		"a third before the end":   {90 * time.Hour, 30 * time.Hour, 0, 60 * time.Hour},
		"the next seed":            {100 * time.Hour, 0, 1, 100*time.Hour - 180*time.Second},
		"the largest spread":       {100 * time.Hour, 0, 99, 100*time.Hour - 99*180*time.Second},
		"seeds repeat":             {100 * time.Hour, 0, 199, 100*time.Hour - 99*180*time.Second},
		"not in the first tenth":   {100 * time.Hour, 95 * time.Hour, 0, 10 * time.Hour},
		"exactly a tenth":          {100 * time.Hour, 90 * time.Hour, 0, 10 * time.Hour},
		"the spread stops at it":   {100 * time.Hour, 90 * time.Hour, 99, 10 * time.Hour},
		"before the end, always":   {100 * time.Hour, -time.Hour, 0, 100*time.Hour - time.Second},
		"a whole second":           {101 * time.Second, 95 * time.Second, 0, 10 * time.Second},
		"a life within clock skew": {-time.Minute, time.Second, 0, -pki.ClockSkew + 239*time.Second},
	} {
		if got := plan.RenewAt(begin, whole.Add(tc.life), tc.before, tc.seed); !got.Equal(whole.Add(tc.want)) && tc.before != 0 {
			t.Errorf("%s: %v after issuing, want %v", name, got.Sub(whole), tc.want)
		} else if tc.before == 0 && (got.After(whole.Add(tc.want)) || got.Before(whole.Add(tc.want-2*time.Second))) {
			t.Errorf("%s: %v after issuing, want about %v", name, got.Sub(whole), tc.want)
		}
	}
}

func TestRenewAtIsWithinTheLife(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		begin := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "begin"), 0)
		seconds := rapid.Int64Range(int64(pki.MinValidity/time.Second), int64(pki.MaxValidity/time.Second))
		life := time.Duration(seconds.Draw(t, "life")) * time.Second
		before := time.Duration(rapid.Int64().Draw(t, "before")) / 2
		if rapid.Bool().Draw(t, "reasonable") {
			before = time.Duration(rapid.Int64Range(0, int64(life)).Draw(t, "before the end"))
		}
		seed, issued := rapid.Uint32().Draw(t, "seed"), begin.Add(pki.ClockSkew)
		end := issued.Add(life)
		got := plan.RenewAt(begin, end, before, seed)
		if got != plan.RenewAt(begin, end, before, seed) || !got.Equal(plan.RenewAt(begin.UTC(), end.UTC(), before, seed)) {
			t.Fatal("RenewAt depends on more than its arguments")
		}
		if got.Nanosecond() != 0 {
			t.Fatalf("%v is no whole second", got)
		}
		if !got.Before(end) || got.Before(issued.Add(life/10).Truncate(time.Second)) {
			t.Fatalf("%v is outside of %v to %v", got, issued.Add(life/10), end)
		}
		latest := plan.RenewAt(begin, end, before, 0)
		if got.After(latest) || latest.Sub(got) > latest.Sub(issued)/20+time.Second {
			t.Fatalf("the spread takes %v of %v", latest.Sub(got), latest.Sub(issued))
		}
	})
}

// Certificates that were issued in one moment must not all be renewed in one moment.
func TestSeedsSpread(t *testing.T) {
	begin, end := whole.Add(-pki.ClockSkew), whole.Add(365*day)
	perDay, moments := map[time.Time]int{}, map[time.Time]int{}
	for i := range 1000 {
		at := plan.RenewAt(begin, end, 365*day/3, plan.Seed(fmt.Sprintf("2f1c8f4e-0000-4000-8000-%012d", i)))
		perDay[at.Truncate(day)]++
		moments[at]++
	}
	if len(moments) < 90 || len(perDay) < 12 {
		t.Errorf("1000 renewals fall on %d moments of %d days", len(moments), len(perDay))
	}
	for at, n := range moments {
		if n > 50 {
			t.Errorf("%d renewals at %v", n, at)
		}
	}
}

// A seed that changed would move every renewal on the day that the operator is updated.
func TestSeedsNeverChange(t *testing.T) {
	for uid, want := range map[string]uint32{"": 2166136261, "2f1c8f4e-9d1b-4c55-8a53-3c6fdb0e2a10": 683805795} {
		if got := plan.Seed(uid); got != want {
			t.Errorf("Seed(%q) = %d, want %d", uid, got, want)
		}
	}
}

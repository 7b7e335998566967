package plan_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

// live does what a controller does from start until nothing changes by itself any more: it wakes up when it was told
// to, decides and issues. It returns the moments of issuing, and when and how it ended.
func live(t testing.TB, d plan.Desired, limit int) (issued []time.Time, last plan.Decision) {
	t.Helper()
	var o *plan.Observed
	for now := start; len(issued) <= limit; {
		last = plan.Decide(now, d, o)
		if last.Action == plan.Issue {
			o = issue(t, now, d)
			issued = append(issued, now)
			if last = plan.Decide(now, d, o); last.Action != plan.Keep {
				t.Fatalf("what was just issued at %v is at once %+v", now, last)
			}
		}
		if last.NextCheck.IsZero() {
			break
		}
		if !last.NextCheck.After(now) {
			t.Fatalf("at %v the next look is at %v", now, last.NextCheck)
		}
		now = last.NextCheck
	}
	return issued, last
}

func TestALeafsWholeLife(t *testing.T) {
	for name, tc := range map[string]struct {
		ca, leaf time.Duration
		mod      func(*plan.Desired)
		want     int
	}{
		"every 20 days, the last cut short":         {365 * day, 30 * day, seed(0), 18},
		"ten years of a year each":                  {3650 * day, 365 * day, seed(0), 15},
		"ten years of ninety days":                  {3650 * day, 90 * day, seed(0), 61},
		"asked for more than the CA has":            {365 * day, 9000 * day, seed(0), 1},
		"asked for exactly what the CA has":         {365 * day, 365 * day, seed(0), 1},
		"ends a second before the CA":               {365 * day, 365*day - time.Second, seed(0), 2},
		"renewed as early as can be":                {365 * day, 30 * day, renewBefore(30*day - time.Hour), 113},
		"renewBefore longer than the life":          {365 * day, 30 * day, renewBefore(300 * day), 113},
		"cut shorter than renewBefore":              {20 * day, 9000 * day, renewBefore(1000 * day), 1},
		"a renewal that may be sooner, but is none": {365 * day, 9000 * day, seed(99), 1},
		"too little left of the CA for another":     {time.Hour, 10 * time.Minute, seed(0), 8},
	} {
		d := kubelet(clusterCA(t, tc.ca), tc.mod)
		d.Spec.Validity = tc.leaf
		issued, last := live(t, d, 1000)
		if len(issued) != tc.want {
			t.Errorf("%s: issued %d times, want %d", name, len(issued), tc.want)
		}
		if last.Action != plan.Wait || last.Reason != plan.Expired {
			t.Errorf("%s: it ends with %+v, want to wait for another CA", name, last)
		}
	}
}

func TestANewCAReissuesOnce(t *testing.T) {
	old, young := clusterCA(t, 365*day), clusterCA(t, 3650*day)
	d := kubelet(old, func(d *plan.Desired) { d.Spec.Validity = 9000 * day }) // cut short by its CA
	o := issue(t, start, d)
	if got := plan.Decide(start.Add(300*day), d, o); got.Action != plan.Keep || !got.NextCheck.Equal(old.Cert.NotAfter) {
		t.Errorf("under the old CA: %+v", got)
	}
	d.Issuer = young
	if got := plan.Decide(start.Add(300*day), d, o); got.Action != plan.Issue || got.Reason != plan.IssuerChanged {
		t.Errorf("when another CA signs: %+v", got)
	}
	o = issue(t, start.Add(300*day), d)
	if got := plan.Decide(start.Add(300*day), d, o); got.Action != plan.Keep || !o.Leaf.Cert.NotAfter.Equal(young.Cert.NotAfter) {
		t.Errorf("after that: %+v, valid to %v", got, o.Leaf.Cert.NotAfter)
	}
}

func TestCapped(t *testing.T) {
	ca := clusterCA(t, 30*day)
	for validity, want := range map[time.Duration]bool{30*day - time.Second: false, 30 * day: true, 31 * day: true} {
		d := kubelet(ca, func(d *plan.Desired) { d.Spec.Validity = validity })
		cert := issue(t, start, d).Leaf.Cert
		if got := plan.Capped(cert, ca); got != want || plan.RenewalTime(d, cert).IsZero() != want {
			t.Errorf("asked for %v under a CA of 30 days: capped %v, renewal %v", validity, got, plan.RenewalTime(d, cert))
		}
	}
}

// wish draws anything that the API admits, and some of what it doesn't.
func wish(t *rapid.T, tb testing.TB) plan.Desired {
	seconds := func(name string, least, most time.Duration) time.Duration {
		return time.Duration(rapid.Int64Range(int64(least), int64(most)).Draw(t, name))
	}
	longest := rapid.SampledFrom([]time.Duration{time.Hour, 30 * day, 3650 * day, pki.MaxValidity})
	d := kubelet(clusterCA(tb, seconds("CA", pki.MinValidity, longest.Draw(t, "longest CA"))))
	d.Spec.Validity = seconds("leaf", pki.MinValidity, longest.Draw(t, "longest leaf"))
	if rapid.Bool().Draw(t, "explicit renewBefore") {
		d.RenewBefore = seconds("renewBefore", -day, d.Spec.Validity+day)
	}
	d.Seed = rapid.Uint32().Draw(t, "seed")
	return d
}

// The wake-up and the decision must agree: up to a second before NextCheck the answer is the same, and at
// NextCheck it is another. Otherwise a controller would spin, or sleep through a renewal.
func TestNextCheckIsWhenTheAnswerChanges(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := wish(rt, t)
		o := issue(t, start, d)
		if rapid.Bool().Draw(rt, "issuer gone") {
			noIssuer(&d)
		}
		life := o.Leaf.Cert.NotAfter.Sub(start) + day
		now := start.Add(time.Duration(rapid.Int64Range(0, int64(life)).Draw(rt, "now")))
		got := plan.Decide(now, d, o)
		if got != plan.Decide(now, d, o) {
			rt.Fatal("the same question has two answers")
		}
		if got.Action == plan.Issue && !got.NextCheck.IsZero() || got.Action == plan.Keep && got.NextCheck.IsZero() {
			rt.Fatalf("%+v", got)
		}
		if got.NextCheck.IsZero() {
			return
		}
		if !got.NextCheck.After(now) || got.NextCheck.Nanosecond() != 0 || got.NextCheck.After(o.Leaf.Cert.NotAfter) {
			rt.Fatalf("at %v the next look is at %v", now, got.NextCheck)
		}
		if before := got.NextCheck.Add(-time.Second); before.After(now) && plan.Decide(before, d, o) != got {
			rt.Fatalf("%+v becomes %+v a second early", got, plan.Decide(before, d, o))
		}
		then := plan.Decide(got.NextCheck, d, o)
		if then.Action == plan.Keep || then.NextCheck.Equal(got.NextCheck) || then.Reason == got.Reason {
			rt.Fatalf("%+v is still %+v at its NextCheck", got, then)
		}
	})
}

// However it is asked for, a leaf is issued no more often than ten times in its life.
func TestRenewalNeverLoops(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := wish(rt, t)
		issued, _ := live(t, d, 25)
		for i, at := range issued[1:] {
			if gap := at.Sub(issued[i]); gap < min(d.Spec.Validity, d.Issuer.Cert.NotAfter.Sub(issued[i]))/10-2*time.Second {
				rt.Fatalf("issued again after %v of %v", gap, d.Spec.Validity)
			}
		}
	})
}

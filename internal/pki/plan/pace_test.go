package plan_test

import (
	"errors"
	"testing"
	"time"

	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

// TestRepairsArePaced at each boundary: the first one comes at once, those that follow ever more slowly, and after a quiet hour all is forgotten.
func TestRepairsArePaced(t *testing.T) {
	const s = time.Second
	issue := plan.Decision{Action: plan.Issue, Reason: plan.KeyMismatch, Message: "why"}
	for name, tc := range map[string]struct {
		repairs int
		after   time.Duration // since the last issue
		repair  bool
		due     time.Duration // since the last issue; 0: now
	}{
		"the first":                       {0, 0, true, 0},
		"the second, a second early":      {1, 9 * s, true, 10 * s},
		"the second":                      {1, 10 * s, true, 0},
		"the third, a second early":       {2, 19 * s, true, 20 * s},
		"the third":                       {2, 20 * s, true, 0},
		"the sixth, a second early":       {5, 159 * s, true, 160 * s},
		"the seventh, a second early":     {6, 299 * s, true, 300 * s},
		"the seventh":                     {6, 300 * s, true, 0},
		"the hundredth, a second early":   {99, 299 * s, true, 300 * s},
		"the millionth":                   {1e6, 300 * s, true, 0},
		"what is no repair":               {99, 0, false, 0},
		"the clock has gone back":         {99, -s, true, 0},
		"after a quiet hour":              {99, time.Hour, true, 0},
		"the second, a fraction too soon": {1, 10*s - 1, true, 10 * s},
	} {
		p := plan.Pace{Repairs: tc.repairs, At: whole}
		got := plan.Paced(whole.Add(tc.after), issue, p, tc.repair)
		want := issue
		if tc.due > 0 {
			want = plan.Decision{Action: plan.Wait, Reason: plan.RepairDelayed, NextCheck: whole.Add(tc.due), Message: got.Message}
		}
		if got != want || got.Message == "" {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	// A renewal that somebody asks for is no repair, and paced all the same: what is there does meanwhile.
	asked := plan.Decision{Action: plan.Issue, Reason: plan.RenewalTriggered, Message: "why"}
	if got, want := plan.Paced(whole.Add(9*s), asked, plan.Pace{Repairs: 1, At: whole}, false),
		(plan.Decision{Action: plan.Keep, Reason: plan.Issued, NextCheck: whole.Add(10 * s)}); got != want {
		t.Errorf("asked for too soon: %+v", got)
	}
	if got := plan.Paced(whole.Add(10*s), asked, plan.Pace{Repairs: 1, At: whole}, false); got != asked || !asked.Repairs(whole, plan.Desired{}, nil) {
		t.Errorf("asked for: %+v", got)
	}
	keep := plan.Decision{Action: plan.Keep, Reason: plan.Issued}
	if got := plan.Paced(whole, keep, plan.Pace{Repairs: 9, At: whole}, true); got != keep {
		t.Errorf("what stays is put off: %+v", got)
	}
}

// TestHowOften counts what somebody brings who writes a Secret all the time: docs/security.md has the figures.
func TestHowOften(t *testing.T) {
	var p plan.Pace
	var hours [3]int
	d := plan.Decision{Action: plan.Issue, Reason: plan.SecretMissing}
	for at := time.Duration(0); at < 3*time.Hour; at += time.Second {
		now, repair := start.Add(at), p.Recent(start.Add(at))
		if plan.Paced(now, d, p, repair).Action == plan.Issue {
			p = p.After(now, repair)
			hours[at/time.Hour]++
		}
	}
	if hours != [3]int{17, 12, 12} {
		t.Errorf("there were %d", hours)
	}
}

// TestWhatIsARepair: what somebody puts in the place of a certificate brings any reason, and the one that was issued last would still do. What the
// owner of the spec, the host, the CA or the clock brings is no repair.
func TestWhatIsARepair(t *testing.T) {
	ca, other := clusterCA(t, 3650*day), clusterCA(t, 3650*day)
	d := kubelet(ca)
	last := issue(t, start, d)
	longer := kubelet(ca, func(d *plan.Desired) { d.Spec.Validity *= 2 })
	onHost := kubelet(ca, func(d *plan.Desired) { d.KeyOnHost, d.HostKey = true, clusterCA(t, day).Key.Public() })
	earlier := issue(t, start.Add(-time.Hour), kubelet(other))
	forged := issue(t, start, kubelet(ca, func(d *plan.Desired) { d.Spec.Subject.CommonName = "system:node:k8s-node2" }))
	forged.SpecHash = d.Spec.Hash()
	unrecorded := *last
	unrecorded.Unrecorded = true
	triggered := d
	triggered.RenewalTrigger = "now"
	for name, tc := range map[string]struct {
		d      plan.Desired
		o      *plan.Observed // what stands there
		after  time.Duration
		reason plan.Reason
		repair bool
	}{
		"deleted":                       {d, nil, 0, plan.SecretMissing, true},
		"unreadable":                    {d, &plan.Observed{Err: errors.New("no certificate")}, 0, plan.SecretInvalid, true},
		"another key":                   {d, &plan.Observed{Err: pki.ErrKeyMismatch}, 0, plan.KeyMismatch, true},
		"of another spec, by its claim": {d, issue(t, start, longer), 0, plan.RequestChanged, true},
		"of another spec":               {d, forged, 0, plan.Tampered, true},
		"of another CA":                 {d, earlier, 0, plan.IssuerChanged, true},
		"an earlier one":                {d, &unrecorded, 0, plan.NotRecorded, true},
		"one that has expired":          {d, issue(t, start.Add(-29*day), d), day, plan.Expired, true},
		"the spec was edited":           {longer, last, 0, plan.RequestChanged, false},
		"a person asks for another one": {triggered, last, 0, plan.RenewalTriggered, false},
		"the CA was rotated":            {kubelet(other), last, 0, plan.IssuerChanged, false},
		"the host asks for another key": {onHost, last, 0, plan.KeyChanged, false},
		"it is to be renewed":           {d, last, 20 * day, plan.RenewalDue, false},
		"it has expired":                {d, last, 30 * day, plan.Expired, false},
	} {
		now := whole.Add(tc.after)
		if got := plan.Decide(now, tc.d, tc.o); got.Reason != tc.reason || got.Action != plan.Issue {
			t.Errorf("%s: %+v", name, got)
		}
		if got := plan.WouldDo(now, tc.d, last); got != tc.repair {
			t.Errorf("%s: a repair is %t", name, got)
		}
		if plan.WouldDo(now, tc.d, nil) {
			t.Errorf("%s: it is a repair of what was never issued", name)
		}
	}
}

package consumers_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/consumers"
)

// TestWhoLacksADeliveryKey: the next key signs once each agent says, signed, that it has it, after it was named and not longer ago than any other
// report counts. A host that was set back to a disk of before may come back without it.
func TestWhoLacksADeliveryKey(t *testing.T) {
	const length = 10 * time.Minute
	delivery := v1alpha1.DeliverySpec{Mode: v1alpha1.DeliveryAgent, LeaseDuration: metav1.Duration{Duration: length}}
	of := func(r consumers.Reported) consumers.Agent {
		return consumers.Agent{Host: "node1", Object: "NodeCredential node1", Delivery: delivery, Reported: r}
	}
	agent := func(ago time.Duration, proof ack.Proof, by string, keys ...string) consumers.Agent {
		r := lease(by, ago, ack.Report{DeliveryKeys: keys})
		r.Proof = proof
		return of(r)
	}
	says := func(ago time.Duration) consumers.Agent { return agent(ago, ack.Signed, "node1", "first", "next") }
	restored := says(0)
	restored.Lease.CreationTimestamp = metav1.NewTime(now.Add(time.Second))
	silent := says(0)
	silent.Lease.Spec.RenewTime, silent.Report.Time = &metav1.MicroTime{Time: now}, now.Add(-48*time.Hour)
	silent.Lease.CreationTimestamp = metav1.NewTime(now.Add(-72 * time.Hour))
	longAgo := now.Add(-time.Hour)
	for name, c := range map[string]struct {
		agent consumers.Agent
		named time.Time
		why   string // "": it may sign
	}{
		"it has it": {says(0), longAgo, ""},
		"it said so a second before its time ends":     {says(length - time.Second), longAgo, ""},
		"it said so until its time ended":              {says(length), longAgo, "has reported nothing since 2026-03-14T14:59:26Z"},
		"somebody renews what it said long ago":        {silent, longAgo.Add(-72 * time.Hour), "has reported nothing since 2026-03-12T15:09:26Z"},
		"it says so of a time to come":                 {says(-2 * consumers.MaxAhead), longAgo, "yet to come"},
		"it said so before its Lease was restored":     {restored, longAgo, "has reported nothing since"},
		"it was named as long before as clocks differ": {says(consumers.MaxAhead), now, ""},
		"it was named after the report":                {says(consumers.MaxAhead + time.Second), now, "nothing since the key was named"},
		"it has the first":                             {agent(0, ack.Signed, "node1", "first"), longAgo, "has not got the key yet"},
		"it says so unsigned":                          {agent(0, ack.Unsigned, "node1", "next"), longAgo, "installed nothing yet"},
		"somebody says so":                             {agent(0, ack.Forged, "node1", "next"), longAgo, "not signed"},
		"another host says so":                         {agent(0, ack.Signed, "node2", "next"), longAgo, `host "node2" reports`},
		"nobody says anything":                         {of(consumers.Reported{}), longAgo, "installed nothing yet"},
	} {
		agents, key := []consumers.Agent{says(0), c.agent}, consumers.NextKey{ID: "next", Named: c.named}
		lacking := consumers.WithoutKey(agents, key, now)
		if consumers.EachHasKey(agents, key, now) != (c.why == "") || (len(lacking) == 0) != (c.why == "") {
			t.Errorf("%s: %v lack it", name, lacking)
		}
		if c.why != "" && (len(lacking) != 1 || !strings.Contains(lacking[0].String(), c.why) || !strings.Contains(lacking[0].String(), `host "node1"`)) {
			t.Errorf("%s: %v, and not %q", name, lacking, c.why)
		}
	}
	if consumers.EachHasKey(nil, consumers.NextKey{ID: "next", Named: longAgo}, now) {
		t.Error("it may sign where nobody is: whoever comes back may lack it")
	}
}

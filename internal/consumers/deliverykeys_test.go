package consumers_test

import (
	"strings"
	"testing"
	"time"

	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/consumers"
)

// TestWhoLacksADeliveryKey: the next key signs once each agent has said, signed, that it has it; who has said so and is away has it still.
func TestWhoLacksADeliveryKey(t *testing.T) {
	agent := func(since time.Duration, proof ack.Proof, by string, keys ...string) consumers.Agent {
		r := lease(by, since, ack.Report{DeliveryKeys: keys})
		r.Proof = proof
		return consumers.Agent{Host: "node1", Object: "NodeCredential node1", Reported: r}
	}
	has := agent(0, ack.Signed, "node1", "first", "next")
	for name, c := range map[string]struct {
		agents []consumers.Agent
		why    string // "": it may sign
	}{
		"it has it":             {[]consumers.Agent{has}, ""},
		"it had it and is away": {[]consumers.Agent{has, agent(48*time.Hour, ack.Signed, "node1", "next")}, ""},
		"it has the first":      {[]consumers.Agent{has, agent(0, ack.Signed, "node1", "first")}, "has not got the key yet"},
		"it says so unsigned":   {[]consumers.Agent{has, agent(0, ack.Unsigned, "node1", "next")}, "installed nothing yet"},
		"somebody says so":      {[]consumers.Agent{has, agent(0, ack.Forged, "node1", "next")}, "not signed"},
		"another host says so":  {[]consumers.Agent{has, agent(0, ack.Signed, "node2", "next")}, `host "node2" reports`},
		"nobody says anything":  {[]consumers.Agent{has, {Host: "node1", Object: "NodeCredential node1"}}, "installed nothing yet"},
	} {
		lacking := consumers.WithoutKey(c.agents, "next")
		if consumers.EachHasKey(c.agents, "next") != (c.why == "") || (len(lacking) == 0) != (c.why == "") {
			t.Errorf("%s: %v lack it", name, lacking)
		}
		if c.why != "" && (len(lacking) != 1 || !strings.Contains(lacking[0].String(), c.why) || !strings.Contains(lacking[0].String(), `host "node1"`)) {
			t.Errorf("%s: %v, and not %q", name, lacking, c.why)
		}
	}
	if consumers.EachHasKey(nil, "next") {
		t.Error("it may sign where nobody is: whoever comes back may lack it")
	}
}

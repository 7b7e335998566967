package visits

import (
	"testing"
	"time"
)

// TestProgress is stuck only where reconciliations are under way and none ends.
func TestProgress(t *testing.T) {
	var p Progress
	at := func(d time.Duration) time.Time { return time.Unix(0, 0).Add(d) }
	wants := func(d time.Duration, stuck bool) {
		t.Helper()
		if err := p.stuck(at(d)); (err != nil) != stuck {
			t.Errorf("after %s: %v", d, err)
		}
	}
	wants(time.Hour, false) // nothing to do
	p.begin(at(time.Hour))
	wants(time.Hour+stuckAfter, false)
	wants(time.Hour+stuckAfter+1, true)
	p.begin(at(time.Hour + stuckAfter))
	wants(time.Hour+stuckAfter+1, true) // another one that begins is no progress
	p.end(at(2 * time.Hour))
	wants(2*time.Hour+stuckAfter, false)
	wants(2*time.Hour+stuckAfter+1, true) // the other one
	p.end(at(3 * time.Hour))
	wants(4*time.Hour, false)
}

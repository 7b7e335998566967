package consumers_test

import (
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/consumers"
)

// TestLeases: what the agent of a host reports counts until its Lease ends, and all that is said of a Lease agrees.
func TestLeases(t *testing.T) {
	const length = 900 * time.Second
	changed := func(mod func(*coordinationv1.Lease)) *coordinationv1.Lease {
		l := lease("node1", 0, ack.Report{})
		mod(l)
		return l
	}
	never := time.Time{}
	for name, tc := range map[string]struct {
		lease   *coordinationv1.Lease
		state   consumers.LeaseState
		renewed time.Time
		turns   time.Time
	}{
		"renewed now":                   {lease("node1", 0, ack.Report{}), consumers.LeaseValid, now, now.Add(length + time.Second)},
		"a second before its end":       {lease("node1", length-time.Second, ack.Report{}), consumers.LeaseValid, now.Add(time.Second - length), now.Add(2 * time.Second)},
		"at its end":                    {lease("node1", length, ack.Report{}), consumers.LeaseNotRenewed, now.Add(-length), never},
		"another host's":                {lease("node2", 0, ack.Report{}), consumers.LeaseOfAnother, never, never},
		"another host's, long ago":      {lease("node2", time.Hour, ack.Report{}), consumers.LeaseOfAnother, never, never},
		"nobody's":                      {changed(func(l *coordinationv1.Lease) { l.Spec.HolderIdentity = nil }), consumers.LeaseOfAnother, never, never},
		"never renewed":                 {changed(func(l *coordinationv1.Lease) { l.Spec.RenewTime = nil }), consumers.LeaseUnused, never, never},
		"of no length":                  {changed(func(l *coordinationv1.Lease) { l.Spec.LeaseDurationSeconds = nil }), consumers.LeaseUnused, never, never},
		"none":                          {nil, consumers.LeaseAbsent, never, never},
		"a clock that is ahead by less": {lease("node1", -length, ack.Report{}), consumers.LeaseValid, now.Add(length), now.Add(2*length + time.Second)},
		"a clock that is ahead by more": {lease("node1", -length-time.Second, ack.Report{}), consumers.LeaseAhead, never, now.Add(time.Second)},
		"restored, and not renewed since": {changed(func(l *coordinationv1.Lease) { l.CreationTimestamp = metav1.NewTime(now.Add(time.Second)) }),
			consumers.LeaseRestored, never, never},
		"created in the second of renewal": {changed(func(l *coordinationv1.Lease) { l.CreationTimestamp = metav1.NewTime(now) }),
			consumers.LeaseValid, now, now.Add(length + time.Second)},
	} {
		if got := consumers.LeaseStateOf(tc.lease, "node1", now); got != tc.state {
			t.Errorf("%s: state %v", name, got)
		}
		if got := consumers.Alive(tc.lease, "node1", now); got != (tc.state == consumers.LeaseValid) {
			t.Errorf("%s: alive is %v", name, got)
		}
		if got := consumers.Renewed(tc.lease, "node1", now); !got.Equal(tc.renewed) {
			t.Errorf("%s: renewed at %s", name, got)
		}
		got := consumers.Turns(tc.lease, "node1", now)
		if !got.Equal(tc.turns) {
			t.Errorf("%s: turns at %s", name, got)
		}
		if !got.IsZero() && consumers.Alive(tc.lease, "node1", got) == consumers.Alive(tc.lease, "node1", now) {
			t.Errorf("%s: nothing turns at %s", name, got)
		}
	}
}

package consumers_test

import (
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/consumers"
)

// TestLeases: what the agent of a host reports counts until its Lease ends, and all that is said of a Lease agrees.
func TestLeases(t *testing.T) {
	const length = 900 * time.Second
	changed := func(mod func(*consumers.Reported)) consumers.Reported {
		r := lease("node1", 0, ack.Report{})
		mod(&r)
		return r
	}
	unsigned := func(mod func(*coordinationv1.Lease)) consumers.Reported {
		return changed(func(r *consumers.Reported) {
			r.Report, r.Proof = ack.Report{Problem: "disk full"}, ack.Unsigned
			mod(r.Lease)
		})
	}
	never := time.Time{}
	for name, tc := range map[string]struct {
		reported       consumers.Reported
		state          consumers.LeaseState
		renewed, turns time.Time
	}{
		"signed now":               {lease("node1", 0, ack.Report{}), consumers.LeaseValid, now, now.Add(length + time.Second)},
		"a second before its end":  {lease("node1", length-time.Second, ack.Report{}), consumers.LeaseValid, now.Add(time.Second - length), now.Add(2 * time.Second)},
		"at its end":               {lease("node1", length, ack.Report{}), consumers.LeaseNotRenewed, now.Add(-length), never},
		"another host's":           {lease("node2", 0, ack.Report{}), consumers.LeaseOfAnother, never, never},
		"another host's, long ago": {lease("node2", time.Hour, ack.Report{}), consumers.LeaseOfAnother, never, never},
		"none":                     {consumers.Reported{}, consumers.LeaseAbsent, never, never},
		"as far ahead as clocks are": {lease("node1", -consumers.MaxAhead, ack.Report{}), consumers.LeaseValid, now.Add(consumers.MaxAhead),
			now.Add(consumers.MaxAhead + length + time.Second)},
		"a second further": {lease("node1", -consumers.MaxAhead-time.Second, ack.Report{}), consumers.LeaseAhead, never, now.Add(time.Second)},
		"forged":           {changed(func(r *consumers.Reported) { r.Proof = ack.Forged }), consumers.LeaseForged, never, never},
		"somebody renews what was signed long ago": {changed(func(r *consumers.Reported) { r.Report.Time = now.Add(-length) }), consumers.LeaseNotRenewed, now.Add(-length), never},
		"somebody makes it longer": {changed(func(r *consumers.Reported) {
			r.Report.Time, r.Lease.Spec.LeaseDurationSeconds = now.Add(-length), new(int32(1<<30))
		}), consumers.LeaseNotRenewed, now.Add(-length), never},
		"somebody names another host":  {changed(func(r *consumers.Reported) { r.Lease.Spec.HolderIdentity = nil }), consumers.LeaseValid, now, now.Add(length + time.Second)},
		"somebody takes the time away": {changed(func(r *consumers.Reported) { r.Lease.Spec.RenewTime = nil }), consumers.LeaseValid, now, now.Add(length + time.Second)},
		"restored, and not renewed since": {changed(func(r *consumers.Reported) { r.Lease.CreationTimestamp = metav1.NewTime(now.Add(time.Second)) }),
			consumers.LeaseRestored, never, never},
		"created in the second of renewal": {changed(func(r *consumers.Reported) { r.Lease.CreationTimestamp = metav1.NewTime(now) }),
			consumers.LeaseValid, now, now.Add(length + time.Second)},
		"before there was a key":      {unsigned(func(*coordinationv1.Lease) {}), consumers.LeaseValid, now, now.Add(length + time.Second)},
		"nobody's":                    {unsigned(func(l *coordinationv1.Lease) { l.Spec.HolderIdentity = nil }), consumers.LeaseOfAnother, never, never},
		"never renewed":               {unsigned(func(l *coordinationv1.Lease) { l.Spec.RenewTime = nil }), consumers.LeaseUnused, never, never},
		"renewed long ago, by nobody": {unsigned(func(l *coordinationv1.Lease) { l.Spec.RenewTime = &metav1.MicroTime{Time: now.Add(-length)} }), consumers.LeaseNotRenewed, now.Add(-length), never},
	} {
		d := v1alpha1.DeliverySpec{Mode: v1alpha1.DeliveryAgent, LeaseDuration: metav1.Duration{Duration: length}}
		if got := consumers.LeaseStateOf(tc.reported, d, "node1", now); got != tc.state {
			t.Errorf("%s: state %v", name, got)
		}
		if got := consumers.Alive(tc.reported, d, "node1", now); got != (tc.state == consumers.LeaseValid) {
			t.Errorf("%s: alive is %v", name, got)
		}
		if got := consumers.Renewed(tc.reported, d, "node1", now); !got.Equal(tc.renewed) {
			t.Errorf("%s: renewed at %s", name, got)
		}
		got := consumers.Turns(tc.reported, d, "node1", now)
		if !got.Equal(tc.turns) {
			t.Errorf("%s: turns at %s", name, got)
		}
		if !got.IsZero() && consumers.Alive(tc.reported, d, "node1", got) == consumers.Alive(tc.reported, d, "node1", now) {
			t.Errorf("%s: nothing turns at %s", name, got)
		}
	}
}

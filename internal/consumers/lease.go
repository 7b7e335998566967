package consumers

import (
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

// LeaseKey is the Lease of a name that was made for the object of a UID.
type LeaseKey struct {
	Owner types.UID
	Name  string
}

// LeaseState says whether what the agent of a host has reported in its Lease counts, and if not, why.
type LeaseState int

// The states of a Lease. Only of LeaseValid anything counts.
const (
	LeaseValid      LeaseState = iota
	LeaseAbsent                // there is none
	LeaseUnused                // no agent has renewed it yet, or it has no length
	LeaseRestored              // it was renewed before it was created: a restore brought it back, and nobody has renewed it since
	LeaseOfAnother             // the agent of another host holds it
	LeaseAhead                 // it was renewed by a clock that is wrong: further ahead than the Lease is long
	LeaseNotRenewed            // its time is over
)

// LeaseStateOf is that of the Lease of a host's agent. It is the one place that says what counts.
func LeaseStateOf(l *coordinationv1.Lease, host string, now time.Time) LeaseState {
	switch {
	case l == nil:
		return LeaseAbsent
	case l.Spec.RenewTime == nil || l.Spec.LeaseDurationSeconds == nil:
		return LeaseUnused
	case l.Spec.RenewTime.Time.Before(l.CreationTimestamp.Time):
		return LeaseRestored
	case ptr.Deref(l.Spec.HolderIdentity, "") != host:
		return LeaseOfAnother
	case l.Spec.RenewTime.After(now.Add(duration(l))):
		return LeaseAhead
	case !end(l).After(now):
		return LeaseNotRenewed
	default:
		return LeaseValid
	}
}

// Alive says whether what the agent of a host has reported in its Lease counts.
func Alive(l *coordinationv1.Lease, host string, now time.Time) bool {
	return LeaseStateOf(l, host, now) == LeaseValid
}

// Renewed is when the agent of a host last renewed its Lease; zero where it never did: what another host's agent does, a clock
// that is wrong and a restored Lease are no sign of its life.
func Renewed(l *coordinationv1.Lease, host string, now time.Time) time.Time {
	if s := LeaseStateOf(l, host, now); s != LeaseValid && s != LeaseNotRenewed {
		return time.Time{}
	}
	return l.Spec.RenewTime.Time
}

// Turns is when what an agent reports ceases to count, or begins to, without another word of it; zero: never.
func Turns(l *coordinationv1.Lease, host string, now time.Time) time.Time {
	switch LeaseStateOf(l, host, now) {
	case LeaseValid:
		return end(l).Add(time.Second)
	case LeaseAhead:
		return l.Spec.RenewTime.Add(-duration(l))
	default:
		return time.Time{}
	}
}

// expiredAt is when a Lease expired, to the second; zero where it is not known.
func expiredAt(l *coordinationv1.Lease, host string, now time.Time) time.Time {
	if LeaseStateOf(l, host, now) != LeaseNotRenewed {
		return time.Time{}
	}
	return end(l).Truncate(time.Second)
}

func duration(l *coordinationv1.Lease) time.Duration {
	return time.Duration(*l.Spec.LeaseDurationSeconds) * time.Second
}

// end is when a Lease expires unless it is renewed before.
func end(l *coordinationv1.Lease) time.Time { return l.Spec.RenewTime.Add(duration(l)) }

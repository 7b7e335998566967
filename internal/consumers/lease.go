package consumers

import (
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
)

// LeaseKey is the Lease of a name that was made for the object of a UID.
type LeaseKey struct {
	Owner types.UID
	Name  string
}

// Reported is what the Lease of an object says, and what that is worth. The zero value is of one that has none.
type Reported struct {
	Lease  *coordinationv1.Lease
	Report ack.Report
	Proof  ack.Proof
}

// renewed is when the Lease was renewed: what is signed says it itself, and nobody else can.
func (r Reported) renewed() time.Time {
	if r.Proof == ack.Signed {
		return r.Report.Time
	}
	return r.Lease.Spec.RenewTime.Time
}

// Holder is the host whose agent has written the Lease.
func (r Reported) Holder() string {
	if r.Proof == ack.Signed {
		return r.Report.Host
	}
	return ptr.Deref(r.Lease.Spec.HolderIdentity, "")
}

// LeaseState says whether what the agent of a host has reported in its Lease counts, and if not, why.
type LeaseState int

// The states of a Lease. Only of LeaseValid anything counts.
const (
	LeaseValid      LeaseState = iota
	LeaseAbsent                // there is none
	LeaseUnused                // no agent has renewed it yet
	LeaseForged                // what it states is not signed by the key of a certificate that was issued for the object
	LeaseRestored              // it was renewed before it was created: a restore brought it back, and nobody has renewed it since
	LeaseOfAnother             // the agent of another host holds it
	LeaseAhead                 // it was renewed by a clock that is wrong: further ahead than clocks may differ
	LeaseNotRenewed            // its time is over
)

// MaxAhead is how far the time of a report may lie in the future: it is of the API server, of which there may be several, with a clock each.
const MaxAhead = time.Minute

// defaultLeaseDuration is delivery.leaseDuration of an object that was stored before there was a default.
const defaultLeaseDuration = 15 * time.Minute

// LeaseDuration is how long a report counts. The Lease says so too, but anybody who can write it may say something else there.
func LeaseDuration(d v1alpha1.DeliverySpec) time.Duration {
	if after := d.LeaseDuration.Duration; after > 0 {
		return after
	}
	return defaultLeaseDuration
}

// LeaseStateOf is that of the Lease of a host's agent. It is the one place that says what counts.
func LeaseStateOf(r Reported, d v1alpha1.DeliverySpec, host string, now time.Time) LeaseState {
	switch {
	case r.Lease == nil:
		return LeaseAbsent
	case r.Proof == ack.Forged:
		return LeaseForged
	case r.Proof != ack.Signed && r.Lease.Spec.RenewTime == nil:
		return LeaseUnused
	case r.renewed().Before(r.Lease.CreationTimestamp.Time):
		return LeaseRestored
	case r.Holder() != host:
		return LeaseOfAnother
	case r.renewed().After(now.Add(MaxAhead)):
		return LeaseAhead
	case !r.renewed().Add(LeaseDuration(d)).After(now):
		return LeaseNotRenewed
	default:
		return LeaseValid
	}
}

// Alive says whether what the agent of a host has reported in its Lease counts.
func Alive(r Reported, d v1alpha1.DeliverySpec, host string, now time.Time) bool {
	return LeaseStateOf(r, d, host, now) == LeaseValid
}

// Renewed is when the agent of a host last renewed its Lease; zero where it never did: what another host's agent does, somebody else, a clock
// that is wrong and a restored Lease are no sign of its life.
func Renewed(r Reported, d v1alpha1.DeliverySpec, host string, now time.Time) time.Time {
	if s := LeaseStateOf(r, d, host, now); s != LeaseValid && s != LeaseNotRenewed {
		return time.Time{}
	}
	return r.renewed()
}

// Turns is when what an agent reports ceases to count, or begins to, without another word of it; zero: never.
func Turns(r Reported, d v1alpha1.DeliverySpec, host string, now time.Time) time.Time {
	switch LeaseStateOf(r, d, host, now) {
	case LeaseValid:
		return r.renewed().Add(LeaseDuration(d)).Add(time.Second)
	case LeaseAhead:
		return r.renewed().Add(-MaxAhead)
	default:
		return time.Time{}
	}
}

// expiredAt is when a Lease expired, to the second; zero where it is not known.
func expiredAt(r Reported, d v1alpha1.DeliverySpec, host string, now time.Time) time.Time {
	if LeaseStateOf(r, d, host, now) != LeaseNotRenewed {
		return time.Time{}
	}
	return r.renewed().Add(LeaseDuration(d)).Truncate(time.Second)
}

package consumers

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
)

// Agent is what the agent of a host has reported of an object that it delivers.
type Agent struct {
	Host string
	// Object is the object's kind and name.
	Object   string
	Delivery v1alpha1.DeliverySpec
	Reported
}

// Lacking is an agent that has not said that it has a delivery key, and why not.
type Lacking struct{ Host, Object, Why string }

func (l Lacking) String() string { return fmt.Sprintf("host %q (%s): %s", l.Host, l.Object, l.Why) }

// NextKey is the delivery key that is to sign next, by its ID, and when that was named.
type NextKey struct {
	ID    string
	Named time.Time
}

// EachHasKey says whether a delivery key may sign for some agents, because each has it. Where there is none nothing is to be signed, and
// whoever comes back may lack it.
func EachHasKey(agents []Agent, key NextKey, now time.Time) bool {
	return len(agents) > 0 && len(WithoutKey(agents, key, now)) == 0
}

// WithoutKey are those of some agents that do not say now that they have a delivery key.
func WithoutKey(agents []Agent, key NextKey, now time.Time) []Lacking {
	var out []Lacking
	for _, a := range agents {
		if why := a.lacks(key, now); why != "" {
			out = append(out, Lacking{a.Host, a.Object, why})
		}
	}
	slices.SortFunc(out, func(a, b Lacking) int { return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Object, b.Object)) })
	return out
}

// lacks says why an agent does not count as one that has a key; "" where it does. Its report counts as long as any other that it makes: a host that is
// silent may have been set back to a disk of before the key was named. A report of before that cannot speak of it; the two times may be by different
// API servers.
func (a Agent) lacks(key NextKey, now time.Time) string {
	state := LeaseStateOf(a.Reported, a.Delivery, a.Host, now)
	switch {
	case state == LeaseForged:
		return "what its Lease states is not signed by the key of a certificate that was issued for the object"
	case a.Proof != ack.Signed:
		return "its agent has installed nothing yet"
	case state == LeaseOfAnother:
		return fmt.Sprintf("the agent of host %q reports for it", a.Holder())
	case state == LeaseAhead:
		return fmt.Sprintf("what its agent reports is as of %s, which is yet to come", a.renewed().UTC().Format(time.RFC3339))
	case state != LeaseValid:
		return fmt.Sprintf("its agent has reported nothing since %s", a.renewed().UTC().Format(time.RFC3339))
	case !slices.Contains(a.Report.DeliveryKeys, key.ID):
		return "its agent has not got the key yet"
	case a.Report.Time.Before(key.Named.Add(-MaxAhead)):
		return "its agent has reported nothing since the key was named"
	default:
		return ""
	}
}

package consumers

import (
	"cmp"
	"fmt"
	"slices"

	"clusterpki.io/operator/internal/ack"
)

// Agent is what the agent of a host has reported of an object that it delivers.
type Agent struct {
	Host string
	// Object is the object's kind and name.
	Object string
	Reported
}

// Lacking is an agent that has not said that it has a delivery key, and why not.
type Lacking struct{ Host, Object, Why string }

func (l Lacking) String() string { return fmt.Sprintf("host %q (%s): %s", l.Host, l.Object, l.Why) }

// EachHasKey says whether the delivery key of an ID may sign for some agents, because each has it. Where there is none nothing is to be signed, and
// whoever comes back may lack it.
func EachHasKey(agents []Agent, keyID string) bool {
	return len(agents) > 0 && len(WithoutKey(agents, keyID)) == 0
}

// WithoutKey are those of some agents that have not said, signed, that they have the delivery key of an ID. That an agent has reported nothing for
// long does not matter: what it knows of keys lies on its host.
func WithoutKey(agents []Agent, keyID string) []Lacking {
	var out []Lacking
	for _, a := range agents {
		why := ""
		switch {
		case a.Lease == nil || a.Proof == ack.Unsigned:
			why = "its agent has installed nothing yet"
		case a.Proof == ack.Forged:
			why = "what its Lease states is not signed by the key of a certificate that was issued for the object"
		case a.Holder() != a.Host:
			why = fmt.Sprintf("the agent of host %q reports for it", a.Holder())
		case !slices.Contains(a.Report.DeliveryKeys, keyID):
			why = "its agent has not got the key yet"
		default:
			continue
		}
		out = append(out, Lacking{a.Host, a.Object, why})
	}
	slices.SortFunc(out, func(a, b Lacking) int { return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Object, b.Object)) })
	return out
}

package plan

import (
	"cmp"
	"fmt"
	"time"
)

// ReasonAssumed is of a consumer that is assumed to use what its mounted Secrets hold, where nobody has accepted that.
const ReasonAssumed = "Assumed"

// assumed says whether nothing but time tells that the consumer uses what its Secrets hold.
func (c Consumer) assumed() bool { return c.Mounted && !c.Proved }

// unaccepted are the consumers of whom something is only assumed, where no person has accepted that. A relying
// party counts although its bundle was assumed before the switch: as long as the old key is there, its way can be mended.
func unaccepted(observation Observation) []Consumer {
	var out []Consumer
	for _, c := range observation.Consumers {
		if (c.HasLeaf || c.RelyingParty) && c.assumed() && !c.AcceptsAssumed {
			c.Reason, c.Since = ReasonAssumed, time.Time{}
			out = append(out, c)
		}
	}
	return out
}

// withdraws says whether the next step takes trust away that somebody may need. It does not where the root stays in the
// bundle, or where the certificate that leaves it has expired: nobody accepts what that signed.
func (l Ledger) withdraws(now time.Time) bool {
	retiring, active := l.in(Retiring), l.in(Active)
	switch {
	case retiring == nil || active == nil:
		return false
	case retiring.Anchor != "" && retiring.Anchor == active.Anchor:
		return false
	default:
		return retiring.NotAfter.IsZero() || now.Before(retiring.NotAfter)
	}
}

// AwaitsApproval says whether nothing but an approval is missing before the old CA is withdrawn: a gate that is open, and
// assumptions that nobody has accepted.
func (g Gate) AwaitsApproval(w DesiredLedger) bool {
	return g.Open() && len(g.Unaccepted) > 0 && !w.WithdrawalApproved
}

// RotationID names the rotation under way, for approvals; "" where there is none. No two rotations of a CA have the same.
func (l Ledger) RotationID(ca string) string {
	if l.Rotation == nil {
		return ""
	}
	return fmt.Sprintf("%s/%s.g%d", ca, cmp.Or(l.Rotation.Trigger, "age"), l.Rotation.To)
}

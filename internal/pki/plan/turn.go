package plan

import "slices"

// Turn is that of a host on which something restarts for another bundle. Done: it has installed the present one, and restarts nothing any more.
type Turn struct {
	Host string
	Done bool
}

// Awaits says whether a host on which something restarts is not to have the present bundle yet. Turns are taken in the order of the hosts' names, in the
// two phases that begin with another bundle. An emergency waits for nobody. Where a bundle is taken back, those have it already that never had the other.
func (l Ledger) Awaits(host string) bool {
	phase := l.Phase()
	if phase != DistributingTrust && phase != WithdrawingTrust || l.Rotation != nil && l.Rotation.Emergency {
		return false
	}
	return host > l.Turn && (!l.rolledBack() || host <= l.Undone)
}

// rolledBack says whether the rotation under way was taken back.
func (l Ledger) rolledBack() bool { return l.Rotation != nil && l.Rotation.Result == RolledBack }

// nextTurn is the last host that is to have the present bundle: one more, once all that have it are done. turns are in the order of the hosts' names.
func (l Ledger) nextTurn(turns []Turn) string {
	for _, t := range turns {
		switch {
		case l.Awaits(t.Host):
			return t.Host
		case !t.Done:
			return l.Turn
		}
	}
	return l.Turn
}

// Former is the ledger as it was before the bundle changed last, as far as what it publishes: a host that awaits its turn has what was published then.
// It says nothing where nobody may await a turn.
func (l Ledger) Former() Ledger {
	sameKey, rolledBack := l.Rotation != nil && l.Rotation.SameKey, l.rolledBack()
	l.Generations = slices.Clone(l.Generations)
	l.Generations = slices.DeleteFunc(l.Generations, func(g Generation) bool {
		return g.State == Trusted || sameKey && g.State == Active // it was not there
	})
	for i := range l.Generations {
		switch g := &l.Generations[i]; {
		case g.State != Withdrawn:
		case rolledBack:
			g.State = Trusted
		case sameKey:
			g.State = Active
		default:
			g.State = Retiring
		}
	}
	l.BundleRevision = l.FormerRevision
	return l
}

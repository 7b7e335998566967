package keyring

import "slices"

// Former is the ledger as it was before its last step that changed what is published, as far as that can be told: an API server whose turn has not come
// uses what was published then. No two of them are further apart than one step.
func (l Ledger) Former() Ledger {
	l.Keys = slices.Clone(l.Keys)
	switch l.Phase() {
	case DistributingTrust: // the new key was not there
		l.Keys = slices.DeleteFunc(l.Keys, func(k Key) bool { return k.State == Trusted })
	case SwitchingSigner: // and signed nothing
		l.Keys[l.index(l.Rotation.From)].State, l.Keys[l.index(l.Rotation.To)].State = Active, Trusted
	default:
		for i := range l.Keys { // those that left were trusted
			if l.Keys[i].State == Withdrawn {
				l.Keys[i].State = Retiring
			}
		}
	}
	return l
}

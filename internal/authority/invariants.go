package authority

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"

	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/plan"
)

// InvariantError says that a write would break what must always hold of a CA, or of service account keys. It is a fault of the operator,
// or of whoever changed the Secret by hand; nothing is written.
type InvariantError struct{ of, text string }

func (e *InvariantError) Error() string {
	return "refused to write the " + e.of + "'s Secret: " + e.text
}

func broken(format string, args ...any) error {
	return &InvariantError{"CA", fmt.Sprintf(format, args...)}
}

// check says what is wrong with a write that puts next in place of what was read. was is nil for a new CA.
func check(was, next *Record) error {
	if err := next.Ledger.Check(); err != nil {
		return broken("%v", err)
	}
	if next.Namespace == "" || next.Name == "" || next.NamespaceUID == "" || next.HomeUID == "" {
		return broken("it does not say whose it is")
	}
	if was == nil {
		return checkKeys(&Record{}, next)
	}
	if was.Namespace != next.Namespace || was.Name != next.Name {
		return broken("it is that of ClusterCA %s/%s", was.Namespace, was.Name)
	}
	if err := checkNumbers(was, next); err != nil {
		return err
	}
	if !next.Tombstone() {
		if err := checkStates(was.Ledger, next.Ledger); err != nil {
			return err
		}
	}
	return checkKeys(was, next)
}

// checkNumbers says that revisions and numbers of generations go on, and that nothing is written which was read without keys.
func checkNumbers(was, next *Record) error {
	before, after := was.Ledger, next.Ledger
	before.TakenUp, after.TakenUp = "", "" // who took it up is no step
	changed := !reflect.DeepEqual(before, after)
	switch {
	case was.WithoutKeys:
		return broken("it was read from a cache, which holds no keys: they would be lost")
	case changed && next.Ledger.Revision != was.Ledger.Revision+1:
		return broken("revision %d does not follow on %d", next.Ledger.Revision, was.Ledger.Revision)
	case next.Ledger.Last < was.Ledger.Last:
		return broken("the number of the last generation goes back from %d to %d", was.Ledger.Last, next.Ledger.Last)
	case next.Tombstone() && !was.Tombstone() && was.Deleted.IsZero():
		return broken("the keys would be destroyed, and the CA is not marked for that")
	default:
		return nil
	}
}

// checkStates says that no key leaves but of a generation that was removed from the trust bundle before, that none goes back in its life,
// and that another bundle has another revision.
func checkStates(was, next plan.Ledger) error {
	for _, g := range was.Generations {
		i := slices.IndexFunc(next.Generations, func(n plan.Generation) bool { return n.Number == g.Number })
		switch {
		case i < 0 && g.State != plan.Withdrawn:
			return broken("generation %d is %s, and its key would be deleted", g.Number, g.State)
		case i >= 0 && slices.Index(plan.States, next.Generations[i].State) < slices.Index(plan.States, g.State):
			return broken("generation %d is %s, and would be %s again", g.Number, g.State, next.Generations[i].State)
		}
	}
	same := slices.EqualFunc(was.Published(), next.Published(), func(a, b plan.Generation) bool { return a.Number == b.Number })
	if !same && next.BundleRevision != next.Revision {
		return broken("another bundle has no revision of its own")
	}
	return nil
}

// checkKeys says that every generation of the next ledger has its certificate and key, and the one that it had.
func checkKeys(was, next *Record) error {
	for _, g := range next.Ledger.Generations {
		ca, there := next.CAs[g.Number]
		old, known := was.CAs[g.Number]
		switch {
		case !there || ca.Cert == nil:
			if !known || old.Cert != nil {
				return broken("the certificate of generation %d is not there", g.Number)
			}
		case known && old.Cert != nil && !bytes.Equal(old.Cert.Raw, ca.Cert.Raw):
			return broken("generation %d has another certificate than before", g.Number)
		case !known && !pki.SamePublicKey(ca.Cert.PublicKey, ca.Key.Public()):
			return broken("the key of generation %d is not there, or another one", g.Number)
		case !known && pki.FingerprintOf(ca.Cert) != g.SHA256:
			return broken("the ledger names another certificate of generation %d", g.Number)
		case g.Number <= was.Ledger.Last && !slices.ContainsFunc(was.Ledger.Generations, func(o plan.Generation) bool { return o.Number == g.Number }):
			return broken("generation %d was there before: its number is not given again", g.Number)
		}
	}
	return nil
}

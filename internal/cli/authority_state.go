package cli

import (
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/binding"
)

// owners are the UIDs of the namespace and the object for which something is kept, and of the authority namespace, as they are now; "" is one that is
// not there.
type owners struct{ namespace, object, home types.UID }

// The states of what the authority namespace holds.
const (
	authorityBound     = "Bound"
	authorityReturning = "Returning"
	authorityOrphaned  = "Orphaned"
	authorityRetained  = "Retained"
	authorityDeleted   = "Deleted"
	authorityDestroyed = "Destroyed"
	authorityDamaged   = "Damaged"
)

// stateOf says whose something is now, and what that means.
func stateOf(kept authority.Kept, now owners) (state, detail string) {
	id, marked, kind := kept.Whose(), kept.MarkedAt(), kept.Ref().Kind
	switch {
	case kept.Tombstone() && kind == authority.KindCA:
		return authorityDestroyed, "its keys are destroyed; the numbers of its generations are not given again"
	case kept.Tombstone():
		return authorityDestroyed, "its keys are destroyed; their numbers are not given again"
	case now.home != id.HomeUID:
		return authorityRetained, "it came from another authority namespace: no " + kind + " gets it until it is released"
	case now.namespace != "" && now.namespace != id.NamespaceUID:
		return authorityRetained, "its namespace was made anew: no " + kind + " there gets it until it is released"
	case !marked.IsZero() && now.object == "":
		return authorityDeleted, "its " + kind + " was deleted: the keys are destroyed after " + marked.Add(binding.DestroyAfter).UTC().Format(time.RFC3339)
	case now.namespace == "":
		return authorityOrphaned, "its namespace is not there"
	case now.object == "":
		return authorityOrphaned, "it has no " + kind + ": one of its name takes it up"
	case now.object != id.UID || !marked.IsZero():
		return authorityReturning, "a " + kind + " of its name is back, and takes it up"
	default:
		return authorityBound, ""
	}
}

// errBound says that there is nothing to release.
var errBound = errors.New("it is bound to this namespace already")

// released is what is kept, bound to its namespace and to the authority namespace as they are now. It also forgets that its object was
// deleted, which was in the namespace of before, and which object that was: the operator binds it to the one of its name.
func released(kept authority.Kept, now owners) (authority.Kept, error) {
	id := kept.Whose()
	switch {
	case kept.Tombstone():
		return nil, errors.New("its keys were destroyed: there is nothing to release")
	case now.namespace == "":
		return nil, fmt.Errorf("namespace %q is not there: create it first", id.Namespace)
	case id.NamespaceUID == now.namespace && id.HomeUID == now.home:
		return nil, errBound
	}
	id.NamespaceUID, id.HomeUID, id.UID = now.namespace, now.home, ""
	return kept.Given(id, time.Time{}), nil
}

// destroyable says why keys must not be destroyed.
func destroyable(kept authority.Kept, now owners) error {
	state, _ := stateOf(kept, now)
	if now.object == "" || state != authorityBound && state != authorityReturning {
		return nil
	}
	of := kept.Ref()
	if of.Kind == authority.KindFamily {
		return fmt.Errorf("ClusterPKI %s is there, and would not know its objects any more: delete that first", of.NamespacedName)
	}
	if of.Kind == authority.KindAccountKeys {
		return fmt.Errorf("ServiceAccountKey %s is there, and API servers may use its keys: delete that first", of.NamespacedName)
	}
	return fmt.Errorf("ClusterCA %s is there, and its certificates are in use: delete that first", of.NamespacedName)
}

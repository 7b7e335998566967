package cli

import (
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"clusterpki.io/operator/internal/authority"
	"clusterpki.io/operator/internal/ca"
)

// owners are the UIDs of a CA's namespace, its ClusterCA and the authority namespace as they are now; "" is one that is not there.
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

// stateOf says whose a CA is now, and what that means.
func stateOf(r *authority.Record, now owners) (state, detail string) {
	switch {
	case r.Tombstone():
		return authorityDestroyed, "its keys are destroyed; the numbers of its generations are not given again"
	case now.home != r.HomeUID:
		return authorityRetained, "it came from another authority namespace: no ClusterCA gets it until it is released"
	case now.namespace != "" && now.namespace != r.NamespaceUID:
		return authorityRetained, "its namespace was made anew: no ClusterCA there gets it until it is released"
	case !r.Deleted.IsZero() && now.object == "":
		return authorityDeleted, "its ClusterCA was deleted: the keys are destroyed after " + r.Deleted.Add(ca.DestroyAfter).UTC().Format(time.RFC3339)
	case now.namespace == "":
		return authorityOrphaned, "its namespace is not there"
	case now.object == "":
		return authorityOrphaned, "it has no ClusterCA: one of its name takes it up"
	case now.object != r.UID || !r.Deleted.IsZero():
		return authorityReturning, "a ClusterCA of its name is back, and takes it up"
	default:
		return authorityBound, ""
	}
}

// errBound says that there is nothing to release.
var errBound = errors.New("it is bound to this namespace already")

// released is a CA, bound to its namespace and to the authority namespace as they are now. It also forgets that its ClusterCA was
// deleted, which was in the namespace of before, and which ClusterCA that was: the operator binds it to the one of its name.
func released(r *authority.Record, now owners) (*authority.Record, error) {
	switch {
	case r.Tombstone():
		return nil, errors.New("its keys were destroyed: there is nothing to release")
	case now.namespace == "":
		return nil, fmt.Errorf("namespace %q is not there: create it first", r.Namespace)
	case r.NamespaceUID == now.namespace && r.HomeUID == now.home:
		return nil, errBound
	}
	next := r.Next()
	next.NamespaceUID, next.HomeUID, next.UID, next.Deleted = now.namespace, now.home, "", time.Time{}
	return next, nil
}

// destroyable says why the keys of a CA must not be destroyed.
func destroyable(r *authority.Record, now owners) error {
	if state, _ := stateOf(r, now); now.object != "" && (state == authorityBound || state == authorityReturning) {
		return fmt.Errorf("ClusterCA %s/%s is there, and its certificates are in use: delete that first", r.Namespace, r.Name)
	}
	return nil
}

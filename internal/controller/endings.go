package controller

import (
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// endings are the objects that are going, by UID, and whose end is absence and no deletion. The garbage collector takes no right to
// delete, so what goes with an owner was deleted by nobody who had that right; the owner reference and the finalizer that holds the
// object up can be taken off in between. So it is enough to have borne one at any moment since the deletion began, and where that
// moment was not seen, because the operator was not there, the end counts for nothing.
//
// It is lost with the process, which then finds the object going already. The events of one watch come one after the other.
type endings map[types.UID]struct{}

// found notes an object that is seen for the first time: if it is going, how that began is not known.
func (e endings) found(o client.Object) {
	if !o.GetDeletionTimestamp().IsZero() {
		e[o.GetUID()] = struct{}{}
	}
}

// changed notes an object that is going, and goes with an owner.
func (e endings) changed(was, now client.Object) {
	if was.GetUID() != now.GetUID() { // its end was not seen, nor the beginning of the other one
		delete(e, was.GetUID())
		e.found(now)
		return
	}
	if !now.GetDeletionTimestamp().IsZero() && hasOwner(now) {
		e[now.GetUID()] = struct{}{}
	}
}

// gone says whether the end of an object is its deletion. One that the watch did not bring itself (unseen) is none.
func (e endings) gone(last client.Object, unseen bool) bool {
	_, absent := e[last.GetUID()]
	delete(e, last.GetUID())
	return !unseen && !absent && !hasOwner(last)
}

// hasOwner says whether an object has an owner: the cache leaves one where it cuts metadata that somebody made too large for it. Annotations decide nothing
// here, for whoever may write those alone.
func hasOwner(o client.Object) bool { return len(o.GetOwnerReferences()) > 0 }

package controller

import (
	"errors"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki/plan"
)

// restored says whether a backup tool brought an object back. What was made for it exists, then, and is to come back too:
// making it again would lose it, because no tool writes over what is there.
func restored(o client.Object) bool {
	_, velero := o.GetLabels()[v1alpha1.VeleroRestoreLabel]
	_, marked := o.GetAnnotations()[v1alpha1.RestoredAnnotation]
	return velero || marked
}

// awaits is until when what was made for a restored object may still be on its way; zero where it was not restored.
func awaits(o client.Object) time.Time {
	if !restored(o) {
		return time.Time{}
	}
	return o.GetCreationTimestamp().Add(plan.Settling)
}

// unmark says how a person lets an object begin anew.
const unmark = "remove its label " + v1alpha1.VeleroRestoreLabel + " and its annotation " + v1alpha1.RestoredAnnotation

// awaitTrust keeps a restored ClusterCA from getting another CA, and from a ledger that is rebuilt from a part of
// its keys while the rest is still on its way.
func (r *clusterCAs) awaitTrust(ca *v1alpha1.ClusterCA, l plan.Ledger) error {
	if !restored(ca) || len(l.Generations) > 0 && !r.clock.Now().Before(awaits(ca)) {
		return nil
	}
	return stalled(v1alpha1.ReasonRestoreIncomplete,
		"this ClusterCA was restored, and ConfigMap %q was not, so far: restore it and the Secrets of the CA's keys too; no other CA is made in "+
			"their place. To begin anew with another CA, %s", ca.TrustConfigMapName(), unmark)
}

// awaitsRestore says whether an error is that something which was made for a restored object is not there.
func awaitsRestore(err error) bool {
	st, ok := errors.AsType[*stall](err)
	return ok && st.reason == v1alpha1.ReasonRestoreIncomplete
}

// awaitKeys keeps a restored APIServerCertificate from getting other service account keys.
func awaitKeys(o client.Object, secret string) error {
	if !restored(o) {
		return nil
	}
	return stalled(v1alpha1.ReasonRestoreIncomplete,
		"this object was restored, and Secret %q, which is to hold its service account keys, is not there: restore it too. "+
			"If they are asked for the first time, or to have new keys made, which ends every token signed so far, %s", secret, unmark)
}

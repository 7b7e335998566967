package desired

import (
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki/plan"
)

// Restored says whether a backup tool brought an object back. What was made for it exists, then, and is to come back too:
// making it again would lose it, because no tool writes over what is there.
func Restored(o client.Object) bool {
	_, velero := o.GetLabels()[v1alpha1.VeleroRestoreLabel]
	_, marked := o.GetAnnotations()[v1alpha1.RestoredAnnotation]
	return velero || marked
}

// awaits is until when what was made for a restored object may still be on its way; zero where it was not restored.
func awaits(o client.Object) time.Time {
	if !Restored(o) {
		return time.Time{}
	}
	return o.GetCreationTimestamp().Add(plan.Settling)
}

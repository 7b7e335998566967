package desired

import (
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki/plan"
)

// Seed is an object's place in the spread of renewals and in the waves; 0 of an object that is not of our kinds. It follows from
// what a restore brings back, and not from the UID: else every restore would make other certificates due, and let through
// others than those whose turn it was.
func Seed(o client.Object) uint32 {
	ours, ok := o.(v1alpha1.Object)
	if !ok {
		return 0
	}
	return plan.Seed(o.GetNamespace() + "/" + ours.Kind() + "/" + o.GetName())
}

package controller

import (
	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/owned"
	"clusterpki.io/operator/internal/pki/plan"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// seedOf is an object's place in the spread of renewals and in the waves. It follows from what a restore brings back, and
// not from the UID: else every restore would make other certificates due, and let through others than those whose turn
// it was.
func seedOf(o v1alpha1.Object) uint32 {
	return plan.Seed(o.GetNamespace() + "/" + owned.Text(o.Kind(), o.GetName()))
}

// seed is seedOf of an object whose kind is only known to be one of ours; 0 of any other.
func seed(o client.Object) uint32 {
	if ours, ok := o.(v1alpha1.Object); ok {
		return seedOf(ours)
	}
	return 0
}

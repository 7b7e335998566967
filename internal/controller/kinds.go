package controller

import (
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/pki/plan"
)

// The kinds, as owner references and annotations name them.
const (
	kindClusterCA            = "ClusterCA"
	kindAPIServerCertificate = "APIServerCertificate"
	kindNodeCredential       = "NodeCredential"
)

// kindOf is the kind of an object of ours, which what was read does not say itself.
func kindOf(o client.Object) string {
	switch o.(type) {
	case *v1alpha1.ClusterCA:
		return kindClusterCA
	case *v1alpha1.APIServerCertificate:
		return kindAPIServerCertificate
	default:
		return kindNodeCredential
	}
}

// seedOf is an object's place in the spread of renewals and in the waves. It follows from what a restore brings back, and
// not from the UID: else every restore would make other certificates due, and let through others than those whose turn
// it was.
func seedOf(o client.Object) uint32 {
	return plan.Seed(o.GetNamespace() + "/" + ownerText(kindOf(o), o.GetName()))
}

package controller

import (
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
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

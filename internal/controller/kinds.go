package controller

// The kinds, as owner references and annotations name them.
const (
	kindClusterCA            = "ClusterCA"
	kindAPIServerCertificate = "APIServerCertificate"
	kindNodeCredential       = "NodeCredential"
)

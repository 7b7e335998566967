package v1alpha1

import "slices"

// KindInfo is what programs need to know of a kind.
// +kubebuilder:object:generate=false
type KindInfo struct {
	Name      string
	Plural    string // the resource, as RBAC and the API server call it
	ShortName string // as kubectl knows it
	New       func() Object
	NewList   func() ObjectList
}

// kinds is the one table of kinds, in the order in which they depend on one another.
var kinds = []KindInfo{
	{
		KindClusterPKI, "clusterpkis", "cpki",
		func() Object { return &ClusterPKI{} }, func() ObjectList { return &ClusterPKIList{} },
	},
	{
		KindClusterCA, "clustercas", "cca",
		func() Object { return &ClusterCA{} }, func() ObjectList { return &ClusterCAList{} },
	},
	{
		KindServiceAccountKey, "serviceaccountkeys", "sak",
		func() Object { return &ServiceAccountKey{} }, func() ObjectList { return &ServiceAccountKeyList{} },
	},
	{
		KindAPIServerCertificate, "apiservercertificates", "asc",
		func() Object { return &APIServerCertificate{} }, func() ObjectList { return &APIServerCertificateList{} },
	},
	{
		KindNodeCredential, "nodecredentials", "nodecred",
		func() Object { return &NodeCredential{} }, func() ObjectList { return &NodeCredentialList{} },
	},
}

// Kinds are all kinds of this package, in the order in which they depend on one another.
func Kinds() []KindInfo { return slices.Clone(kinds) }

// KindNames are the names of all kinds, in the order of Kinds.
func KindNames() []string {
	names := make([]string, 0, len(kinds))
	for _, k := range kinds {
		names = append(names, k.Name)
	}
	return names
}

package cluster

import "clusterpki.io/operator/api/v1alpha1"

// Named are the CAs, keys and API servers that an object names: they decide who signs for it, and whom it trusts.
func Named(o v1alpha1.Object) []Key {
	var out []Key
	for _, name := range o.CANames() {
		out = append(out, Key{v1alpha1.KindClusterCA, name})
	}
	switch o := o.(type) {
	case *v1alpha1.APIServerCertificate:
		if name := o.ServiceAccountKeyName(); name != "" {
			out = append(out, Key{v1alpha1.KindServiceAccountKey, name})
		}
	case *v1alpha1.NodeCredential:
		if o.Spec.APIServerRef != nil {
			out = append(out, Key{v1alpha1.KindAPIServerCertificate, o.Spec.APIServerRef.Name})
		}
	}
	return out
}

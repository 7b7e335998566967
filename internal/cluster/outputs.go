package cluster

import (
	"cmp"
	"slices"

	"clusterpki.io/operator/api/v1alpha1"
)

// outputs asks the children for what spec.outputs does: each is made where what it holds is.
func (e *expansion) outputs() {
	admin := Key{v1alpha1.KindNodeCredential, CredentialName(e.Name, e.controlPlane[0].Name, "Admin")}
	etcd := Key{v1alpha1.KindNodeCredential, CredentialName(e.Name, e.controlPlane[0].Name, v1alpha1.RoleEtcdClient)}
	byFormat := slices.SortedFunc(slices.Values(e.Spec.Outputs), func(a, b v1alpha1.ClusterOutput) int { return cmp.Compare(a.Format, b.Format) })
	for _, o := range byFormat {
		if o.ClusterName == "" {
			o.ClusterName = e.Name
		}
		if o.Format == v1alpha1.OutputCAPI || o.Format == v1alpha1.OutputKamaji {
			e.keyOutputs(o)
		}
		if o.Format != v1alpha1.OutputKamaji { // which makes its kubeconfigs itself
			e.credentialOutput(admin, o)
		}
		if o.Format == v1alpha1.OutputCAPI && e.etcdMode() == v1alpha1.EtcdExternal {
			e.credentialOutput(etcd, o)
		}
	}
}

// keyOutputs asks for the CAs and the service account keys.
func (e *expansion) keyOutputs(o v1alpha1.ClusterOutput) {
	for name, purpose := range map[string]v1alpha1.AuthorityPurpose{
		CAName(e.Name): v1alpha1.PurposeCluster, FrontProxyCAName(e.Name): v1alpha1.PurposeFrontProxy, EtcdCAName(e.Name): v1alpha1.PurposeEtcd,
	} {
		child, there := e.children.Find(Key{v1alpha1.KindClusterCA, name})
		if ca, ok := child.Object.(*v1alpha1.ClusterCA); there && ok && (purpose != v1alpha1.PurposeEtcd || o.Format == v1alpha1.OutputCAPI) {
			ca.Spec.Outputs = append(ca.Spec.Outputs, v1alpha1.CAOutput{Format: o.Format, ClusterName: o.ClusterName, Purpose: purpose})
		}
	}
	child, _ := e.children.Find(Key{v1alpha1.KindServiceAccountKey, KeyName(e.Name)})
	if k, ok := child.Object.(*v1alpha1.ServiceAccountKey); ok {
		k.Spec.Outputs = append(k.Spec.Outputs, v1alpha1.KeyOutput{Format: o.Format, ClusterName: o.ClusterName})
	}
}

func (e *expansion) credentialOutput(of Key, o v1alpha1.ClusterOutput) {
	child, _ := e.children.Find(of)
	if c, ok := child.Object.(*v1alpha1.NodeCredential); ok {
		out := v1alpha1.CredentialOutput{Format: o.Format, ClusterName: o.ClusterName}
		if c.Spec.Kubeconfig != nil {
			out.Server = e.urlOf(o.Endpoint)
		}
		c.Spec.Outputs = append(c.Spec.Outputs, out)
	}
}

// urlOf is the URL of one of spec.endpoints; "" for no name.
func (e *expansion) urlOf(name string) string {
	i := slices.IndexFunc(e.Spec.Endpoints, func(n v1alpha1.NamedEndpoint) bool { return n.Name == name })
	if i < 0 {
		return "" // none is asked for: see checkServers
	}
	return e.Spec.Endpoints[i].URL
}

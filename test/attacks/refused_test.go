package attacks_test

import (
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/test/given"
	"clusterpki.io/operator/test/testenv"
)

// The rights to write objects, without what admission asks for besides.
var (
	mayEdit   = []rbacv1.PolicyRule{may("nodecredentials", "get", "update"), may("apiservercertificates", "get", "update")}
	mayCreate = []rbacv1.PolicyRule{may("nodecredentials", "create"), may("apiservercertificates", "create"), may("clustercas", "create")}
	mayImport = []rbacv1.PolicyRule{may("clustercas", "create", "get", "update"), may("secrets", "create", "update", "get")}
)

// mayMint is all that admission asks for.
var mayMint = rbacv1.PolicyRule{
	APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"*"}, Verbs: []string{"issue", "trust", "rotate", "approve", "acknowledge"},
}

// TestRefused has the attacks that begin with an object refused at admission, to who may write objects and nothing else.
func TestRefused(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	imported := clusterCA("twin")
	given.ImportedFrom("stolen", strings.Repeat("0", 64))(imported)
	copier := clusterCA("copier")
	copier.Spec.SecretName = "k8s-master-tls"
	for _, r := range []struct {
		rights []rbacv1.PolicyRule
		object client.Object
		edit   func(client.Object) // nil: it is created
	}{
		{mayEdit, kubelet("node1"), func(o client.Object) { o.(*v1alpha1.NodeCredential).Spec.SecretName = "application" }},
		{mayEdit, server("k8s-master"), func(o client.Object) { o.(*v1alpha1.APIServerCertificate).Spec.SecretName = "application" }},
		{mayEdit, server("k8s-master"), func(o client.Object) {
			o.(*v1alpha1.APIServerCertificate).Spec.ClientCARefs = []v1alpha1.CAReference{{Name: "mine"}}
		}},
		{mayCreate, kubelet("claimer"), nil}, {mayCreate, server("claimer"), nil}, {mayCreate, copier, nil},
		{mayImport, imported, nil},
		{mayImport, clusterCA("k8s"), func(o client.Object) { o.(*v1alpha1.ClusterCA).Spec.Source = imported.Spec.Source }},
	} {
		mallory := v.attacker(r.rights...)
		r.object.SetNamespace(v.ns)
		testenv.Eventually(t, "it is refused at admission", func() error {
			var err error
			if r.edit == nil {
				err = mallory.Create(t.Context(), r.object.DeepCopyObject().(client.Object))
			} else if err = mallory.Get(t.Context(), client.ObjectKeyFromObject(r.object), r.object); err == nil {
				r.edit(r.object)
				err = mallory.Update(t.Context(), r.object)
			}
			if err == nil {
				t.Fatalf("%T %s was written", r.object, r.object.GetName())
			}
			if isForbidden(err) && strings.Contains(err.Error(), "denied request: you need the verb ") {
				return nil
			}
			return err
		})
	}
	v.unharmed()
}

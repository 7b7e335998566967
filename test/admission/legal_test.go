package admission_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/test/given"
	"clusterpki.io/operator/test/testenv"
)

// space makes a namespace with one object of each kind and an unrelated ConfigMap.
func space(t *testing.T) string {
	t.Helper()
	ns := testenv.Namespace(t, admin, "legal-")
	create(t, ns, given.CA("k8s"), given.Server(master), given.Kubelet("node1"), given.AccountKey("k8s-sa"), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "owner"}})
	return ns
}

func create(t *testing.T, namespace string, objects ...client.Object) {
	t.Helper()
	for _, o := range objects {
		o.SetNamespace(namespace)
		if err := admin.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
}

// ours are the objects that space makes, without their contents.
func ours(namespace string) []client.Object {
	objects := []client.Object{given.CA("k8s"), given.Server(master), given.Kubelet("node1"), given.AccountKey("k8s-sa")}
	for _, o := range objects {
		o.SetNamespace(namespace)
	}
	return objects
}

// endings are the rights that it takes to delete each of ours: those of having it issued.
func endings() [][]right {
	return [][]right{
		{"issue on clustercas/ca named k8s"},
		{"issue on clustercas/apiserver named k8s", "trust on clustercas named k8s"},
		{"issue on clustercas/kubelet named k8s"},
		{"issue on serviceaccountkeys named k8s-sa"},
	}
}

// TestWithoutIssue lets somebody who has none of the verbs write all that makes nothing: metadata, status, and the same spec again.
func TestWithoutIssue(t *testing.T) {
	t.Parallel()
	ns := space(t)
	c := somebody(t, ns, "clerk")
	owner := string(ownerIn(t, ns).UID)
	adopt := `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"owner","uid":"` + owner + `","blockOwnerDeletion":true}]}}`
	for _, patch := range []string{
		`{"metadata":{"labels":{"team":"a"},"annotations":{"note":"b"}}}`,
		adopt,
		`{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"owner","uid":"` + owner + `"}]}}`,
		`{"metadata":{"ownerReferences":null}}`,
		`{"metadata":{"finalizers":["example.org/wait"]}}`,
		`{"metadata":{"finalizers":null}}`,
	} {
		for _, o := range ours(ns) {
			c := c
			if patch == adopt { // what has an owner the garbage collector may delete: see TestOwners
				c = admin
			}
			eventually(t, patch, func() error { return c.Patch(t.Context(), o, client.RawPatch(types.MergePatchType, []byte(patch))) }, allowed)
		}
	}
	status := client.RawPatch(types.MergePatchType, []byte(`{"status":{"revision":7}}`))
	for _, o := range ours(ns) {
		eventually(t, "the status", func() error { return c.Status().Patch(t.Context(), o, status) }, allowed)
		eventually(t, "the same again", func() error {
			u := &unstructured.Unstructured{} // as it is: metav1.Duration would write 10m as 10m0s
			u.SetGroupVersionKind(kindOf(t, o))
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(o), u); err != nil {
				return err
			}
			return c.Update(t.Context(), u)
		}, allowed)
	}
	// Once it is restored, or says so, the operator waits: that takes the right to have it made.
	for _, o := range ours(ns) {
		err := c.Patch(t.Context(), o, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"velero.io/restore-name":"a"}}}`)))
		if !deniedByPolicy(err) {
			t.Errorf("%T: %v", o, err)
		}
	}
}

// TestManyClients has an API server take the clients of as many CAs as the CRD allows, with all else that takes a check, in one request; then
// of as many others in their place; and ends it.
func TestManyClients(t *testing.T) {
	t.Parallel()
	ns := space(t)
	server := given.Server("large", func(s *v1alpha1.APIServerCertificate) {
		s.Namespace, s.Spec.RequestHeaderCARef = ns, &v1alpha1.CAReference{Name: "front-proxy"}
		s.Spec.ServiceAccountKeyRef = &v1alpha1.KeyReference{Name: "sa"}
		s.Spec.Delivery = v1alpha1.DeliverySpec{Mode: v1alpha1.DeliveryManual, Acknowledged: &v1alpha1.AcknowledgedDelivery{SerialNumber: "01"}}
	})
	for i := range 31 { // as large as the CRD allows, which costs CEL the most
		server.Spec.DNSNames = append(server.Spec.DNSNames, fmt.Sprintf("n%02d%s.example", i, strings.Repeat("."+strings.Repeat("x", 60), 3)))
		server.Spec.IPAddresses = append(server.Spec.IPAddresses, fmt.Sprintf("10.1.1.%d", i+1))
	}
	refs, trust := clients("clients")
	server.Spec.ClientCARefs = refs
	own := slices.Concat(trust, []right{
		"trust on clustercas named front-proxy", "issue on clustercas/apiserver named k8s", "trust on serviceaccountkeys named sa",
	})
	begins := func(ctx context.Context, c client.Client) error {
		return c.Create(ctx, server.DeepCopy(), client.DryRunAll)
	}
	needs(t, ns, "begins", begins, slices.Concat(own, []right{"acknowledge on apiservercertificates named large"}))
	create(t, ns, server)
	editor := somebody(t, ns, "editor", "issue on clustercas/apiserver named k8s") // those that are trusted take no trust
	patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"dnsNames":["a.example"]}}`))
	eventually(t, "an edit of its names", func() error { return editor.Patch(t.Context(), server.DeepCopy(), patch, client.DryRunAll) }, allowed)

	other := server.DeepCopy()
	refs, trust = clients("others")
	other.Spec.ClientCARefs, other.Spec.RequestHeaderCARef.Name = refs, "other-proxy"
	other.Spec.CARef.Name, other.Spec.ServiceAccountKeyRef, other.Spec.Delivery.Acknowledged.SerialNumber = "other", &v1alpha1.KeyReference{Name: "other-sa"}, "02"
	becomes := func(ctx context.Context, c client.Client) error {
		return c.Patch(ctx, other.DeepCopy(), client.MergeFrom(server), client.DryRunAll)
	}
	needs(t, ns, "becomes", becomes, slices.Concat(own, trust, []right{
		"trust on clustercas named other-proxy", "issue on clustercas/apiserver named other", "trust on serviceaccountkeys named other-sa",
		"acknowledge on apiservercertificates named large",
	}))
	ends := func(ctx context.Context, c client.Client) error {
		return c.Delete(ctx, server.DeepCopy(), client.DryRunAll)
	}
	needs(t, ns, "ends", ends, own)
}

// clients are references to as many CAs as an API server may take clients of, and the rights that it takes to have them taken.
func clients(name string) (refs []v1alpha1.CAReference, trust []right) {
	for i := range 8 {
		refs = append(refs, v1alpha1.CAReference{Name: fmt.Sprint(name, i)})
		trust = append(trust, right("trust on clustercas named "+refs[i].Name))
	}
	return refs, trust
}

// needs has a request made with all of some rights, which is allowed, and without each of them, which is denied for that.
func needs(t *testing.T, namespace, name string, request request, rights []right) {
	t.Helper()
	c := somebody(t, namespace, name, rights...)
	eventually(t, name+" is allowed", func() error { return request(t.Context(), c) }, allowed)
	for i, missing := range rights {
		c := somebody(t, namespace, fmt.Sprint(name, "-without-", i), slices.Concat(rights[:i], rights[i+1:])...)
		eventually(t, name+" without "+string(missing), func() error { return request(t.Context(), c) }, denies("clusterpki-apiservercertificates", missing))
	}
}

// TestDeletion deletes with each propagation policy, what owns objects of ours and what they own, with Kubernetes' own garbage collector.
func TestDeletion(t *testing.T) {
	for _, how := range []metav1.DeletionPropagation{metav1.DeletePropagationForeground, metav1.DeletePropagationBackground, metav1.DeletePropagationOrphan} {
		t.Run("owner "+string(how), func(t *testing.T) {
			t.Parallel()
			ns := space(t)
			owner := ownedBy(t, ns)
			deleter, err := testenv.Granted(t.Context(), cfg, ns, "deleter", rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"delete"}})
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, "the owner is deleted", func() error { return deleter.Delete(t.Context(), owner, client.PropagationPolicy(how)) }, allowed)
			gone(t, owner)
			for _, o := range ours(ns) {
				if how != metav1.DeletePropagationOrphan {
					gone(t, o)
					continue
				}
				eventually(t, "it stays, without its owner", func() error {
					if err := admin.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
						return err
					}
					if len(o.GetOwnerReferences()) > 0 || o.GetDeletionTimestamp() != nil {
						return errNotYet
					}
					return nil
				}, allowed)
			}
		})
		t.Run("object "+string(how), func(t *testing.T) {
			t.Parallel()
			ns := space(t)
			for _, o := range ours(ns) {
				owned := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "of-" + o.GetName()}}
				if err := admin.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
					t.Fatal(err)
				}
				owned.OwnerReferences = []metav1.OwnerReference{referenceTo(t, o)}
				create(t, ns, owned)
			}
			deleter := somebody(t, ns, "deleter", slices.Concat(endings()...)...)
			for _, o := range ours(ns) {
				eventually(t, "it is deleted", func() error {
					return client.IgnoreNotFound(deleter.Delete(t.Context(), o, client.PropagationPolicy(how)))
				}, allowed)
				gone(t, o)
			}
		})
	}
}

// ownedBy gives the objects of a namespace its ConfigMap as owner, and returns that.
func ownedBy(t *testing.T, namespace string) *corev1.ConfigMap {
	t.Helper()
	owner := ownerIn(t, namespace)
	for _, o := range ours(namespace) {
		testenv.Edit(t, admin, o, func(o client.Object) { o.SetOwnerReferences([]metav1.OwnerReference{referenceTo(t, owner)}) })
	}
	return owner
}

func ownerIn(t *testing.T, namespace string) *corev1.ConfigMap {
	t.Helper()
	var owner corev1.ConfigMap
	if err := admin.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "owner"}, &owner); err != nil {
		t.Fatal(err)
	}
	return &owner
}

// referenceTo is an owner reference that holds up its owner's deletion in the foreground.
func referenceTo(t *testing.T, o client.Object) metav1.OwnerReference {
	t.Helper()
	gvk := kindOf(t, o)
	return metav1.OwnerReference{APIVersion: gvk.GroupVersion().String(), Kind: gvk.Kind, Name: o.GetName(), UID: o.GetUID(), BlockOwnerDeletion: new(true)}
}

func kindOf(t *testing.T, o client.Object) schema.GroupVersionKind {
	t.Helper()
	gvk, err := admin.GroupVersionKindFor(o)
	if err != nil {
		t.Fatal(err)
	}
	return gvk
}

func gone(t *testing.T, o client.Object) {
	t.Helper()
	testenv.Eventually(t, fmt.Sprintf("%T %s is gone", o, o.GetName()), func() error {
		switch err := admin.Get(t.Context(), client.ObjectKeyFromObject(o), o); {
		case apierrors.IsNotFound(err):
			return nil
		case err != nil:
			return err
		default:
			return fmt.Errorf("it is there, with the finalizers %v", o.GetFinalizers())
		}
	})
}

// TestNamespaceEnds deletes a namespace: what is in it goes with it, whoever deletes it, and that takes no right beside those of RBAC.
func TestNamespaceEnds(t *testing.T) {
	t.Parallel()
	ns := space(t)
	c := somebody(t, ns, "clerk")
	for _, o := range ours(ns) {
		eventually(t, "while the namespace stays", func() error { return c.Delete(t.Context(), o) }, deniedByPolicy)
		testenv.Edit(t, admin, o, func(o client.Object) { o.SetFinalizers([]string{"example.org/wait"}) })
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}
	if err := admin.Delete(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	for _, o := range ours(ns) {
		eventually(t, "while it ends", func() error { return c.Delete(t.Context(), o) }, allowed)
		testenv.Edit(t, admin, o, func(o client.Object) { o.SetFinalizers(nil) })
		gone(t, o)
	}
	gone(t, namespace)
}

// TestDeleteNames checks what a DELETE is asked for where the request has no name, and who need not be asked.
func TestDeleteNames(t *testing.T) {
	t.Parallel()
	ns := space(t)
	clerk := somebody(t, ns, "clerk")
	for i, o := range ours(ns) {
		all := func(c client.Client) error {
			return c.DeleteAllOf(t.Context(), o, client.InNamespace(ns), client.DryRunAll)
		}
		rights := endings()[i]
		eventually(t, "a collection", func() error { return all(clerk) }, func(err error) bool {
			return deniedByPolicy(err) && strings.Contains(err.Error(), "you need the verb "+string(rights[0]))
		})
		owner := somebody(t, ns, fmt.Sprint("owner", i), rights...)
		eventually(t, "a collection of one's own", func() error { return all(owner) }, allowed)
	}

	// kube-controller-manager without service accounts of its own collects garbage under this name.
	role := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "clerk"}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "collector"}, RoleRef: role,
		Subjects: []rbacv1.Subject{
			{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "system:kube-controller-manager"},
			{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "system:kube-controller-manager-2"},
		},
	}
	create(t, ns, binding)
	for _, o := range ours(ns) {
		remove := func(user string) func() error {
			c := must(testenv.Client(testenv.AsUser(cfg, user)))(t)
			return func() error { return c.Delete(t.Context(), o, client.DryRunAll) }
		}
		eventually(t, "the garbage collector", remove("system:kube-controller-manager"), allowed)
		eventually(t, "another", remove("system:kube-controller-manager-2"), deniedByPolicy)
	}
}

// TestGeneratedName creates a ClusterCA whose name the API server makes: that one is asked for.
func TestGeneratedName(t *testing.T) {
	t.Parallel()
	ns := space(t)
	c := somebody(t, ns, "clerk")
	generated := func() error {
		o := given.CA("")
		o.Namespace, o.GenerateName = ns, "made-"
		return c.Create(t.Context(), o, client.DryRunAll)
	}
	eventually(t, "its name is in the message", generated, denies("clusterpki-clustercas", "issue on clustercas/ca named made-"))
}

// TestFleet applies 200 credentials in one server-side apply, as a node operator; then the same again, and then with an edit of each.
func TestFleet(t *testing.T) {
	t.Parallel()
	ns := space(t)
	if _, err := testenv.Bound(t.Context(), cfg, ns, "operator", rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "clusterpki-node-operator"}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "fleet.yaml")
	write := func(validity string) {
		var text strings.Builder
		for i := range 200 {
			fmt.Fprintf(&text, "---\n{apiVersion: clusterpki.io/v1alpha1, kind: NodeCredential, metadata: {name: fleet%d, namespace: %s}, "+
				"spec: {caRef: {name: k8s}, hostName: fleet%d, role: Kubelet, validity: %s}}\n", i, ns, i, validity)
		}
		if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, validity := range []string{"8760h", "8760h", "4380h"} {
		write(validity)
		eventually(t, "200 credentials are applied", func() error {
			_, _, err := plane.Kubectl(t.Context(), "apply", "--server-side", "--as=operator@"+ns, "-f", file)
			return err
		}, allowed)
	}
	var all v1alpha1.NodeCredentialList
	if err := admin.List(t.Context(), &all, client.InNamespace(ns)); err != nil {
		t.Fatal(err)
	}
	applied := 0
	if err := meta.EachListItem(&all, func(o runtime.Object) error {
		if c := o.(*v1alpha1.NodeCredential); c.Spec.Validity.Hours() == 4380 {
			applied++
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if applied != 200 {
		t.Errorf("%d are there", applied)
	}
}

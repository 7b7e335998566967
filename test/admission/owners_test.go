package admission_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/test/testenv"
)

// TestOwners has somebody without issue try to have a ClusterCA deleted by Kubernetes' own garbage collector, and then what goes with an
// owner pass for deleted.
func TestOwners(t *testing.T) {
	t.Parallel()
	ns := space(t)
	issue := right("issue on clustercas/ca named k8s")
	denied := denies("clusterpki-clustercas", issue)
	clerk, pki := somebody(t, ns, "clerk"), somebody(t, ns, "pki", issue)
	collector := collectorIn(t, ns, "clerk")
	k8s, owner := ours(ns)[0], ownerIn(t, ns)
	legal := referenceTo(t, owner)
	with := func(c client.Client, change func(o client.Object), opts ...client.PatchOption) func() error {
		return func() error {
			if err := admin.Get(t.Context(), client.ObjectKeyFromObject(k8s), k8s); err != nil {
				return err
			}
			now := k8s.DeepCopyObject().(client.Object)
			change(now)
			return c.Patch(t.Context(), now, client.MergeFrom(k8s), opts...)
		}
	}
	owners := func(refs ...metav1.OwnerReference) func(client.Object) {
		return func(o client.Object) { o.SetOwnerReferences(refs) }
	}
	finalizers := func(names ...string) func(client.Object) { return func(o client.Object) { o.SetFinalizers(names) } }
	both := func(o client.Object) { owners()(o); finalizers()(o) }

	eventually(t, "an owner", with(clerk, owners(legal)), denied)
	eventually(t, "an owner, by who may delete the ClusterCA", with(pki, owners(legal)), allowed)
	renamed, reborn, other := legal, legal, legal
	renamed.Name, reborn.UID, other.Kind = "another", "another", "Secret"
	for what, refs := range map[string][]metav1.OwnerReference{
		"another name": {renamed}, "another UID": {reborn}, "another kind": {other}, "one more": {legal, reborn},
	} {
		eventually(t, what, with(clerk, owners(refs...), client.DryRunAll), denied)
	}
	eventually(t, "none, while it stays", with(clerk, owners(), client.DryRunAll), allowed)
	eventually(t, "finalizers", with(clerk, finalizers("example.org/a", "example.org/b")), allowed)

	if err := admin.Delete(t.Context(), owner); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the garbage collector deletes it", func() error {
		if err := admin.Get(t.Context(), client.ObjectKeyFromObject(k8s), k8s); err != nil {
			return err
		}
		if k8s.GetDeletionTimestamp() == nil {
			return errNotYet
		}
		return nil
	}, allowed)
	eventually(t, "a label", with(clerk, func(o client.Object) { o.SetLabels(map[string]string{"a": "b"}) }), allowed)
	eventually(t, "one of two finalizers", with(clerk, finalizers("example.org/a")), allowed)
	for what, change := range map[string]func(client.Object){"its owner": owners(), "its last finalizer": finalizers(), "both": both} {
		eventually(t, what+" is taken off", with(clerk, change, client.DryRunAll), denied)
		eventually(t, what+" is taken off with issue", with(pki, change, client.DryRunAll), allowed)
		eventually(t, what+" is taken off by the garbage collector", with(collector, change, client.DryRunAll), allowed)
	}
	if err := admin.Delete(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "while the namespace ends", with(clerk, both), allowed)
	gone(t, k8s)
}

// collectorIn is the garbage collector of a kube-controller-manager without service accounts of its own, with the rights of a Role.
func collectorIn(t *testing.T, namespace, role string) client.Client {
	t.Helper()
	const user = "system:kube-controller-manager"
	create(t, namespace, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "collector"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}},
	})
	return must(testenv.Client(testenv.AsUser(cfg, user)))(t)
}

package chart_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/test/given"
	"clusterpki.io/operator/test/testenv"
)

// TestDenied installs a release of another name on a real API server, and gives people its roles: its policies deny what a role lacks the
// verb for, and name the release's role that has it. Without the policies, whoever may write the objects may.
func TestDenied(t *testing.T) {
	c := newCluster(t)
	c.restrictedNamespace(system)
	c.namespace("prod")
	if err := c.tryInstall("mine", system, chartDir(), nil); err != nil {
		t.Fatal(err)
	}
	c.established()
	editor, nodes, admin := c.bound("mine-clusterpki-editor"), c.bound("mine-clusterpki-node-operator"), c.bound("mine-clusterpki-pki-admin")
	byEtcd := given.Kubelet("new", func(n *v1alpha1.NodeCredential) { n.Spec.CARef.Name = "etcd" })
	c.answers(editor, given.CA("new"), "you need the verb issue on clustercas/ca named new", "mine-clusterpki-pki-admin")
	c.answers(editor, given.Server("new"), "you need the verb issue on clustercas/apiserver named k8s", "mine-clusterpki-pki-admin")
	c.answers(editor, given.Kubelet("new"), "you need the verb issue on clustercas/kubelet named k8s", "mine-clusterpki-node-operator")
	c.answers(nodes, byEtcd, "you need the verb issue on clustercas/kubelet named etcd")
	c.answers(nodes, given.Kubelet("new"))
	for _, o := range []client.Object{given.CA("new"), given.Server("new"), given.Kubelet("new")} {
		c.answers(admin, o)
	}
	for _, kind := range []string{"validatingadmissionpolicybindings", "validatingadmissionpolicies"} {
		c.kubectl("delete", kind, "-l", "app.kubernetes.io/instance=mine")
	}
	c.answers(editor, given.CA("new"))
}

// bound is somebody who has a ClusterRole in namespace prod.
func (c *cluster) bound(role string) client.Client {
	c.t.Helper()
	somebody, err := testenv.Bound(c.t.Context(), c.Config, "prod", role, rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role})
	if err != nil {
		c.t.Fatal(err)
	}
	return somebody
}

// answers waits until somebody's request for an object is denied by a policy in these words, or allowed where there are none: roles and
// policies count a moment after they are written.
func (c *cluster) answers(who client.Client, o client.Object, words ...string) {
	c.t.Helper()
	o.SetNamespace("prod")
	testenv.Eventually(c.t, fmt.Sprintf("%T: %q", o, words), func() error {
		err := who.Create(c.t.Context(), o.DeepCopyObject().(client.Object), client.DryRunAll)
		if len(words) == 0 {
			return err
		}
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "ValidatingAdmissionPolicy 'mine-clusterpki-") {
			return errors.Join(errors.New("no policy denies it"), err)
		}
		for _, want := range words {
			if !strings.Contains(err.Error(), want) {
				return fmt.Errorf("the denial lacks %q: %w", want, err)
			}
		}
		return nil
	})
}

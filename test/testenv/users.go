package testenv

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Namespace makes one for a test, whose name begins so.
func Namespace(t testing.TB, api client.Client, prefix string) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: prefix}}
	if err := api.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	return ns.Name
}

// Granted makes somebody whose rights in a namespace are these alone. cfg is the administrator's.
func Granted(ctx context.Context, cfg *rest.Config, namespace, name string, rules ...rbacv1.PolicyRule) (client.WithWatch, error) {
	admin, err := Client(cfg)
	if err != nil {
		return nil, err
	}
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Rules: rules}
	if err := admin.Create(ctx, role); err != nil {
		return nil, fmt.Errorf("make the role %s: %w", name, err)
	}
	return Bound(ctx, cfg, namespace, name, rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name})
}

// Bound makes somebody who has a role in a namespace.
func Bound(ctx context.Context, cfg *rest.Config, namespace, name string, role rbacv1.RoleRef) (client.WithWatch, error) {
	admin, err := Client(cfg)
	if err != nil {
		return nil, err
	}
	user := name + "@" + namespace
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, RoleRef: role,
		Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}},
	}
	if err := admin.Create(ctx, binding); err != nil {
		return nil, fmt.Errorf("bind %s: %w", name, err)
	}
	return Client(AsUser(cfg, user))
}

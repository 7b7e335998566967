package gitops_test

import (
	"os"
	"path/filepath"
	"regexp"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/test/testenv"
)

// rights gives a tool's ServiceAccount what a page says that it needs in namespace prod, and no more but a ConfigMap that is in Git beside
// our objects.
func (c *cluster) rights(page string) {
	c.t.Helper()
	c.namespace("prod")
	text, err := os.ReadFile(filepath.Join(testenv.Root(), "docs", page))
	if err != nil {
		c.t.Fatal(err)
	}
	var account *unstructured.Unstructured
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		for _, doc := range regexp.MustCompile(`(?m)^---$`).Split(block[1], -1) {
			u := &unstructured.Unstructured{}
			if err := yaml.UnmarshalStrict([]byte(doc), &u.Object); err != nil {
				c.t.Fatal(err)
			}
			c.apply(u)
			if u.GetKind() == "ServiceAccount" {
				account = u
			}
		}
	}
	if account == nil {
		c.t.Fatalf("docs/%s has no ServiceAccount", page)
	}
	subject := rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: account.GetNamespace(), Name: account.GetName()}
	beside := metav1.ObjectMeta{Namespace: "prod", Name: "beside"}
	c.apply(&rbacv1.Role{
		ObjectMeta: beside,
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get", "list", "watch", "create", "patch", "update", "delete"}}},
	}, &rbacv1.RoleBinding{ObjectMeta: beside, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "beside"}, Subjects: []rbacv1.Subject{subject}})
}

func (c *cluster) namespace(name string) {
	c.t.Helper()
	if err := c.api.Create(c.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil && !apierrors.IsAlreadyExists(err) {
		c.t.Fatal(err)
	}
}

// impersonates has Argo CD synchronize as the ServiceAccounts of the project that docs/argocd.md shows. Its own is the administrator, as
// in its manifests.
func (c *cluster) impersonates() {
	c.t.Helper()
	shown := c.documented("argocd.md", "AppProject", "default")
	project := shown.DeepCopy()
	testenv.Edit(c.t, c.api, project, func(u *unstructured.Unstructured) { u.Object["spec"] = shown.Object["spec"] })
	c.apply(&rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "argocd-application-controller"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "argocd", Name: "argocd-application-controller"}},
	})
	c.rights("argocd.md")
}

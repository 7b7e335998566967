package admission_test

import (
	"regexp"
	"slices"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/test/testenv"
)

// aggregated waits until Kubernetes' own roles hold what ours add.
func aggregated(t *testing.T) {
	t.Helper()
	for _, name := range []string{"view", "edit", "admin"} {
		testenv.Eventually(t, name+" has taken ours up", func() error {
			var role rbacv1.ClusterRole
			if err := admin.Get(t.Context(), client.ObjectKey{Name: name}, &role); err != nil {
				return err
			}
			if !slices.ContainsFunc(role.Rules, func(r rbacv1.PolicyRule) bool { return slices.Contains(r.APIGroups, v1alpha1.GroupVersion.Group) }) {
				return errNotYet
			}
			return nil
		})
	}
}

var missing = regexp.MustCompile(`you need the verb (\w+) on (\S+) named`)

// answer is the cell for what the API server answered: "" for what is none.
func answer(err error) string {
	switch {
	case err == nil:
		return "yes"
	case deniedByPolicy(err):
		if m := missing.FindStringSubmatch(err.Error()); m != nil {
			return "no, `" + m[1] + "`"
		}
		return ""
	case apierrors.IsForbidden(err):
		return "no"
	default:
		return ""
	}
}

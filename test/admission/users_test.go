package admission_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/test/testenv"
)

// right is one that a policy asks for, as its message says it: 'issue on clustercas/kubelet named k8s'.
type right string

// rule is what grants it.
func (r right) rule() rbacv1.PolicyRule {
	verb, rest, _ := strings.Cut(string(r), " on ")
	resource, name, _ := strings.Cut(rest, " named ")
	group := v1alpha1.GroupVersion.Group
	if resource == "secrets" {
		group = ""
	}
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{resource}, ResourceNames: []string{name}, Verbs: []string{verb}}
}

// writes are the verbs of RBAC that everybody has here: it is not they that a policy asks for.
func writes() rbacv1.PolicyRule {
	rule := rbacv1.PolicyRule{
		APIGroups: []string{v1alpha1.GroupVersion.Group},
		Verbs:     []string{"create", "get", "list", "update", "patch", "delete", "deletecollection"},
	}
	for _, k := range v1alpha1.Kinds() {
		rule.Resources = append(rule.Resources, k.Plural, k.Plural+"/status")
	}
	return rule
}

// may makes somebody who may write every object of ours in a namespace, and has these rights.
func may(ctx context.Context, namespace, name string, rights ...right) (client.Client, error) {
	rules := []rbacv1.PolicyRule{writes()}
	for _, r := range rights {
		rules = append(rules, r.rule())
	}
	return testenv.Granted(ctx, cfg, namespace, name, rules...)
}

// somebody is may, for a test.
func somebody(t *testing.T, namespace, name string, rights ...right) client.Client {
	t.Helper()
	c, err := may(t.Context(), namespace, name, rights...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// deniedByPolicy says whether it was a policy that denied, and not RBAC.
func deniedByPolicy(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), "ValidatingAdmissionPolicy")
}

// eventually repeats a request until the API server knows of the rights that were given before it.
func eventually(t *testing.T, what string, request func() error, want func(error) bool) {
	t.Helper()
	testenv.Eventually(t, what, func() error {
		err := request()
		if want(err) {
			return nil
		}
		if apierrors.IsInvalid(err) {
			t.Fatal(err)
		}
		return errors.Join(errors.New("the answer is another"), err)
	})
}

func allowed(err error) bool { return err == nil }

// denies says whether a policy denied for want of a right, in its own words.
func denies(policy string, r right) func(error) bool {
	return func(err error) bool {
		return apierrors.IsForbidden(err) &&
			strings.Contains(err.Error(), "ValidatingAdmissionPolicy '"+policy+"' with binding '"+policy+"' denied request: you need the verb "+string(r))
	}
}

var errNotYet = errors.New("not yet")

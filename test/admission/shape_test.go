package admission_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/test/testenv"
)

// policy reads a policy of config/admission.
func policy(t *testing.T, file string) admissionv1.ValidatingAdmissionPolicy {
	t.Helper()
	f, err := os.Open(filepath.Join(testenv.Root(), "config", "admission", file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var p admissionv1.ValidatingAdmissionPolicy
	if err := utilyaml.NewYAMLOrJSONDecoder(f, 4096).Decode(&p); err != nil {
		t.Fatal(err)
	}
	return p
}

// specOf is the schema of a kind's spec.
func specOf(t *testing.T, plural string) apiextensionsv1.JSONSchemaProps {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(testenv.Root(), "config", "crd", "bases", "clusterpki.io_"+plural+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(text, &crd); err != nil {
		t.Fatal(err)
	}
	return crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
}

// roles are those that a NodeCredential may have.
func roles(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, value := range specOf(t, "nodecredentials").Properties["role"].Enum {
		out = append(out, strings.Trim(string(value.Raw), `"`))
	}
	if len(out) < 10 {
		t.Fatalf("the CRD has the roles %v", out)
	}
	return out
}

// TestUnrolled counts: a policy checks as many CAs as may come and go with one request, and no more than CEL pays for.
func TestUnrolled(t *testing.T) {
	const affordable, perExpression = 28, 2
	for _, file := range []string{"nodecredential.yaml", "apiservercertificate.yaml", "clusterca.yaml", "serviceaccountkey.yaml"} {
		checks := 0
		for _, v := range policy(t, file).Spec.Validations {
			n := strings.Count(v.Expression, ".check(")
			if checks += n; n > perExpression || strings.Contains(v.Expression, ".all(") || strings.Contains(v.Expression, ".exists(") {
				t.Errorf("%s: an expression has %d checks, or goes through a list: %s", file, n, v.Expression)
			}
			if v.Reason == nil || v.MessageExpression == "" || v.Message == "" {
				t.Errorf("%s: a denial without its reason or its words: %s", file, v.Expression)
			}
		}
		if checks == 0 || checks > affordable {
			t.Errorf("%s has %d checks", file, checks)
		}
	}
	unrolled := slices.DeleteFunc(policy(t, "apiservercertificate.yaml").Spec.Validations, func(v admissionv1.Validation) bool {
		return !strings.Contains(v.Expression, "variables.trusts[")
	})
	const frontProxies = 1
	if most := specOf(t, "apiservercertificates").Properties["clientCARefs"].MaxItems; most == nil || 2*(int(*most)+frontProxies) != len(unrolled) {
		t.Errorf("the CRD allows %v client CAs, and the policy checks %d that come and go", most, len(unrolled))
	}
}

// TestSameWords compares what the policies have in common.
func TestSameWords(t *testing.T) {
	of := func(file, name string) string {
		for _, v := range policy(t, file).Spec.Variables {
			if v.Name == name {
				return v.Expression
			}
		}
		return ""
	}
	all := []string{"nodecredential.yaml", "apiservercertificate.yaml", "clusterca.yaml", "serviceaccountkey.yaml"}
	cas := all[2:] // what holds keys, and is absent rather than deleted where the garbage collector takes it
	for name, files := range map[string][]string{
		"collected": all, "freed": all, "spec": all, "before": all, "acknowledges": all[:3], "marks": all, "owners": all, "ownersBefore": all, "adopts": all,
		"changes": all[:2], "issues": all[:2], "renews": all[:2], "name": cas, "fields": cas, "ends": cas,
	} {
		for _, file := range files {
			if diff := cmp.Diff(of(files[0], name), of(file, name)); diff != "" || of(file, name) == "" {
				t.Errorf("%s of %s is another: %s", name, file, diff)
			}
		}
	}
}

// TestFieldsAreListed compares the fields of which docs/security.md says what a change takes with those that there are.
func TestFieldsAreListed(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(testenv.Root(), "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile("`([^`]+)`")
	for kind, plural := range map[string]string{nodecred: "nodecredentials", asc: "apiservercertificates", sak: "serviceaccountkeys"} {
		var listed, want []string
		for _, row := range regexp.MustCompile(`(?m)^\| `+kind+` \| ([^|]*) \|`).FindAllStringSubmatch(string(text), -1) {
			for _, m := range code.FindAllStringSubmatch(row[1], -1) {
				listed = append(listed, m[1])
			}
		}
		for field, of := range specOf(t, plural).Properties {
			if field != "delivery" && field != "renewal" {
				want = append(want, field)
				continue
			}
			for part := range of.Properties {
				want = append(want, field+"."+part)
			}
		}
		slices.Sort(listed)
		slices.Sort(want)
		if diff := cmp.Diff(want, listed); diff != "" {
			t.Errorf("of %s are listed (-want +got):\n%s", kind, diff)
		}
	}
}

// minting are the verbs that the policies ask for.
var minting = []string{"issue", "trust", "rotate", "approve", "acknowledge", "renew"}

// TestShippedRoles looks at every ClusterRole that is installed: the PKI admin's holds issue for every role that there is, and no role
// that joins one of Kubernetes' holds any of these verbs, nor does what Kubernetes' own roles become.
func TestShippedRoles(t *testing.T) {
	aggregated(t)
	var all rbacv1.ClusterRoleList
	if err := admin.List(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	issues := []string{}
	for _, role := range all.Items {
		holds := map[string]bool{}
		for _, rule := range role.Rules {
			for _, verb := range rule.Verbs {
				holds[verb] = holds[verb] || slices.Contains(rule.APIGroups, v1alpha1.GroupVersion.Group)
			}
			if role.Name == "clusterpki-pki-admin" && slices.Contains(rule.Verbs, "issue") {
				issues = append(issues, rule.Resources...)
			}
		}
		joins := slices.ContainsFunc([]string{"view", "edit", "admin"}, func(r string) bool {
			return role.Name == r || role.Labels["rbac.authorization.k8s.io/aggregate-to-"+r] != ""
		})
		for _, verb := range minting {
			if joins && holds[verb] {
				t.Errorf("ClusterRole %s holds %s", role.Name, verb)
			}
		}
	}
	want := []string{"clusterpkis", "clusterpkis/nodes", "serviceaccountkeys", "clustercas/ca", "clustercas/apiserver"}
	for _, role := range roles(t) {
		want = append(want, "clustercas/"+strings.ToLower(role))
	}
	if diff := cmp.Diff(want, issues); diff != "" {
		t.Errorf("the PKI admin issues (-want +got):\n%s", diff)
	}
}

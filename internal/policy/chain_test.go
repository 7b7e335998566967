package policy_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/policy"
	"clusterpki.io/operator/internal/stall"
)

var errUnread = errors.New("no connection")

// specs are ClusterCAs, each with its parent: "k8s<root". One without a policy has a "-" before it, and "!" cannot be read.
func specs(text string) func(string) (*policy.Spec, error) {
	return func(name string) (*policy.Spec, error) {
		for one := range strings.FieldsSeq(text) {
			ca, parent, _ := strings.Cut(one, "<")
			switch ca {
			case "!" + name:
				return nil, errUnread
			case "-" + name:
				return &policy.Spec{Parent: parent}, nil
			case name:
				return &policy.Spec{Policy: &v1alpha1.CAPolicy{Roles: []v1alpha1.PolicyRole{"APIServer", "CA"}}, Parent: parent}, nil
			}
		}
		return nil, nil
	}
}

// TestChain: a CA is bound by those that its spec and theirs name, and by those below which its certificates are. Of these none may be missing.
func TestChain(t *testing.T) {
	for name, tc := range map[string]struct {
		specs, above string
		want         string // "-" before one without a policy, "?" before one that is missing
		allowed      bool   // a kubelet
	}{
		"a root":                            {"-k8s", "", "-k8s", true},
		"as specs and certificates say":     {"-k8s<mid -mid<root root", "mid root", "-k8s -mid root", false},
		"no certificate yet":                {"-k8s<mid -mid<root root", "", "-k8s -mid root", false},
		"the spec names no parent any more": {"-k8s root", "root", "-k8s root", false},
		"it names another one":              {"-k8s<new -new root", "root", "-k8s -new root", false},
		"its parent's names none any more":  {"-k8s<mid -mid root", "mid root", "-k8s -mid root", false},
		"the parent is gone":                {"-k8s<root", "root", "-k8s ?root", false},
		"the parent is gone from both":      {"-k8s", "root", "-k8s ?root", false},
		"one further above is gone":         {"-k8s<mid -mid<root", "mid root", "-k8s -mid ?root", false},
		"a parent that has signed nothing":  {"-k8s<soon", "", "-k8s", true},
		"neither above has a policy":        {"-k8s<mid -mid -old", "mid old", "-k8s -mid -old", true},
		"the CA itself is not there":        {"root", "root", "", true},
		"parents that go round":             {"-k8s<mid -mid<k8s", "mid k8s", "-k8s -mid", true},
	} {
		chain, err := policy.Chain("k8s", strings.Fields(tc.above), specs(tc.specs))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var got []string
		for _, a := range chain {
			switch {
			case a.Missing:
				got = append(got, "?"+a.Name)
			case a.Policy == nil:
				got = append(got, "-"+a.Name)
			default:
				got = append(got, a.Name)
			}
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
		denied := policy.Denied(chain, policy.Asked{Role: "Kubelet"})
		if (denied == nil) != tc.allowed || denied != nil && !stall.Is(denied) {
			t.Errorf("%s: %v", name, denied)
		}
		if denied != nil && strings.Contains(tc.want, "?") && !strings.Contains(denied.Error(), `ClusterCA "root" does not exist any more`) {
			t.Errorf("%s: the message is %q", name, denied)
		}
	}
	for _, text := range []string{"!k8s", "k8s<mid !mid", "k8s !root"} {
		if _, err := policy.Chain("k8s", []string{"root"}, specs(text)); !errors.Is(err, errUnread) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestAbove: who may not sign CAs does not sign one across either.
func TestAbove(t *testing.T) {
	for name, tc := range map[string]struct {
		above string
		role  v1alpha1.PolicyRole
		want  string
	}{
		"below nothing":  {"", "CA", ""},
		"no policy":      {"free", "CA", ""},
		"allowed":        {"root", "CA", ""},
		"not allowed":    {"free root", "Kubelet", `ClusterCA "root" allows`},
		"missing":        {"gone", "CA", `ClusterCA "gone" does not exist any more`},
		"one of several": {"root gone", "CA", `ClusterCA "gone"`},
	} {
		chain, err := policy.Above(strings.Fields(tc.above), specs("-free root"))
		if err != nil {
			t.Fatal(err)
		}
		err = policy.Denied(chain, policy.Asked{Role: tc.role, Across: true})
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	root := []policy.Authority{{Name: "root", Policy: &v1alpha1.CAPolicy{Roles: []v1alpha1.PolicyRole{"APIServer"}}}}
	if err := policy.Denied(root, policy.Asked{Role: "CA", Across: true}); err == nil || !strings.HasPrefix(err.Error(), "spec.rotation.crossSigning") {
		t.Errorf("%v", err)
	}
}

// TestParents end, whatever specs say.
func TestParents(t *testing.T) {
	for text, want := range map[string]string{
		"":                "k8s/",
		"k8s<root":        "k8s root/",
		"k8s<mid mid<top": "k8s mid top/",
		"k8s<k8s":         "k8s/k8s",
		"k8s<a a<b b<a":   "k8s a b/a",
	} {
		of := specs(text)
		names, again, err := policy.Parents("k8s", func(name string) (string, error) {
			spec, err := of(name)
			if spec == nil {
				return "", err
			}
			return spec.Parent, nil
		})
		if got := strings.Join(names, " ") + "/" + again; got != want || err != nil {
			t.Errorf("%s: %s, %v, want %s", text, got, err, want)
		}
	}
	names, _, err := policy.Parents("0", func(name string) (string, error) { return name + "0", nil })
	if err != nil || len(names) != 64 || slices.Contains(names, "") {
		t.Errorf("%d names, %v", len(names), fmt.Sprint(err))
	}
}

package pki

import (
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"sigs.k8s.io/yaml"

	"clusterpki.io/operator/config/crd"
)

// rulesSaying are the parts of the CRDs' rules that a pattern finds, each once, and how many rules have one.
func rulesSaying(t *testing.T, pattern string) (parts []string, rules int) {
	t.Helper()
	found := map[string]bool{}
	var walk func(value any)
	walk = func(value any) {
		switch v := value.(type) {
		case []any:
			for _, one := range v {
				walk(one)
			}
		case map[string]any:
			if rule, ok := v["rule"].(string); ok {
				if m := regexp.MustCompile(pattern).FindStringSubmatch(rule); m != nil {
					found[m[1]] = true
					rules++
				}
			}
			for _, one := range v {
				walk(one)
			}
		}
	}
	for _, path := range crd.Paths() {
		text, err := fs.ReadFile(crd.Files, path)
		if err != nil {
			t.Fatal(err)
		}
		var one map[string]any
		if err := yaml.Unmarshal(text, &one); err != nil {
			t.Fatal(err)
		}
		walk(one)
	}
	return slices.Sorted(maps.Keys(found)), rules
}

// TestNamesAsAdmissionHasThem: the rule of the CRDs is the same, for each character there is. It is that of CommonName and Organizations of
// a CA and of role Custom, and of customGroups.
func TestNamesAsAdmissionHasThem(t *testing.T) {
	patterns, rules := rulesSaying(t, `^size\(self\) == 0 \|\| self\.matches\('(\^\[!-~À.*)'\)$`)
	if len(patterns) != 1 || rules != 8 { // a ClusterPKI has customGroups for each of its CAs
		t.Fatalf("%d rules of names have the patterns %q", rules, patterns)
	}
	rule := regexp.MustCompile(patterns[0])
	check := func(name string) {
		if ours, theirs := CheckName(name) == nil, rule.MatchString(name); ours != theirs {
			t.Errorf("%q: we say %v, admission %v", name, ours, theirs)
		}
	}
	for r := rune(0); r <= unicode.MaxRune; r++ {
		check("a" + string(r) + "b")
	}
	for _, name := range []string{"", " ", " a", "a ", "a  b", "a b c"} {
		check(name)
	}
}

// TestReservedAsAdmissionHasIt: the CRDs refuse the same prefixes.
func TestReservedAsAdmissionHasIt(t *testing.T) {
	prefixes, rules := rulesSaying(t, `^!self\.matches\('\^\((.*)\):'\)$`)
	if len(prefixes) != 1 || rules != 8 {
		t.Fatalf("%d rules of prefixes have %q", rules, prefixes)
	}
	var ours []string
	for _, reserved := range reservedPrefixes {
		ours = append(ours, strings.TrimSuffix(reserved.prefix, ":"))
	}
	if theirs := strings.Split(prefixes[0], "|"); !slices.Equal(slices.Sorted(slices.Values(theirs)), slices.Sorted(slices.Values(ours))) {
		t.Errorf("the CRDs refuse %q, and we %q", theirs, ours)
	}
}

// TestIdentitiesAsAdmissionHasThem: the CRDs refuse, as a hostName, each identity that a host could be called like.
func TestIdentitiesAsAdmissionHasThem(t *testing.T) {
	lists, rules := rulesSaying(t, `^!\(self in \[(.*)\]\)$`)
	if len(lists) != 1 || rules != 5 { // and three lists of hosts
		t.Fatalf("%d rules of identities have %q", rules, lists)
	}
	theirs := strings.Split(strings.NewReplacer("'", "", " ", "").Replace(lists[0]), ",")
	ours := slices.Clone(identities)
	for _, r := range roles {
		for _, name := range append(slices.Clone(r.Organizations), r.CommonName) {
			if name != "" && !strings.Contains(name, ":") {
				ours = append(ours, name)
			}
		}
	}
	if slices.Sort(ours); !slices.Equal(theirs, ours) {
		t.Errorf("the CRDs refuse %q, and we %q", theirs, ours)
	}
}

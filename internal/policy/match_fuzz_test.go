package policy

import (
	"regexp"
	"strings"
	"testing"
)

// FuzzMatch compares patterns of spec.policy.hosts with what a regular expression says of the same.
func FuzzMatch(f *testing.F) {
	for _, seed := range [][2]string{
		{"*.prod.example", "node1.prod.example"}, {"*.prod.example", "a.b.prod.example"}, {"*.prod.example", ".prod.example"}, {"*", "k8s-node1"},
		{"k8s-*", "k8s-master"}, {"k8s-*", "k8s-"}, {"10.0.*.7", "10.0.10.7"}, {"*.prod.example", "*.prod.example"}, {"a.prod.example", "*.prod.example"},
		{"**", "a"}, {"*-*", "a-b-c"}, {"", ""},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if len(pattern) > 253 || len(name) > 253 {
			return
		}
		var expression strings.Builder // byte for byte: one for each rune of UTF-8 that is none would be another
		for i, part := range strings.Split(latin(pattern), "*") {
			if i > 0 {
				expression.WriteString("[^.]+")
			}
			expression.WriteString(regexp.QuoteMeta(part))
		}
		want := regexp.MustCompile(`(?s)\A` + expression.String() + `\z`).MatchString(latin(name))
		if got := match(pattern, name); got != want {
			t.Errorf("%q and %q: %v", pattern, name, got)
		}
		if !strings.Contains(pattern, "*") && match(pattern, name) != (pattern == name) {
			t.Errorf("%q stands for %q", pattern, name)
		}
	})
}

// latin is a text whose runes are the bytes of another.
func latin(text string) string {
	var b strings.Builder
	for i := range len(text) {
		b.WriteRune(rune(text[i]))
	}
	return b.String()
}

package agents_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"

	"clusterpki.io/operator/internal/agents"
)

// TestAccountName gives each host of each namespace a name of its own, which Kubernetes takes.
func TestAccountName(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 63)
	seen := map[string]bool{}
	for _, of := range [][2]string{
		{"prod", "k8s-node1"}, {"prod", "k8s-node1.prod"}, {"k8s-node1", "prod"},
		{long, strings.Repeat(long+".", 3) + long}, {long, strings.Repeat(long+".", 3) + strings.Repeat("b", 62)},
	} {
		name := agents.AccountName(of[0], of[1])
		if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
			t.Errorf("%q: %v", name, problems)
		}
		if seen[name] {
			t.Errorf("%q is the name of two", name)
		}
		seen[name] = true
	}
}

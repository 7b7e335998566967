package controller

import (
	"testing"

	"clusterpki.io/operator/internal/agents"
)

// TestOptions refuses namespaces that must not be the same.
func TestOptions(t *testing.T) {
	for name, tc := range map[string]struct {
		Options
		authority string // "" where they are refused
		agents    string
	}{
		"all namespaces":                {Options{OwnNamespace: "own"}, DefaultAuthorityNamespace, agents.DefaultNamespace},
		"one namespace":                 {Options{OwnNamespace: "own", Namespace: "prod"}, "own-authority", "own-agents"},
		"one namespace, from outside":   {Options{Namespace: "prod"}, "prod-authority", "prod-agents"},
		"the authority's is chosen":     {Options{AuthorityNamespace: "keys"}, "keys", agents.DefaultNamespace},
		"the authority's is its own":    {Options{OwnNamespace: "own", AuthorityNamespace: "own"}, "", ""},
		"the authority's is served":     {Options{OwnNamespace: "own", AuthorityNamespace: "prod", Namespace: "prod"}, "", ""},
		"its own namespace is served":   {Options{OwnNamespace: "own", Namespace: "own"}, "", ""},
		"the agents' is chosen":         {Options{AgentsNamespace: "hosts"}, DefaultAuthorityNamespace, "hosts"},
		"the agents' is its own":        {Options{OwnNamespace: "own", AgentsNamespace: "own"}, "", ""},
		"the agents' is served":         {Options{OwnNamespace: "own", AgentsNamespace: "prod", Namespace: "prod"}, "", ""},
		"the agents' holds the keys":    {Options{AuthorityNamespace: "keys", AgentsNamespace: "keys"}, "", ""},
		"its own is the agents' name":   {Options{OwnNamespace: agents.DefaultNamespace}, "", ""},
		"its own is the default's name": {Options{OwnNamespace: DefaultAuthorityNamespace}, "", ""},
	} {
		err := tc.complete()
		if (err == nil) != (tc.authority != "") || err == nil && (tc.AuthorityNamespace != tc.authority || tc.AgentsNamespace != tc.agents) {
			t.Errorf("%s: %q and %q, %v", name, tc.AuthorityNamespace, tc.AgentsNamespace, err)
		}
	}
}

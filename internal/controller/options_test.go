package controller

import "testing"

// TestOptions refuses namespaces that must not be the same.
func TestOptions(t *testing.T) {
	for name, tc := range map[string]struct {
		Options
		authority string // "" where they are refused
	}{
		"all namespaces":                {Options{OwnNamespace: "own"}, DefaultAuthorityNamespace},
		"one namespace":                 {Options{OwnNamespace: "own", Namespace: "prod"}, "own-authority"},
		"one namespace, from outside":   {Options{Namespace: "prod"}, "prod-authority"},
		"the authority's is chosen":     {Options{AuthorityNamespace: "keys"}, "keys"},
		"the authority's is its own":    {Options{OwnNamespace: "own", AuthorityNamespace: "own"}, ""},
		"the authority's is served":     {Options{OwnNamespace: "own", AuthorityNamespace: "prod", Namespace: "prod"}, ""},
		"its own namespace is served":   {Options{OwnNamespace: "own", Namespace: "own"}, ""},
		"its own is the default's name": {Options{OwnNamespace: DefaultAuthorityNamespace}, ""},
	} {
		err := tc.complete()
		if (err == nil) != (tc.authority != "") || err == nil && tc.AuthorityNamespace != tc.authority {
			t.Errorf("%s: %q, %v", name, tc.AuthorityNamespace, err)
		}
	}
}

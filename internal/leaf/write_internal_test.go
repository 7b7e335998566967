package leaf

import "testing"

// TestOnlyOf: a bundle of several CAs is held back for the turn of one of them as long as nothing of another one changes: an emergency waits for nobody.
func TestOnlyOf(t *testing.T) {
	issuer := Issuer{Name: "k8s", Revisions: map[string]int64{"k8s": 3, "root": 2}}
	was := map[string]int64{"k8s": 2, "root": 2, "other": 5}
	for what, c := range map[string]struct {
		next map[string]int64
		want bool
	}{
		"its own":               {map[string]int64{"k8s": 3, "root": 2, "other": 5}, true},
		"its parent's":          {map[string]int64{"k8s": 2, "root": 3, "other": 5}, true},
		"another one's too":     {map[string]int64{"k8s": 3, "root": 2, "other": 6}, false},
		"without another one":   {map[string]int64{"k8s": 3, "root": 2}, false},
		"with one that was not": {map[string]int64{"k8s": 3, "root": 2, "other": 5, "new": 1}, false},
	} {
		if got := onlyOf(issuer, was, c.next); got != c.want {
			t.Errorf("%s: %t", what, got)
		}
	}
}

package docs

import (
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestAuditPolicies lets no page recommend to log what is sent: a private key that somebody pasted into a spec by mistake is in the
// request, and an audit log is read by many.
func TestAuditPolicies(t *testing.T) {
	found := 0
	for _, p := range pages(t) {
		for _, f := range p.Fences {
			if f.Language != "yaml" || !strings.Contains(f.Text, "apiVersion: audit.k8s.io/") {
				continue
			}
			found++
			var policy struct{ Rules []struct{ Level string } }
			if err := yaml.Unmarshal([]byte(f.Text), &policy); err != nil {
				t.Fatal(err)
			}
			for _, r := range policy.Rules {
				if !slices.Contains([]string{"None", "Metadata"}, r.Level) {
					t.Errorf("%s:%d: level %s logs what is sent", p.Path, f.Line, r.Level)
				}
			}
		}
	}
	if found == 0 {
		t.Error("no page has an audit policy")
	}
}

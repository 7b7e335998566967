package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"clusterpki.io/operator/internal/hostfiles"
)

// placeProblems are credentials that would take the place of something else on the host.
func (c *Config) placeProblems() []string {
	var out []string
	lies := map[string]string{} // by path: the credential whose file lies there
	for _, cred := range c.Credentials {
		say := func(format string, args ...any) {
			out = append(out, fmt.Sprintf("credentials: %q: ", cred.Name)+fmt.Sprintf(format, args...))
		}
		if taken := hostfiles.Reserved(cred.Role, cred.Name); taken != "" {
			say("it would have a file at %s, which is the place of something else on every host: it must have another name", taken)
		}
		for _, at := range hostfiles.ForRole(cred.Role, cred.Name).Own() {
			if other := lies[at]; other != "" && other != cred.Name {
				say("it belongs at %s, and so does %q: one of them is for another host or another role", at, other)
			}
			lies[at] = cred.Name
		}
	}
	return out
}

// clusterProblems are management clusters that cannot be tried.
func (c *Config) clusterProblems() []string {
	if len(c.ManagementClusters) == 0 {
		return []string{"managementClusters must name at least one, each with name and kubeconfig"}
	}
	var out []string
	seen := map[string]bool{}
	for _, m := range c.ManagementClusters {
		say := func(format string, args ...any) {
			out = append(out, fmt.Sprintf("managementClusters: %q: ", m.Name)+fmt.Sprintf(format, args...))
		}
		if text := strings.Join(validation.IsDNS1123Label(m.Name), "; "); text != "" { // a file is called so
			say("name: %s", text)
		}
		if seen[m.Name] {
			say("is listed twice")
		}
		seen[m.Name] = true
		if !filepath.IsAbs(m.Kubeconfig) {
			say("kubeconfig must be the absolute path of a file, not %q", m.Kubeconfig)
		}
	}
	return out
}

func (c *Config) replaceProblems() []string {
	var out []string
	for _, id := range c.ReplacePKI {
		if sum, err := hex.DecodeString(id); err != nil || len(sum) != sha256.Size {
			out = append(out, fmt.Sprintf("replacePKI must hold SHA-256 digests of trust bundles, in hexadecimal, not %q", id))
		}
	}
	return out
}

package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

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

func (c *Config) replaceProblems() []string {
	var out []string
	for _, id := range c.ReplacePKI {
		if sum, err := hex.DecodeString(id); err != nil || len(sum) != sha256.Size {
			out = append(out, fmt.Sprintf("replacePKI must hold SHA-256 digests of trust bundles, in hexadecimal, not %q", id))
		}
	}
	return out
}

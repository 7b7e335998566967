// Package agents says what the agent of a host is in the management cluster: its ServiceAccount, and what that may do.
package agents

import (
	"crypto/sha256"
	"encoding/hex"
)

// DefaultNamespace is where the ServiceAccounts of agents stand, unless the operator is told otherwise. Users have no rights there.
const DefaultNamespace = "clusterpki-agents"

const (
	maxName  = 253 // of a ServiceAccount: a DNS subdomain
	hashSize = 8   // digits of the hash that ends a name which was cut
)

// AccountName is the name of the ServiceAccount of a host's agent: <host>.<namespace>, which is one host's alone, because no name of a
// namespace has a dot. One that is too long is cut, and ends in a hash of the whole.
func AccountName(namespace, host string) string {
	name := host + "." + namespace
	if len(name) <= maxName {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return name[:maxName-hashSize-1] + "-" + hex.EncodeToString(sum[:])[:hashSize]
}

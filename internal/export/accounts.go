package export

import (
	"fmt"

	"clusterpki.io/operator/api/v1alpha1"
	"clusterpki.io/operator/internal/ack"
	"clusterpki.io/operator/internal/delivery"
	"clusterpki.io/operator/internal/hostfiles"
	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/keyring"
)

// The keys of a ServiceAccountKey's Secret.
const (
	SigningKey = "sa.key"          // signs service account tokens
	PublicKeys = ack.PublicKeysKey // verify them; the one that signs is the first
)

// KeysOf is the ServiceAccountKey that an API server uses; nil where it names none, or where there is none of that name.
func (o Objects) KeysOf(s *v1alpha1.APIServerCertificate) *v1alpha1.ServiceAccountKey {
	for i := range o.Keys {
		if o.Keys[i].Name == s.ServiceAccountKeyName() {
			return &o.Keys[i]
		}
	}
	return nil
}

// keyProblems say why an API server cannot have its service account keys.
func (o Objects) keyProblems(s *v1alpha1.APIServerCertificate) []Problem {
	name, key := s.ServiceAccountKeyName(), o.KeysOf(s)
	switch {
	case name == "":
		return nil
	case key == nil:
		return []Problem{{Text: fmt.Sprintf("APIServerCertificate %q names ServiceAccountKey %q, which does not exist: make it, or change serviceAccountKeyRef",
			s.Name, name)}}
	default:
		return o.problems(key)
	}
}

// accounts reads the service account keys of an API server, which must be those that the ServiceAccountKey publishes.
func (g *gatherer) accounts(key *v1alpha1.ServiceAccountKey) map[string][]byte {
	if text, _ := unready(key); text != "" {
		return nil
	}
	name := key.KeySecretName()
	data := g.secret(name, SigningKey, PublicKeys)
	if public, want := data[PublicKeys], key.Status.PublicKeysSHA256; len(public) > 0 && delivery.DigestOf(public) != want {
		g.problem("Secret %q: its %s is not the one that the status of ServiceAccountKey %q names (SHA-256 %s): somebody has changed it, and the operator "+
			"repairs it, or it has just been written: try again", name, PublicKeys, key.Name, want)
	}
	return data
}

// accounts puts service account keys in their places, after a look at whether they belong together: an API server whose key signs what it does not
// itself accept starts, and every component that has a token fails.
func (l *layout) accounts(from string, data map[string][]byte) {
	if data == nil {
		return
	}
	if err := SignsByFirst(data[SigningKey], data[PublicKeys]); err != nil {
		l.problem("%s: the service account keys: %v", from, err)
		return
	}
	l.add(from, hostfiles.ServiceAccKey, secretMode, data[SigningKey])
	l.add(from, hostfiles.ServiceAccPub, publicMode, data[PublicKeys])
}

// SignsByFirst says why a private key is not that of the first public key: the one that signs.
func SignsByFirst(private, public []byte) error {
	key, err := pki.ParsePrivateKey(private)
	if err != nil {
		return fmt.Errorf("%s: %w", SigningKey, err)
	}
	keys, err := keyring.ParsePublic(public)
	if err != nil {
		return fmt.Errorf("%s: %w", PublicKeys, err)
	}
	if !pki.SamePublicKey(keys[0], key.Public()) {
		return fmt.Errorf("%s is not the private half of the first key of %s", SigningKey, PublicKeys)
	}
	return nil
}

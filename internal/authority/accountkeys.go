package authority

import (
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/keyring"
)

// AccountKeysSecretType is the type of a Secret of the authority namespace that holds service account keys.
const AccountKeysSecretType corev1.SecretType = "clusterpki.io/service-account-key"

// AccountKeysName is the name of a ServiceAccountKey's Secret in the authority namespace.
func AccountKeysName(namespace, name string) string { return "sak." + namespace + "." + name }

// AccountKeysIdentityOf says whose a Secret of the authority namespace is; ok is false where it is no ServiceAccountKey's.
func AccountKeysIdentityOf(o client.Object) (id Identity, ok bool) {
	return identityOf(o, AccountKeysSecretType, AccountKeysName)
}

// AccountKeys are the whole truth about one ServiceAccountKey.
type AccountKeys struct {
	Identity
	Ledger keyring.Ledger
	// Keys are the private halves that are kept, and Public the public ones, by number. Where Err has an entry, one of them is missing
	// or damaged.
	Keys   map[int32]pki.PrivateKey
	Public map[int32]crypto.PublicKey
	Err    map[int32]error
	// Deleted is when the ServiceAccountKey was seen to be deleted with deletionPolicy 'Delete'; zero: it was not.
	Deleted time.Time
	// Created is when the Secret was created, Version its resourceVersion; both are empty for one that is not stored yet.
	Created time.Time
	Version string
	// WithoutKeys says that it comes from a cache, which holds no private keys.
	WithoutKeys bool
	// uid and stored are the stored Secret's. What is stored of a key is never written anew.
	uid    types.UID
	stored map[string][]byte
}

func (k *AccountKeys) identity() Identity { return k.Identity }

func (k *AccountKeys) stands() (version string, uid types.UID) { return k.Version, k.uid }

// Tombstone says whether the keys were destroyed. Their numbers go on.
func (k *AccountKeys) Tombstone() bool { return len(k.Ledger.Keys) == 0 }

// Active is the key that signs. The error says why there is none.
func (k *AccountKeys) Active() (pki.PrivateKey, error) {
	active, ok := k.Ledger.Active()
	switch {
	case !ok:
		return pki.PrivateKey{}, errors.New("no key is left")
	case k.WithoutKeys:
		return pki.PrivateKey{}, errors.New("a private key is not read from a cache")
	case k.Err[active.Number] != nil:
		return pki.PrivateKey{}, k.Err[active.Number]
	default:
		return k.Keys[active.Number], nil
	}
}

// Published are the public keys of sa.pub, in its order. The error says which is missing or damaged.
func (k *AccountKeys) Published() ([]crypto.PublicKey, error) {
	var out []crypto.PublicKey
	for _, key := range k.Ledger.Publication() {
		public, there := k.Public[key.Number]
		if !there {
			return nil, k.Err[key.Number]
		}
		out = append(out, public)
	}
	if len(out) == 0 {
		return nil, errors.New("no key is left")
	}
	return out, nil
}

// PublicPEM is sa.pub.
func (k *AccountKeys) PublicPEM() ([]byte, error) {
	keys, err := k.Published()
	if err != nil {
		return nil, err
	}
	return keyring.PublicPEM(keys)
}

// PublicSHA256 is the SHA-256 of sa.pub, in hexadecimal. It tells one publication from another.
func (k *AccountKeys) PublicSHA256() (string, error) {
	text, err := k.PublicPEM()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// JWKS is the JSON Web Key Set of what is published.
func (k *AccountKeys) JWKS() ([]byte, error) {
	keys, err := k.Published()
	if err != nil {
		return nil, err
	}
	return keyring.JWKS(keys)
}

// Next is a copy to change.
func (k *AccountKeys) Next() *AccountKeys {
	n := *k
	n.Keys, n.Public, n.Err = maps.Clone(k.Keys), maps.Clone(k.Public), maps.Clone(k.Err)
	return &n
}

// accountKeyNames are the keys of one key in the Secret's data.
func accountKeyNames(number int32) (public, private string) {
	return fmt.Sprintf("k%d.pub", number), fmt.Sprintf("k%d.key", number)
}

// DecodeAccountKeys reads a ServiceAccountKey's Secret. Damage of a single key is told in Err, of anything else as an error. Its errors
// quote nothing of a key.
func DecodeAccountKeys(s *corev1.Secret) (*AccountKeys, error) {
	var d document
	if err := json.Unmarshal(s.Data[documentKey], &d); err != nil {
		return nil, fmt.Errorf("Secret %q: malformed %s: %w", s.Name, documentKey, err) //nolint:staticcheck // a kind's name
	}
	ledger, err := keyring.ParseLedger(d.Ledger)
	if err != nil {
		return nil, fmt.Errorf("Secret %q: %w", s.Name, err) //nolint:staticcheck // a kind's name
	}
	if AccountKeysName(d.Namespace, d.Name) != s.Name {
		return nil, fmt.Errorf("Secret %q is that of ServiceAccountKey %s: it was copied", s.Name, d.Identity) //nolint:staticcheck // a kind's name
	}
	k := &AccountKeys{
		Identity: d.Identity, Ledger: ledger, Deleted: d.Deleted,
		Keys: map[int32]pki.PrivateKey{}, Public: map[int32]crypto.PublicKey{}, Err: map[int32]error{},
		Created: s.CreationTimestamp.Time, Version: s.ResourceVersion, uid: s.UID, stored: s.Data,
	}
	_, k.WithoutKeys = s.Annotations[withoutKeysAnnotation]
	for _, key := range ledger.Keys {
		if err := k.decodeKey(s, key); err != nil {
			k.Err[key.Number] = fmt.Errorf("key %d in Secret %q: %w", key.Number, s.Name, err)
		}
	}
	return k, nil
}

// decodeKey reads one key. With an error, its public half is known if that could be read.
func (k *AccountKeys) decodeKey(s *corev1.Secret, key keyring.Key) error {
	publicName, privateName := accountKeyNames(key.Number)
	keys, err := keyring.ParsePublic(s.Data[publicName])
	if err != nil {
		return fmt.Errorf("its public half: %w", err)
	}
	if id, err := keyring.KeyID(keys[0]); err != nil || id != key.ID || len(keys) > 1 {
		return errors.New("its public half is another one than the ledger's")
	}
	k.Public[key.Number] = keys[0]
	if k.WithoutKeys || !k.Ledger.KeepsPrivate(key.Number) {
		return nil
	}
	text, there := s.Data[privateName]
	if !there {
		return ErrKeyMissing
	}
	private, err := pki.ParsePrivateKey(text)
	if err != nil {
		return err
	}
	if !pki.SamePublicKey(keys[0], private.Public()) {
		return pki.ErrKeyMismatch
	}
	k.Keys[key.Number] = private
	return nil
}

// encode is the data of the Secret. What is stored of a key already is copied as it is; a private half that is kept no more is left out.
func (k *AccountKeys) encode() (map[string][]byte, error) {
	ledger, err := json.Marshal(k.Ledger)
	if err != nil {
		return nil, fmt.Errorf("encode the ledger: %w", err)
	}
	text, err := json.Marshal(document{Identity: k.Identity, Deleted: k.Deleted, Ledger: ledger})
	if err != nil {
		return nil, fmt.Errorf("encode what is stored of service account keys: %w", err)
	}
	data := map[string][]byte{documentKey: text}
	for _, key := range k.Ledger.Keys {
		if err := k.encodeKey(data, key.Number); err != nil {
			return nil, err
		}
	}
	return data, nil
}

func (k *AccountKeys) encodeKey(data map[string][]byte, number int32) (err error) {
	publicName, privateName := accountKeyNames(number)
	_, stored := k.stored[publicName]
	stored = stored || k.Err[number] != nil // what is damaged is left as it is
	if value, there := k.stored[publicName]; there {
		data[publicName] = value
	} else if !stored {
		if data[publicName], err = keyring.PublicPEM([]crypto.PublicKey{k.Public[number]}); err != nil {
			return err
		}
	}
	if !k.Ledger.KeepsPrivate(number) {
		return nil
	}
	if value, there := k.stored[privateName]; there {
		data[privateName] = value
	} else if !stored {
		if data[privateName], err = k.Keys[number].Reveal(); err != nil {
			return err
		}
	}
	return nil
}

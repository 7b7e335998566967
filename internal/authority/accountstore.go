package authority

import (
	"context"
	"fmt"
	"reflect"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"clusterpki.io/operator/internal/pki"
	"clusterpki.io/operator/internal/pki/keyring"
)

var kindOfAccountKeys = kind[AccountKeys]{
	"the service account keys of", "all service account keys", AccountKeysSecretType, AccountKeysName, DecodeAccountKeys, checkAccountKeys,
}

// LiveAccountKeys are those of a ServiceAccountKey with the private halves, from the API server; nil where there are none. Everybody who
// waits when the read begins shares it. What is returned must not be changed.
func (s *Store) LiveAccountKeys(ctx context.Context, namespace, name string) (*AccountKeys, error) {
	return s.accountKeys.liveOne(ctx, namespace, name)
}

// CachedAccountKeys are those of a ServiceAccountKey without the private halves, as the cache has them; nil where it has none. It may lag behind.
func (s *Store) CachedAccountKeys(ctx context.Context, namespace, name string) (*AccountKeys, error) {
	return s.accountKeys.cachedOne(ctx, namespace, name)
}

// CachedAccountKeysIn are those of a user's namespace, without the private halves, as the cache has them. Those that cannot be read are left out.
func (s *Store) CachedAccountKeysIn(ctx context.Context, namespace string) ([]*AccountKeys, error) {
	return s.accountKeys.cached(ctx, client.MatchingFields{NamespaceIndex: namespace})
}

// CachedAllAccountKeys are those of all namespaces, as CachedAccountKeysIn.
func (s *Store) CachedAllAccountKeys(ctx context.Context) ([]*AccountKeys, error) {
	return s.accountKeys.cached(ctx)
}

// ListAccountKeys reads all with the private halves from the API server. Secrets that cannot be read are told by their names.
func (s *Store) ListAccountKeys(ctx context.Context) (keys []*AccountKeys, damaged map[string]error, err error) {
	return s.accountKeys.list(ctx)
}

// CreateAccountKeys stores the first keys of a ServiceAccountKey. It fails with AlreadyExists if there are some of the name.
func (s *Store) CreateAccountKeys(ctx context.Context, next *AccountKeys) (*AccountKeys, error) {
	return s.accountKeys.create(ctx, next)
}

// CommitAccountKeys stores next in place of was, as it was read: if anybody wrote in between, it fails with a conflict. The invariants
// are checked before.
func (s *Store) CommitAccountKeys(ctx context.Context, was, next *AccountKeys) (*AccountKeys, error) {
	return s.accountKeys.commit(ctx, was, next)
}

// checkAccountKeys says what is wrong with a write that puts next in place of what was read. was is nil for a new one.
func checkAccountKeys(was, next *AccountKeys) error {
	if err := next.Ledger.Check(); err != nil {
		return brokenKeys("%v", err)
	}
	if next.Namespace == "" || next.Name == "" || next.NamespaceUID == "" || next.HomeUID == "" {
		return brokenKeys("it does not say whose it is")
	}
	if was == nil {
		was = &AccountKeys{}
		return was.checkHalves(next)
	}
	if was.Namespace != next.Namespace || was.Name != next.Name {
		return brokenKeys("it is that of ServiceAccountKey %s", was.Identity)
	}
	if err := was.checkNumbers(next); err != nil {
		return err
	}
	if !next.Tombstone() {
		if err := checkKeyStates(was.Ledger, next.Ledger); err != nil {
			return err
		}
	}
	return was.checkHalves(next)
}

func brokenKeys(format string, args ...any) error {
	return &InvariantError{"ServiceAccountKey", fmt.Sprintf(format, args...)}
}

// checkNumbers says that revisions and numbers go on, and that nothing is written which was read without keys.
func (k *AccountKeys) checkNumbers(next *AccountKeys) error {
	changed := !reflect.DeepEqual(k.Ledger, next.Ledger)
	switch {
	case k.WithoutKeys:
		return brokenKeys("it was read from a cache, which holds no private keys: they would be lost")
	case changed && next.Ledger.Revision != k.Ledger.Revision+1:
		return brokenKeys("revision %d does not follow on %d", next.Ledger.Revision, k.Ledger.Revision)
	case next.Ledger.Last < k.Ledger.Last:
		return brokenKeys("the number of the last key goes back from %d to %d", k.Ledger.Last, next.Ledger.Last)
	case next.Tombstone() && !k.Tombstone() && k.Deleted.IsZero():
		return brokenKeys("the keys would be destroyed, and they are not marked for that")
	default:
		return nil
	}
}

// checkKeyStates says that no key leaves but one that has left sa.pub before, that none goes back in its life, and that another
// publication is one that has not been seen yet.
func checkKeyStates(was, next keyring.Ledger) error {
	for _, k := range was.Keys {
		i := slices.IndexFunc(next.Keys, func(n keyring.Key) bool { return n.Number == k.Number })
		switch {
		case i < 0 && k.State != keyring.Withdrawn:
			return brokenKeys("key %d is %s, and would be deleted", k.Number, k.State)
		case i >= 0 && slices.Index(keyring.States, next.Keys[i].State) < slices.Index(keyring.States, k.State):
			return brokenKeys("key %d is %s, and would be %s again", k.Number, k.State, next.Keys[i].State)
		case i >= 0 && k.State == keyring.Active && next.Keys[i].State == keyring.Withdrawn:
			return brokenKeys("key %d signs, and would not be trusted any more", k.Number)
		}
	}
	same := slices.EqualFunc(was.Publication(), next.Publication(), func(a, b keyring.Key) bool { return a.Number == b.Number })
	if !same && !next.Published.IsZero() {
		return brokenKeys("nobody can have seen another publication already")
	}
	return nil
}

// checkHalves says that every key of the next ledger has its public half, and the one that it had, and its private one where that is kept.
func (k *AccountKeys) checkHalves(next *AccountKeys) error {
	for _, key := range next.Ledger.Keys {
		i := slices.IndexFunc(k.Ledger.Keys, func(o keyring.Key) bool { return o.Number == key.Number })
		if i >= 0 {
			if err := k.checkHalf(next, k.Ledger.Keys[i], key); err != nil {
				return err
			}
			continue
		}
		public := next.Public[key.Number]
		id, err := keyring.KeyID(public)
		private := next.Keys[key.Number].Public()
		switch {
		case key.Number <= k.Ledger.Last:
			return brokenKeys("key %d was there before: its number is not given again", key.Number)
		case err != nil || id != key.ID:
			return brokenKeys("the public half of key %d is not there, or another one", key.Number)
		case next.Ledger.KeepsPrivate(key.Number) && !pki.SamePublicKey(public, private):
			return brokenKeys("the private half of key %d is not there, or another one", key.Number)
		}
	}
	return nil
}

// checkHalf says that a key that was there is the same one, and that a private half which is to be kept was.
func (k *AccountKeys) checkHalf(next *AccountKeys, was, key keyring.Key) error {
	switch {
	case was.ID != key.ID || !samePublic(k.Public[key.Number], next.Public[key.Number]):
		return brokenKeys("key %d has another public half than before", key.Number)
	case next.Ledger.KeepsPrivate(key.Number) && !k.Ledger.KeepsPrivate(key.Number):
		return brokenKeys("the private half of key %d is gone", key.Number)
	default:
		return nil
	}
}

func samePublic(a, b any) bool { return a == nil && b == nil || pki.SamePublicKey(a, b) }
